"""The way to one peer: a task that keeps a stream of messages open to it, and what is sent on that.

Sending is a plain call, and what is sent leaves in the same turn.  The task only makes connections:
it tries the peer's URLs in turn, waits longer after each failure, and begins anew as soon as the peer
itself has reached us.  What is sent while there is no stream, or while the peer takes nothing, is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

import trio

from rusd.grpc import StatusError
from rusd.grpc.client import ClientCall
from rusd.net.client import Client, over
from rusd.peers.address import address_of
from rusd.peers.identity import is_refusal, says_removed
from rusd.peers.pacing import Backoff, Seldom
from rusd.peers.surroundings import MESSAGES_PATH, Surroundings
from rusd.replica.peers import PeerError
from rusd.signal import Signal

QUEUE_BYTES = 32 * 1024 * 1024
"""What may wait for a peer that takes nothing; more than Raft ever has under way to one."""

_RESERVE_BYTES = 1024 * 1024  # beyond that, for messages without entries: they are small and seldom

_SLOW_SECONDS = 0.2  # a connection that takes so long to be made may have been asked for in a dead network


class Channel:
    """One peer.  ``unreachable`` is called when what was sent may not have arrived."""

    def __init__(
        self,
        peer: int,
        urls: Sequence[str],
        surroundings: Surroundings,
        unreachable: Callable[[int], None],
    ) -> None:
        self.peer = peer
        self.urls = tuple(urls)
        self.active_since: float | None = None
        """Since when the peer has let us in, in seconds on the monotonic clock; None while it has not."""
        self.sent_bytes = 0
        self.dropped = 0
        """Messages, or runs of them, that found no way."""
        self._surroundings = surroundings
        self._unreachable = unreachable
        self._metadata = surroundings.identity.metadata(peer)
        self._backoff = Backoff(surroundings.environment.random, surroundings.timing)
        self._reports = Seldom(surroundings.timing.report)
        self._log = surroundings.log.bind(
            local_member_id=f"{surroundings.identity.member_id:x}", remote_peer_id=f"{peer:x}"
        )
        self._next_url = 0
        self._attempt = trio.CancelScope()  # replaced for each connection
        self._life = trio.CancelScope()
        self._progress = Signal()
        self._pause = trio.CancelScope()
        self._pausing = False
        self._began = 0.0  # when the last attempt did
        self._client: Client | None = None
        self._call: ClientCall | None = None
        self._connected = trio.lowlevel.ParkingLot()

    # -- sending --------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether what is sent now has a way to go."""
        call = self._call
        return call is not None and not call.ended

    @property
    def held_bytes(self) -> int:
        """What was sent and not yet taken."""
        return self._client.held_bytes if self._client is not None else 0

    def send(self, payload: bytes, *, small: bool) -> bool:
        """Send one message of the stream now; False if it was dropped.

        ``small`` ones, without entries, still go where others would have to wait for too many.
        """
        call, client = self._call, self._client
        if call is None or client is None or call.ended:
            self.dropped += 1
            return False
        limit = QUEUE_BYTES + _RESERVE_BYTES if small else QUEUE_BYTES
        held = client.held_bytes
        # What is larger by itself goes where little else waits, or it never would.
        if held + len(payload) > limit and held > _RESERVE_BYTES:
            self.dropped += 1
            return False
        call.send(payload)
        self.sent_bytes += len(payload)
        return True

    def connect(self) -> AbstractAsyncContextManager[Client]:
        """A connection of its own to the peer; enter it to have it made."""
        return _Dialling(self.urls[self._next_url % len(self.urls)] if self.urls else "", self._surroundings)

    async def client(self) -> Client:
        """The connection of the messages, once the peer has let us in; waits for that."""
        while self._client is None or self.active_since is None:
            await self._connected.park()
        return self._client

    @property
    def metadata(self) -> tuple[tuple[str, bytes], ...]:
        """What stands on each call to the peer."""
        return self._metadata

    # -- life -----------------------------------------------------------------------

    def move(self, urls: Sequence[str]) -> None:
        """The peer is reached at ``urls`` from now on."""
        urls = tuple(urls)
        if urls == self.urls:
            return
        self.urls = urls
        self._next_url = 0
        self._backoff.reset()
        self._attempt.cancel()
        self._pause.cancel()

    def hurry(self) -> None:
        """The peer was just heard of: if we wait before the next attempt, or for its outcome, don't."""
        if self._pausing:
            self._backoff.reset()
            self._pause.cancel()
        elif self._client is None and self._surroundings.now() - self._began > _SLOW_SECONDS:
            self._backoff.reset()
            self._attempt.cancel()

    def close(self) -> None:
        """It is no peer any more: :meth:`run` returns soon, and nothing is sent from now on."""
        self._call = None
        self._life.cancel()

    async def run(self) -> None:
        """Keep a stream to the peer until :meth:`close`."""
        with self._life:
            while True:
                self._began = self._surroundings.now()
                pause = await self._try()
                earliest = self._began + self._surroundings.timing.first_pause
                self._pausing = True
                with trio.CancelScope() as self._pause:
                    await self._surroundings.sleep_until(self._surroundings.now() + pause)
                self._pausing = False
                # Two peers that hurry each other must not do so without end.
                await self._surroundings.sleep_until(earliest)

    async def _try(self) -> float:
        """One connection, from its making to its end; how long to pause after it."""
        error: Exception | None = None
        with trio.CancelScope() as self._attempt:
            try:
                error = await self._serve()
            except (PeerError, OSError, StatusError) as failure:
                # Without its traceback, which leads back here: no collector looks for such cycles.
                error = failure.with_traceback(None)
            except Exception as failure:  # a defect: the peer stays away for a while, the others don't
                self._log.error("peer channel failed", error=failure)
                error = failure.with_traceback(None)
            finally:
                self._lost(error)
        if error is None:
            return 0.0
        self._next_url = (self._next_url + 1) % max(1, len(self.urls))
        if isinstance(error, StatusError) and is_refusal(error):
            return self._surroundings.timing.refused_pause
        return self._backoff.pause()

    async def _serve(self) -> Exception:
        """Hold one connection and its stream; returns what ended it, or raises why there was none."""
        async with self.connect() as client:
            call = client.engine.start(MESSAGES_PATH, self._metadata)
            call.on_progress = self._told
            client.engine.on_going_away = self._attempt.cancel
            self._client, self._call = client, call
            client.wrote()
            while not call.ended:
                await self._progress.wait()
                if call.accepted and self.active_since is None and not call.ended:
                    self._opened()
        return call.error or PeerError("the peer ended the stream")

    def _told(self) -> None:
        """The peer has said something on the stream of messages.

        That we were removed is passed on before the connection ends: whose calls fail with it asks why.
        """
        call = self._call
        if call is not None and call.error is not None and says_removed(call.error):
            self._surroundings.on_removed()
        self._progress.set()

    def _opened(self) -> None:
        self.active_since = self._surroundings.now()
        self._backoff.reset()
        self._log.info("peer became active")
        self._connected.unpark_all()

    def _lost(self, error: Exception | None) -> None:
        """The connection, if there was one, is over."""
        had_sent = self._client is not None
        was_active = self.active_since is not None
        self._client = self._call = self.active_since = None
        if error is not None:
            reason = error.message if isinstance(error, StatusError) else error
            if was_active:
                self._log.warn("peer became inactive (message send to peer failed)", error=str(reason))
            elif self._reports.permits(str(reason), self._surroundings.now()):
                self._log.warn("failed to reach the peer", urls=self.urls, error=str(reason))
        if had_sent:
            self._unreachable(self.peer)


