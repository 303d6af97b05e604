"""The events of a watch stream: in which responses they come, with ``prev_kv``, in fragments."""

from __future__ import annotations

import pytest

from etcdpb import kv_pb2
from rusd.watch.catchup import BATCH_REVISIONS
from tests.watch.responses import mod_revisions

PUT, DELETE = kv_pb2.Event.PUT, kv_pb2.Event.DELETE


# -- events -----------------------------------------------------------------------


def test_a_put_carries_the_key_value_and_a_delete_only_key_and_revision(world) -> None:
    client = world.client()
    client.watch(b"k")
    world.put(b"k", b"v", lease=9)
    world.delete(b"k")
    _, put, delete = client.drain()
    kv = put.events[0].kv
    assert put.events[0].type == PUT
    assert (kv.key, kv.value, kv.create_revision, kv.mod_revision, kv.version, kv.lease) == (
        b"k", b"v", 2, 2, 1, 9,
    )  # fmt: skip
    assert delete.events[0].type == DELETE
    assert delete.events[0].kv == kv_pb2.KeyValue(key=b"k", mod_revision=3)


def test_all_events_of_a_revision_are_in_one_response_in_order_of_their_subs(world) -> None:
    client = world.client()
    live = client.watch(b"a", b"\x00")
    client.drain()
    world.write([(b"c", b"1", 0), (b"a", b"2", 0), (b"b", b"3", 0)])
    (response,) = client.drain()
    assert [event.kv.key for event in response.events] == [b"c", b"a", b"b"]
    assert (response.watch_id, response.header.revision) == (live, 2)
    client.watch(b"a", b"c", start_revision=2)
    _, history = client.drain()
    assert [event.kv.key for event in history.events] == [b"a", b"b"]


def test_live_responses_are_one_per_revision_with_that_revision_however_late(world) -> None:
    client = world.client()
    client.watch(b"k")
    client.drain()
    for _ in range(5):
        world.put(b"k")
        world.put(b"other")
    responses = client.drain(budget=1)
    assert [response.header.revision for response in responses] == [2, 4, 6, 8, 10]
    assert mod_revisions(responses) == [2, 4, 6, 8, 10]


@pytest.mark.parametrize("in_steps", [False, True])
def test_a_revision_too_large_for_one_turn_still_has_its_own_header(world, in_steps: bool) -> None:
    client = world.client()
    client.watch(b"k", b"l", prev_kv=True)
    client.drain()
    many = [(b"k%03d" % number, b"x" * (2 << 10), 0) for number in range(600)]
    if in_steps:  # too many events to be kept for the watcher
        world.write(many, lambda: None)
    else:  # too many former values to be looked up at once
        world.write(many)
        client.drain()
        world.write(many)
    large = world.store.current_revision
    world.put(b"k")
    world.put(b"k")
    responses = client.drain()
    assert [response.header.revision for response in responses] == [large, large + 1, large + 2]
    assert [len(response.events) for response in responses] == [600, 1, 1]
    assert {event.kv.mod_revision for event in responses[0].events} == {large}
    world.hub.check()


def test_history_comes_in_batches_of_a_thousand_revisions_with_the_current_revision(world) -> None:
    count = 2 * BATCH_REVISIONS + 10
    for _ in range(count):
        world.put(b"k")
    client = world.client()
    client.watch(b"k", start_revision=1)
    _, *batches = client.drain(budget=1)
    assert [len(batch.events) for batch in batches] == [1000, 1000, 10]
    assert {batch.header.revision for batch in batches} == {count + 1}
    assert mod_revisions(batches) == list(range(2, count + 2))


def test_sparse_history_is_one_response_although_it_takes_many_slices(world) -> None:
    for number in range(5000):
        world.put(b"k" if number % 500 == 0 else b"other")
    client = world.client()
    client.watch(b"k", start_revision=1)
    assert len(client.pull()) == 1  # the created answer; the first slice has found too little
    assert client.stream.has_output
    (batch,) = client.drain()
    assert len(batch.events) == 10


def test_nothing_is_told_twice_to_who_reads_a_large_revision_from_history(world) -> None:
    keys = [b"k%d" % number for number in range(4)]
    for key in keys:
        world.put(key, b"v" * 200_000)
    client = world.client()
    client.watch(b"k", b"l", prev_kv=True)
    client.watch(b"k", b"l")
    client.drain()
    large = world.write([(key, b"v" * 100, 0) for key in keys])
    last = world.put(b"k")
    responses = client.drain(budget=100)  # the second watcher's share of the large one is all of a pull
    for watch_id in (0, 1):
        told = [response for response in responses if response.watch_id == watch_id]
        assert mod_revisions(told) == [large] * 4 + [last]


def test_a_huge_value_ends_a_batch_of_history(world) -> None:
    for _ in range(6):
        world.put(b"k", b"x" * 300_000)
    client = world.client()
    client.watch(b"k", start_revision=1)
    _, *batches = client.drain()
    assert [len(batch.events) for batch in batches] == [2, 2, 2]


def test_watchers_of_one_stream_share_a_walk_and_each_hears_its_own_part(world) -> None:
    for number in range(100):
        world.put(b"k%d" % (number % 2))
    client = world.client()
    client.watch(b"k0", start_revision=50)
    client.watch(b"k0", b"k2", start_revision=2)
    client.watch(b"k1", start_revision=90)
    responses = client.drain()[3:]
    heard = {response.watch_id: mod_revisions([response]) for response in responses}
    assert len(responses) == 3
    assert heard == {
        0: [revision for revision in range(50, 102) if revision % 2 == 0],
        1: list(range(2, 102)),
        2: [revision for revision in range(90, 102) if revision % 2 == 1],
    }


