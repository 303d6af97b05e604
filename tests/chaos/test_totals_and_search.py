"""Checks that trust no revision: sums that must come out, and the search for an order."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chaos.checkers import linearize, totals
from chaos.checkers.linearize import Call, beginning, calls_by_key, search
from chaos.history import OK, UNKNOWN, History
from chaos.model import Compare, Delete, KeyValue, Put, Range, Txn, prefix_end
from tests.chaos.histories import Play, plays, with_answer

calm = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])

COUNTER, LIST = "count/a", "list/a"


def add(play: Play, outcome: str = OK) -> None:
    """One addition, as the workload makes it."""
    found = play.store.keys.get(COUNTER)
    condition = Compare(COUNTER, "mod", "=", found.mod if found else 0)
    value = str(int(found.value) + 1 if found else 1)
    play.do(Txn((condition,), (Put(COUNTER, value),), (Range(COUNTER),)), note="add", outcome=outcome)


def append(play: Play, item: str) -> None:
    """One element more, as the workload makes it."""
    found = play.store.keys.get(LIST)
    condition = Compare(LIST, "mod", "=", found.mod if found else 0)
    value = f"{found.value},{item}" if found else item
    play.do(Txn((condition,), (Put(LIST, value),), (Range(LIST),)), note="append")


def read_as(key: str, value: str) -> tuple[tuple[KeyValue, ...]]:
    """The result of a read that found ``value``."""
    return ((KeyValue(key, value, 2, 9, 1),),)


def test_counters_that_count_right_pass_and_others_are_caught() -> None:
    play = Play()
    for outcome in (OK, OK, UNKNOWN):
        add(play, outcome)
    read = play.do(Range(COUNTER))
    history = play.history()
    assert totals.check(history) == []
    assert totals.check(with_answer(history, read, results=read_as(COUNTER, "2"))) == []
    for wrong in ("1", "4"):
        assert totals.check(with_answer(history, read, results=read_as(COUNTER, wrong)))


@pytest.mark.parametrize("wrong", ["a", "a,c", "b,a,c", "a,b,b,c", "a,b,d"])
def test_lists_that_lose_or_mix_elements_are_caught(wrong: str) -> None:
    play = Play()
    for item in ("a", "b", "c"):
        append(play, item)
    play.do(Range(LIST))
    read = play.do(Range(LIST))
    history = play.history()
    assert totals.check(history) == []
    if wrong.startswith("b"):
        wrong = "a,b,a"  # another first element would be another list
    assert totals.check(with_answer(history, read, results=read_as(LIST, wrong)))


def test_a_list_that_begins_anew_is_another_list() -> None:
    play = Play()
    append(play, "a")
    append(play, "b")
    play.do(Delete(LIST))
    append(play, "c")
    play.do(Range(LIST))
    assert totals.check(play.history()) == []


def test_money_that_is_made_or_lost_is_caught() -> None:
    play = Play()
    play.do(Txn((), tuple(Put(f"account/{name}", f"100/{name}") for name in "abcde")))
    play.do(Txn((), (Put("account/a", "90/x"), Put("account/b", "110/x"))))
    play.do(Range("account/", prefix_end("account/")))
    assert totals.check(play.history()) == []
    play.do(Put("account/a", "80/y"))
    play.do(Range("account/", prefix_end("account/")))
    assert totals.check(play.history())


# -- the search ---------------------------------------------------------------------------------


def call(
    number: int, invoked: float, returned: float | None, request: Put | Range, found: object = None
) -> Call:
    """A write, or a read with what it found."""
    claims = None
    if returned is not None:
        claims = (True, (None,) if isinstance(request, Put) else ((found,) if found else (),))
    return Call(number, invoked, returned, (), (request,), (), claims)


W1, W2, R = Put("k", "1"), Put("k", "2"), Range("k")


def test_known_right_histories_pass() -> None:
    assert search([call(1, 0, 1, W1), call(2, 2, 3, R, "1")]) is None
    assert search([call(1, 0, 5, W1), call(2, 1, 2, R), call(3, 3, 4, R, "1")]) is None
    assert search([call(1, 0, None, W1), call(2, 1, 2, R), call(3, 3, 4, R, "1")]) is None
    assert (
        search([call(1, 0, 9, W1), call(2, 0, 9, W2), call(3, 1, 2, R, "2"), call(4, 3, 4, R, "1")]) is None
    )


def test_known_wrong_histories_are_caught() -> None:
    stale = [call(1, 0, 1, W1), call(2, 2, 3, W2), call(3, 4, 5, R, "1")]
    back = [call(1, 0, 9, W1), call(2, 1, 2, R, "1"), call(3, 3, 4, R)]
    flicker = [
        call(1, 0, 1, W1),
        call(2, 2, 20, W2),
        call(3, 3, 4, R, "2"),
        call(4, 5, 6, R, "1"),
    ]
    never = [call(1, 0, 1, R, "1")]
    before = [call(1, 0, 1, R, "1"), call(2, 2, 3, W1)]
    for wrong in (stale, back, flicker, never, before):
        stuck = search(wrong)
        assert stuck is not None
        assert stuck.operation > 0


def test_the_search_gives_up_rather_than_run_for_ever() -> None:
    hopeless = [call(number, 0, None, Put("k", str(number))) for number in range(1, 30)]
    hopeless.append(call(99, 1, 2, R, "none of them"))
    assert search(hopeless, steps=1000) is None


@calm
@given(plays(), st.integers(0, 25))
def test_the_beginning_of_a_right_history_is_right(play: Play, count: int) -> None:
    for calls in calls_by_key(play.history()).values():
        assert search(beginning(calls, count)) is None


def test_a_read_in_the_beginning_may_have_seen_what_is_left_out() -> None:
    calls = [call(1, 0, 9, R, "1"), call(2, 1, 2, W1)]
    assert search(beginning(calls, 1)) is None


@calm
@given(plays())
def test_what_a_correct_server_does_has_an_order(play: Play) -> None:
    assert linearize.check(play.history()) == []


@calm
@given(plays(most=12))
def test_a_stale_read_has_no_order_after_any_history(play: Play) -> None:
    play.now += 10
    play.do(Put("register/a", "old"))
    read = play.do(Put("register/a", "new"))
    read = play.do(Range("register/a"))
    wrong = with_answer(play.history(), read, results=read_as("register/a", "old"))
    assert linearize.check(wrong)


def test_only_keys_that_values_decide_are_searched() -> None:
    play = Play()
    play.do(Put("plain", "x"))
    add(play)
    play.do(Put("leased", "x", 7))
    play.do(Put("wiped/a", "x"))
    play.do(Delete("wiped/", "wiped0"))
    play.do(Txn((), (Put("pair/a", "x"), Put("pair/b", "x"))))
    assert list(calls_by_key(play.history())) == ["plain"]


def test_an_operation_that_was_refused_is_not_in_the_search() -> None:
    play = Play()
    refused = play.do(Put("plain", "x"))
    play.do(Range("plain"))
    history = History(
        [attrs.evolve(one, outcome="failed") if one is refused else one for one in play.history().records]
    )
    assert linearize.check(history)
