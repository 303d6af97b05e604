"""Work in steps: how what is too large for one turn of the event loop is cut up.

Work that can be long is written as a generator.  It is given a :class:`Turn`, takes off
what each piece of work costs, and yields once nothing is left; whoever runs it
gives others their turn, fills the turn up again and goes on.  So several jobs can
share one turn, and small ones never pause.

Costs are in *records*: one is about what it takes to change or to look at one, a
microsecond or two.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, MutableSet, Sequence
from heapq import merge
from itertools import islice
from typing import Any, TypeVar

T = TypeVar("T")
Steps = Generator[None, None, T]

PAGE = 500
"""Records handled without looking at the turn: under a millisecond's work."""

_CHEAP = 16
"""What is only copied, compared or let go of costs that much less than a record."""


class Turn:
    """What may still be done before others must get their turn; in records."""

    __slots__ = ("left",)

    def __init__(self, left: float = math.inf) -> None:
        self.left = left


ENDLESS = Turn()
"""A turn that never ends: the work is done in one go."""


def start(steps: Steps[T]) -> T | Steps[T]:
    """Do what the turn allows: the result if that was all, else what is left."""
    try:
        next(steps)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    return steps


def finish(steps: Steps[T]) -> T:
    """Run to the end in one go, whatever the turn says."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]


def sort_steps(
    items: list[T], turn: Turn, *, key: Callable[[T], Any] | None = None, reverse: bool = False
) -> Steps[list[T]]:
    """``sorted(items, key=key, reverse=reverse)``."""
    if len(items) <= PAGE:
        return sorted(items, key=key, reverse=reverse)  # type: ignore[arg-type, type-var]
    runs: list[list[T]] = []
    in_order = True
    for first in range(0, len(items), PAGE):
        run: list[T] = sorted(items[first : first + PAGE], key=key, reverse=reverse)  # type: ignore[arg-type, type-var]
        if runs and in_order:
            in_order = _follows(runs[-1][-1], run[0], key, reverse=reverse)
        runs.append(run)
        turn.left -= PAGE / 4 if key is None else PAGE
        if turn.left <= 0:
            yield
    if in_order:
        return (yield from _concatenated(runs, turn))
    # Each run is let go of as it is used up, or all of them would be freed at once at the end.
    merged: Iterator[T] = merge(*map(_drained, runs), key=key, reverse=reverse)  # type: ignore[arg-type]
    return (yield from collect_steps(merged, turn))


def _follows(before: Any, after: Any, key: Callable[[Any], Any] | None, *, reverse: bool) -> bool:
    if key is not None:
        before, after = key(before), key(after)
    return bool(after <= before if reverse else before <= after)


def _concatenated(runs: list[list[T]], turn: Turn) -> Steps[list[T]]:
    result: list[T] = []
    runs.reverse()
    while runs:
        result += runs.pop()
        turn.left -= PAGE / _CHEAP
        if turn.left <= 0:
            yield
    return result


def _drained(run: list[T]) -> Iterator[T]:
    run.reverse()
    while run:
        yield run.pop()


def collect_steps(items: Iterator[T], turn: Turn) -> Steps[list[T]]:
    """``list(items)``."""
    result: list[T] = []
    while part := list(islice(items, PAGE)):
        result += part
        turn.left -= len(part)
        if turn.left <= 0:
            yield
    return result


def discard_steps(garbage: Sequence[list[Any] | dict[Any, Any] | MutableSet[Any]], turn: Turn) -> Steps[None]:
    """Empty large collections bit by bit: freeing a million objects at once takes tens of milliseconds."""
    for collection in garbage:
        while collection:
            turn.left -= _discard_some(collection) / _CHEAP
            if turn.left <= 0:
                yield


def _discard_some(collection: list[Any] | dict[Any, Any] | MutableSet[Any]) -> int:
    """Let go of a page; returns how much that was."""
    if isinstance(collection, list):
        inner = collection[-1]
        if isinstance(inner, list):  # pieces of a list, none of them large
            collection.pop()
            return len(inner) + 1
        del collection[-PAGE:]
        return PAGE
    pop = collection.popitem if isinstance(collection, dict) else collection.pop
    for _ in range(min(PAGE, len(collection))):
        pop()
    return 4 * PAGE
