"""Against grpcio, which nobody here wrote: its two clients on our server, our client on its server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent import futures
from typing import Any

import grpc
import grpc.aio
import pytest
import trio
import trio.testing
from google.protobuf.wrappers_pb2 import StringValue

from rusd.grpc import Code, StatusError
from rusd.net import Limits, connect

BIG = 8 * 1024 * 1024
OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]

in_thread = trio.to_thread.run_sync


def value(text: str) -> StringValue:
    return StringValue(value=text)


class Stub:
    """Untyped methods of the test service on one of grpcio's channels."""

    def __init__(self, channel: Any) -> None:
        def method(kind: str, name: str) -> Callable[..., Any]:
            make = getattr(channel, kind)
            result: Callable[..., Any] = make(
                f"/test.Test/{name}",
                request_serializer=StringValue.SerializeToString,
                response_deserializer=StringValue.FromString,
            )
            return result

        self.echo = method("unary_unary", "Echo")
        self.task = method("unary_unary", "Task")
        self.later = method("unary_unary", "Later")
        self.fail = method("unary_unary", "Fail")
        self.hang = method("unary_unary", "HangTask")
        self.missing = method("unary_unary", "Missing")
        self.up = method("stream_unary", "Up")
        self.down = method("unary_stream", "Down")
        self.both = method("stream_stream", "Both")


@pytest.fixture
async def running(serve: Any, service: Any) -> Any:
    async with serve(service.registry, limits=Limits(max_request_bytes=BIG + 1000)) as running:
        yield running


def with_stub(port: int, body: Callable[[Stub], None]) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{port}", OPTIONS) as channel:
        body(Stub(channel))


async def test_the_sync_client_makes_every_kind_of_call(running: Any) -> None:
    def calls(stub: Stub) -> None:
        assert stub.echo(value("hi")) == value("hi")
        assert stub.task(value("hi")) == value("hi")
        assert stub.up(iter([value("x")] * 7)) == value("7")
        assert list(stub.down(value("20 times"))) == [value("20 times")] * 20
        words = [value(str(number)) for number in range(100)]
        assert list(stub.both(iter(words))) == words
        assert list(stub.both(iter([]))) == []

    await in_thread(with_stub, running.port, calls)


async def test_large_messages_pass_both_ways(running: Any) -> None:
    big = value("x" * BIG)

    def calls(stub: Stub) -> None:
        assert stub.echo(big) == big
        assert list(stub.both(iter([big, big]))) == [big, big]

    await in_thread(with_stub, running.port, calls)


async def test_a_message_over_the_limit_is_refused(running: Any) -> None:
    def calls(stub: Stub) -> None:
        with pytest.raises(grpc.RpcError) as caught:
            stub.echo(value("x" * (BIG + 1024 * 1024)))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        limit = BIG + 1000 + 524288
        assert caught.value.details() == (
            f"grpc: received message larger than max ({BIG + 1024 * 1024 + 5} vs. {limit})"
        )
        assert stub.echo(value("hi")) == value("hi")

    await in_thread(with_stub, running.port, calls)


async def test_metadata_and_errors_arrive_unharmed(running: Any, service: Any) -> None:
    def calls(stub: Stub) -> None:
        metadata = [("token", "secret"), ("blob-bin", b"\0\1\xfe"), ("twice", "1"), ("twice", "2")]
        stub.echo(value("hi"), metadata=metadata)
        with pytest.raises(grpc.RpcError) as caught:
            stub.fail(value("schlüssel fehlt €: 100%\n"))
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert caught.value.details() == "schlüssel fehlt €: 100%\n"
        assert ("detail-bin", b"\0\xff") in [tuple(pair) for pair in caught.value.trailing_metadata()]
        with pytest.raises(grpc.RpcError) as caught:
            stub.missing(value("hi"))
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert caught.value.details() == "unknown method Missing for service test.Test"
        with pytest.raises(grpc.RpcError) as caught:
            stub.fail(value("crash"))
        assert caught.value.code() is grpc.StatusCode.UNKNOWN

    await in_thread(with_stub, running.port, calls)
    seen = service.calls[0].metadata
    assert seen.get("token") == b"secret"
    assert seen.get("blob-bin") == b"\0\1\xfe"
    assert seen.get_all("twice") == [b"1", b"2"]


async def test_compressed_requests_are_read(running: Any) -> None:
    def calls(stub: Stub) -> None:
        text = value("x" * 100_000)
        assert stub.echo(text, compression=grpc.Compression.Gzip) == text
        with pytest.raises(grpc.RpcError) as caught:
            stub.echo(text, compression=grpc.Compression.Deflate)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED

    await in_thread(with_stub, running.port, calls)


async def test_deadlines_and_cancellation_reach_the_handler(running: Any, service: Any) -> None:
    def deadline(stub: Stub) -> None:
        with pytest.raises(grpc.RpcError) as caught:
            stub.hang(value("x"), timeout=0.2)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED

    await in_thread(with_stub, running.port, deadline)
    await service.cancelled.wait()
    service.cancelled, service.hanging = trio.Event(), trio.Event()

    def cancel(stub: Stub) -> None:
        call = stub.hang.future(value("x"))  # type: ignore[attr-defined]
        trio.from_thread.run(service.hanging.wait)
        call.cancel()
        trio.from_thread.run(service.cancelled.wait)

    await in_thread(with_stub, running.port, cancel)
    assert all(call.cancelled for call in service.calls)


