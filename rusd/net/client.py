"""The client role: calls to another server over one connection.

    async with connect(environment, host, port, log) as client:
        answer = await client.unary("/package.Service/Method", request.SerializeToString(), timeout=5)
        async with client.stream("/package.Service/Stream") as stream:
            await stream.send(...)
            payload = await stream.receive()      # None after the last one

Payloads are encoded messages.  A call that does not go well raises
:class:`rusd.grpc.StatusError`; a connection that is lost, or on its way out, means
UNAVAILABLE for its calls.  It is not made anew: that is the caller's, who knows
how long to wait.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from types import TracebackType

import attrs
import trio

from rusd.environment import Channel, Clock, Environment, join_address
from rusd.grpc.client import ClientCall, ClientConnection
from rusd.grpc.deadlines import Deadlines
from rusd.grpc.metadata import Metadata
from rusd.grpc.status import Code, StatusError
from rusd.http2 import ErrorCode, Settings
from rusd.logs import Logger
from rusd.net.limits import Limits
from rusd.net.link import Link
from rusd.net.poller import Poller
from rusd.net.timer import Timer
from rusd.net.watchdog import Watchdog
from rusd.signal import Signal

Pairs = Iterable[tuple[str, bytes]]

DEFAULT_LIMITS = Limits(
    max_request_bytes=2**31 - 1 - 512 * 1024,  # etcd's clients take messages of any size
    stream_window=1024 * 1024,
    connection_window=4 * 1024 * 1024,
)


@attrs.frozen
class Answer:
    """A unary call's answer with its metadata."""

    payload: bytes
    headers: Metadata
    trailers: Metadata


class ClientStream:
    """One streaming call; an async context manager that cancels it unless it has ended.

    One task may send while another receives.
    """

    def __init__(self, call: ClientCall) -> None:
        self._call = call
        self._progress = Signal()
        self._writable = Signal()
        call.on_progress = self._ring

    def _ring(self) -> None:
        self._progress.set()
        self._writable.set()

    async def send(self, payload: bytes) -> None:
        """Send a message; waits while too much is queued.  Does nothing on a call that has ended."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self._call.send(payload)
        if self._call.writable:
            await trio.lowlevel.cancel_shielded_checkpoint()
        while not self._call.writable:
            await self._writable.wait()

    def end(self) -> None:
        """There are no more messages to send."""
        self._call.end()

    async def receive(self) -> bytes | None:
        """The next message; ``None`` after the last one of a call that ended well.

        Raises :class:`StatusError` if it did not.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        payload = self._call.take()
        if payload is not None:
            await trio.lowlevel.cancel_shielded_checkpoint()
            return payload
        while not self._call.ended:
            await self._progress.wait()
            payload = self._call.take()
            if payload is not None:
                return payload
        if self._call.error is not None:
            raise self._call.error.again()
        return None

    @property
    def has_ended(self) -> bool:
        """Whether the status is known; messages may still wait to be received."""
        return self._call.ended

    @property
    def headers(self) -> Metadata:
        """The server's first metadata; empty before the first message."""
        return self._call.headers

    @property
    def trailers(self) -> Metadata:
        """The server's last metadata; empty before the end."""
        return self._call.trailers

    def cancel(self) -> None:
        """Give the call up."""
        self._call.cancel()

    async def __aenter__(self) -> ClientStream:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._call.cancel()
        self._call.on_progress = None  # a cycle: the call knows this, and this the call


class _Life:
    """What a watched server shows of life: what it sends, and that it takes what waits for it.

    Behind much that waits the answer to a ping may be long in coming.
    """

    def __init__(self, link: Link) -> None:
        self._link = link

    @property
    def turns(self) -> int:
        return self._link.turns + self._link.relieved

    @property
    def paused(self) -> bool:
        return self._link.paused


