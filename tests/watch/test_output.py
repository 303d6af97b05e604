"""Waking and pulling, falling behind, being overtaken, and what the hub keeps."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rusd.watch.stream import CONGESTED_ANSWERS
from tests.support.slices import Sliced
from tests.watch.responses import mod_revisions

# -- waking and pulling ---------------------------------------------------------------------


def test_the_owner_is_woken_once_until_it_has_pulled_everything(world) -> None:
    client = world.client()
    client.watch(b"k")
    world.put(b"k")
    world.put(b"k")
    assert client.wakes == 1
    client.pull(budget=1)
    assert client.stream.has_output
    world.put(b"k")
    assert client.wakes == 1
    client.drain()
    world.put(b"other")
    assert client.wakes == 1
    world.put(b"k")
    assert client.wakes == 2


def test_a_pull_stops_soon_after_its_budget_within_a_revision_too(world) -> None:
    client = world.client()
    for _ in range(50):
        client.watch(b"k")
    client.drain()
    world.put(b"k", b"x" * 1000)
    world.put(b"k", b"x" * 1000)
    sizes = []
    ids = []
    while client.stream.has_output:
        messages = client.pull(budget=5000)
        sizes.append(len(messages))
        ids += [response.watch_id for response in messages]
    assert sizes == [5] * 20
    assert ids == [*range(50), *range(50)]


def test_a_client_that_only_asks_is_congested_before_it_costs_much(world) -> None:
    client = world.client()
    for _ in range(CONGESTED_ANSWERS + 1):
        assert not client.stream.congested
        client.stream.reject("no")
    assert client.stream.congested
    client.drain()
    assert not client.stream.congested


def test_a_slice_of_history_is_bounded(world) -> None:
    for _ in range(10_000):
        world.put(b"other")
    world.put(b"k")
    client = world.client()
    client.watch(b"k", start_revision=2)
    pulls = 0
    while client.stream.has_output:
        client.pull()
        pulls += 1
    assert pulls >= 10


# -- falling behind and being overtaken ---------------------------------------------------------


def test_a_stream_that_takes_nothing_falls_back_to_history(make_world: Callable) -> None:
    world = make_world(max_deliveries=10)
    slow, quick = world.client(), world.client()
    slow.watch(b"k")
    slow.watch(b"idle")
    quick.watch(b"k")
    slow.drain()
    heard: list = quick.drain()
    for _ in range(50):
        world.put(b"k")
        heard += quick.drain()
        world.hub.check()
    assert [response.header.revision for response in heard[1:]] == list(range(2, 52))
    assert world.hub.pending_count <= 10
    batches = slow.drain()
    assert mod_revisions(batches) == list(range(2, 52))
    assert {response.watch_id for response in batches} == {0}
    world.put(b"idle")
    world.put(b"k")
    assert [response.watch_id for response in slow.drain()] == [1, 0]


def test_a_stream_stuck_within_a_revision_hears_the_rest_of_it_from_history(make_world: Callable) -> None:
    world = make_world(max_deliveries=30)
    client = world.client()
    for _ in range(10):
        client.watch(b"k")
    client.drain()
    world.put(b"k")
    heard = client.pull(budget=1)
    for _ in range(10):
        world.put(b"k")
    heard += client.drain()
    for watch_id in range(10):
        own = [response for response in heard if response.watch_id == watch_id]
        assert mod_revisions(own) == list(range(2, 13))


def test_the_newest_publication_is_kept_however_large(make_world: Callable) -> None:
    world = make_world(max_bytes=10)
    client = world.client()
    client.watch(b"k")
    client.drain()
    for _ in range(3):
        revision = world.put(b"k", b"x" * 1000)
        (response,) = client.drain()
        assert response.header.revision == revision


def test_a_watcher_overtaken_on_its_way_hears_what_was_read_and_is_then_canceled(world) -> None:
    for _ in range(3000):
        world.put(b"k")
    client = world.client()
    client.watch(b"k", start_revision=2)
    client.pull(1)
    world.compact(2500)
    responses = client.drain(1)
    assert responses[-1].canceled
    assert responses[-1].compact_revision == 2500
    assert mod_revisions(responses) == list(range(2, mod_revisions(responses)[-1] + 1))
    world.hub.check()


def test_a_slow_live_watcher_is_canceled_once_it_has_fallen_behind_and_was_overtaken(
    make_world: Callable,
) -> None:
    world = make_world(max_deliveries=2)
    client = world.client()
    client.watch(b"k")
    client.watch(b"late")
    client.watch(b"idle")
    client.drain()
    for _ in range(5):
        world.put(b"k")
    late = world.put(b"late")
    world.put(b"k")
    world.compact(late)
    responses = client.drain()
    assert [(response.watch_id, response.canceled) for response in responses] == [(0, True), (1, False)]
    assert responses[0].compact_revision == late
    world.put(b"idle")
    assert [response.watch_id for response in client.drain()] == [2]


def test_published_events_survive_a_compaction_before_the_pull(world) -> None:
    client = world.client()
    client.watch(b"k")
    client.drain()
    for _ in range(3):
        world.put(b"k")
    world.compact(4)
    assert mod_revisions(client.drain()) == [2, 3, 4]


def test_progress_of_a_stream_that_fell_behind_is_not_answered(make_world: Callable) -> None:
    world = make_world(max_deliveries=1)
    client = world.client()
    client.watch(b"k")
    client.drain()
    world.put(b"k")
    client.stream.request_progress()
    world.put(b"k")
    world.hub.check()
    client.stream.request_progress()
    assert all(response.watch_id == 0 for response in client.drain())


# -- the hub ---------------------------------------------------------------------------------------


def test_leaving_out_a_revision_is_an_error(world) -> None:
    with pytest.raises(ValueError, match="published after"):
        world.hub.publish(3, ())


def test_what_everybody_has_taken_is_not_kept(world) -> None:
    clients = [world.client() for _ in range(3)]
    for client in clients:
        client.watch(b"k")
        client.drain()
    world.put(b"k")
    assert world.hub.pending_count == 3
    for client in clients:
        client.drain()
    assert world.hub.pending_count == 0
    assert world.hub.events_sent == 3
    world.put(b"nobody")
    assert world.hub.pending_count == 0


def test_after_an_installed_snapshot_everybody_reads_what_was_not_published(world, make_world) -> None:
    client = world.client()
    client.watch(b"k")
    client.watch(b"idle")
    client.watch(b"k", start_revision=9)
    client.drain()
    world.put(b"k")
    client.drain()
    world.put(b"k")  # published, not taken
    newer = make_world()
    for _ in range(3):
        newer.put(b"k")
    newer.put(b"idle")
    world.store = newer.store
    world.hub.history_replaced(newer.store)
    world.hub.check()
    responses = client.drain()
    assert [(response.watch_id, mod_revisions([response])) for response in responses] == [
        (0, [3, 4]),
        (1, [5]),
    ]
    for _ in range(4):
        world.put(b"k")
    heard = [(response.watch_id, response.header.revision) for response in client.drain()]
    assert [revision for watch_id, revision in heard if watch_id == 0] == [6, 7, 8, 9]
    assert [revision for watch_id, revision in heard if watch_id == 2] == [9]


def test_a_publication_that_a_replaced_history_ends_leaves_nothing_behind(world, make_world) -> None:
    client = world.client()
    client.watch(b"k")
    transaction = world.store.begin()
    transaction.put(b"k", b"v")
    done = transaction.changes
    publication = Sliced(lambda turn: world.hub.publish_steps(done.revision, done.records, turn))
    publication.step()
    newer = make_world()
    newer.put(b"k")
    publication.close()
    world.store = newer.store
    world.hub.history_replaced(newer.store)
    assert world.hub._joined is None  # or every later watcher would be kept
    assert mod_revisions(client.drain()) == [2]


def test_a_replaced_history_that_is_compacted_beyond_cancels(world, make_world) -> None:
    client = world.client()
    client.watch(b"k")
    client.drain()
    newer = make_world()
    for _ in range(5):
        newer.put(b"k")
    newer.compact(5)
    world.hub.history_replaced(newer.store)
    (canceled,) = client.drain()
    assert (canceled.canceled, canceled.compact_revision) == (True, 5)