def test_a_late_joiner_with_an_older_start_makes_nobody_hear_twice(world) -> None:
    for _ in range(3000):
        world.put(b"k")
    client = world.client()
    client.watch(b"k", start_revision=500)
    client.pull()  # the first is on its way
    client.watch(b"k", start_revision=2)
    heard: dict[int, list[int]] = {0: [], 1: []}
    for response in client.drain():
        heard[response.watch_id] += mod_revisions([response])
    assert heard[0] == list(range(500, 3002))
    assert heard[1] == list(range(2, 3002))


def test_a_watcher_is_live_in_the_turn_in_which_it_has_caught_up(world) -> None:
    world.put(b"k")
    client = world.client()
    client.watch(b"k", start_revision=2)
    assert world.hub.slow_watcher_count == 1
    assert mod_revisions(client.pull()) == [2]
    assert world.hub.slow_watcher_count == 0
    world.put(b"k")
    assert mod_revisions(client.pull()) == [3]


def test_writes_during_catching_up_are_neither_lost_nor_doubled(world) -> None:
    for _ in range(2500):
        world.put(b"k")
    client = world.client()
    client.watch(b"k", start_revision=2)
    heard: list[int] = []
    while client.stream.has_output:
        heard += mod_revisions(client.pull(1))
        if world.store.current_revision < 2600:
            world.put(b"k")
    assert heard == list(range(2, world.store.current_revision + 1))


# -- prev_kv --------------------------------------------------------------------------


@pytest.mark.parametrize("start_revision", [0, 2])
def test_prev_kv_is_the_key_one_revision_before(world, start_revision: int) -> None:
    client = world.client()
    if not start_revision:
        client.watch(b"k", prev_kv=True)
    world.put(b"k", b"1")
    world.put(b"k", b"2")
    world.delete(b"k")
    world.put(b"k", b"3")
    if start_revision:
        client.watch(b"k", start_revision=2, prev_kv=True)
    events = [event for response in client.drain() for event in response.events]
    before = [event.prev_kv.value if event.HasField("prev_kv") else None for event in events]
    assert before == [None, b"1", b"2", None]
    assert events[1].prev_kv.mod_revision == 2


def test_prev_kv_is_for_those_who_asked(world) -> None:
    client = world.client()
    client.watch(b"k")
    client.watch(b"k", prev_kv=True)
    world.put(b"k")
    world.put(b"k")
    with_previous = [r.watch_id for r in client.drain() for event in r.events if event.HasField("prev_kv")]
    assert with_previous == [1]


def test_watchers_of_one_key_hear_of_it_under_their_own_ids_and_as_they_asked(world) -> None:
    """Responses are shared where they are the same, and only there."""
    world.put(b"k", b"1")
    clients = [world.client() for _ in range(6)]
    asked = [(0, False), (0, True), (7, True), (7, False), (0, False), (7, False)]
    for client, (watch_id, prev_kv) in zip(clients, asked, strict=True):
        client.watch(b"k", watch_id=watch_id, prev_kv=prev_kv)
        client.drain()
    world.put(b"k", b"2")
    for client, (watch_id, prev_kv) in zip(clients, asked, strict=True):
        [response] = client.drain()
        [event] = response.events
        assert (response.watch_id, event.kv.value, event.prev_kv.value) == (
            watch_id,
            b"2",
            b"1" if prev_kv else b"",
        )


def test_prev_kv_at_a_compacted_revision_is_left_out(world) -> None:
    client = world.client()
    client.watch(b"k", prev_kv=True)
    world.put(b"k")
    world.put(b"k")
    world.compact(3)
    events = [event for response in client.drain() for event in response.events]
    assert [event.kv.mod_revision for event in events] == [2, 3]  # published before, so not lost
    assert not any(event.HasField("prev_kv") for event in events)


# -- fragments ----------------------------------------------------------------------------


@pytest.mark.parametrize("start_revision", [0, 2])
def test_a_large_response_is_split_for_those_who_asked(world, start_revision: int) -> None:
    client = world.client(max_response_bytes=1000)
    changes = [(b"k%d" % number, b"x" * 300, 0) for number in range(10)]
    if start_revision:
        world.write(changes)
    client.watch(b"k", b"l", start_revision, fragment=True)
    client.watch(b"k", b"l", start_revision)
    if not start_revision:
        world.write(changes)
    responses = client.drain()[2:]
    parts = [response for response in responses if response.watch_id == 0]
    (whole,) = [response for response in responses if response.watch_id == 1]
    assert [len(part.events) for part in parts] == [3, 3, 3, 1]
    assert [part.fragment for part in parts] == [True] * 3 + [False]
    assert all(part.ByteSize() < 1000 for part in parts)
    assert [event.kv.key for part in parts for event in part.events] == [change[0] for change in changes]
    assert len(whole.events) == 10
    assert not whole.fragment


def test_a_single_large_event_is_sent_whole(world) -> None:
    client = world.client(max_response_bytes=100)
    client.watch(b"k", fragment=True)
    world.put(b"k", b"x" * 1000)
    _, response = client.drain()
    assert not response.fragment
