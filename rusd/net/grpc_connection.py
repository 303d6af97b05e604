"""A client's HTTP/2 connection: the sans-IO engine, its socket, its handlers' tasks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from rusd.environment import Channel, Clock
from rusd.grpc.admission import Gate
from rusd.grpc.budget import Budget
from rusd.grpc.call import LongAnswer
from rusd.grpc.deadlines import Deadlines
from rusd.grpc.pings import PingPolicy
from rusd.grpc.registry import Registry
from rusd.grpc.server import ServerConnection
from rusd.grpc.server_call import ServerCall, StreamCall
from rusd.grpc.status import StatusError
from rusd.http2 import ErrorCode, Settings
from rusd.logs import Logger
from rusd.net.flusher import Flusher
from rusd.net.limits import Limits
from rusd.net.link import Link
from rusd.net.poller import Poller
from rusd.net.streams import AnswerParts, StreamRequests, StreamResponses
from rusd.net.watchdog import Watchdog


class GrpcConnection:
    """Serves one client.  Implements :class:`rusd.grpc.server.Host` and :class:`rusd.grpc.budget.Holder`."""

    def __init__(
        self,
        channel: Channel,
        registry: Registry,
        nursery: trio.Nursery,
        *,
        clock: Clock,
        deadlines: Deadlines,
        flusher: Flusher,
        limits: Limits,
        budget: Budget,
        log: Logger,
        poller: Poller,
        gate: Gate | None = None,
    ) -> None:
        self._nursery = nursery
        self._flusher = flusher
        self._log = log
        self._clock = clock
        self._deadlines = deadlines
        self._limits = limits
        self._budget = budget
        self.monotonic = clock.monotonic
        min_time = limits.keepalive_min_time
        self.engine = ServerConnection(
            registry,
            self,
            deadlines,
            peer=channel.peer,
            max_receive_bytes=limits.max_receive_bytes,
            settings=Settings(
                max_concurrent_streams=limits.streams,
                initial_window_size=limits.stream_window,
                max_frame_size=limits.frame_bytes,
            ),
            connection_window=limits.connection_window,
            output_limit=limits.output_bytes,
            ping_policy=None if min_time is None else PingPolicy(min_time),
            gate=gate,
        )
        self.link = Link(
            channel,
            self.engine,
            nursery,
            clock=clock,
            deadlines=deadlines,
            limits=limits,
            log=log,
            poller=poller,
        )
        self.link.on_kept = self.grew
        self._watchdog = Watchdog(
            self.engine.http2,
            self.link,
            clock=clock,
            deadlines=deadlines,
            limits=limits,
            wrote=self.wrote,
            end=self.end,
            give_up=self._give_up,
        )

    async def run(self, initial: bytes) -> None:
        """Serve until either side ends the connection, then cancel what still runs for it."""
        self._watchdog.start()
        try:
            await self.link.run(initial)
        finally:
            self._watchdog.stop()
            self._budget.forget(self)
            self._nursery.cancel_scope.cancel()

    def dispose(self) -> None:
        """Nothing will be called any more: cut the cycles, which no collector looks for."""
        del self.engine, self.link, self._watchdog

    def drain(self) -> None:
        """Say goodbye; the connection closes once its calls have ended."""
        self.link.close_when = lambda: self.engine.drained
        self.engine.drain()

    def close(self) -> None:
        """End all calls and close, sending what can be sent at once."""
        self.engine.lost()
        self.link.flush()
        self.link.close()

    def end_leaderless(self) -> None:
        """:meth:`rusd.grpc.server.ServerConnection.end_leaderless`."""
        self.engine.end_leaderless()

    # -- an end of our making -----------------------------------------------------------

    def end(self, code: ErrorCode, reason: str) -> None:
        """Tell the client that it is over and why, and close once it may have heard."""
        self._log.warn("ending a connection", remote_addr=self.engine.peer, code=code.name, reason=reason)
        self.engine.http2.goaway(code, reason.encode())
        self.engine.lost()
        self.wrote()
        self._deadlines.add(self._clock.monotonic() + self._limits.goodbye_timeout, self.link.close)

    def _give_up(self, reason: str) -> None:
        self._log.warn("closing a connection", remote_addr=self.engine.peer, reason=reason)
        self.engine.lost()
        self.link.close()

    def weigh(self) -> int:
        """Bytes held for this client."""
        return self.engine.held.weigh() + self.link.left_bytes

    def largest(self) -> int:
        """How many of them wait as one answer."""
        return self.engine.http2.largest_queue()

    def evict(self) -> None:
        """The server holds too much, and this connection most of it."""
        self.end(ErrorCode.ENHANCE_YOUR_CALM, "too much is held for this client")

    # -- for the engine ---------------------------------------------------------------

    def start(self, call: ServerCall) -> None:
        self._nursery.start_soon(self._guard, call, lambda: self._handle(call))

    def start_long(self, call: ServerCall, answer: LongAnswer) -> None:
        self._nursery.start_soon(self._guard, call, lambda: self._send_parts(call, answer))

    def wrote(self) -> None:
        self._flusher.mark(self.link)

    def grew(self) -> None:
        self._budget.report(self, self.weigh())

    def crashed(self, call: ServerCall, error: Exception) -> None:
        self._log.error("handler failed", path=call.path, remote_addr=call.peer, error=error)

    async def _handle(self, call: ServerCall) -> None:
        """Run one task or stream handler."""
        if isinstance(call, StreamCall):
            await call.method.handler(call, StreamRequests(call), StreamResponses(call))
            self.engine.finish(call)
        else:
            self.engine.answer(call, await call.method.handler(call, call.request))

    async def _send_parts(self, call: ServerCall, answer: LongAnswer) -> None:
        """Send an answer that is too large for one turn."""
        await answer.send(AnswerParts(call))
        self.engine.finish(call)

    async def _guard(self, call: ServerCall, work: Callable[[], Awaitable[None]]) -> None:
        """Do ``work`` for a call until nobody waits for it any more, and end the call as it ends."""
        try:
            with trio.CancelScope() as scope:
                if call.cancelled:
                    return
                call.on_cancelled = scope.cancel
                await work()
        # Outside the scope, so that a handler's nursery that ends in both its error and our
        # cancellation has shed the latter.
        except StatusError as error:
            self.engine.fail(call, error)
        except Exception as error:
            self._end_badly(call, error)
        except BaseExceptionGroup as group:
            # A handler's nursery that failed while the whole connection is being cancelled: its
            # errors end here all the same, and the cancellation goes on.
            errors, cancelled = group.split(Exception)
            try:
                if errors is not None:
                    self._end_badly(call, errors)
                if cancelled is not None:
                    raise cancelled from None
            finally:
                del errors, cancelled  # their tracebacks have this frame: a cycle around the connection

    def _end_badly(self, call: ServerCall, error: Exception) -> None:
        status = _sole_status(error)
        if status is not None:
            self.engine.fail(call, status)
        else:
            self.engine.crash(call, error)


def _sole_status(error: BaseException) -> StatusError | None:
    """The status in an exception group that holds nothing else: what left a handler's nursery."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error if isinstance(error, StatusError) else None
