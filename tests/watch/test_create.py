"""Creating and cancelling watches: what a client of one stream is told, and from which revision on."""

from __future__ import annotations

import pytest

from etcdpb import kv_pb2
from tests.watch.responses import mod_revisions

PUT, DELETE = kv_pb2.Event.PUT, kv_pb2.Event.DELETE


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
