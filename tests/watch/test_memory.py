"""What an idle watcher costs."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

from rusd.watch import WatchHub

COUNT = 10_000


def bytes_each(make: Callable[[], object]) -> float:
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        kept = make()
        used = tracemalloc.get_traced_memory()[0] - before
        del kept
    finally:
        tracemalloc.stop()
    return used / COUNT


def test_ten_thousand_idle_watchers_of_one_stream_take_some_megabytes(world) -> None:
    def make() -> object:
        client = world.client()
        for number in range(COUNT):
            client.watch(b"/registry/pods/default/pod-%d" % number)
            client.stream.pull(1 << 20)
        return client

    assert bytes_each(make) < 1000


def test_ten_thousand_idle_streams_with_a_watcher_each_take_some_megabytes(world) -> None:
    hub: WatchHub = world.hub

    def wake() -> None: ...

    def header(revision: int) -> bytes:
        return b"\n\x00"

    def make() -> object:
        streams = []
        for number in range(COUNT):
            stream = hub.open_stream(wake, header_prefix=header)
            stream.create(
                b"/registry/pods/default/pod-%d/" % number, b"/registry/pods/default/pod-%d0" % number
            )
            stream.pull(1 << 20)
            streams.append(stream)
        return streams

    assert bytes_each(make) < 1600


def test_a_write_that_concerns_nobody_leaves_nothing_behind(world) -> None:
    client = world.client()
    for number in range(100):
        client.watch(b"key-%d" % number)
    client.drain()
    wakes = client.wakes
    for _ in range(10):
        world.put(b"other")
    assert world.hub.pending_count == 0
    assert client.wakes == wakes
