"""Sorting in steps gives what Python's sort gives, and no step is a large one."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from operator import itemgetter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rusd import sorting
from rusd.sorting import RUN, sort_by_steps, sort_steps
from rusd.steps import ENDLESS, PAGE, Turn, finish
from tests.support.slices import run_sliced

TURN = 1000
SIZE = 30 * RUN


def alike(runs: int) -> list[int]:
    """Each run holds nearly what the others hold: sampled all at the same places, most would be missed."""
    return [number % RUN * 1_000_003 + number // RUN for number in range(runs * RUN)]


SHAPES: dict[str, Callable[[random.Random], list[int]]] = {
    "any": lambda chance: [chance.randrange(1 << 40) for _ in range(SIZE)],
    "in order": lambda _: list(range(SIZE)),
    "in the opposite order": lambda _: list(range(SIZE, 0, -1)),
    "not a whole number of runs": lambda chance: [chance.randrange(1 << 40) for _ in range(5 * RUN + 1)],
    "runs that are alike": lambda _: alike(200),
}


def test_a_short_list_is_sorted_without_a_pause() -> None:
    with pytest.raises(StopIteration) as stopped:
        next(sort_steps([3, 1, 2], Turn(0)))
    assert stopped.value.value == [1, 2, 3]


def test_nothing_is_sorted_into_nothing() -> None:
    assert finish(sort_steps([], ENDLESS)) == []
    assert finish(sort_by_steps([], ENDLESS, id)) == []


@given(items=st.lists(st.integers(0, 40), max_size=120))
def test_it_sorts_as_python_does(items: list[int]) -> None:
    before = items[:]
    with pytest.MonkeyPatch.context() as patch:
        for name, small in (("PAGE", 3), ("RUN", 8), ("SAMPLE_EVERY", 2)):
            patch.setattr(sorting, name, small)
        assert finish(sort_steps(items, Turn(2))) == sorted(items)
    assert items == before


@pytest.mark.parametrize("reverse", [False, True])
@given(values=st.lists(st.integers(0, 40), max_size=120))
def test_by_a_key_it_sorts_as_python_does(values: list[int], reverse: bool) -> None:
    """Equal ones stay in the order in which they came: each has its position."""
    items = list(zip(values, range(len(values)), strict=True))
    before = items[:]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sorting, "PAGE", 3)
        result = finish(sort_by_steps(items, Turn(2), itemgetter(0), reverse=reverse))
    assert result == sorted(items, key=itemgetter(0), reverse=reverse)
    assert items == before


@pytest.mark.parametrize("shape", SHAPES)
def test_no_step_sorts_much_more_than_a_run(shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    items = SHAPES[shape](random.Random(1))
    largest = 0

    def watched_sort(part: Any) -> list[int]:
        nonlocal largest
        result = sorted(part)
        largest = max(largest, len(result))
        return result

    monkeypatch.setattr(sorting, "sorted", watched_sort, raising=False)
    assert run_sliced(partial(sort_steps, items), budget=TURN) == sorted(items)
    assert largest < 2 * RUN


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_by_a_key_no_step_looks_at_much_more_than_a_turn(shape: str, reverse: bool) -> None:
    looks = most = 0

    def key(value: int) -> int:
        nonlocal looks
        looks += 1
        return value

    def at_pause() -> None:
        nonlocal looks, most
        most = max(most, looks)
        looks = 0

    items = SHAPES[shape](random.Random(1))[: 20 * RUN]
    result = run_sliced(lambda turn: sort_by_steps(items, turn, key, reverse=reverse), at_pause, TURN)
    assert result == sorted(items, reverse=reverse)
    assert most <= TURN + 2 * PAGE
