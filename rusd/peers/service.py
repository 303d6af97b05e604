"""What a member serves on its peer port: streams of messages, snapshots, and calls of its peers.

Every call is judged first (:mod:`rusd.peers.identity`).  A stream of messages is a feed: each message
reaches the replica in the turn in which it is read.  A stream that holds something unreadable is ended, and
its sender begins another one; nothing of that message has been acted on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from rusd.grpc import Call, Code, Registry, Requests, Responses, StatusError
from rusd.peers import snapshots
from rusd.peers.codec import MalformedError, decode
from rusd.peers.identity import REMOVED_TEXT, RefusedError, Visitor, judge
from rusd.peers.pacing import Seldom
from rusd.peers.surroundings import CALL_PREFIX, MESSAGES_PATH, SNAPSHOT_PATH, Surroundings
from rusd.replica.forwarding import Forward
from rusd.replica.peers import Inbox, PeerError

MOST_SNAPSHOTS = 2
"""Snapshots received at a time; there is one leader, and at most an older one that has not noticed."""

PeerHandler = Callable[[int, bytes], Awaitable[bytes]]
"""Answers one call of a peer: ``(its member id, request)``.  May raise :class:`StatusError`."""


class Service:
    """The server's side.

    ``heard_of`` is told of each peer that opens a stream of messages, ``lost`` of the end of its last one.
    """

    def __init__(
        self,
        surroundings: Surroundings,
        is_removed: Callable[[int], bool],
        *,
        heard_of: Callable[[Visitor], None],
        lost: Callable[[int], None],
    ) -> None:
        self.inbox: Inbox | None = None
        """Where messages go; calls are refused while there is none."""
        self._surroundings = surroundings
        self._is_removed = is_removed
        self._heard_of = heard_of
        self._lost = lost
        self._reports = Seldom(surroundings.timing.report)
        self._feeds: dict[_MessageFeed, None] = {}
        self._receiving = 0

    def register(self, registry: Registry) -> None:
        """Add the methods to the registry of the peer port."""
        registry.feed(MESSAGES_PATH, self._open)
        registry.stream(SNAPSHOT_PATH, None, self._receive_snapshot)

    def register_call(self, registry: Registry, method: str, handler: PeerHandler) -> None:
        """Have ``handler`` answer the peers' calls of ``method``."""

        async def answer(call: Call, payload: bytes) -> bytes:
            return await handler(self._judge(call).member_id, payload)

        registry.task(CALL_PREFIX + method, None, answer)

    def expel_removed(self) -> None:
        """Members may have been removed: whoever was is told so."""
        for feed in list(self._feeds):
            if self._is_removed(feed.sender):
                feed.end(StatusError(Code.PERMISSION_DENIED, REMOVED_TEXT))

    # -- one call -----------------------------------------------------------------------

    def _judge(self, call: Call) -> Visitor:
        surroundings = self._surroundings
        try:
            return judge(call, surroundings.identity, self._is_removed)
        except RefusedError as refusal:
            sender = refusal.fields.get("remote_peer_id")
            if self._reports.permits((sender, refusal.message), surroundings.now()):
                surroundings.log.warn("rejected a peer", error=refusal.message, **refusal.fields)
            raise

    def _ready(self) -> Inbox:
        if self.inbox is None:
            raise StatusError(Code.UNAVAILABLE, "the member is not ready")
        return self.inbox

    def _open(self, call: Call, end: Callable[[StatusError], None]) -> _MessageFeed:
        visitor = self._judge(call)
        feed = _MessageFeed(
            self, self._ready(), visitor.member_id, self._surroundings.identity.member_id, end
        )
        self._feeds[feed] = None
        self._heard_of(visitor)
        return feed

    def closed(self, feed: _MessageFeed) -> None:
        """A stream is over."""
        del self._feeds[feed]
        if all(other.sender != feed.sender for other in self._feeds):
            self._lost(feed.sender)

    def malformed(self, sender: int, error: MalformedError) -> StatusError:
        """Say what came, and make of it how the stream ends."""
        surroundings = self._surroundings
        if self._reports.permits((sender, str(error)), surroundings.now()):
            surroundings.log.warn(
                "a peer sent what can't be read", remote_peer_id=f"{sender:x}", error=str(error)
            )
        return StatusError(Code.INVALID_ARGUMENT, str(error))

    async def _receive_snapshot(self, call: Call, requests: Requests, responses: Responses) -> None:
        sender = self._judge(call).member_id
        inbox = self._ready()
        if self._receiving >= MOST_SNAPSHOTS:
            raise StatusError(Code.RESOURCE_EXHAUSTED, "too many snapshots are being received")
        self._receiving += 1
        try:
            await snapshots.receive(requests, sender, inbox, self._surroundings)
        except MalformedError as error:
            raise self.malformed(sender, error) from error
        except PeerError as error:
            raise StatusError(Code.ABORTED, str(error)) from error
        finally:
            self._receiving -= 1
        await responses.send(b"")


class _MessageFeed:
    """One stream of messages from ``sender``; a :class:`rusd.grpc.call.Feed`."""

    __slots__ = ("_here", "_inbox", "_service", "end", "sender")

    def __init__(
        self, service: Service, inbox: Inbox, sender: int, here: int, end: Callable[[StatusError], None]
    ) -> None:
        self.sender = sender
        self.end = end
        self._service = service
        self._inbox = inbox
        self._here = here

    def receive(self, payload: bytes) -> None:
        try:
            received = decode(payload, self.sender, self._here)
        except MalformedError as error:
            raise self._service.malformed(self.sender, error) from error
        if isinstance(received, Forward):
            self._inbox.receive_forward(received)
        else:
            self._inbox.receive(received)

    def ended(self) -> None:
        self._service.closed(self)
        self.end = _nothing  # cuts the cycle with the call


def _nothing(_: StatusError) -> None:
    """What a stream that is over does when it is ended."""
