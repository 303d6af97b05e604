"""Streams whose messages are answered in the turn in which they come, but for those that need to wait."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing
from google.protobuf.wrappers_pb2 import StringValue

from rusd.grpc import Call, Code, EndOfRequests, Requests, Responses, StatusError
from rusd.net import connect
from rusd.net.streams import OFFERED_AT_ONCE

AT_ONCE = "/test.Test/AtOnce"


class Handler:
    """Says every word back, "slow" ones only when it is let go on."""

    def __init__(self) -> None:
        self.go_on = trio.Semaphore(0)
        self.at_once = 0

    async def __call__(self, _call: Call, requests: Requests, responses: Responses) -> None:
        def take(request: StringValue) -> bool:
            if request.value.startswith("slow") or not responses.writable:
                return False
            if request.value == "crash":
                raise KeyError(request.value)
            self.at_once += 1
            responses.send_nowait(request.SerializeToString())
            return True

        while True:
            try:
                request = await requests.receive_rest(take)
            except EndOfRequests:
                return
            if request.value.startswith("slow"):
                await self.go_on.acquire()
            await responses.send(request.SerializeToString())


@pytest.fixture
def handler(service: Any) -> Handler:
    handler = Handler()
    service.registry.stream(AT_ONCE, StringValue, handler)
    return handler


@pytest.fixture
async def client(serve: Any, service: Any, network: Any, trio_clock: Any) -> Any:
    async with (
        serve(service.registry, transport=network, clock=trio_clock) as running,
        connect(running.environment, "localhost", running.port, running.log) as client,
    ):
        yield client


Encode = Callable[[str], bytes]


async def test_every_message_is_answered_in_order_whoever_answers_it(
    client: Any, handler: Handler, encode: Encode
) -> None:
    words = ["a", "slow b", "c", "d" * 40_000, "slow e", "slow f", "g"]
    async with client.stream(AT_ONCE) as stream:
        for word in words:
            await stream.send(encode(word))
        stream.end()
        await trio.testing.wait_all_tasks_blocked()
        assert handler.at_once == 1  # nobody overtakes one that waits
        for _ in range(3):
            handler.go_on.release()
        assert [await stream.receive() for _ in words] == [encode(word) for word in words]
        assert await stream.receive() is None
    assert handler.at_once == 4


async def test_one_who_asks_and_waits_costs_no_switch_of_tasks(
    client: Any, handler: Handler, encode: Encode
) -> None:
    async with client.stream(AT_ONCE) as stream:
        for number in range(20):
            await stream.send(encode(str(number)))
            assert await stream.receive() == encode(str(number))
    assert handler.at_once == 20


async def test_more_than_one_turn_may_hold_is_answered_too(
    client: Any, handler: Handler, encode: Encode
) -> None:
    words = ["slow", *map(str, range(5 * OFFERED_AT_ONCE))]
    async with client.stream(AT_ONCE) as stream:
        for word in words:
            await stream.send(encode(word))
        await trio.testing.wait_all_tasks_blocked()
        assert not handler.at_once
        handler.go_on.release()  # and all the others are there at once
        assert [await stream.receive() for _ in words] == [encode(word) for word in words]
        stream.end()
        assert await stream.receive() is None


async def test_a_reader_that_does_not_read_holds_its_requests_back(
    client: Any, handler: Handler, encode: Encode
) -> None:
    word = "x" * 60_000
    async with client.stream(AT_ONCE) as stream, trio.open_nursery() as nursery:
        sent = 0

        async def send() -> None:
            nonlocal sent
            for _ in range(100):
                await stream.send(encode(word))
                sent += 1

        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked()
        assert handler.at_once <= sent < 100
        for _ in range(100):
            assert await stream.receive() == encode(word)


@pytest.mark.parametrize(
    ("message", "code"),
    [(b"\x0a\xff", Code.INTERNAL), (b"\x0a\x05crash", Code.UNKNOWN)],
    ids=["broken", "crash"],
)
@pytest.mark.parametrize("before", [[], ["a"], ["slow"]], ids=["first", "second", "behind a slow one"])
async def test_what_is_no_message_or_makes_the_handler_fail_ends_the_stream(
    client: Any, handler: Handler, encode: Encode, message: bytes, code: Code, before: list[str]
) -> None:
    handler.go_on.release()
    async with client.stream(AT_ONCE) as stream:
        for word in before:
            await stream.send(encode(word))
        await stream.send(message)
        for word in before:
            assert await stream.receive() == encode(word)
        with pytest.raises(StatusError) as caught:
            await stream.receive()
        assert caught.value.code is code
    async with client.stream(AT_ONCE) as stream:  # others don't notice
        await stream.send(encode("a"))
        assert await stream.receive() == encode("a")