class _Dialling(AbstractAsyncContextManager[Client]):
    """A connection to ``url``, made when entered.  Raises :class:`PeerError` and :class:`OSError`."""

    def __init__(self, url: str, surroundings: Surroundings) -> None:
        self._url = url
        self._surroundings = surroundings
        self._connection: AbstractAsyncContextManager[Client] | None = None

    async def __aenter__(self) -> Client:
        surroundings = self._surroundings
        environment = surroundings.environment
        host, port = address_of(self._url)
        try:
            with surroundings.within(surroundings.timing.connect):
                channel = await environment.transport.connect(host, port)
        except OSError as error:
            raise PeerError(f"{self._url}: {_reason(error)}") from None
        self._connection = over(
            channel,
            environment,
            (host, port),
            surroundings.log,
            limits=surroundings.limits,
            poller=surroundings.poller,
        )
        return await self._connection.__aenter__()

    async def __aexit__(self, *exc_info: object) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.__aexit__(None, None, None)


def _reason(error: OSError) -> str:
    """The system's words where there are any: Trio has them in the errors of the single attempts."""
    cause = error.__cause__
    if isinstance(cause, ExceptionGroup) and isinstance(cause.exceptions[0], OSError):
        error = cause.exceptions[0]
    return (error.strerror or str(error)).lower()
