"""The model answers as etcd does, and can take back what it did."""

from __future__ import annotations

import copy

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chaos.model import (
    DELETE,
    WHOLE,
    Compare,
    Delete,
    KeyValue,
    Put,
    Range,
    Store,
    Txn,
    as_txn,
    in_range,
    prefix_end,
)
from tests.chaos.histories import Play, plays


def store_of(*keys: str) -> Store:
    """A store in which each key was put once, from revision 2 on."""
    store = Store()
    for revision, key in enumerate(keys, 2):
        store.run(as_txn(Put(key, key.upper())), revision)
    return store


def test_a_put_counts_versions_and_keeps_the_creation() -> None:
    store = store_of("a")
    (event,) = store.run(as_txn(Put("a", "x", 7)), 9).events
    assert event.kv == KeyValue("a", "x", create=2, mod=9, version=2, lease=7)
    assert event.previous == KeyValue("a", "A", create=2, mod=2, version=1)


def test_a_key_that_was_deleted_begins_anew() -> None:
    store = store_of("a")
    step = store.run(as_txn(Delete("a")), 3)
    assert step.results == (1,)
    assert step.events[0].kv == KeyValue("a", mod=3)
    (event,) = store.run(as_txn(Put("a", "x")), 4).events
    assert (event.kv.create, event.kv.version) == (4, 1)


def test_a_transaction_sees_its_own_changes() -> None:
    store = store_of("a", "b")
    txn = Txn((), (Put("a", "x"), Range("a"), Delete("a", prefix_end("b")), Range("a", prefix_end("b"))))
    step = store.run(txn, 5)
    assert step.results == (None, (KeyValue("a", "x", 2, 5, 2),), 2, ())
    assert [event.kind for event in step.events] == ["PUT", DELETE, DELETE]


def test_conditions_hold_as_in_etcd() -> None:
    store = store_of("a")
    cases = [
        (Compare("a", "value", "=", "A"), True),
        (Compare("a", "value", "!=", "A"), False),
        (Compare("a", "value", ">", "0"), True),
        (Compare("a", "mod", "<", 3), True),
        (Compare("a", "version", "=", 1), True),
        (Compare("none", "create", "=", 0), True),
        (Compare("none", "version", "=", 0), True),
        (Compare("none", "value", "=", ""), False),
        (Compare("none", "value", "!=", "x"), False),
    ]
    for compare, expected in cases:
        assert store.run(Txn((compare,)), 9).succeeded is expected, compare


def test_ranges_are_those_of_etcd() -> None:
    assert in_range("a", "a", "")
    assert not in_range("ab", "a", "")
    assert in_range("ab", "a", prefix_end("a"))
    assert not in_range("b", "a", prefix_end("a"))
    assert in_range("anything", WHOLE, WHOLE)
    store = store_of("a", "ab", "b")
    assert [kv.key for kv in store.select("a", "b")] == ["a", "ab"]
    assert [kv.key for kv in store.select(WHOLE, WHOLE)] == ["a", "ab", "b"]
    assert store.select("c", "") == []


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(plays(), st.sampled_from([Delete(WHOLE, WHOLE), Put("register/a", "x"), Delete("nothing")]))
def test_undo_takes_everything_back(play: Play, request: Put | Delete) -> None:
    before = copy.deepcopy(play.store.keys)
    step = play.store.run(as_txn(request), 1000)
    play.store.undo(step.events)
    assert play.store.keys == before
    play.store.apply(step.events)
    again = Play(revision=play.revision)
    for _, events in play.log:
        again.store.apply(events)
    again.store.run(as_txn(request), 1000)
    assert play.store.keys == again.store.keys