class Client:
    """Calls over one connection.  Made by :func:`connect`."""

    def __init__(self, clock: Clock, authority: str, limits: Limits, deadlines: Deadlines) -> None:
        self.monotonic = clock.monotonic
        self.engine = ClientConnection(
            self,
            deadlines,
            authority=authority,
            max_receive_bytes=limits.max_receive_bytes,
            settings=Settings(initial_window_size=limits.stream_window),
            connection_window=limits.connection_window,
            output_limit=limits.output_bytes,
        )
        self.link: Link | None = None
        self.watchdog: Watchdog | None = None

    async def unary(
        self, path: str, payload: bytes, metadata: Pairs = (), timeout: float | None = None
    ) -> bytes:
        """Call ``path`` with one message and return the one that comes back.

        ``timeout`` is in seconds.  Raises :class:`StatusError`.
        """
        return (await self.call(path, payload, metadata, timeout)).payload

    async def call(
        self, path: str, payload: bytes, metadata: Pairs = (), timeout: float | None = None
    ) -> Answer:
        """Like :meth:`unary`, with the answer's metadata."""
        call = self.engine.start(path, metadata, timeout)
        call.send_last(payload)
        async with ClientStream(call) as stream:
            answer = await stream.receive()
            if answer is not None and await stream.receive() is not None:
                raise StatusError(
                    Code.INTERNAL,
                    "cardinality violation: expected <EOF> for non server-streaming RPCs, "
                    "but received another message",
                )
        if answer is None:
            raise StatusError(
                Code.INTERNAL,
                "cardinality violation: received no response message from non-server-streaming RPC",
            )
        return Answer(answer, call.headers, call.trailers)

    def stream(self, path: str, metadata: Pairs = (), timeout: float | None = None) -> ClientStream:
        """Begin a streaming call, for ``async with``.  Raises :class:`StatusError` if it can't begin."""
        stream = ClientStream(self.engine.start(path, metadata, timeout))
        self.wrote()
        return stream

    def wrote(self) -> None:
        if self.link is not None:
            self.link.flush()

    @property
    def held_bytes(self) -> int:
        """What was sent by calls and has not been taken by the socket."""
        left = self.link.left_bytes if self.link is not None else 0
        return self.engine.http2.queued_bytes + left

    def end(self, code: ErrorCode, reason: str) -> None:
        """The server has not done in time what it must: give it up."""
        self.engine.lost(f"connection error: {reason}")
        if self.link is not None:
            self.link.close()

    def dispose(self) -> None:
        """The connection is over: cut the cycles, which no collector looks for."""
        if self.watchdog is not None:
            self.watchdog.stop()
        self.watchdog = self.link = None
        self.engine.dispose()


class _Connection(AbstractAsyncContextManager[Client]):
    """What :func:`connect` and :func:`over` return: owns the connection's tasks."""

    def __init__(
        self,
        environment: Environment,
        host: str,
        port: int,
        log: Logger,
        limits: Limits,
        *,
        channel: Channel | None = None,
        poller: Poller | None = None,
        watched: bool = False,
    ) -> None:
        self._environment = environment
        self._host = host
        self._port = port
        self._log = log
        self._limits = limits
        self._channel = channel
        self._poller = poller
        self._watched = watched
        self._manager = trio.open_nursery()
        self._nursery: trio.Nursery | None = None
        self._client: Client | None = None
        self._timer: Timer | None = None

    async def __aenter__(self) -> Client:
        host, port, clock = self._host, self._port, self._environment.clock
        channel = self._channel or await self._environment.transport.connect(host, port)
        nursery = self._nursery = await self._manager.__aenter__()
        timer = self._timer = Timer(clock, self._log)
        client = self._client = Client(clock, join_address(host, port), self._limits, timer.deadlines)
        link = client.link = Link(
            channel,
            client.engine,
            nursery,
            clock=clock,
            deadlines=timer.deadlines,
            limits=self._limits,
            log=self._log,
            poller=self._poller,
        )
        if self._watched:
            client.watchdog = Watchdog(
                client.engine.http2,
                _Life(link),
                clock=clock,
                deadlines=timer.deadlines,
                limits=self._limits,
                wrote=client.wrote,
                end=client.end,
                give_up=lambda reason: client.end(ErrorCode.NO_ERROR, reason),
            )
            client.watchdog.start()
        nursery.start_soon(timer.run)
        nursery.start_soon(link.run)
        return client

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._nursery is None or self._client is None:
            raise RuntimeError("not entered")
        self._nursery.cancel_scope.cancel()
        try:
            # The nursery is not told of the body's exception: it would wrap it in a group, and the
            # tasks here are nothing the caller knows of.
            await self._manager.__aexit__(None, None, None)
        finally:
            self._client.dispose()
            if self._timer is not None:
                self._timer.deadlines.on_earlier = None  # it leads back to the timer: another cycle
            self._nursery = self._client = self._timer = None


def connect(
    environment: Environment, host: str, port: int, log: Logger, limits: Limits = DEFAULT_LIMITS
) -> AbstractAsyncContextManager[Client]:
    """Connect to the server at ``host:port``; the :class:`Client` lives as long as the ``async with``.

    Raises :class:`OSError` if there is no connection to be had.  Put a cancel
    scope around it to bound how long that may take.
    """
    return _Connection(environment, host, port, log, limits)


def over(
    channel: Channel,
    environment: Environment,
    address: tuple[str, int],
    log: Logger,
    *,
    limits: Limits,
    poller: Poller | None = None,
) -> AbstractAsyncContextManager[Client]:
    """Like :func:`connect`, over a ``channel`` that is there already and is owned from here on.

    The server is watched: one that is silent for too long, by ``limits``, has its connection closed.
    ``poller`` reads for it, if given.
    """
    return _Connection(environment, *address, log, limits, channel=channel, poller=poller, watched=True)
