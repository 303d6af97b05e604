"""Sorting in steps gives what Python's sort gives, and no step is a large one."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import repeat
from operator import itemgetter, neg
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rusd import sorting
from rusd.sorting import RUN, sort_steps
from rusd.steps import ENDLESS, Turn, finish

TURN = 1000

SHAPES: dict[str, Callable[[random.Random], list[int]]] = {
    "any": lambda chance: [chance.randrange(1 << 40) for _ in range(30 * RUN)],
    "few different": lambda chance: [chance.randrange(3) for _ in range(30 * RUN)],
    "nearly all the same": lambda chance: [*repeat(7, 29 * RUN), *(chance.randrange(15) for _ in range(RUN))],
    "in order": lambda _: list(range(30 * RUN)),
    "in the opposite order": lambda _: list(range(30 * RUN, 0, -1)),
    "not a whole number of runs": lambda chance: [chance.randrange(100_000) for _ in range(5 * RUN + 1)],
}


def placed(values: list[int]) -> list[tuple[int, int]]:
    """Each with its position, by which one sees in which order equal ones are."""
    return list(zip(values, range(len(values)), strict=True))


@pytest.mark.parametrize("reverse", [False, True])
@given(values=st.lists(st.integers(0, 40), max_size=120))
def test_it_sorts_as_python_does(values: list[int], reverse: bool) -> None:
    items = placed(values)
    before = items[:]
    with pytest.MonkeyPatch.context() as patch:
        for name, small in (("PAGE", 3), ("RUN", 8), ("SAMPLE_EVERY", 2)):
            patch.setattr(sorting, name, small)
        for key in (itemgetter(0), None):
            expected = sorted(items, key=key, reverse=reverse)  # type: ignore[arg-type]
            assert finish(sort_steps(items, Turn(2), key=key, reverse=reverse)) == expected
    assert items == before


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_no_step_is_large(shape: str, reverse: bool) -> None:
    values = SHAPES[shape](random.Random(1))
    looked_at = 0

    def key(value: int) -> int:
        nonlocal looked_at
        looked_at += 1
        return neg(value)

    turn = Turn(TURN)
    steps = sort_steps(values, turn, key=key, reverse=reverse)
    most = 0
    while True:
        looked_at = 0
        try:
            next(steps)
        except StopIteration as stop:
            result: list[Any] = stop.value
            break
        most = max(most, looked_at)
        turn.left = TURN
    assert result == sorted(values, key=neg, reverse=reverse)
    assert most < 4 * RUN


def test_a_short_list_is_sorted_without_a_pause() -> None:
    with pytest.raises(StopIteration) as stopped:
        next(sort_steps([3, 1, 2], Turn(0)))
    assert stopped.value.value == [1, 2, 3]


def test_nothing_is_sorted_into_nothing() -> None:
    assert finish(sort_steps([], ENDLESS)) == []
