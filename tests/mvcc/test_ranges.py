"""Range requests: filters, order, limit and ``more``; in one go and in slices."""

from __future__ import annotations

import attrs
import pytest

from etcdpb import rpc_pb2
from rusd.mvcc import CompactedError, FutureRevisionError, RangeOptions, evaluate, evaluate_steps
from rusd.steps import PAGE
from tests.support.slices import Sliced

ASCEND, DESCEND = 1, 2
KEY, VERSION, CREATE, MOD, VALUE = range(5)


@pytest.fixture
def fruit(player):
    """apple (create 2, mod 5, version 2, "b"), banana (3, 3, 1, "a"), cherry (4, 4, 1, "b")."""
    player.put(b"apple", b"x")
    player.put(b"banana", b"a")
    player.put(b"cherry", b"b")
    player.put(b"apple", b"b")
    return player


def job_of(store, request):
    return Sliced(lambda turn: evaluate_steps(store, request, turn))


def ask(player, **options):
    """The keys' first letters; the job gives the same answer as the direct way."""
    request = RangeOptions(**{"key": b"\x00", "range_end": b"\x00", **options})
    result = evaluate(player.store, request)
    job = job_of(player.store, request)
    while not job.step():
        assert player.store.pins <= 1
    assert attrs.astuple(job.result) == attrs.astuple(result)
    return b"".join(record.key[:1] for record in result.records).decode(), result.count, result.more


def test_keys_come_in_order(fruit) -> None:
    assert ask(fruit) == ("abc", 3, False)


@pytest.mark.parametrize(("limit", "keys", "more"), [(0, "abc", False), (-1, "abc", False), (1, "a", True)])
def test_a_limit_cuts_and_says_so(fruit, limit, keys, more) -> None:
    assert ask(fruit, limit=limit) == (keys, 3, more)


@pytest.mark.parametrize("limit", [3, 4, 2**63 - 1])
def test_a_limit_that_is_enough_leaves_nothing(fruit, limit) -> None:
    assert ask(fruit, limit=limit) == ("abc", 3, False)


@pytest.mark.parametrize(
    ("target", "ascending", "descending"),
    [(KEY, "abc", "cba"), (VERSION, "bca", "abc"), (CREATE, "abc", "cba"), (MOD, "bca", "acb")],
)
def test_sorting_comes_before_the_limit(fruit, target, ascending, descending) -> None:
    assert ask(fruit, sort_order=ASCEND, sort_target=target) == (ascending, 3, False)
    assert ask(fruit, sort_order=DESCEND, sort_target=target) == (descending, 3, False)
    assert ask(fruit, sort_order=DESCEND, sort_target=target, limit=1) == (descending[0], 3, True)


def test_equal_values_stay_in_key_order(fruit) -> None:
    assert ask(fruit, sort_order=ASCEND, sort_target=VALUE)[0] == "bac"
    assert ask(fruit, sort_order=DESCEND, sort_target=VALUE)[0] == "acb"


def test_a_target_without_an_order_sorts_only_what_the_limit_let_in(fruit) -> None:
    assert ask(fruit, sort_target=MOD) == ("bca", 3, False)
    # limit + 1 keys are read: apple and banana
    assert ask(fruit, sort_target=MOD, limit=1) == ("b", 3, True)
    assert ask(fruit, sort_target=CREATE, limit=1) == ("a", 3, True)
    # a filter makes it read them all
    assert ask(fruit, sort_target=MOD, limit=1, min_mod_revision=4) == ("c", 3, True)


@pytest.mark.parametrize(
    ("bounds", "keys"),
    [
        ({"min_mod_revision": 4}, "ac"),
        ({"max_mod_revision": 4}, "bc"),
        ({"min_create_revision": 3}, "bc"),
        ({"max_create_revision": 3}, "ab"),
        ({"min_mod_revision": 4, "max_create_revision": 3}, "a"),
        ({"min_mod_revision": 6}, ""),
        ({"max_mod_revision": -1}, ""),
    ],
)
def test_revision_bounds_are_inclusive_and_leave_the_count_alone(fruit, bounds, keys) -> None:
    assert ask(fruit, **bounds) == (keys, 3, False)


