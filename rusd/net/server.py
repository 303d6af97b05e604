"""Serves a listener: accepts connections, tells protocols apart, and ends it all in order.

One task a connection.  What a connection does wrong ends that connection; what
the listener does wrong (no file descriptors left, say) is waited out.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol as Interface

import trio

from rusd.environment import Channel, Environment, Listener
from rusd.grpc.admission import Gate
from rusd.grpc.budget import Budget
from rusd.grpc.registry import Registry
from rusd.logs import Logger
from rusd.net.flusher import Flusher
from rusd.net.grpc_connection import GrpcConnection
from rusd.net.http import HttpHandler
from rusd.net.limits import Limits
from rusd.net.poller import Around, Poller
from rusd.net.sniff import Protocol, sniff
from rusd.net.timer import Timer
from rusd.signal import Signal

_ACCEPT_BACKOFF_SECONDS = 0.05
_ACCEPT_BACKOFF_LIMIT_SECONDS = 1.0


class _Connection(Interface):
    def drain(self) -> None: ...

    def close(self) -> None: ...


class Server:
    """Serves one listener's connections: HTTP/2 goes to ``registry``, HTTP/1.1 to ``http``.

    Run :meth:`serve` in a nursery; cancel it to stop at once, or call :meth:`drain`
    to stop in order, after which :meth:`serve` returns.  ``registry`` or ``http``
    may be ``None`` for a listener that serves only the other.  ``around`` is told
    when connections have their turns.  Several listeners may share a ``poller``, which somebody
    else then runs, and which knows whom to tell.
    """

    def __init__(  # noqa: PLR0917 - one composition root calls this
        self,
        registry: Registry | None,
        http: HttpHandler | None,
        environment: Environment,
        log: Logger,
        limits: Limits,
        flusher: Flusher,
        *,
        around: Around | None = None,
        poller: Poller | None = None,
        budget: Budget | None = None,
        gate: Gate | None = None,
    ) -> None:
        self._registry = registry
        self._http = http
        self._environment = environment
        self._clock = environment.clock
        self._log = log
        self._limits = limits
        self._flusher = flusher
        self._gate = gate
        self.budget = budget or Budget(limits.buffered_bytes)
        """What is held for clients, maybe those of other listeners too."""
        self._timer = Timer(environment.clock, log)
        self._poller = poller or Poller(around, environment.clock.monotonic)
        self._runs_poller = poller is None
        self._accepting = trio.CancelScope()
        self._connections: dict[_Connection, None] = {}
        self._serving = 0  # connection tasks, also those whose protocol is not known yet
        self._ended = Signal()  # for drain: a connection has ended
        self._room = Signal()  # for the accept loop: likewise
        self._draining = False

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return self._serving

    async def serve(
        self, listener: Listener, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Accept and serve until cancelled or drained.  Closes ``listener``."""
        try:
            async with trio.open_nursery() as helpers:
                helpers.start_soon(self._timer.run)
                helpers.start_soon(self._flusher.run)
                if self._runs_poller:
                    helpers.start_soon(self._poller.run)
                async with trio.open_nursery() as connections:
                    task_status.started()
                    with self._accepting:
                        await self._accept(listener, connections)
                    listener.close()
                helpers.cancel_scope.cancel()
        finally:
            listener.close()

    def end_leaderless(self) -> None:
        """There has been no leader for long: end the streams whose clients want one."""
        for connection in list(self._connections):
            if isinstance(connection, GrpcConnection):
                connection.end_leaderless()

    async def drain(self, deadline: float) -> None:
        """Accept no more, ask all clients to go, and cut off those still there at ``deadline``."""
        self._draining = True
        self._accepting.cancel()
        for connection in list(self._connections):
            connection.drain()
        with trio.CancelScope() as waiting:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._cancel_at, deadline, waiting)
                while self._serving:
                    await self._ended.wait()
                nursery.cancel_scope.cancel()
        for connection in list(self._connections):
            connection.close()

    async def _cancel_at(self, deadline: float, scope: trio.CancelScope) -> None:
        await self._clock.sleep_until(deadline)
        scope.cancel()

    # -- accepting --------------------------------------------------------------------------

    async def _accept(self, listener: Listener, nursery: trio.Nursery) -> None:
        backoff = _ACCEPT_BACKOFF_SECONDS
        while True:
            while self._limits.max_connections is not None and self._serving >= self._limits.max_connections:
                await self._room.wait()
            try:
                channel = await listener.accept()
            except trio.ClosedResourceError:
                return  # whoever closed the listener wants no more connections
            except OSError as error:
                self._log.warn("failed to accept a connection; waiting", error=error)
                await self._clock.sleep_until(self._clock.monotonic() + backoff)
                backoff = min(2 * backoff, _ACCEPT_BACKOFF_LIMIT_SECONDS)
                continue
            backoff = _ACCEPT_BACKOFF_SECONDS
            self._serving += 1
            nursery.start_soon(self._serve_channel, channel)

    async def _serve_channel(self, channel: Channel) -> None:
        """One connection from its first byte to its last; no error leaves here."""
        try:
            await self._tell_apart(channel)
        except (OSError, trio.ClosedResourceError):
            pass  # the client went, or said nothing in time
        except Exception as error:
            self._log.error("connection failed", remote_addr=channel.peer, error=error)
        finally:
            channel.close()
            self._serving -= 1
            self._ended.set()
            self._room.set()

    async def _tell_apart(self, channel: Channel) -> None:
        """Find out what the client speaks, and speak it.

        TLS is recognised and turned away: a listener with a certificate would wrap
        ``channel`` in one that decrypts, and look at the first bytes again.
        """
        deadline = self._clock.monotonic() + self._limits.first_bytes_timeout
        entry = self._timer.deadlines.add(deadline, channel.close)
        try:
            protocol, first = await sniff(channel)
        finally:
            self._timer.deadlines.cancel(entry)
        if protocol is Protocol.HTTP2 and self._registry is not None:
            await self._serve_grpc(channel, self._registry, first)
        elif protocol is Protocol.HTTP1 and self._http is not None:
            await self._serve_http(channel, self._http, first)
        elif protocol is not Protocol.NONE:
            self._log.warn(
                "rejected connection on client endpoint", remote_addr=channel.peer, protocol=protocol.value
            )

    async def _serve_grpc(self, channel: Channel, registry: Registry, first: bytes) -> None:
        async with trio.open_nursery() as nursery:
            connection = GrpcConnection(
                channel,
                registry,
                nursery,
                clock=self._clock,
                deadlines=self._timer.deadlines,
                flusher=self._flusher,
                limits=self._limits,
                budget=self.budget,
                log=self._log,
                poller=self._poller,
                gate=self._gate,
            )
            with self._listed(connection):
                await connection.run(first)
        connection.dispose()

    async def _serve_http(self, channel: Channel, handler: HttpHandler, first: bytes) -> None:
        # Imported when first wanted: many a server is spoken to in gRPC alone.
        from rusd.net.http1 import HttpConnection

        connection = HttpConnection(
            channel,
            handler,
            clock=self._clock,
            deadlines=self._timer.deadlines,
            limits=self._limits,
            log=self._log,
        )
        with self._listed(connection):
            await connection.run(first)

    @contextmanager
    def _listed(self, connection: _Connection) -> Iterator[None]:
        """Have :meth:`drain` know of ``connection`` as long as it is served."""
        self._connections[connection] = None
        if self._draining:
            connection.drain()
        try:
            yield
        finally:
            del self._connections[connection]
