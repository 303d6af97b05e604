"""What a client of one watch stream is told: one test for each rule of etcd's watch."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from etcdpb import kv_pb2
from rusd.watch.catchup import BATCH_REVISIONS
from rusd.watch.stream import CONGESTED_ANSWERS, MAX_PROGRESS_MARKS
from tests.support.slices import Sliced

PUT, DELETE = kv_pb2.Event.PUT, kv_pb2.Event.DELETE


def mod_revisions(responses: list) -> list[int]:
    return [event.kv.mod_revision for response in responses for event in response.events]


# -- creating -------------------------------------------------------------------


def test_the_created_answer_carries_the_id_and_the_current_revision(world) -> None:
    world.put(b"a")
    client = world.client()
    assert client.watch(b"k") == 0
    (created,) = client.drain()
    assert (created.created, created.canceled, created.watch_id) == (True, False, 0)
    assert created.header.revision == 2
    assert created.header.raft_term == 7
    assert not created.events


def test_the_created_answer_comes_before_all_events(world) -> None:
    world.put(b"k")
    client = world.client()
    client.watch(b"k", start_revision=1)
    client.watch(b"k")
    world.put(b"k")
    responses = client.drain()
    assert [response.created for response in responses[:2]] == [True, True]
    assert not any(response.created for response in responses[2:])
    assert {response.watch_id for response in responses[2:]} == {0, 1}


def test_ids_count_up_skip_those_in_use_and_never_go_back(world) -> None:
    client = world.client()
    assert client.watch(b"k") == 0
    assert client.watch(b"k", watch_id=1) == 1
    assert client.watch(b"k") == 2
    client.stream.cancel(2)
    assert client.watch(b"k") == 3
    assert client.watch(b"k", watch_id=-7) == -7
    assert client.watch(b"k", watch_id=2) == 2  # a cancel frees the id for those who name it


def test_ids_are_per_stream(world) -> None:
    assert world.client().watch(b"k", watch_id=5) == 5
    assert world.client().watch(b"k", watch_id=5) == 5


def test_a_duplicate_id_is_refused(world) -> None:
    client = world.client()
    client.watch(b"k", watch_id=5)
    assert client.watch(b"other", watch_id=5) == -1
    _, refused = client.drain()
    assert (refused.created, refused.canceled, refused.watch_id) == (True, True, -1)
    assert refused.cancel_reason == "mvcc: duplicate watch ID provided on the WatchStream"
    assert refused.header.revision == 1
    assert refused.compact_revision == 0
    world.put(b"k")
    assert mod_revisions(client.drain()) == [2]  # the first one lives


def test_a_negative_start_revision_is_refused_as_compacted(world) -> None:
    client = world.client()
    assert client.watch(b"b", b"a", start_revision=-1, watch_id=3) == -1
    (refused,) = client.drain()
    assert (refused.created, refused.canceled, refused.watch_id) == (True, True, -1)
    assert refused.cancel_reason == "etcdserver: mvcc: required revision has been compacted"
    assert refused.compact_revision == 0


@pytest.mark.parametrize("range_end", [b"a", b"b"])
def test_an_empty_range_is_refused(world, range_end: bytes) -> None:
    client = world.client()
    client.watch(b"x", watch_id=3)
    assert client.watch(b"b", range_end, watch_id=3) == -1
    refused = client.drain()[-1]
    assert (refused.created, refused.canceled, refused.watch_id) == (True, True, -1)
    assert refused.cancel_reason == "mvcc: watcher range is empty"  # looked at before the id


def test_a_refusal_for_other_reasons_has_their_text(world) -> None:
    client = world.client()
    reason = "rpc error: code = PermissionDenied desc = etcdserver: permission denied"
    assert client.stream.reject(reason) == -1
    (refused,) = client.drain()
    assert (refused.created, refused.canceled, refused.watch_id) == (True, True, -1)
    assert refused.cancel_reason == reason
    assert client.watch(b"k") == 0  # the stream lives on, and no id was used


# -- ranges and filters -----------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "range_end", "expected"),
    [
        (b"b", b"", [b"b"]),
        (b"b", b"c", [b"b", b"bb"]),
        (b"b", b"\x00", [b"b", b"bb", b"c"]),
        (b"\x00", b"\x00", [b"a", b"b", b"bb", b"c"]),
        (b"", b"\x00", [b"a", b"b", b"bb", b"c"]),
        (b"", b"", []),
        (b"", b"b", [b"a"]),
    ],
)
@pytest.mark.parametrize("start_revision", [0, 1])
def test_ranges_are_those_of_range_requests(world, key, range_end, expected, start_revision: int) -> None:
    client = world.client()
    if start_revision == 0:
        client.watch(key, range_end)
    for name in (b"a", b"b", b"bb", b"c"):
        world.put(name)
    if start_revision:
        client.watch(key, range_end, start_revision)
    keys = [event.kv.key for response in client.drain() for event in response.events]
    assert keys == expected


def test_an_empty_key_stands_for_one_zero_byte(world) -> None:
    client = world.client()
    client.watch(b"")
    world.put(b"\x00")
    assert mod_revisions(client.drain()) == [2]


@pytest.mark.parametrize("start_revision", [0, 1])
@pytest.mark.parametrize(
    ("filters", "expected"),
    [([], [2, 3, 4]), ([0], [3]), ([1], [2, 4]), ([0, 1], []), ([7, -1], [2, 3, 4]), ([1, 1], [2, 4])],
)
def test_filters_drop_puts_or_deletes_and_leave_no_empty_response(
    world, filters: list[int], expected: list[int], start_revision: int
) -> None:
    client = world.client()
    if start_revision == 0:
        client.watch(b"k", filters=filters)
    world.put(b"k")
    world.delete(b"k")
    world.put(b"k")
    if start_revision:
        client.watch(b"k", b"", start_revision, filters=filters)
    created, *rest = client.drain()
    assert created.created
    assert mod_revisions(rest) == expected
    assert all(response.events for response in rest)


# -- start revisions ----------------------------------------------------------------


def test_start_revision_zero_hears_what_comes_after_creation(world) -> None:
    world.put(b"k")
    client = world.client()
    client.watch(b"k")
    world.put(b"k")
    assert mod_revisions(client.drain()) == [3]


def test_a_past_start_revision_is_inclusive_and_history_goes_over_into_the_present(world) -> None:
    for _ in range(4):
        world.put(b"k")
    client = world.client()
    client.watch(b"k", start_revision=3)
    assert mod_revisions(client.drain()) == [3, 4, 5]
    world.put(b"k")
    assert mod_revisions(client.drain()) == [6]


def test_a_start_at_the_current_revision_is_history(world) -> None:
    world.put(b"k")
    client = world.client()
    client.watch(b"k", start_revision=2)
    assert mod_revisions(client.drain()) == [2]


def test_a_future_start_revision_waits_for_it(world) -> None:
    client = world.client()
    client.watch(b"k", start_revision=4)
    for _ in range(4):
        world.put(b"k")
    assert mod_revisions(client.drain()) == [4, 5]


def test_who_comes_while_a_large_revision_is_published_waits_for_a_future_start_too(world) -> None:
    client = world.client()
    client.watch(b"k", b"l")

    def at_pause() -> None:
        if len(client.stream.watchers) == 1:
            client.watch(b"k", b"l", start_revision=5)

    world.write([(b"k%d" % number, b"v", 0) for number in range(5)], at_pause)
    assert len(client.stream.watchers) == 2
    for _ in range(4):
        world.put(b"k")
    late = [response for response in client.drain() if response.watch_id == 1]
    assert mod_revisions(late) == [5, 6]


def test_a_start_below_the_compacted_revision_is_created_then_canceled(world) -> None:
    for _ in range(5):
        world.put(b"k")
    world.compact(4)
    client = world.client()
    assert client.watch(b"k", start_revision=3) == 0
    created, canceled = client.drain()
    assert (created.created, created.canceled, created.header.revision) == (True, False, 6)
    assert (canceled.created, canceled.canceled, canceled.watch_id) == (False, True, 0)
    assert canceled.compact_revision == 4
    assert canceled.header.revision == 0
    assert canceled.header.cluster_id != 0
    assert canceled.cancel_reason == ""
    world.put(b"k")
    assert client.drain() == []


def test_an_overtaken_watch_keeps_its_id_until_it_is_cancelled(world) -> None:
    world.put(b"k")
    world.put(b"k")
    world.compact(3)
    client = world.client()
    client.watch(b"k", start_revision=1, watch_id=5)
    client.drain()
    assert client.watch(b"k", watch_id=5) == -1
    client.stream.request_progress()
    assert [response.cancel_reason != "" for response in client.drain()] == [True]  # and no progress
    assert client.stream.cancel(5)
    assert client.watch(b"k", watch_id=5) == 5
    world.hub.check()


def test_a_start_at_the_compacted_revision_is_fine_for_puts_and_tombstones(world) -> None:
    world.put(b"k")
    world.delete(b"k")
    world.compact(3)
    client = world.client()
    client.watch(b"k", start_revision=3, prev_kv=True)
    (event,) = client.drain()[1].events
    assert (event.type, event.kv.mod_revision) == (DELETE, 3)
    assert not event.HasField("prev_kv")  # it stood at a compacted revision


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


# -- cancelling ------------------------------------------------------------------------------


def test_cancel_is_answered_and_nothing_follows(world) -> None:
    client = world.client()
    watch_id = client.watch(b"k")
    client.drain()
    world.put(b"k")
    assert client.stream.cancel(watch_id)
    world.put(b"k")
    (canceled,) = client.drain()
    assert (canceled.canceled, canceled.created, canceled.watch_id) == (True, False, watch_id)
    assert (canceled.cancel_reason, canceled.compact_revision) == ("", 0)
    assert canceled.header.revision == 2
    assert world.hub.watcher_count == 0
    assert world.hub.pending_count == 0


def test_cancel_of_an_unknown_id_has_no_answer(world) -> None:
    client = world.client()
    assert not client.stream.cancel(4)
    assert not client.stream.has_output
    assert client.wakes == 0


def test_cancel_while_catching_up_leaves_the_others_alone(world) -> None:
    for _ in range(1500):
        world.put(b"k")
    client = world.client()
    first, second = client.watch(b"k", start_revision=2), client.watch(b"k", start_revision=2)
    client.pull(1)
    client.stream.cancel(first)
    world.hub.check()
    rest = client.drain()
    assert rest[0].canceled
    assert {response.watch_id for response in rest[1:]} == {second}
    assert mod_revisions(rest)[-1] == 1501


def test_a_new_watch_under_a_freed_id_hears_nothing_of_the_old_one(world) -> None:
    client = world.client()
    client.watch(b"a", watch_id=5)
    client.drain()
    world.put(b"a")
    client.stream.cancel(5)
    client.watch(b"b", watch_id=5)
    world.put(b"b")
    assert mod_revisions(client.drain()) == [3]


def test_closing_ends_everything_and_may_be_repeated(world) -> None:
    for _ in range(3):
        world.put(b"k")
    client, other = world.client(), world.client()
    for each in (client, other):
        each.watch(b"k")
        each.watch(b"k", start_revision=2)
        each.drain()
    client.watch(b"k", start_revision=1)
    world.put(b"k")
    client.stream.close()
    client.stream.close()
    assert not client.stream.has_output
    assert world.hub.stream_count == 1
    assert world.hub.watcher_count == 2
    world.hub.check()
    other.drain()
    assert world.hub.pending_count == 0


# -- progress ---------------------------------------------------------------------------------


def test_a_progress_request_has_one_answer_for_the_whole_stream(world) -> None:
    client = world.client()
    client.watch(b"a")
    client.watch(b"b")
    world.put(b"c")
    client.drain()
    client.stream.request_progress()
    (progress,) = client.drain()
    assert (progress.watch_id, progress.header.revision) == (-1, 2)
    assert not (progress.created or progress.canceled or progress.events)


def test_a_progress_request_without_watchers_has_no_answer(world) -> None:
    client = world.client()
    client.stream.request_progress()
    assert not client.stream.has_output


def test_a_progress_request_while_a_watcher_reads_history_has_no_answer_now_or_later(world) -> None:
    world.put(b"k")
    client = world.client()
    client.watch(b"k")
    client.watch(b"k", start_revision=2)
    client.stream.request_progress()
    assert all(response.watch_id != -1 for response in client.drain())


def test_a_progress_request_before_a_start_revision_has_no_answer(world) -> None:
    client = world.client()
    client.watch(b"k", start_revision=2)  # the next revision
    client.drain()
    client.stream.request_progress()
    assert not client.stream.has_output
    world.put(b"k")
    client.stream.request_progress()
    assert [response.watch_id for response in client.drain()] == [0, -1]


def test_progress_goes_out_behind_the_events_up_to_its_revision(world) -> None:
    client = world.client()
    client.watch(b"k")
    client.drain()
    world.put(b"k")
    client.stream.request_progress()
    world.put(b"k")
    responses = client.drain(budget=1)
    assert [(response.watch_id, response.header.revision) for response in responses] == [
        (0, 2),
        (-1, 2),
        (0, 3),
    ]


def test_progress_is_dropped_if_a_watcher_with_older_events_joins_before_it_is_out(world) -> None:
    for _ in range(1500):
        world.put(b"k")
    client = world.client()
    client.watch(b"k")
    client.drain()
    world.put(b"k")
    client.stream.request_progress()
    client.watch(b"k", start_revision=2)
    assert all(response.watch_id != -1 for response in client.drain())


def test_unread_progress_answers_are_bounded(world) -> None:
    client = world.client()
    client.watch(b"k")
    world.put(b"k")
    for _ in range(2 * MAX_PROGRESS_MARKS):
        client.stream.request_progress()
    world.hub.check()
    assert sum(response.watch_id == -1 for response in client.drain()) == MAX_PROGRESS_MARKS
    world.put(b"k")
    client.stream.request_progress()  # there is room again
    assert [response.watch_id for response in client.drain()] == [0, -1]


def test_periodic_progress_is_for_idle_watchers_that_asked(world) -> None:
    client = world.client()
    client.watch(b"a", progress_notify=True)
    client.watch(b"b")
    client.drain()
    world.put(b"c")
    client.stream.tick_progress()
    (progress,) = client.drain()
    assert (progress.watch_id, progress.header.revision) == (0, 2)
    assert not progress.events


def test_a_watcher_that_had_events_skips_one_tick(world) -> None:
    client = world.client()
    client.watch(b"a", progress_notify=True)
    world.put(b"a")
    client.drain()
    client.stream.tick_progress()
    assert client.drain() == []
    client.stream.tick_progress()
    assert [response.watch_id for response in client.drain()] == [0]


def test_periodic_progress_skips_watchers_that_read_history_or_wait_for_a_revision(world) -> None:
    world.put(b"k")
    client = world.client()
    client.watch(b"k", start_revision=2, progress_notify=True)
    client.watch(b"k", start_revision=9, progress_notify=True)
    client.stream.tick_progress()
    assert all(response.created or response.events for response in client.drain())


@pytest.mark.parametrize("events_pending", [False, True])
def test_a_client_that_takes_nothing_is_told_of_its_progress_once(world, events_pending: bool) -> None:
    client = world.client()
    client.watch(b"k")
    for _ in range(3):
        client.watch(b"idle", progress_notify=True)
    client.drain()
    for _ in range(2):  # it is told again once it has taken that
        if events_pending:
            world.put(b"k")
        for _ in range(50):
            client.stream.tick_progress()
            world.hub.check()
        responses = client.drain(budget=1)
        assert [response.watch_id for response in responses if not response.events] == [1, 2, 3]
        world.hub.check()


@pytest.mark.parametrize("ask", ["tick_progress", "request_progress"])
def test_progress_costs_no_look_at_what_is_pending(world, ask: str) -> None:
    class Unseen(list):
        def __iter__(self):
            raise AssertionError("looked through")

    client = world.client()
    client.watch(b"k")
    client.watch(b"idle", progress_notify=True)
    client.drain()
    for _ in range(10):
        world.put(b"k")
    client.stream._pending = Unseen(client.stream._pending)
    getattr(client.stream, ask)()
    assert len(client.stream._pending) == 11


def test_periodic_progress_of_a_cancelled_watcher_is_not_sent(world) -> None:
    client = world.client()
    client.watch(b"k")
    idle = client.watch(b"idle", progress_notify=True)
    client.drain()
    world.put(b"k")
    client.stream.tick_progress()
    client.stream.cancel(idle)
    responses = client.drain()
    assert [(response.watch_id, response.canceled) for response in responses] == [(idle, True), (0, False)]


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
