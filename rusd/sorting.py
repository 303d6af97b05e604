"""Sorting in steps: a sample sort, of which no step takes long.

The items are cut into runs, and each is sorted.  A sample of all runs says where to cut each of them again,
so that what lies between the same two cuts, a bucket, is about as large as a run was; and the buckets,
each sorted, are the result.  Both times Python's own sort does the work, on as much as a processor's
cache holds: it takes no longer than sorting everything in one go.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain, groupby, pairwise
from typing import Any, TypeVar

from rusd.steps import PAGE, Steps, Turn

T = TypeVar("T")

RUN = 4096
"""Items sorted in one go: one or two milliseconds."""

SAMPLE_EVERY = 64
"""Of so many items of a run one is in the sample; so buckets differ little in size."""

_COPIED = 16
"""What is only copied costs that much less than a record (:mod:`rusd.steps`)."""


def sort_steps(
    items: Sequence[T], turn: Turn, *, key: Callable[[T], Any] | None = None, reverse: bool = False
) -> Steps[list[T]]:
    """``sorted(items, key=key, reverse=reverse)``, stable as that is."""
    if len(items) <= PAGE:
        return sorted(items, key=key, reverse=reverse)  # type: ignore[arg-type, type-var]
    # A stable sort in descending order is one of the items from back to front, read backwards.
    runs: list[list[T]] = []
    for first in range(0, len(items), RUN):
        stop = len(items) - first
        run = list(items[max(stop - RUN, 0) : stop] if reverse else items[first : first + RUN])
        if reverse:
            run.reverse()
        run.sort(key=key)
        runs.append(run)
        turn.left -= _cost(run, key)
        if turn.left <= 0:
            yield
    pieces = runs if _follow_each_other(runs, key) else (yield from _buckets(runs, turn, key))
    return (yield from _concatenated(pieces, turn, reverse=reverse))


def _cost(run: list[T], key: Callable[[T], Any] | None) -> float:
    return len(run) / (8 if key is None else 4)


def _follow_each_other(runs: list[list[T]], key: Callable[[T], Any] | None) -> bool:
    ends: list[Any] = [(run[0], run[-1]) for run in runs]
    if key is not None:
        ends = [(key(first), key(last)) for first, last in ends]
    return all(before[1] <= after[0] for before, after in pairwise(ends))


def _buckets(runs: list[list[T]], turn: Turn, key: Callable[[T], Any] | None) -> Steps[list[list[T]]]:
    """What is in ``runs``, which are used up, in pieces that follow each other."""
    sample = yield from sort_steps([each for run in runs for each in run[::SAMPLE_EVERY]], turn, key=key)
    cuts = sample[RUN // SAMPLE_EVERY :: RUN // SAMPLE_EVERY]
    marks = [mark for mark, _ in groupby(cuts, key)]
    pieces: list[list[T]] = []
    # From the last to the first, so that what has been taken from a run can be cut off its end.
    for mark in reversed(marks):
        above = yield from _taken_steps(runs, turn, partial(bisect_right, x=mark, key=key))
        pieces.append((yield from _merged(above, turn, key)))
        # Equal items need no sorting, so it does no harm if there are very many of them.
        equal = yield from _taken_steps(runs, turn, partial(bisect_left, x=mark, key=key))
        pieces += reversed(equal)
    pieces.append((yield from _merged(runs, turn, key)))
    pieces.reverse()
    return pieces


def _taken_steps(runs: list[list[T]], turn: Turn, start: Callable[[list[T]], int]) -> Steps[list[list[T]]]:
    """Of each run what begins at ``start`` of it, which is taken out."""
    taken: list[list[T]] = []
    for run in runs:
        position = start(run)
        if position < len(run):
            taken.append(run[position:])
            del run[position:]
            turn.left -= len(taken[-1]) / _COPIED
        turn.left -= 0.5
        if turn.left <= 0:
            yield
    return taken


def _merged(runs: list[list[T]], turn: Turn, key: Callable[[T], Any] | None) -> Steps[list[T]]:
    bucket = list(chain.from_iterable(runs))
    bucket.sort(key=key)
    turn.left -= _cost(bucket, key)
    if turn.left <= 0:
        yield
    return bucket


def _concatenated(pieces: list[list[T]], turn: Turn, *, reverse: bool) -> Steps[list[T]]:
    """All of ``pieces``, which are used up: each is let go of in its turn, not all of them at the end."""
    result: list[T] = []
    if not reverse:
        pieces.reverse()
    while pieces:
        piece = pieces.pop()
        if reverse:
            piece.reverse()
        result += piece
        turn.left -= len(piece) / _COPIED
        if turn.left <= 0:
            yield
    return result
