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
from collections.abc import Generator, MutableSet, Sequence
from typing import Any, TypeVar

T = TypeVar("T")
Steps = Generator[None, None, T]

PAGE = 500
"""Records handled without looking at the turn: under a millisecond's work."""

CHEAP = 16
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


def discard_steps(garbage: Sequence[list[Any] | dict[Any, Any] | MutableSet[Any]], turn: Turn) -> Steps[None]:
    """Empty large collections bit by bit: freeing a million objects at once takes tens of milliseconds."""
    for collection in garbage:
        while collection:
            turn.left -= _discard_some(collection) / CHEAP
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
