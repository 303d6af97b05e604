"""Sorting in steps, none of which takes long.

:func:`sort_steps` is a sample sort.  The items are cut into runs, and each is sorted.  A sample of all runs
says where to cut each of them again, so that what lies between the same two cuts, a bucket, is about as large
as a run was; and the buckets, each sorted, are the result.  Both times Python's own sort does the work, on as
much as a processor's cache holds: up to millions of items it takes no longer than sorting all in one go.

:func:`sort_by_steps` merges short runs through a heap.  That takes longer, but a key may be large (a value of
a megabyte), and there are never more keys at a time than runs, or items in one of them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from heapq import merge
from itertools import chain, islice, pairwise
from typing import Any, Protocol, TypeVar

from rusd.steps import CHEAP, PAGE, Steps, Turn


class Comparable(Protocol):
    """What can be sorted by itself."""

    def __lt__(self, other: Any, /) -> bool: ...


C = TypeVar("C", bound=Comparable)
T = TypeVar("T")

RUN = 4096
"""Items sorted in one go: one or two milliseconds."""

SAMPLE_EVERY = 64
"""Of so many items of a run one is in the sample; so buckets differ little in size."""

_SORTED = 8
"""To sort an item costs so much less than a record (:mod:`rusd.steps`)."""


def sort_steps(items: list[C], turn: Turn) -> Steps[list[C]]:
    """``sorted(items)``.  Only if very many of them are equal a step may take longer."""
    if len(items) <= PAGE:
        return sorted(items)
    runs: list[list[C]] = []
    for first in range(0, len(items), RUN):
        run = yield from _merged([items[first : first + RUN]], turn)
        runs.append(run)
    in_order = not any(after[0] < before[-1] for before, after in pairwise(runs))
    pieces = runs if in_order else (yield from _buckets(runs, turn))
    return (yield from _concatenated(pieces, turn))


def _buckets(runs: list[list[C]], turn: Turn) -> Steps[list[list[C]]]:
    """What is in ``runs``, which are used up, in sorted pieces that follow each other."""
    sample: list[C] = []
    for number, run in enumerate(runs):
        # Each from another place on: if the runs are alike, all would leave out the same.
        sample += run[number % SAMPLE_EVERY :: SAMPLE_EVERY]
    sample = yield from sort_steps(sample, turn)
    pieces: list[list[C]] = []
    # From the last to the first, so that what has been taken from a run can be cut off its end.
    for mark in reversed(sample[RUN // SAMPLE_EVERY :: RUN // SAMPLE_EVERY]):
        taken = yield from _taken_steps(runs, mark, turn)
        bucket = yield from _merged(taken, turn)
        pieces.append(bucket)
    lowest = yield from _merged(runs, turn)
    return [lowest, *reversed(pieces)]


def _taken_steps(runs: list[list[C]], mark: C, turn: Turn) -> Steps[list[list[C]]]:
    """Of each run what is not below ``mark``, which is taken out."""
    taken: list[list[C]] = []
    for run in runs:
        position = bisect_left(run, mark)
        if position < len(run):
            taken.append(run[position:])
            del run[position:]
        turn.left -= 1
        if turn.left <= 0:
            yield
    return taken


def _merged(runs: list[list[C]], turn: Turn) -> Steps[list[C]]:
    bucket = sorted(chain.from_iterable(runs))
    turn.left -= len(bucket) / _SORTED
    if turn.left <= 0:
        yield
    return bucket


def _concatenated(pieces: list[list[T]], turn: Turn) -> Steps[list[T]]:
    """All of ``pieces``, which are used up: each is let go of in its turn, not all of them at the end."""
    result: list[T] = []
    pieces.reverse()
    while pieces:
        piece = pieces.pop()
        result += piece
        turn.left -= len(piece) / CHEAP
        if turn.left <= 0:
            yield
    return result


def sort_by_steps(
    items: list[T], turn: Turn, key: Callable[[T], Any], *, reverse: bool = False
) -> Steps[list[T]]:
    """``sorted(items, key=key, reverse=reverse)``, stable as that is."""
    runs: list[list[T]] = []
    in_order = True
    for first in range(0, len(items), PAGE):
        run = sorted(items[first : first + PAGE], key=key, reverse=reverse)
        if runs and in_order:
            before, after = key(runs[-1][-1]), key(run[0])
            in_order = bool(after <= before if reverse else before <= after)
        runs.append(run)
        turn.left -= len(run)
        if turn.left <= 0:
            yield
    if in_order:
        return (yield from _concatenated(runs, turn))
    # Each run is let go of as it is used up, or all of them would be freed at once at the end.
    merged = merge(*map(_drained, runs), key=key, reverse=reverse)
    result: list[T] = []
    while part := list(islice(merged, PAGE)):
        result += part
        turn.left -= len(part)
        if turn.left <= 0:
            yield
    return result


def _drained(run: list[T]) -> Iterator[T]:
    run.reverse()
    while run:
        yield run.pop()
