"""purerpc as it is installed: its client on our server, and its services behind our registry."""

from __future__ import annotations

import gc
import warnings
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import trio
from google.protobuf.wrappers_pb2 import Int64Value, StringValue

from rusd.grpc import Code, Registry, StatusError
from rusd.net import connect

purerpc = pytest.importorskip("purerpc")

# purerpc's client leaves its socket and its channels to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture(autouse=True)
def _collect_what_purerpc_leaves() -> Iterator[None]:
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()


def signature(cardinality: Any, request: Any = StringValue, response: Any = StringValue) -> Any:
    return purerpc.RPCSignature(cardinality, request, response)


class Stub:
    """What purerpc's generated code would make of the test service."""

    def __init__(self, channel: Any) -> None:
        client = purerpc.Client("test.Test", channel)
        kinds = purerpc.Cardinality
        self.echo = client.get_method_stub("Echo", signature(kinds.UNARY_UNARY))
        self.task = client.get_method_stub("Task", signature(kinds.UNARY_UNARY))
        self.fail = client.get_method_stub("Fail", signature(kinds.UNARY_UNARY))
        self.missing = client.get_method_stub("Missing", signature(kinds.UNARY_UNARY))
        self.up = client.get_method_stub("Up", signature(kinds.STREAM_UNARY))
        self.down = client.get_method_stub("Down", signature(kinds.UNARY_STREAM))
        self.both = client.get_method_stub("Both", signature(kinds.STREAM_STREAM))


def value(text: str) -> StringValue:
    return StringValue(value=text)


async def values(*texts: str) -> AsyncIterator[StringValue]:
    for text in texts:
        yield value(text)


async def test_its_client_makes_every_kind_of_call(serve: Any, service: Any) -> None:
    async with (
        serve(service.registry) as running,
        purerpc.insecure_channel("127.0.0.1", running.port) as channel,
    ):
        stub = Stub(channel)
        for _ in range(20):
            assert await stub.echo(value("hi")) == value("hi")
            assert await stub.task(value("hi")) == value("hi")
        assert await stub.up(values("a", "b", "c")) == value("3")
        assert [answer async for answer in stub.down(value("3 times"))] == [value("3 times")] * 3
        assert [answer async for answer in stub.both(values("a", "b"))] == [value("a"), value("b")]
        assert await stub.echo(value("x" * 1_000_000)) == value("x" * 1_000_000)


async def test_its_client_understands_errors_and_goes_on(serve: Any, service: Any) -> None:
    async with (
        serve(service.registry) as running,
        purerpc.insecure_channel("127.0.0.1", running.port) as channel,
    ):
        stub = Stub(channel)
        for _ in range(20):
            with pytest.raises(purerpc.FailedPreconditionError) as caught:
                await stub.fail(value("schlüssel"))
            assert caught.value.status.status_message == "schlüssel"
            with pytest.raises(purerpc.UnimplementedError):
                await stub.missing(value("hi"))
        assert await stub.echo(value("hi")) == value("hi")


async def test_many_of_its_calls_at_once(serve: Any, service: Any) -> None:
    async with (
        serve(service.registry) as running,
        purerpc.insecure_channel("127.0.0.1", running.port) as channel,
    ):
        stub = Stub(channel)

        async def call(number: int) -> None:
            assert await stub.echo(value(str(number))) == value(str(number))

        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(call, number)


class Calculator(purerpc.Servicer):  # type: ignore[name-defined,misc]
    """A service as people write them for purerpc."""

    async def Length(self, message: StringValue) -> Int64Value:
        return Int64Value(value=len(message.value))

    async def Tell(self, message: StringValue, request: Any) -> StringValue:
        metadata = dict(request.custom_metadata)
        return value(
            f"{request.service_name} {request.method_name} {metadata['name']} {metadata['blob-bin']!r}"
        )

    async def Fail(self, message: StringValue) -> StringValue:
        raise purerpc.NotFoundError(message.value)

    async def Letters(self, message: StringValue) -> AsyncIterator[StringValue]:
        for letter in message.value:
            if letter == "!":
                raise purerpc.InvalidArgumentError("no shouting")
            yield value(letter)

    async def Total(self, messages: AsyncIterator[StringValue]) -> Int64Value:
        return Int64Value(value=sum([len(message.value) async for message in messages]))

    async def Louder(self, messages: AsyncIterator[StringValue]) -> AsyncIterator[StringValue]:
        async for message in messages:
            yield value(message.value.upper())

    @property
    def service(self) -> Any:
        kinds = purerpc.Cardinality
        service = purerpc.Service("calc.Calculator")
        service.add_method("Length", self.Length, signature(kinds.UNARY_UNARY, StringValue, Int64Value))
        service.add_method("Tell", self.Tell, signature(kinds.UNARY_UNARY))
        service.add_method("Fail", self.Fail, signature(kinds.UNARY_UNARY))
        service.add_method("Letters", self.Letters, signature(kinds.UNARY_STREAM))
        service.add_method("Total", self.Total, signature(kinds.STREAM_UNARY, StringValue, Int64Value))
        service.add_method("Louder", self.Louder, signature(kinds.STREAM_STREAM))
        return service


@pytest.fixture
async def client(serve: Any, network: Any) -> Any:
    from rusd.grpc.purerpc_adapter import add_service

    registry = Registry()
    add_service(registry, Calculator().service)
    async with (
        serve(registry, transport=network) as running,
        connect(running.environment, "localhost", running.port, running.log) as client,
    ):
        yield client


async def test_its_services_run_behind_our_registry(client: Any, encode: Any) -> None:
    path = "/calc.Calculator/"
    assert await client.unary(path + "Length", encode("seven b")) == Int64Value(value=7).SerializeToString()
    told = await client.unary(path + "Tell", b"", [("name", b"x"), ("blob-bin", b"\0")])
    assert told == encode("calc.Calculator Tell x b'\\x00'")
    async with client.stream(path + "Letters") as stream:
        await stream.send(encode("abc"))
        stream.end()
        assert [await stream.receive() for _ in range(4)] == [encode("a"), encode("b"), encode("c"), None]
    async with client.stream(path + "Total") as stream:
        for word in ("one", "three"):
            await stream.send(encode(word))
        stream.end()
        assert await stream.receive() == Int64Value(value=8).SerializeToString()
    async with client.stream(path + "Louder") as stream:
        for word in ("quiet", "please"):
            await stream.send(encode(word))
            assert await stream.receive() == encode(word.upper())
        stream.end()
        assert await stream.receive() is None


async def test_its_status_errors_are_ours(client: Any, encode: Any) -> None:
    with pytest.raises(StatusError) as caught:
        await client.unary("/calc.Calculator/Fail", encode("gone"))
    assert (caught.value.code, caught.value.message) == (Code.NOT_FOUND, "gone")
    async with client.stream("/calc.Calculator/Letters") as stream:
        await stream.send(encode("a!"))
        stream.end()
        assert await stream.receive() == encode("a")
        with pytest.raises(StatusError, match="no shouting"):
            await stream.receive()
