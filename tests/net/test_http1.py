from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import pytest
import trio
import trio.testing

from rusd.net import HttpRequest, HttpResponse, Limits
from rusd.testing.clock import ManualClock


class Site:
    """An HTTP handler that keeps its requests; what it answers depends on the path."""

    def __init__(self) -> None:
        self.requests: list[HttpRequest] = []
        self.parts_closed = trio.Event()

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        self.requests.append(request)
        if request.target == "/crash":
            raise RuntimeError("broken")
        if request.target == "/parts":
            return HttpResponse(200, [(b"content-type", b"text/plain")], self.parts())
        if request.target == "/endless":
            return HttpResponse(200, (), self.endless())
        if request.target == "/half":
            return HttpResponse(200, (), self.half())
        return HttpResponse(200, [(b"x-kind", b"echo")], request.body or b"nothing")

    async def parts(self) -> AsyncGenerator[bytes, None]:
        for part in (b"one ", b"two ", b"three"):
            yield part

    async def half(self) -> AsyncGenerator[bytes, None]:
        yield b"half"
        raise RuntimeError("broken")

    async def endless(self) -> AsyncGenerator[bytes, None]:
        try:
            yield b"first"
            await trio.sleep_forever()
        finally:
            self.parts_closed.set()


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
async def running(serve: Any, site: Site, network: Any) -> Any:
    limits = Limits(max_body_bytes=1000)
    async with serve(None, site, transport=network, limits=limits, clock=ManualClock()) as running:
        yield running


async def exchange(running: Any, data: bytes) -> bytes:
    """Send ``data``, and return what has come once everything is quiet."""
    channel = await running.connect()
    answer = await on(channel, data)
    channel.close()
    return answer


async def on(channel: Any, data: bytes) -> bytes:
    while data:
        await channel.wait_writable()
        data = data[channel.try_send(data) :]
    await trio.testing.wait_all_tasks_blocked()
    return channel.try_receive(1 << 20) or b""


def get(path: bytes, *more: bytes, method: bytes = b"GET", body: bytes = b"") -> bytes:
    lines = [method + b" " + path + b" HTTP/1.1", b"host: x", *more]
    if body:
        lines.append(b"content-length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


async def test_a_request_reaches_the_handler_whole(running: Any, site: Site) -> None:
    answer = await exchange(running, get(b"/v3/kv/range?x=1", b"X-Name: v", method=b"POST", body=b"payload"))
    (request,) = site.requests
    assert (request.method, request.target, request.body) == ("POST", "/v3/kv/range?x=1", b"payload")
    assert request.header(b"x-name") == b"v"
    assert request.peer.startswith("127.0.0.1:")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert b"content-length: 7" in head.lower()
    assert b"x-kind: echo" in head.lower()
    assert body == b"payload"


async def test_a_connection_is_kept_for_further_requests(running: Any, site: Site) -> None:
    channel = await running.connect()
    for _ in range(3):
        assert (await on(channel, get(b"/"))).endswith(b"nothing")
    assert (await on(channel, get(b"/a") + get(b"/b"))).count(b"nothing") == 2, "pipelined"
    assert len(site.requests) == 5
    channel.close()


async def test_connection_close_is_honoured(running: Any) -> None:
    channel = await running.connect()
    await on(channel, get(b"/", b"connection: close"))
    assert channel.try_receive(10) == b""
    channel.close()


async def test_head_gets_the_length_and_no_body(running: Any) -> None:
    answer = await exchange(running, get(b"/", method=b"HEAD"))
    assert b"content-length: 7" in answer.lower()
    assert answer.endswith(b"\r\n\r\n")


async def test_a_body_may_be_chunked(running: Any, site: Site) -> None:
    body = b"3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n"
    await exchange(running, get(b"/", b"transfer-encoding: chunked", method=b"POST") + body)
    assert site.requests[0].body == b"abcdefg"


async def test_a_client_that_waits_for_100_continue_gets_it(running: Any) -> None:
    channel = await running.connect()
    answer = await on(channel, get(b"/", b"expect: 100-continue", b"content-length: 2", method=b"POST"))
    assert answer.startswith(b"HTTP/1.1 100")
    assert (await on(channel, b"hi")).endswith(b"hi")
    channel.close()


async def test_a_body_over_the_bound_is_413(running: Any, site: Site) -> None:
    answer = await exchange(running, get(b"/", method=b"POST", body=bytes(1001)))
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"connection: close" in answer.lower()
    assert not site.requests


async def test_what_is_not_http_is_400(running: Any, site: Site) -> None:
    answer = await exchange(running, b"\0\1\2 what?\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400")
    assert not site.requests


async def test_connect_is_refused_before_a_handler_can_make_a_tunnel_of_it(running: Any, site: Site) -> None:
    answer = await exchange(running, get(b"x:1", method=b"CONNECT"))
    assert answer.startswith(b"HTTP/1.1 405")
    assert site.requests == []


async def test_a_crashing_handler_is_500_and_logged(running: Any) -> None:
    channel = await running.connect()
    assert (await on(channel, get(b"/crash"))).startswith(b"HTTP/1.1 500")
    assert (await on(channel, get(b"/"))).startswith(b"HTTP/1.1 200")
    (line,) = running.sink.lines
    assert (line["msg"], line["path"]) == ("http handler failed", "/crash")
    channel.close()


async def test_a_body_may_be_made_piece_by_piece(running: Any) -> None:
    channel = await running.connect()
    answer = await on(channel, get(b"/parts"))
    assert b"transfer-encoding: chunked" in answer.lower()
    assert answer.endswith(b"4\r\none \r\n4\r\ntwo \r\n5\r\nthree\r\n0\r\n\r\n")
    assert (await on(channel, get(b"/"))).endswith(b"nothing")
    channel.close()


async def test_a_client_that_goes_ends_the_making_of_its_body(running: Any, site: Site) -> None:
    channel = await running.connect()
    assert (await on(channel, get(b"/endless"))).endswith(b"5\r\nfirst\r\n")
    channel.close()
    await site.parts_closed.wait()
    await trio.testing.wait_all_tasks_blocked()
    assert running.server.connections == 0


async def test_an_idle_connection_is_closed_in_the_end(running: Any) -> None:
    channel = await running.connect()
    await on(channel, get(b"/"))
    running.environment.clock.advance(300)
    await trio.testing.wait_all_tasks_blocked()
    assert channel.try_receive(10) == b""
    assert running.server.connections == 0


async def test_a_large_answer_waits_for_its_reader(running: Any, serve: Any, network: Any) -> None:
    async def large(_: HttpRequest) -> HttpResponse:
        return HttpResponse(200, (), bytes(1_000_000))

    async with serve(None, large, transport=network) as running:
        channel = await running.connect()
        channel.try_send(get(b"/"))
        received = 0
        while received < 1_000_000:
            await channel.wait_readable()
            received += len(channel.try_receive(65536) or b"")
        channel.close()


async def test_head_for_a_body_made_piece_by_piece_makes_none(running: Any) -> None:
    channel = await running.connect()
    answer = await on(channel, get(b"/parts", method=b"HEAD"))
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"one" not in answer
    assert (await on(channel, get(b"/"))).endswith(b"nothing")
    channel.close()


async def test_a_body_that_breaks_halfway_breaks_the_connection_off(running: Any) -> None:
    channel = await running.connect()
    assert (await on(channel, get(b"/half"))).endswith(b"4\r\nhalf\r\n")
    assert channel.try_receive(10) == b"", "and not as if it were complete"
    assert running.sink.messages() == ["http handler failed"]
    channel.close()
