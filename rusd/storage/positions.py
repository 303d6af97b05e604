"""Where in the WAL each entry of the log stands: a sparse index, in memory.

One mark for about 64 KiB of file, plus one wherever the order of the file is
not the order of the log: at the first entries of a segment, and where a
follower's log was cut back and written anew (Raft §5.3).  Between two marks
the file can simply be read on.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import NamedTuple

MARK_EVERY_BYTES = 64 * 1024


class Place(NamedTuple):
    """A batch: the segment's sequence number and the offset in it, in bytes."""

    sequence: int
    offset: int


class Span(NamedTuple):
    """Entries ``low`` to ``high - 1`` are found reading on from ``place``."""

    low: int
    high: int
    place: Place


class Positions:
    """The live log: entries ``first_index`` to ``last_index``, empty if the former is one more."""

    __slots__ = ("_firsts", "_places", "_start", "last_index")

    def __init__(self, last_index: int = 0) -> None:
        self._firsts: list[
            int
        ] = []  # ascending; the first index of the batch at the same position of _places
        self._places: list[Place] = []
        self._start = last_index + 1
        self.last_index = last_index

    @property
    def first_index(self) -> int:
        """The oldest entry held; ``last_index + 1`` if there is none."""
        return self._firsts[0] if self._firsts else self._start

    def append(self, first: int, count: int, place: Place) -> None:
        """Note a batch of ``count`` entries from index ``first``, which replace all from there on.

        Raises :class:`ValueError` if entries between the log and these are missing.  O(log n).
        """
        if first > self.last_index + 1 or first < 1:
            raise ValueError(f"entry {first} can't follow entry {self.last_index}")
        if first <= self.last_index:
            keep = bisect_left(self._firsts, first)
            del self._firsts[keep:], self._places[keep:]
            self._start = min(self._start, first)
            self._mark(first, place)
        elif self._needs_mark(place):
            self._mark(first, place)
        self.last_index = first + count - 1

    def reset(self, index: int) -> None:
        """Forget every entry: a snapshot up to ``index`` takes their place."""
        self._firsts.clear()
        self._places.clear()
        self._start = index + 1
        self.last_index = index

    def drop_before(self, sequence: int) -> None:
        """Forget the entries that stand in segments before ``sequence``."""
        keep = bisect_left(self._places, Place(sequence, 0))
        del self._firsts[:keep], self._places[:keep]
        if not self._firsts:
            self._start = self.last_index + 1

    def first_in(self, sequence: int) -> int | None:
        """The first live entry in segment ``sequence`` or a later one; ``None`` if there is none."""
        at = bisect_left(self._places, Place(sequence, 0))
        return self._firsts[at] if at < len(self._firsts) else None

    def spans(self, low: int, high: int) -> list[Span]:
        """How to read entries ``low`` to ``high - 1``.  Raises :class:`IndexError` if some are not held."""
        if low < self.first_index or high > self.last_index + 1:
            raise IndexError(
                f"entries {low} to {high - 1} asked for, {self.first_index} to {self.last_index} held"
            )
        spans: list[Span] = []
        at = bisect_right(self._firsts, low) - 1
        while low < high:
            end = self._firsts[at + 1] if at + 1 < len(self._firsts) else self.last_index + 1
            spans.append(Span(low, min(end, high), self._places[at]))
            low = end
            at += 1
        return spans

    def check(self) -> None:
        """Verify the order that everything above relies on.  O(n)."""
        assert len(self._firsts) == len(self._places)
        assert all(a < b for a, b in zip(self._firsts, self._firsts[1:], strict=False))
        assert all(a < b for a, b in zip(self._places, self._places[1:], strict=False))
        assert not self._firsts or self._firsts[-1] <= self.last_index
        assert self._firsts or self._start == self.last_index + 1

    def _needs_mark(self, place: Place) -> bool:
        if not self._places:
            return True
        last = self._places[-1]
        return place.sequence != last.sequence or place.offset - last.offset >= MARK_EVERY_BYTES

    def _mark(self, first: int, place: Place) -> None:
        self._firsts.append(first)
        self._places.append(place)