async def test_a_thousand_calls_at_once_in_the_aio_client(running: Any) -> None:
    async def one(stub: Stub, number: int) -> None:
        async def words() -> AsyncIterator[StringValue]:
            yield value(f"a{number}")
            yield value(f"b{number}")

        if number % 2:
            assert await stub.echo(value(str(number))) == value(str(number))
        else:
            answers = [answer async for answer in stub.both(words())]
            assert answers == [value(f"a{number}"), value(f"b{number}")]

    async def calls() -> None:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{running.port}") as channel:
            stub = Stub(channel)
            await asyncio.gather(*(one(stub, number) for number in range(1000)))

    await in_thread(asyncio.run, calls())


async def test_a_drained_server_lets_grpcios_call_finish(running: Any, service: Any) -> None:
    def calls(stub: Stub) -> None:
        call = stub.later.future(value("last"))  # type: ignore[attr-defined]
        trio.from_thread.run(service.pending_came.wait)
        trio.from_thread.run(drain)
        assert call.result() == value("last")

    async def drain() -> None:
        nursery.start_soon(running.server.drain, running.environment.clock.monotonic() + 30)
        await trio.testing.wait_all_tasks_blocked()
        service.settle()

    async with trio.open_nursery() as nursery:
        await in_thread(with_stub, running.port, calls)
        await running.ended.wait()


# -- our client, its server ---------------------------------------------------------------------


class Handlers(grpc.GenericRpcHandler):
    """The test service once more, for grpcio's server."""

    def service(self, details: Any) -> Any:
        self.metadata = dict(details.invocation_metadata)
        kinds: dict[str, tuple[Any, Any]] = {
            "Echo": (grpc.unary_unary_rpc_method_handler, lambda request, _: request),
            "Fail": (grpc.unary_unary_rpc_method_handler, self.fail),
            "Hang": (grpc.unary_unary_rpc_method_handler, self.hang),
            "Up": (grpc.stream_unary_rpc_method_handler, self.up),
            "Down": (grpc.unary_stream_rpc_method_handler, self.down),
            "Both": (grpc.stream_stream_rpc_method_handler, lambda requests, _: requests),
        }
        found = kinds.get(details.method.rpartition("/")[2])
        return found and found[0](found[1])

    def fail(self, request: bytes, context: Any) -> bytes:
        context.set_trailing_metadata([("why-bin", b"\0\1")])
        context.abort(grpc.StatusCode.NOT_FOUND, request.decode())
        raise AssertionError

    def hang(self, _: bytes, context: Any) -> bytes:
        self.gone = futures.Future[None]()
        context.add_callback(lambda: self.gone.set_result(None))
        self.gone.result()
        return b""

    def up(self, requests: Iterator[bytes], _: Any) -> bytes:
        return b"%d" % sum(1 for _ in requests)

    def down(self, request: bytes, _: Any) -> Iterator[bytes]:
        yield from [request] * 20


@pytest.fixture
def handlers() -> Handlers:
    return Handlers()


@pytest.fixture
def grpcio_port(handlers: Handlers) -> Iterator[int]:
    with futures.ThreadPoolExecutor(4) as pool:
        server = grpc.server(pool, options=OPTIONS)
        server.add_generic_rpc_handlers([handlers])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield port
        server.stop(None).wait()


@pytest.fixture
async def client(running: Any, grpcio_port: int) -> Any:
    async with connect(running.environment, "127.0.0.1", grpcio_port, running.log) as client:
        yield client


async def test_our_client_makes_every_kind_of_call(client: Any) -> None:
    assert await client.unary("/x.X/Echo", b"hi") == b"hi"
    async with client.stream("/x.X/Up") as stream:
        for _ in range(9):
            await stream.send(b"x")
        stream.end()
        assert await stream.receive() == b"9"
        assert await stream.receive() is None
    async with client.stream("/x.X/Down") as stream:
        await stream.send(b"y")
        stream.end()
        for _ in range(20):
            assert await stream.receive() == b"y"
        assert await stream.receive() is None
    async with client.stream("/x.X/Both") as stream:
        for number in range(50):
            await stream.send(b"%d" % number)
            assert await stream.receive() == b"%d" % number
        stream.end()
        assert await stream.receive() is None


async def test_our_client_carries_large_messages(client: Any) -> None:
    assert await client.unary("/x.X/Echo", bytes(BIG)) == bytes(BIG)


async def test_our_client_sends_metadata_and_understands_errors(client: Any, handlers: Handlers) -> None:
    await client.unary("/x.X/Echo", b"", [("token", b"t"), ("blob-bin", b"\0\xff")])
    assert handlers.metadata["token"] == "t"
    assert handlers.metadata["blob-bin"] == b"\0\xff"
    with pytest.raises(StatusError) as caught:
        await client.unary("/x.X/Fail", "gibt es nicht: 50% €".encode())
    assert (caught.value.code, caught.value.message) == (Code.NOT_FOUND, "gibt es nicht: 50% €")
    assert dict(caught.value.trailers)["why-bin"] == b"\0\1"
    with pytest.raises(StatusError) as caught:
        await client.unary("/x.X/Missing", b"")
    assert caught.value.code is Code.UNIMPLEMENTED


async def test_our_clients_deadline_reaches_the_server(client: Any, handlers: Handlers) -> None:
    with pytest.raises(StatusError) as caught:
        await client.unary("/x.X/Hang", b"", timeout=0.2)
    assert caught.value.code is Code.DEADLINE_EXCEEDED
    await in_thread(handlers.gone.result)


async def test_our_client_talks_to_nothing_but_grpc(running: Any, serve: Any) -> None:
    from rusd.net import HttpRequest, HttpResponse

    async def web(_: HttpRequest) -> HttpResponse:
        return HttpResponse(404, (), b"not here")

    async with (
        serve(None, web) as other,
        connect(running.environment, "127.0.0.1", other.port, running.log) as client,
    ):
        with pytest.raises(StatusError) as caught:
            await client.unary("/x.X/Echo", b"")
        assert caught.value.code is Code.UNAVAILABLE
