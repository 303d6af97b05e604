"""Keys in order, with positions; large changes are prepared aside and put in place at once.

A sorted list in chunks of about a thousand keys, with an index of how many keys
stand before each chunk: positions, and so counts, cost O(log n).

Adding or removing one key changes a chunk in place.  Hundreds of thousands would
stop the server, and done bit by bit they would show; so
:meth:`KeyList.merge_steps` builds the chunks as they will be, while the list stays as
it is, and what it gives back puts them in place of the old ones: a matter of
microseconds.

``SortedList`` has no public way to exchange chunks.  What this relies on is its
documented implementation: ``_lists``, ``_maxes``, and a positional ``_index``
(its leaves from ``_offset`` on) that is built again when it is found empty.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from itertools import chain

from sortedcontainers import SortedList

from rusd.steps import CHEAP, Steps, Turn

FROM_KEY = b"\x00"
"""The ``range_end`` that means "all keys from ``key`` on"."""

CHUNK_KEYS = 1000
"""Keys in a chunk made by a merge; SortedList cuts chunks in two when they reach twice that."""

Commit = Callable[[], list[list[bytes]]]
"""Puts a merge in place; gives back the chunks that went out, to be let go of bit by bit."""


class KeyList(SortedList[bytes]):
    """Distinct keys in order."""

    _lists: list[list[bytes]]
    _maxes: list[bytes]
    _index: list[int]
    _len: int
    _offset: int

    def span(self, key: bytes, range_end: bytes) -> tuple[int, int]:
        """The positions ``[start, stop)`` of etcd's range ``key``, ``range_end``; ``stop >= start``."""
        if not self._maxes:
            return 0, 0
        start = self.bisect_left(key)
        if not range_end:
            return start, start + (start < len(self) and self[start] == key)
        if range_end == FROM_KEY:
            return start, len(self)
        return start, max(start, self.bisect_left(range_end))

    def take_chunks(self) -> list[list[bytes]]:
        """Empty the list; gives back the chunks, to be let go of bit by bit."""
        chunks = self._lists[:]
        self.clear()
        return chunks

    def check(self) -> None:
        """Verify the invariants; raises :class:`AssertionError`.

        Not SortedList's own ``_check``: of a chunk that a merge takes keys from, less may be left
        than SortedList itself would leave, which does no harm.
        """
        chunks = self._lists
        keys = list(chain.from_iterable(chunks))
        assert all(chunks), "an empty chunk"
        assert keys == sorted(set(keys)), "out of order"
        assert len(keys) == self._len, "miscounted"
        assert self._maxes == [chunk[-1] for chunk in chunks], "last keys"
        if self._index:
            leaves = self._index[self._offset : self._offset + len(chunks)]
            assert leaves == list(map(len, chunks)), "positions"
            assert self._index[0] == len(keys), "positions"

    def merge_steps(self, leaving: Sequence[bytes], entering: Sequence[bytes], turn: Turn) -> Steps[Commit]:
        """Prepare to take out ``leaving`` and to take in ``entering``, both sorted.

        The list must not change between the first step and the commit.
        """
        if not leaving and not entering:
            return list
        maxes = self._maxes
        lowest = min([keys[0] for keys in (leaving, entering) if keys])
        highest = max([keys[-1] for keys in (leaving, entering) if keys])
        first = min(bisect_left(maxes, lowest), max(len(maxes) - 1, 0))
        last = min(bisect_left(maxes, highest) + 1, len(maxes))
        merge = _Merge(leaving, entering)
        for number in range(first, last):
            # Whatever is beyond all keys goes to the end of the last chunk.
            is_last = number == len(maxes) - 1
            merge.take(self._lists[number], None if is_last else maxes[number])
            turn.left -= merge.cost
            while merge.unfinished:
                if turn.left <= 0:
                    yield
                merge.go_on()
                turn.left -= merge.cost
            if turn.left <= 0:
                yield
        if not maxes:
            merge.take([], None)
            while merge.unfinished:
                merge.go_on()
                turn.left -= merge.cost
                if turn.left <= 0:
                    yield

        def commit() -> list[list[bytes]]:
            replaced = self._lists[first:last]
            self._lists[first:last] = merge.chunks
            maxes[first:last] = [chunk[-1] for chunk in merge.chunks]
            self._len += len(entering) - len(leaving)
            self._index.clear()
            return replaced

        return commit


class _Merge:
    """The chunks that a merge makes, from left to right."""

    def __init__(self, leaving: Sequence[bytes], entering: Sequence[bytes]) -> None:
        self.chunks: list[list[bytes]] = []
        self.cost = 0.0  # of the last call
        self._leaving = leaving
        self._entering = entering
        self._left = 0  # positions in the two
        self._entered = 0
        self._stop = 0  # of those entering in the chunk at hand
        self._kept: list[bytes] = []
        self._may_extend = False  # whether the last chunk is our own and not one of the list's

    @property
    def unfinished(self) -> bool:
        """Whether the chunk at hand has still keys to be merged in."""
        return bool(self._kept) or self._entered < self._stop

    def take(self, chunk: list[bytes], bound: bytes | None) -> None:
        """Begin with the next old chunk; keys up to ``bound`` belong to it (``None``: all)."""
        leaving, entering = self._leaving, self._entering
        left_stop = len(leaving) if bound is None else bisect_right(leaving, bound, self._left)
        self._stop = len(entering) if bound is None else bisect_right(entering, bound, self._entered)
        if left_stop == self._left and self._stop == self._entered:
            self.chunks.append(chunk)
            self._may_extend = False
            self.cost = 0.25
            return
        gone = set(leaving[self._left : left_stop])
        self._left = left_stop
        self._kept = [key for key in chunk if key not in gone] if gone else list(chunk)
        self.cost = len(chunk) / CHEAP

    def go_on(self) -> None:
        """Make the next new chunk from what is kept and what enters."""
        stop = min(self._entered + CHUNK_KEYS, self._stop)
        come = self._entering[self._entered : stop]
        self._entered = stop
        kept = self._kept
        cut = len(kept) if stop == self._stop else bisect_right(kept, come[-1])
        piece = kept[:cut]
        self._kept = kept[cut:]
        if come:
            piece = sorted([*piece, *come]) if piece else list(come)  # two runs: linear
        self.cost = len(piece) / CHEAP
        for start in range(0, len(piece), CHUNK_KEYS):
            self._append(piece[start : start + CHUNK_KEYS])

    def _append(self, piece: list[bytes]) -> None:
        if self._may_extend and len(self.chunks[-1]) + len(piece) <= CHUNK_KEYS:
            self.chunks[-1] += piece
        else:
            self.chunks.append(piece)
            self._may_extend = True
