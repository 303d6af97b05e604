"""A server of our own, on real sockets or in memory, with handlers that tests can steer."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
import trio
from google.protobuf.wrappers_pb2 import StringValue

from rusd.environment import Clock, Environment, RealClock, RealDisk, SocketTransport, Transport
from rusd.grpc import Call, Code, EndOfRequests, Pending, Registry, Requests, Responses, StatusError
from rusd.logs import Logger, make_logger
from rusd.net import Flusher, HttpHandler, Limits, Server
from rusd.testing.transport import MemoryTransport


class Lines:
    """A log sink that keeps what it gets."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []

    def write(self, line: str) -> None:
        self.lines.append(json.loads(line))

    def messages(self) -> list[str]:
        return [line["msg"] for line in self.lines]


class TrioClock:
    """Trio's own time, so that Trio's mock clock rules it."""

    def monotonic(self) -> float:
        return trio.current_time()

    def time(self) -> float:
        return 1_700_000_000 + trio.current_time()

    async def sleep_until(self, deadline: float) -> None:
        await trio.sleep_until(deadline)


class Service:
    """Handlers of every kind for StringValue, and what happened in them.

    The unary ``Echo`` and ``Task`` answer with their request; ``Later`` is answered
    by :meth:`settle`; ``Fail`` raises what the request says.  ``Up`` counts, ``Down``
    repeats its one request as often as it says, ``Both`` echoes, and ``Hang`` waits for ever.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.pending: list[tuple[Pending, str]] = []
        self.pending_came = trio.Event()
        self.hanging = trio.Event()
        self.cancelled = trio.Event()
        self.registry = Registry()
        unary = {"Echo": self.echo, "Later": self.later, "Fail": self.fail}
        for name, handler in unary.items():
            self.registry.inline(f"/test.Test/{name}", StringValue, handler)
        tasks = {"Task": self.task, "HangTask": self.hang, "FailTask": self.fail_task}
        for name, task in tasks.items():
            self.registry.task(f"/test.Test/{name}", StringValue, task)
        self.registry.stream("/test.Test/Up", StringValue, self.up)
        self.registry.stream("/test.Test/Down", StringValue, self.down, single_request=True)
        self.registry.stream("/test.Test/Both", StringValue, self.both)
        self.registry.stream("/test.Test/Hang", StringValue, self.hang)
        self.registry.stream("/test.Test/FailStream", StringValue, self.fail_stream)

    def echo(self, call: Call, request: StringValue) -> bytes:
        self.calls.append(call)
        return request.SerializeToString()

    def later(self, call: Call, request: StringValue) -> Pending:
        self.calls.append(call)
        pending = Pending()
        self.pending.append((pending, request.value))
        self.pending_came.set()
        return pending

    def settle(self) -> None:
        """Answer all that are pending."""
        for pending, value in self.pending:
            pending.settle(StringValue(value=value).SerializeToString())
        self.pending.clear()

    def fail(self, _: Call, request: StringValue) -> bytes:
        if request.value == "crash":
            raise KeyError(request.value)
        raise StatusError(Code.FAILED_PRECONDITION, request.value, [("detail-bin", b"\0\xff")])

    async def task(self, call: Call, request: StringValue) -> bytes:
        await trio.lowlevel.checkpoint()
        return self.echo(call, request)

    async def fail_task(self, call: Call, request: StringValue) -> bytes:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            return self.fail(call, request)

    async def up(self, call: Call, requests: Requests, responses: Responses) -> None:
        self.calls.append(call)
        count = 0
        try:
            while True:
                await requests.receive()
                count += 1
        except EndOfRequests:
            await responses.send(StringValue(value=str(count)).SerializeToString())

    async def down(self, call: Call, requests: Requests, responses: Responses) -> None:
        self.calls.append(call)
        request = await requests.receive()
        for _ in range(int(request.value.split()[0])):
            await responses.send(request.SerializeToString())

    async def both(self, call: Call, requests: Requests, responses: Responses) -> None:
        self.calls.append(call)
        try:
            while True:
                await responses.send((await requests.receive()).SerializeToString())
        except EndOfRequests:
            pass

    async def hang(self, call: Call, *_: Any) -> Any:
        self.calls.append(call)
        self.hanging.set()
        try:
            await trio.sleep_forever()
        finally:
            self.cancelled.set()

    async def fail_stream(self, call: Call, requests: Requests, responses: Responses) -> None:
        request = await requests.receive()
        await responses.send(request.SerializeToString())
        self.fail(call, request)


class Running:
    """A server that serves."""

    def __init__(
        self, environment: Environment, log: Logger, sink: Lines, server: Server, flusher: Flusher
    ) -> None:
        self.environment = environment
        self.log = log
        self.sink = sink
        self.server = server
        self.flusher = flusher
        self.listener: Any = None
        self.scope: trio.CancelScope
        self.ended = trio.Event()

    @property
    def port(self) -> int:
        return int(self.listener.address[1])

    async def connect(self) -> Any:
        """A bare channel to the server."""
        return await self.environment.transport.connect("127.0.0.1", self.port)

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        with trio.CancelScope() as self.scope:
            await self.server.serve(self.listener, task_status)
        self.ended.set()


Serve = Callable[..., AbstractAsyncContextManager[Running]]


@asynccontextmanager
async def serving(
    registry: Registry | None,
    http: HttpHandler | None = None,
    *,
    limits: Limits = Limits(),  # noqa: B008
    clock: Clock | None = None,
    transport: Transport | None = None,
) -> AsyncIterator[Running]:
    sink = Lines()
    environment = Environment(
        clock=clock or RealClock(),
        disk=RealDisk(),
        transport=transport or SocketTransport(),
        random=random.Random(1),
        log_sink=sink,
    )
    log = make_logger(sink, environment.clock, level="debug")
    flusher = Flusher()
    running = Running(
        environment, log, sink, Server(registry, http, environment, log, limits, flusher), flusher
    )
    running.listener = await environment.transport.listen("127.0.0.1", 0)
    async with trio.open_nursery() as nursery:
        await nursery.start(running.run)
        yield running
        nursery.cancel_scope.cancel()


@pytest.fixture
def serve() -> Serve:
    """Serve in an ``async with``."""
    return serving


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def trio_clock() -> Clock:
    return TrioClock()


@pytest.fixture
def network() -> MemoryTransport:
    return MemoryTransport()


@pytest.fixture
def encode() -> Callable[[str], bytes]:
    """A StringValue's bytes."""
    return lambda value: StringValue(value=value).SerializeToString()
