"""The server around the calls: accepting, telling protocols apart, bad clients, saying goodbye."""

from __future__ import annotations

import errno
import gc
import weakref
from typing import Any

import pytest
import trio
import trio.testing
from google.protobuf.wrappers_pb2 import StringValue

from rusd.grpc import Code, StatusError
from rusd.http2 import PREFACE, Connection, Role, Settings
from rusd.net import HttpRequest, HttpResponse, Limits, connect
from rusd.net.grpc_connection import GrpcConnection
from rusd.net.sniff import Protocol, classify
from rusd.testing.clock import ManualClock

SETTINGS = b"\0\0\0\4\0\0\0\0\0"


async def hello(request: HttpRequest) -> HttpResponse:
    return HttpResponse(200, [(b"content-type", b"text/plain")], b"hello")


async def read_all(channel: Any) -> bytes:
    """What comes until the other side closes."""
    data = b""
    while True:
        await channel.wait_readable()
        part = channel.try_receive(65536)
        if part == b"":
            return data
        data += part or b""


@pytest.mark.parametrize(
    ("first", "protocol"),
    [
        (b"", None),
        (b"P", None),
        (b"PRI * HTTP/2.0", None),
        (PREFACE, Protocol.HTTP2),
        (PREFACE + SETTINGS, Protocol.HTTP2),
        (b"PRI * HTTP/2.0\r\n\r\nXX", Protocol.HTTP1),
        (b"PUT /", Protocol.HTTP1),
        (b"G", Protocol.HTTP1),
        (b"\x16\x03\x01", Protocol.TLS),
        (b"\0", Protocol.HTTP1),
    ],
)
def test_first_bytes_tell_the_protocol(first: bytes, protocol: Protocol | None) -> None:
    assert classify(first) is protocol


async def test_a_preface_may_come_in_pieces(serve: Any, service: Any, network: Any) -> None:
    async with serve(service.registry, hello, transport=network) as running:
        channel = await running.connect()
        for byte in PREFACE + SETTINGS:
            channel.try_send(bytes((byte,)))
            await trio.testing.wait_all_tasks_blocked()
        assert channel.try_receive(65536)[3] == 4, "the server's SETTINGS"
        channel.close()


