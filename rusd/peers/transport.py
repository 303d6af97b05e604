"""A member's transport: the other members as its replica reaches them, and it as they reach it.

::

    replica ──send──▶ PeerTransport ──▶ a Channel per peer ══ stream ══▶ Service of the peer ──▶ its replica

Implements :class:`rusd.replica.peers.Peers`.  Each member opens a stream to each other one and sends on
it; answers come on the other's.  Everything goes through the environment's transport.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import trio

from rusd import net
from rusd.environment import Environment
from rusd.grpc import Code, Registry, StatusError
from rusd.logs import Logger
from rusd.net import Limits
from rusd.net.poller import Poller
from rusd.net.timer import Timer
from rusd.peers import snapshots
from rusd.peers.codec import Encoder, encode_forward
from rusd.peers.identity import Identity, Visitor, is_refusal
from rusd.peers.pacing import Timing
from rusd.peers.service import PeerHandler, Service
from rusd.peers.surroundings import CALL_PREFIX, Surroundings, peer_limits
from rusd.raft import Message
from rusd.replica.forwarding import Forward
from rusd.replica.peers import Inbox, PeerError, Peers

if TYPE_CHECKING:
    from rusd.peers.channel import Channel

RUN_BYTES = 1024 * 1024
"""Entries' bytes above which a run of messages to one peer is sent in several parts."""

MOST_OUTGOING_SNAPSHOTS = 2
MOST_STRANGERS = 16


