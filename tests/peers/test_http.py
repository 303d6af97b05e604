"""What a member that joins asks before it has a cluster."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from rusd.environment import real_environment
from rusd.net import HttpRequest, HttpResponse
from rusd.peers import PeerError, fetch_members, fetch_version
from rusd.state.members import Member

# As etcd 3.5.1 answers, to the byte.
MEMBERS = (
    b'[{"id":10276657743932975437,"peerURLs":["http://localhost:2380"],"name":"default",'
    b'"clientURLs":["http://localhost:2379"]},'
    b'{"id":3,"peerURLs":["http://localhost:2390","http://localhost:2391"],"isLearner":true}]\n'
)


def answering(
    body: bytes, *, status: int = 200, cluster: bytes = b"cdf818194e3a8c32"
) -> Callable[[HttpRequest], Awaitable[HttpResponse]]:
    async def answer(request: HttpRequest) -> HttpResponse:
        assert request.method == "GET"
        assert request.header(b"host")
        headers = [(b"Content-Type", b"application/json")]
        if request.target == "/members":
            headers.append((b"X-Etcd-Cluster-ID", cluster))
        return HttpResponse(status, headers, body)

    return answer


async def test_the_members_are_those_that_the_first_peer_to_answer_lists(
    kit: Any, autojump_clock: Any
) -> None:
    async with kit.running() as cluster:
        a = await cluster.start(1, http=answering(MEMBERS))
        number, members = await fetch_members(a.environment, ["http://127.0.0.1:1", a.url])
        assert number == 0xCDF818194E3A8C32
        assert members == [
            Member(
                10276657743932975437, ("http://localhost:2380",), "default", ("http://localhost:2379",), False
            ),
            Member(3, ("http://localhost:2390", "http://localhost:2391"), is_learner=True),
        ]


async def test_the_version_is_both_the_servers_and_the_clusters(kit: Any, autojump_clock: Any) -> None:
    body = b'{"etcdserver":"3.5.1","etcdcluster":"not_decided"}'
    async with kit.running() as cluster:
        a = await cluster.start(1, http=answering(body))
        assert await fetch_version(a.environment, a.url) == ("3.5.1", "not_decided")


@pytest.mark.parametrize(
    ("handler", "reason"),
    [
        (answering(b"Not Found", status=404), "unexpected http status 404"),
        (answering(b"[]"), "failed to get raft cluster member"),
        (answering(b"nonsense"), "no JSON"),
        (answering(b"{}"), "failed to get raft cluster member"),
        (answering(b'["x"]'), "no member"),
        (answering(b'[{"peerURLs":[]}]'), "no member"),
        (answering(b'[{"id":true,"peerURLs":[]}]'), "no member"),
        (answering(b'[{"id":-1,"peerURLs":[]}]'), "no member"),
        (answering(b'[{"id":18446744073709551616,"peerURLs":[]}]'), "no member"),
        (answering(b'[{"id":1,"peerURLs":[7]}]'), "no member"),
        (answering(b'[{"id":1,"peerURLs":[],"clientURLs":7}]'), "no member"),
        (answering(b'[{"id":1,"peerURLs":[],"name":{}}]'.replace(b"{}", b'{"a":1}')), "no member"),
        (answering(b"[" * 1_000_000), "no JSON"),
        (answering(MEMBERS, cluster=b"none"), "names no cluster"),
        (answering(MEMBERS, cluster=b"-1"), "names no cluster"),
        (answering(MEMBERS, cluster=b"1" * 17), "names no cluster"),
        (answering(b" " * 5_000_000), "too large"),
    ],
)
async def test_an_answer_that_is_none_is_an_error_that_says_why(
    kit: Any, autojump_clock: Any, handler: Any, reason: str
) -> None:
    async with kit.running() as cluster:
        a = await cluster.start(1, http=handler)
        with pytest.raises(PeerError, match="could not retrieve cluster information") as caught:
            await fetch_members(a.environment, [a.url])
        assert reason in str(caught.value)
        assert a.url in str(caught.value)


async def test_what_go_leaves_out_or_writes_as_null_is_empty(kit: Any, autojump_clock: Any) -> None:
    body = b'[{"id":1,"peerURLs":null,"clientURLs":null},{"id":2,"peerURLs":["http://\\ud800:1"]}]'
    async with kit.running() as cluster:
        a = await cluster.start(1, http=answering(body))
        _, members = await fetch_members(a.environment, [a.url])
        assert members == [Member(1, ()), Member(2, ("http://?:1",))]


@pytest.mark.parametrize(
    "body",
    [b"[]", b"{}", b'{"etcdserver":"3.6.0"}', json.dumps({"etcdserver": 3, "etcdcluster": "x"}).encode()],
)
async def test_so_it_is_with_versions(kit: Any, autojump_clock: Any, body: bytes) -> None:
    async with kit.running() as cluster:
        a = await cluster.start(1, http=answering(body))
        with pytest.raises(PeerError, match="no version"):
            await fetch_version(a.environment, a.url)


async def test_a_peer_that_says_nothing_is_waited_for_only_so_long(kit: Any, autojump_clock: Any) -> None:
    async def hang(_: HttpRequest) -> HttpResponse:
        await trio.sleep_forever()
        raise AssertionError

    async with kit.running() as cluster:
        a = await cluster.start(1, http=hang)
        b = await cluster.start(2, http=answering(MEMBERS))
        began = trio.current_time()
        number, _ = await fetch_members(b.environment, [a.url, b.url])
        assert number
        assert trio.current_time() - began == pytest.approx(10)


async def test_a_peer_that_goes_in_the_middle_of_its_answer_is_an_error(
    kit: Any, autojump_clock: Any
) -> None:
    async with kit.running() as cluster:
        a = await cluster.start(1)
        listener = await a.environment.transport.listen("127.0.0.1", 0)

        async def answer() -> None:
            channel = await listener.accept()
            channel.try_send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n[")
            channel.close()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer)
            with pytest.raises(PeerError):
                await fetch_members(a.environment, [f"http://127.0.0.1:{listener.address[1]}"])
        listener.close()


@pytest.mark.parametrize("host", ["a..b", ".", "a" * 70, "\u0130" * 40])
async def test_a_name_that_is_none_is_one_that_is_not_found(host: str) -> None:
    with pytest.raises(PeerError, match="bad host name"):
        await fetch_version(real_environment(), f"http://{host}:1")


@pytest.mark.parametrize("url", ["https://h:1", "unix://x:1", "http://h", "http://h:99999", "h:1", ""])
async def test_urls_that_can_not_be_reached_are_named(kit: Any, url: str) -> None:
    async with kit.running() as cluster:
        a = await cluster.start(1)
        with pytest.raises(PeerError, match="peer URL"):
            await fetch_version(a.environment, url)