async def test_one_port_serves_both_protocols(serve: Any, service: Any, encode: Any) -> None:
    async with serve(service.registry, hello) as running:
        channel = await running.connect()
        channel.try_send(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert (await read_all(channel)).endswith(b"hello")
        channel.close()
        async with connect(running.environment, "127.0.0.1", running.port, running.log) as client:
            assert await client.unary("/test.Test/Echo", encode("hi")) == encode("hi")


async def test_tls_and_unserved_protocols_are_turned_away(serve: Any, service: Any, network: Any) -> None:
    async with serve(service.registry, None, transport=network) as running:
        for first in (b"\x16\x03\x01\0\0", b"GET / HTTP/1.1\r\n\r\n"):
            channel = await running.connect()
            channel.try_send(first)
            assert await read_all(channel) == b""
        rejected = [
            line for line in running.sink.lines if line["msg"] == "rejected connection on client endpoint"
        ]
        assert [line["protocol"] for line in rejected] == ["tls", "http1"]


async def test_who_says_nothing_is_closed_after_ten_seconds(serve: Any, service: Any, network: Any) -> None:
    clock = ManualClock()
    async with serve(service.registry, transport=network, clock=clock) as running:
        silent, half = await running.connect(), await running.connect()
        half.try_send(b"PRI * HT")
        await trio.testing.wait_all_tasks_blocked()
        clock.advance(9.9)
        await trio.testing.wait_all_tasks_blocked()
        assert running.server.connections == 2
        clock.advance(0.1)
        assert await read_all(silent) == b""
        assert await read_all(half) == b""
        await trio.testing.wait_all_tasks_blocked()
        assert running.server.connections == 0


async def test_garbage_closes_its_connection_with_a_reason(
    serve: Any, service: Any, network: Any, encode: Any
) -> None:
    async with (
        serve(service.registry, transport=network) as running,
        connect(running.environment, "127.0.0.1", running.port, running.log) as client,
    ):
        await client.unary("/test.Test/Echo", encode("before"))
        channel = await running.connect()
        channel.try_send(PREFACE + b"\xff" * 100)
        await trio.testing.wait_all_tasks_blocked()
        assert channel.try_receive(65536).endswith(b"frame too large")
        channel.close()
        assert await client.unary("/test.Test/Echo", encode("after")) == encode("after")


async def test_a_bug_in_a_turn_closes_that_connection_alone(
    serve: Any, service: Any, network: Any, encode: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(service.registry, transport=network) as running:
        async with connect(running.environment, "127.0.0.1", running.port, running.log) as client:
            await client.unary("/test.Test/Echo", encode("before"))
            with monkeypatch.context() as patch:
                patch.setattr("rusd.grpc.server.ServerConnection.dispatch", lambda *_: 1 // 0)
                async with connect(running.environment, "127.0.0.1", running.port, running.log) as unlucky:
                    with pytest.raises(StatusError):
                        await unlucky.unary("/test.Test/Echo", encode("now"))
            assert await client.unary("/test.Test/Echo", encode("after")) == encode("after")
        (line,) = [line for line in running.sink.lines if line["msg"] == "connection failed"]
        assert "ZeroDivisionError" in line["stacktrace"]


async def test_no_file_descriptors_left_is_waited_out(
    serve: Any, service: Any, network: Any, encode: Any
) -> None:
    clock = ManualClock()
    async with serve(service.registry, transport=network, clock=clock) as running:
        running.listener.fail_next_accept(OSError(errno.EMFILE, "Too many open files"))
        await trio.testing.wait_all_tasks_blocked()
        channel = await running.connect()
        await trio.testing.wait_all_tasks_blocked()
        assert running.server.connections == 0
        clock.advance(1)
        await trio.testing.wait_all_tasks_blocked()
        assert running.server.connections == 1
        assert running.sink.messages() == ["failed to accept a connection; waiting"]
        channel.close()


async def test_connections_over_the_limit_wait_their_turn(
    serve: Any, service: Any, network: Any, encode: Any
) -> None:
    limits = Limits(max_connections=2)
    async with serve(service.registry, transport=network, limits=limits) as running:
        first, second, third = [await running.connect() for _ in range(3)]
        await trio.testing.wait_all_tasks_blocked()
        assert running.server.connections == 2
        third.try_send(PREFACE + SETTINGS)
        first.close()
        await third.wait_readable()
        assert running.server.connections == 2
        second.close()
        third.close()


async def test_a_client_that_never_reads_fills_no_memory_and_is_closed(
    serve: Any, service: Any, network: Any, encode: Any
) -> None:
    """It asks for far more than any buffer holds, with flow control wide open, and reads nothing."""
    answers: list[bytes] = []

    def big(*_: Any) -> bytes:
        answers.append(encode("x" * 15_000))
        return answers[-1]

    service.registry.inline("/test.Test/Big", StringValue, big)
    clock = ManualClock()
    async with serve(service.registry, transport=network, clock=clock) as running:
        channel = await running.connect()
        requests = many_requests(5000)
        while requests:
            await trio.testing.wait_all_tasks_blocked()
            sent = channel.try_send(requests)
            if not sent:
                break
            requests = requests[sent:]
        # A turn is 128 calls.  The first one's answers may stay under the bound on what the socket has
        # not taken, the rest waiting in their streams; the second one's can't.
        assert 10 < len(answers) <= 2 * 128
        assert running.server.connections == 1
        clock.advance(29)
        await trio.testing.wait_all_tasks_blocked()
        assert running.server.connections == 1
        clock.advance(1)
        await trio.testing.wait_all_tasks_blocked()
        assert running.server.connections == 0
        assert "closing a connection that takes no data" in running.sink.messages()
        channel.close()


async def test_a_client_that_reads_in_the_end_gets_everything(
    serve: Any, service: Any, network: Any, encode: Any
) -> None:
    service.registry.inline("/test.Test/Big", StringValue, lambda *_: encode("x" * 15_000))
    clock = ManualClock()
    async with serve(service.registry, transport=network, clock=clock) as running:
        channel = await running.connect()
        requests = many_requests(200)
        received = 0
        while received < 200 * 15_000:
            requests = requests[channel.try_send(requests) :]
            await trio.testing.wait_all_tasks_blocked()
            clock.advance(20)  # slow, but not stuck
            received += len(channel.try_receive(1 << 20) or b"")
        channel.close()


async def test_a_client_that_reads_slowly_is_heard_meanwhile(
    serve: Any, service: Any, network: Any, encode: Any
) -> None:
    """It need not have taken all that waits for it before it may ping, or cancel."""
    service.registry.inline("/test.Test/Big", StringValue, lambda *_: encode("x" * 500_000))
    async with serve(service.registry, transport=network, clock=ManualClock()) as running:
        channel = await running.connect()
        channel.try_send(many_requests(20))
        data = b""
        pings = 0
        while b"number 3" not in data[-20_000:]:
            data += channel.try_receive(10_000) or b""
            assert len(data) < 9_000_000, "of ten million bytes"
            if len(data) // 2_000_000 > pings:
                pings += 1
                channel.try_send(bytes.fromhex("000008060000000000") + b"number %d" % pings)
            await trio.testing.wait_all_tasks_blocked()
        channel.close()


def many_requests(count: int) -> bytes:
    """A client's bytes: its preface, ``count`` calls of ``Big``, and that it takes the server's settings."""
    http2 = Connection(Role.CLIENT, Deaf(), Settings(initial_window_size=2**31 - 1), 2**31 - 1)
    return ask(http2, count) + bytes.fromhex("000000040100000000")


def ask(http2: Connection, count: int) -> bytes:
    """A client's bytes: its preface and ``count`` calls of ``Big``."""
    http2.initiate()
    headers = [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", b"/test.Test/Big"),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
    ]
    for _ in range(count):
        http2.send_data(http2.open_stream(headers), bytes(5), end_stream=True)
    return http2.data_to_send()


class Deaf:
    """HTTP/2 events that nobody hears."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


async def test_cancelling_the_server_ends_all_connections(serve: Any, service: Any, network: Any) -> None:
    async with (
        serve(service.registry, transport=network) as running,
        connect(running.environment, "127.0.0.1", running.port, running.log) as client,
    ):
        client.stream("/test.Test/Hang")
        await service.hanging.wait()
        running.scope.cancel()
        await running.ended.wait()
        assert service.cancelled.is_set()
        assert running.server.connections == 0
        with pytest.raises(OSError, match="refused"):
            await running.connect()


# -- draining ----------------------------------------------------------------------------------


async def test_draining_lets_open_calls_finish(serve: Any, service: Any, network: Any, encode: Any) -> None:
    clock = ManualClock()
    async with (
        serve(service.registry, transport=network, clock=clock) as running,
        connect(running.environment, "127.0.0.1", running.port, running.log) as client,
    ):
        answers = []

        async def call() -> None:
            answers.append(await client.unary("/test.Test/Later", encode("last")))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            await service.pending_came.wait()
            nursery.start_soon(running.server.drain, clock.monotonic() + 10)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(OSError, match="refused"):
                await running.connect()
            with pytest.raises(StatusError) as caught:
                await client.unary("/test.Test/Echo", encode("too late"))
            assert caught.value.code is Code.UNAVAILABLE
            assert not running.ended.is_set()
            service.settle()
        assert answers == [encode("last")]
        await running.ended.wait()


async def test_draining_waits_until_the_answers_are_read(serve: Any, service: Any, encode: Any) -> None:
    """What the kernel has taken is lost if the socket is closed while the client still says something."""
    service.registry.inline("/test.Test/Big", StringValue, lambda *_: encode("x" * 3_000_000))
    async with serve(service.registry) as running:
        sock = trio.socket.socket()
        sock.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, 65536)
        await sock.connect(("127.0.0.1", running.port))
        reader = Reader()
        await sock.send(reader.start())
        async with trio.open_nursery() as nursery:
            while part := await sock.recv(16384):
                if not reader.received:
                    deadline = running.environment.clock.monotonic() + 30
                    nursery.start_soon(running.server.drain, deadline)
                await trio.testing.wait_all_tasks_blocked(0.001)  # the server does all it can meanwhile
                if said := reader.take(part):
                    await sock.send(said)
        sock.close()
        assert reader.received > 3_000_000
        assert reader.ended


class Reader:
    """A client that asks for one large answer, and gives back windows as it reads."""

    def __init__(self) -> None:
        self.received = 0
        self.ended = False
        self._http2 = Connection(Role.CLIENT, self, Settings(initial_window_size=1_000_000), 1_000_000)

    def start(self) -> bytes:
        return ask(self._http2, 1)

    def take(self, data: bytes) -> bytes:
        self._http2.receive(data)
        while self._http2.advance():
            pass
        return self._http2.data_to_send()

    def on_headers(self, stream_id: int, headers: object, end_stream: bool) -> None:
        self.ended |= end_stream

    def on_data(self, stream_id: int, data: bytes, end_stream: bool) -> None:
        self.received += len(data)
        self._http2.acknowledge(stream_id, len(data))

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


async def test_draining_cuts_off_at_its_deadline(serve: Any, service: Any, network: Any) -> None:
    clock = ManualClock()
    async with (
        serve(service.registry, transport=network, clock=clock) as running,
        connect(running.environment, "127.0.0.1", running.port, running.log) as client,
        client.stream("/test.Test/Hang") as stream,
    ):
        await service.hanging.wait()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(running.server.drain, clock.monotonic() + 10)
            await trio.testing.wait_all_tasks_blocked()
            assert not service.cancelled.is_set()
            clock.advance(10)
        await running.ended.wait()
        assert service.cancelled.is_set()
        with pytest.raises(StatusError) as caught:
            await stream.receive()
        assert caught.value.code is Code.UNAVAILABLE


async def test_draining_ends_idle_connections_at_once(serve: Any, service: Any, network: Any) -> None:
    clock = ManualClock()
    async with serve(service.registry, hello, transport=network, clock=clock) as running:
        silent, http = await running.connect(), await running.connect()
        http.try_send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        async with connect(running.environment, "127.0.0.1", running.port, running.log):
            await trio.testing.wait_all_tasks_blocked()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(running.server.drain, clock.monotonic() + 10)
                await trio.testing.wait_all_tasks_blocked()
                assert (await read_all(http)).endswith(b"hello")
                silent.close()
            await running.ended.wait()


async def test_a_listener_with_nobody_drains_at_once(serve: Any, service: Any, network: Any) -> None:
    async with serve(service.registry, transport=network) as running:
        await running.server.drain(running.environment.clock.monotonic() + 60)
        await running.ended.wait()


async def test_a_connection_that_is_over_is_freed_without_the_collector(
    serve: Any, service: Any, network: Any, encode: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server process looks for no cycles among what lived long, and connections live long."""
    kept: list[weakref.ref[Any]] = []
    make = GrpcConnection.__init__

    def note(self: GrpcConnection, *args: Any, **options: Any) -> None:
        make(self, *args, **options)
        kept.extend(weakref.ref(part) for part in (self, self.engine, self.engine.http2, self.link))

    monkeypatch.setattr(GrpcConnection, "__init__", note)
    gc.disable()
    try:
        async with serve(service.registry, transport=network) as running:
            async with connect(running.environment, "127.0.0.1", running.port, running.log) as client:
                await client.unary("/test.Test/Echo", encode("hi"))
                async with client.stream("/test.Test/Both") as stream:
                    await stream.send(encode("hi"))
                    await stream.receive()
            while running.server.connections:
                await trio.lowlevel.checkpoint()
            await trio.testing.wait_all_tasks_blocked()
            service.calls.clear()
            assert [part for part in kept if part() is not None] == []
    finally:
        gc.enable()
