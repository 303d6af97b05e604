"""Calls of every kind, from our client to our server over a network in memory."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from rusd.grpc import Code, StatusError
from rusd.net import connect

DOWN = "/test.Test/Down"
BOTH = "/test.Test/Both"


@pytest.fixture
async def running(serve: Any, service: Any, network: Any, trio_clock: Any) -> Any:
    async with serve(service.registry, transport=network, clock=trio_clock) as running:
        yield running


@pytest.fixture
async def client(running: Any) -> Any:
    async with connect(running.environment, "localhost", running.port, running.log) as client:
        yield client


async def test_inline_task_and_pending_answers(client: Any, service: Any, running: Any, encode: Any) -> None:
    for name in ("Echo", "Task"):
        assert await client.unary(f"/test.Test/{name}", encode("hi")) == encode("hi")
    answers = []

    async def call() -> None:
        answers.append(await client.unary("/test.Test/Later", encode("later")))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        await service.pending_came.wait()
        service.settle()
        running.flusher.flush()
    assert answers == [encode("later")]


async def test_a_settled_answer_leaves_though_nobody_flushes(client: Any, service: Any, encode: Any) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.unary, "/test.Test/Later", encode("later"))
        await service.pending_came.wait()
        service.settle()


async def test_metadata_reaches_the_handler_and_trailers_the_client(
    client: Any, service: Any, encode: Any
) -> None:
    await client.unary("/test.Test/Echo", encode("hi"), [("token", b"secret"), ("x-bin", b"\0\1")])
    (call,) = service.calls
    assert call.metadata.get("token") == b"secret"
    assert call.metadata.get("x-bin") == b"\0\1"
    assert call.peer.startswith("127.0.0.1:")
    with pytest.raises(StatusError) as caught:
        await client.unary("/test.Test/Fail", encode("nicht möglich: 100%"))
    assert caught.value.code is Code.FAILED_PRECONDITION
    assert caught.value.message == "nicht möglich: 100%"
    assert dict(caught.value.trailers)["detail-bin"] == b"\0\xff"


async def test_a_status_out_of_a_handlers_nursery_is_still_that_status(client: Any, encode: Any) -> None:
    with pytest.raises(StatusError) as caught:
        await client.unary("/test.Test/FailTask", encode("no"))
    assert caught.value.code is Code.FAILED_PRECONDITION


async def test_a_crashing_handler_is_logged_with_its_traceback(
    client: Any, running: Any, encode: Any
) -> None:
    for name in ("Fail", "FailTask"):
        with pytest.raises(StatusError) as caught:
            await client.unary(f"/test.Test/{name}", encode("crash"))
        assert caught.value.code is Code.UNKNOWN
    crashes = [line for line in running.sink.lines if line["msg"] == "handler failed"]
    assert [line["path"] for line in crashes] == ["/test.Test/Fail", "/test.Test/FailTask"]
    assert all("KeyError" in line["stacktrace"] for line in crashes)
    assert await client.unary("/test.Test/Echo", encode("alive")) == encode("alive")


async def test_streams_of_every_kind(client: Any, encode: Any) -> None:
    async with client.stream("/test.Test/Up") as stream:
        for _ in range(5):
            await stream.send(encode("x"))
        stream.end()
        assert await stream.receive() == encode("5")
        assert await stream.receive() is None
    async with client.stream(DOWN) as stream:
        await stream.send(encode("3 times"))
        stream.end()
        assert [await stream.receive() for _ in range(3)] == [encode("3 times")] * 3
        assert await stream.receive() is None
    async with client.stream(BOTH) as stream:
        for word in ("a", "b", "c"):
            await stream.send(encode(word))
            assert await stream.receive() == encode(word)
        stream.end()
        assert await stream.receive() is None


async def test_a_stream_may_fail_after_its_first_answers(client: Any, encode: Any) -> None:
    async with client.stream("/test.Test/FailStream") as stream:
        await stream.send(encode("why"))
        assert await stream.receive() == encode("why")
        with pytest.raises(StatusError, match="why"):
            await stream.receive()


async def test_eight_mebibytes_both_ways(serve: Any, service: Any, network: Any, encode: Any) -> None:
    from rusd.net import Limits

    big = encode("x" * 8 * 1024 * 1024)
    limits = Limits(max_request_bytes=len(big))
    async with (
        serve(service.registry, transport=network, limits=limits) as running,
        connect(running.environment, "localhost", running.port, running.log) as client,
    ):
        assert await client.unary("/test.Test/Echo", big) == big
        async with client.stream(BOTH) as stream, trio.open_nursery() as nursery:
            nursery.start_soon(stream.send, big)
            assert await stream.receive() == big


async def test_a_deadline_cancels_the_handler(
    client: Any, service: Any, encode: Any, autojump_clock: Any
) -> None:
    for path in ("/test.Test/Hang", "/test.Test/HangTask"):
        service.cancelled = trio.Event()
        started = trio.current_time()
        async with client.stream(path, timeout=5) as stream:
            await stream.send(encode("x"))
            with pytest.raises(StatusError) as caught:
                await stream.receive()
        assert (caught.value.code, caught.value.message) == (
            Code.DEADLINE_EXCEEDED,
            "context deadline exceeded",
        )
        assert trio.current_time() - started == pytest.approx(5)
        await service.cancelled.wait()
        assert service.calls[-1].cancelled


async def test_a_deadline_ends_a_pending_call(
    client: Any, service: Any, encode: Any, autojump_clock: Any
) -> None:
    with pytest.raises(StatusError, match="context deadline exceeded"):
        await client.unary("/test.Test/Later", encode("x"), timeout=2)
    service.settle()
    assert await client.unary("/test.Test/Echo", encode("on")) == encode("on")


async def test_giving_up_cancels_the_handler(client: Any, service: Any) -> None:
    async with client.stream("/test.Test/Hang"):
        await service.hanging.wait()
    await service.cancelled.wait()


async def test_a_cancelled_caller_cancels_the_handler(client: Any, service: Any, encode: Any) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.unary, "/test.Test/HangTask", encode("x"))
        await service.hanging.wait()
        nursery.cancel_scope.cancel()
    await service.cancelled.wait()


async def test_a_client_that_goes_cancels_its_handlers(running: Any, service: Any) -> None:
    async with connect(running.environment, "localhost", running.port, running.log) as client:
        client.stream("/test.Test/Hang")
        await service.hanging.wait()
    await service.cancelled.wait()


async def test_a_server_that_goes_makes_calls_unavailable(running: Any, client: Any, service: Any) -> None:
    async with client.stream("/test.Test/Hang") as stream:
        await service.hanging.wait()
        running.scope.cancel()
        with pytest.raises(StatusError) as caught:
            await stream.receive()
        assert caught.value.code is Code.UNAVAILABLE
    with pytest.raises(StatusError) as caught:
        await client.unary("/test.Test/Echo", b"")
    assert caught.value.code is Code.UNAVAILABLE


async def test_a_thousand_streams_at_once(client: Any, encode: Any) -> None:
    answers: list[bytes] = []

    async def talk(number: int) -> None:
        async with client.stream(BOTH) as stream:
            for word in ("first", "second"):
                await stream.send(encode(f"{word} {number}"))
                answers.append(await stream.receive())
            stream.end()
            assert await stream.receive() is None

    async with trio.open_nursery() as nursery:
        for number in range(1000):
            nursery.start_soon(talk, number)
    expected = {encode(f"{word} {number}") for word in ("first", "second") for number in range(1000)}
    assert set(answers) == expected
    assert len(answers) == 2000


async def test_a_slow_reader_holds_its_stream_back_and_nobody_else(
    client: Any, encode: Any, service: Any
) -> None:
    text = "1000 " + "x" * 10_000
    async with client.stream(DOWN) as slow:
        await slow.send(encode(text))
        slow.end()
        assert await slow.receive() == encode(text)
        await trio.testing.wait_all_tasks_blocked()
        assert await client.unary("/test.Test/Echo", encode("quick")) == encode("quick")
        rest = [await slow.receive() for _ in range(999)]
        assert rest == [encode(text)] * 999
        assert await slow.receive() is None


async def test_the_callers_own_error_is_not_wrapped(running: Any) -> None:
    with pytest.raises(ZeroDivisionError):
        async with connect(running.environment, "localhost", running.port, running.log):
            raise ZeroDivisionError


async def test_nobody_there_is_an_os_error(running: Any) -> None:
    with pytest.raises(OSError, match="refused"):
        async with connect(running.environment, "localhost", 1, running.log):
            raise AssertionError("not reached")