class PeerTransport(Peers):
    """One member's.  Register it on the peer port's registry, then :meth:`run` it.

    ``is_removed`` tells whether a member id was removed from the cluster; ``on_removed`` is called when
    a peer says that this member was.  ``limits`` are those of the peer listeners as well, see
    :func:`~rusd.peers.surroundings.peer_limits`.  ``poller`` should be the one that reads for all of the
    member's listeners: then what comes is acted upon at the end of one pass, whichever way it came.
    """

    def __init__(
        self,
        environment: Environment,
        log: Logger,
        identity: Identity,
        *,
        is_removed: Callable[[int], bool],
        on_removed: Callable[[], None],
        limits: Limits | None = None,
        timing: Timing = Timing(),  # noqa: B008 - frozen
        poller: Poller | None = None,
    ) -> None:
        self._timer = Timer(environment.clock, log)
        self._surroundings = Surroundings(
            environment=environment,
            log=log,
            identity=identity,
            deadlines=self._timer.deadlines,
            limits=limits or peer_limits(1572864, timing),
            timing=timing,
            poller=poller,
            on_removed=on_removed,
        )
        self._id = identity.member_id
        self._is_removed = is_removed
        self._service = Service(self._surroundings, is_removed, heard_of=self._heard_of, lost=self._lost)
        self._encoder = Encoder()
        self._channels: dict[int, Channel] = {}
        self._strangers: set[int] = set()  # reached, but no members as far as is known here
        self._nursery: trio.Nursery | None = None
        self._outgoing = trio.Semaphore(MOST_OUTGOING_SNAPSHOTS)

    def register(self, registry: Registry, calls: Mapping[str, PeerHandler] | None = None) -> None:
        """Serve on the peer port; ``calls`` are methods of :meth:`call` and what answers them."""
        self._service.register(registry)
        for method, handler in (calls or {}).items():
            self._service.register_call(registry, method, handler)

    async def run(self, inbox: Inbox, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the ways to all peers open, and hand what comes to ``inbox``, until cancelled."""
        try:
            async with trio.open_nursery() as self._nursery:
                self._service.inbox = inbox
                self._nursery.start_soon(self._timer.run)
                for channel in self._channels.values():
                    self._nursery.start_soon(channel.run)
                task_status.started()
                await trio.sleep_forever()
        finally:
            self._nursery = None
            self._service.inbox = None

    # -- members -------------------------------------------------------------------------

    def set_members(self, urls: Mapping[int, Sequence[str]]) -> None:
        """These are the other members and their peer URLs now; this member's own are ignored."""
        for peer in [peer for peer in self._channels if peer not in urls and peer not in self._strangers]:
            self._close(peer)
        for peer, peer_urls in urls.items():
            if peer == self._id:
                continue
            self._strangers.discard(peer)
            channel = self._channels.get(peer)
            if channel is None:
                self._open(peer, peer_urls)
            else:
                channel.move(peer_urls)
        for peer in [peer for peer in self._strangers if self._is_removed(peer)]:
            self._close(peer)
        self._service.expel_removed()

    def active_since(self, peer: int) -> float | None:
        """Since when a peer can be reached, in seconds on the monotonic clock; None if it can't."""
        channel = self._channels.get(peer)
        return None if channel is None else channel.active_since

    @property
    def held_bytes(self) -> int:
        """What waits for peers that take it slowly, or not at all."""
        return sum(channel.held_bytes for channel in self._channels.values())

    def _open(self, peer: int, urls: Sequence[str]) -> None:
        from rusd.peers.channel import Channel  # a member that is alone never needs the client role

        channel = self._channels[peer] = Channel(peer, urls, self._surroundings, self._unreachable)
        if self._nursery is not None:
            self._nursery.start_soon(channel.run)

    def _close(self, peer: int) -> None:
        self._strangers.discard(peer)
        self._channels.pop(peer).close()

    def _heard_of(self, visitor: Visitor) -> None:
        """A peer has opened its stream.

        Its own address may be new to us: a member that is behind does not know yet who has joined, and
        could answer nobody if it did not go by what visitors say of themselves.
        """
        channel = self._channels.get(visitor.member_id)
        if channel is not None:
            channel.hurry()
        elif visitor.peer_urls and len(self._strangers) < MOST_STRANGERS:
            self._strangers.add(visitor.member_id)
            self._open(visitor.member_id, visitor.peer_urls)

    def _lost(self, peer: int) -> None:
        """The last stream from a peer is over: a stranger is forgotten."""
        if peer in self._strangers:
            self._close(peer)

    def _unreachable(self, peer: int) -> None:
        if self._service.inbox is not None:
            self._service.inbox.unreachable(peer)

    # -- sending -----------------------------------------------------------------------------

    def send(self, messages: Iterable[Message]) -> None:
        """Send ``messages``, in order, at once; what can't be sent is dropped."""
        runs: dict[int, list[Message]] = {}
        for message in messages:
            runs.setdefault(message.to, []).append(message)
        for peer, run in runs.items():
            channel = self._channels.get(peer)
            if channel is None or not channel.is_open:
                self._dropped(peer, run)
            elif len(run) == 1:
                self._send_run(channel, run)
            else:
                for part in _parts(run):
                    self._send_run(channel, part)

    def _send_run(self, channel: Channel, run: list[Message]) -> None:
        small = not _has_entries(run)
        if not channel.send(self._encoder.messages(run), small=small):
            self._dropped(channel.peer, run)

    def _dropped(self, peer: int, run: Sequence[Message]) -> None:
        """Raft counts on appends that were sent, and on nothing else."""
        if _has_entries(run):
            self._unreachable(peer)

    def forward(self, forwards: Iterable[Forward]) -> Sequence[Forward]:
        """Pass proposals on to the leader; returns those of which nothing has left."""
        return [forward for forward in forwards if not self._forward(forward)]

    def _forward(self, forward: Forward) -> bool:
        channel = self._channels.get(forward.to)
        if channel is None or not channel.is_open:
            return False
        return channel.send(encode_forward(forward), small=False)

    async def send_snapshot(self, message: Message, header: bytes, chunks: AsyncIterator[bytes]) -> None:
        """Send a snapshot, and return when the peer has it.

        Raises :class:`PeerError`, and what ``chunks`` raises.
        """
        async with self._outgoing:
            channel = self._channel(message.to)
            try:
                await snapshots.send(channel, message, header, chunks, self._surroundings)
            except StatusError as error:
                raise PeerError(error.message) from error

    async def call(self, peer: int, method: str, payload: bytes, timeout: float) -> bytes:
        """Have ``peer`` answer ``payload``, within ``timeout`` seconds; see :meth:`register`.

        Raises :class:`StatusError` if that is what the peer answered, and :class:`PeerError` if there was
        no answer.
        """
        channel = self._channel(peer)
        try:
            with self._surroundings.within(timeout):
                return await _call(channel, CALL_PREFIX + method, payload, timeout)
        except TimeoutError as error:
            raise PeerError(f"{peer:x} has not answered in time") from error

    def _channel(self, peer: int) -> Channel:
        channel = self._channels.get(peer)
        if channel is None:
            raise PeerError(f"{peer:x} is no member that can be reached")
        return channel


async def _call(channel: Channel, path: str, payload: bytes, timeout: float) -> bytes:
    """One unary call on the connection of the messages."""
    client = await channel.client()
    try:
        call = client.engine.start(path, channel.metadata, timeout)
    except StatusError as error:
        raise PeerError(error.message) from error
    call.send_last(payload)
    async with net.ClientStream(call) as stream:
        try:
            answer = await stream.receive()
            while not stream.has_ended:
                await stream.receive()
        except StatusError as error:
            if not call.told or is_refusal(error) or error.code is Code.DEADLINE_EXCEEDED:
                raise PeerError(error.message) from error
            raise
    if answer is None:
        raise PeerError(f"{channel.peer:x} gave no answer")
    return answer


def _has_entries(run: Sequence[Message]) -> bool:
    return len(run[0].entries) > 0 if len(run) == 1 else any(message.entries for message in run)


def _parts(run: list[Message]) -> Iterable[list[Message]]:
    """``run``, cut so that no part is much larger than one append may be."""
    part: list[Message] = []
    size = 0
    for message in run:
        more = sum([len(entry.data) for entry in message.entries])
        if part and size + more > RUN_BYTES:
            yield part
            part, size = [], 0
        part.append(message)
        size += more
    yield part
