"""What watchers are told: each way of telling it wrong is caught, and what etcd may do is not."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chaos.checkers import log, watch
from chaos.history import Delivery, End, History, Operation, Watch, WatchEnd
from chaos.model import DELETE, PUT, Answer, Compact, Delete, Event, KeyValue, Put, Txn, prefix_end
from tests.chaos.histories import Play, changed, deliveries, plays

calm = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def found(history: History) -> list[str]:
    """What the checker says."""
    return [violation.text for violation in watch.check(history, log.build(history))]


def some_changes() -> Play:
    """Puts, a deletion, and a transaction of two puts."""
    play = Play()
    play.do(Put("register/a", "1"))
    play.do(Put("register/a", "2"))
    play.do(Delete("register/a"))
    play.do(Txn((), (Put("pair/a", "x"), Put("pair/b", "x"))))
    play.do(Put("register/b", "3"))
    return play


Damage = Callable[[list[Delivery]], list[Delivery]]


def damaged(history: History, damage: Damage) -> History:
    """What the first watcher was told, changed; the second still knows the truth."""
    told = deliveries(history)
    others = [one for one in history.records if one not in told]
    return History([*others, *damage(told)])


def duplicated(told: list[Delivery]) -> list[Delivery]:
    return [*told[:2], told[1], *told[2:]]


def reordered(told: list[Delivery]) -> list[Delivery]:
    return [told[1], told[0], *told[2:]]


def deletion_missed(told: list[Delivery]) -> list[Delivery]:
    return [one for one in told if one.events[0].kind != DELETE]


def put_missed(told: list[Delivery]) -> list[Delivery]:
    return [told[0], *told[2:]]


def split(told: list[Delivery]) -> list[Delivery]:
    first, second = told[3].events
    return [
        *told[:3],
        attrs.evolve(told[3], events=(first,)),
        attrs.evolve(told[3], events=(second,)),
        *told[4:],
    ]


def half(told: list[Delivery]) -> list[Delivery]:
    return [*told[:3], attrs.evolve(told[3], events=told[3].events[:1]), *told[4:]]


def swapped_inside(told: list[Delivery]) -> list[Delivery]:
    return [*told[:3], attrs.evolve(told[3], events=told[3].events[::-1]), *told[4:]]


def wrong_value(told: list[Delivery]) -> list[Delivery]:
    event = told[0].events[0]
    other = attrs.evolve(event, kv=attrs.evolve(event.kv, value="else"))
    return [attrs.evolve(told[0], events=(other,)), *told[1:]]


def wrong_previous(told: list[Delivery]) -> list[Delivery]:
    event = attrs.evolve(told[1].events[0], previous=KeyValue("register/a", "never"))
    return [told[0], attrs.evolve(told[1], events=(event,)), *told[2:]]


def missing_previous(told: list[Delivery]) -> list[Delivery]:
    event = attrs.evolve(told[1].events[0], previous=None)
    return [told[0], attrs.evolve(told[1], events=(event,)), *told[2:]]


def invented(told: list[Delivery]) -> list[Delivery]:
    event = Event(PUT, KeyValue("nobody", "x", 2, 2, 1))
    return [attrs.evolve(told[0], events=(event,)), *told]


def promise_broken(told: list[Delivery]) -> list[Delivery]:
    return [attrs.evolve(told[0], revision=5, events=()), *told]


def from_the_past(told: list[Delivery]) -> list[Delivery]:
    return [*told[:-1], attrs.evolve(told[-1], revision=2)]


def stopped(told: list[Delivery]) -> list[Delivery]:
    return told[:-1]


@pytest.mark.parametrize(
    "damage",
    [
        duplicated,
        reordered,
        deletion_missed,
        put_missed,
        split,
        half,
        swapped_inside,
        wrong_value,
        wrong_previous,
        missing_previous,
        invented,
        promise_broken,
        from_the_past,
    ],
    ids=lambda damage: damage.__name__,
)
def test_what_is_told_wrong_is_caught(damage: Damage) -> None:
    history = some_changes().history()
    assert found(history) == []
    told = deliveries(history)
    ends = [one for one in history.records if isinstance(one, End)]
    others = [one for one in history.records if one not in told and one not in ends]
    assert found(History([*others, *damage(told), *ends]))


def test_a_watcher_that_is_never_told_the_rest_is_caught() -> None:
    assert any("never told" in text for text in found(damaged(some_changes().history(), stopped)))


@calm
@given(plays(), st.data())
def test_one_event_told_twice_or_not_at_all_is_caught_anywhere(play: Play, data: st.DataObject) -> None:
    history = play.history()
    told = deliveries(history)
    if not told:
        return
    which = data.draw(st.integers(0, len(told) - 1))
    for now in ([], [told[which], told[which]]):
        assert found(changed(history, told[which], *now))


# -- what is allowed ---------------------------------------------------------------------------


def test_a_watcher_of_a_part_is_told_that_part() -> None:
    history = some_changes().history()
    part = [
        attrs.evolve(one, watcher="part", events=tuple(e for e in one.events if e.kv.key < "q"))
        for one in deliveries(history)
    ]
    told = [one for one in part if one.events]
    begun = Watch("part", 1, 0, "pair/", prefix_end("pair/"), 2, 0.0, True)
    assert found(History([*history.records, begun, *told])) == []


def test_a_filtered_watcher_misses_what_it_asked_to_miss() -> None:
    history = some_changes().history()
    told = [attrs.evolve(one, watcher="puts") for one in deliveries(history) if one.events[0].kind == PUT]
    begun = Watch("puts", 1, 0, "\0", "\0", 2, 0.0, True, drop=(DELETE,))
    assert found(History([*history.records, begun, *told])) == []


def resumed(start: int, compacted: int, asked: int) -> History:
    """A watcher that is told one event, loses its stream, and goes on at ``start``."""
    history = some_changes().history()
    told = [attrs.evolve(one, watcher="chain") for one in deliveries(history)]
    begun = Watch("chain", 1, 0, "\0", "\0", 2, 0.0, True)
    end = WatchEnd("chain", 1, 1.0, "gone", compacted)
    again = attrs.evolve(begun, session=2, start=start)
    rest = [attrs.evolve(one, session=2) for one in told if one.revision >= start]
    compact = Operation(99, 1, 0, "x", Compact(asked), 0.0, 0.1, "ok", Answer(2))
    return History([*history.records, compact, begun, told[0], end, again, *rest])


def test_a_watcher_may_resume_where_it_stopped() -> None:
    assert found(resumed(start=3, compacted=0, asked=0)) == []


def test_a_compaction_excuses_a_gap_if_somebody_asked_for_it() -> None:
    assert found(resumed(start=5, compacted=5, asked=5)) == []
    assert any("nobody asked" in text for text in found(resumed(start=5, compacted=5, asked=4)))


def test_what_was_before_may_be_compacted_but_only_once_somebody_has_asked_for_that() -> None:
    history = some_changes().history()
    compact = Operation(99, 1, 0, "x", Compact(6), 0.0, 0.1, "ok", Answer(2))
    ends = [one for one in history.records if isinstance(one, End)]
    told = deliveries(history)
    others = [one for one in history.records if one not in told and one not in ends]
    assert found(History([*others, compact, *missing_previous(told), *ends])) == []
    late = attrs.evolve(compact, invoked=told[1].at + 1)
    assert found(History([*others, late, *missing_previous(told), *ends]))


def test_progress_that_is_true_passes() -> None:
    history = some_changes().history()
    told = deliveries(history)
    progress = attrs.evolve(told[-1], events=())
    assert found(changed(history, told[-1], told[-1], progress)) == []