def test_bounds_come_before_the_limit(fruit) -> None:
    assert ask(fruit, min_mod_revision=4, limit=1) == ("a", 3, True)
    assert ask(fruit, min_mod_revision=4, limit=2) == ("ac", 3, False)


def test_count_only_ignores_all_else(fruit) -> None:
    assert ask(fruit, count_only=True, limit=1, sort_order=DESCEND, min_mod_revision=5) == ("", 3, False)
    assert ask(fruit, count_only=True, revision=3) == ("", 2, False)


def test_keys_only_still_sorts_by_value(fruit) -> None:
    request = RangeOptions(b"\x00", b"\x00", keys_only=True, sort_order=ASCEND, sort_target=VALUE)
    result = evaluate(fruit.store, request)
    assert result.keys_only
    answer = rpc_pb2.RangeResponse.FromString(b"".join(r.field_without_value for r in result.records))
    assert [(kv.key, kv.version, kv.value) for kv in answer.kvs] == [
        (b"banana", 1, b""),
        (b"apple", 2, b""),
        (b"cherry", 1, b""),
    ]


def test_the_past_is_read_as_it_was_under_the_current_header(fruit) -> None:
    assert ask(fruit, revision=3) == ("ab", 2, False)
    assert evaluate(fruit.store, RangeOptions(b"apple", revision=2)).revision == 5
    assert ask(fruit, key=b"apple", range_end=b"", revision=2) == ("a", 1, False)
    assert ask(fruit, key=b"banana", range_end=b"", revision=2) == ("", 0, False)


def test_an_empty_range_is_no_error(fruit) -> None:
    assert ask(fruit, key=b"b", range_end=b"a") == ("", 0, False)


def test_a_protobuf_request_is_taken_as_it_is(fruit) -> None:
    request = rpc_pb2.RangeRequest(key=b"a", range_end=b"c", sort_order="DESCEND", limit=1)
    result = evaluate(fruit.store, request)
    assert ([record.key for record in result.records], result.more) == ([b"banana"], True)


def test_an_unknown_sort_target_does_not_raise(fruit) -> None:
    assert ask(fruit, sort_order=DESCEND, sort_target=9) == ("cba", 3, False)


def test_both_ways_refuse_the_future_and_the_compacted_past(fruit) -> None:
    fruit.compact(4)
    for way in (
        lambda request: evaluate(fruit.store, request),
        lambda request: job_of(fruit.store, request).step(),
    ):
        with pytest.raises(CompactedError):
            way(RangeOptions(b"a", revision=3))
        with pytest.raises(FutureRevisionError):
            way(RangeOptions(b"a", revision=6))


def test_a_job_does_not_see_what_happens_meanwhile(fruit) -> None:
    job = job_of(fruit.store, RangeOptions(b"\x00", b"\x00"))
    job.step(1)
    fruit.delete(b"a", b"\x00")
    fruit.put(b"blueberry")
    fruit.store.compact(7)
    fruit.store.last_compaction.step(100)
    while not job.step(1):
        pass
    assert [record.key for record in job.result.records] == [b"apple", b"banana", b"cherry"]
    assert job.result.revision == 5


def test_an_abandoned_job_lets_compactions_go_on(fruit) -> None:
    job = job_of(fruit.store, RangeOptions(b"\x00", b"\x00"))
    job.step()
    assert fruit.store.pins == 1
    job.close()
    assert fruit.store.pins == 0


@pytest.mark.parametrize("limit", [0, 3, 2 * PAGE])
@pytest.mark.parametrize("target", [KEY, MOD, VALUE])
@pytest.mark.parametrize("order", [ASCEND, DESCEND])
def test_sorting_and_filtering_many_keys_goes_in_steps(player, order, target, limit) -> None:
    size = 6 * PAGE + 3
    for start in range(0, size, PAGE):
        names = range(start, min(start + PAGE, size))
        player.write(lambda t: [t.put(b"k%06d" % n, b"%03d" % (n * 7 % 101)) for n in names])  # noqa: B023
    request = RangeOptions(
        b"k", b"l", limit, sort_order=order, sort_target=target, min_mod_revision=3, max_mod_revision=7
    )
    job = job_of(player.store, request)
    while not job.step(100):
        pass
    assert attrs.astuple(job.result) == attrs.astuple(evaluate(player.store, request))
    assert job.pauses > 2 * size / PAGE
