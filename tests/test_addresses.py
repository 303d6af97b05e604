"""URLs that mean the same addresses, and names that are long in coming."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from typing import Any

import pytest
import trio

from rusd.addresses import Addresses
from rusd.environment import SystemResolver
from rusd.logs import make_logger
from rusd.testing import ListSink, TrioClock


class Names:
    """Hosts known after so many seconds; everything else is its own address."""

    def __init__(self, *, after: float = 0.0, **names: str) -> None:
        self._after = after
        self._names = names
        self.asked: list[str] = []

    async def address(self, host: str) -> str:
        self.asked.append(host)
        if host in self._names and trio.current_time() < self._after:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        return self._names.get(host, host)


def made(names: Names) -> tuple[Addresses, ListSink]:
    sink, clock = ListSink(), TrioClock()
    return Addresses(names, clock, make_logger(sink, clock)), sink


@pytest.mark.parametrize(
    ("one", "other", "difference"),
    [
        (["http://a:1", "http://b:2"], ["http://b:2", "http://a:1"], ""),
        (["http://a:1"], ["http://10.0.0.1:1"], ""),
        (["http://a:1", "http://10.0.0.2:1"], ["http://b:1", "http://10.0.0.1:1"], ""),
        (["http://a:1"], ["http://a:2"], 'resolved urls: "http://10.0.0.1:1" != "http://10.0.0.1:2"'),
        (["http://a:1"], ["https://a:1"], 'resolved urls: "http://10.0.0.1:1" != "https://10.0.0.1:1"'),
        (["http://a:1"], [], 'len(["http://a:1"]) != len([])'),
        (["http://a:1"], ["nonsense"], "failed to resolve"),
        (["unix://a:1"], ["unix://b:1"], 'resolved urls: "unix://a:1" != "unix://b:1"'),
        (["http://localhost:1"], ["http://127.0.0.1:1"], "resolved urls"),
    ],
)
async def test_lists_are_equal_if_they_name_the_same_addresses(
    one: Sequence[str], other: Sequence[str], difference: str, autojump_clock: Any
) -> None:
    addresses, _ = made(Names(a="10.0.0.1", b="10.0.0.2"))
    found = await addresses.difference(one, other)
    assert found.startswith(difference)
    assert bool(found) == bool(difference)


async def test_equal_texts_need_no_names_and_each_host_is_looked_up_once(autojump_clock: Any) -> None:
    names = Names(a="10.0.0.1")
    addresses, sink = made(names)
    assert not await addresses.difference(["http://a:1"], ["http://a:1"])
    assert names.asked == []
    for port in (1, 2):
        assert not await addresses.difference([f"http://a:{port}"], [f"http://10.0.0.1:{port}"])
    assert names.asked == ["a", "10.0.0.1"]
    assert sink.events("resolved URL Host")[0]["resolved-addr"] == "10.0.0.1:1"


async def test_a_name_that_is_not_known_yet_is_waited_for(autojump_clock: Any) -> None:
    began = trio.current_time()
    addresses, sink = made(Names(after=began + 10, a="10.0.0.1"))
    assert not await addresses.difference(["http://a:1"], ["http://10.0.0.1:1"])
    assert trio.current_time() - began == 10
    assert len(sink.events("failed to resolve URL Host")) == 10


async def test_but_not_for_ever(autojump_clock: Any) -> None:
    began = trio.current_time()
    addresses, _ = made(Names(after=float("inf"), a="10.0.0.1"))
    for _ in range(2):  # the second time there is no patience left
        found = await addresses.difference(["http://a:1"], ["http://10.0.0.1:1"])
        assert found == 'failed to resolve "http://a:1" (lookup a: no such file or directory)'
    assert trio.current_time() - began < 31


async def test_the_system_knows_addresses_and_says_what_is_no_name() -> None:
    resolver = SystemResolver()
    assert await resolver.address("127.0.0.1") == "127.0.0.1"
    assert await resolver.address("0:0::1") == "::1"
    with pytest.raises(OSError, match="bad host name"):
        await resolver.address("a..b")
