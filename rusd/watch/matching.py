"""Which watchers does a change of this key concern?

The question is asked once per changed key, with possibly ten thousand watchers in
place, so each kind of range has the structure that answers it best:

==================  =======================================  ==================
single key          a dict                                   O(1)
``[key, range_end)``  :class:`~rusd.watch.intervals.IntervalTree`  O(log n + hits)
from a key on       its starts, sorted                       O(hits)
==================  =======================================  ==================

Members on the same range share one dict, so that each comes and goes in O(1) where there
are thousands, and they are found in the order in which they came.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Collection
from typing import Generic, TypeVar

from rusd.watch.intervals import IntervalTree

T = TypeVar("T")

FROM_KEY = b"\x00"
"""The ``range_end`` that means "every key from ``key`` on"."""


def is_empty_range(key: bytes, range_end: bytes) -> bool:
    """Whether no key can be in the range (single keys and open ranges never are empty)."""
    return range_end not in (b"", FROM_KEY) and key >= range_end


class Matcher(Generic[T]):
    """Members registered on ranges of keys, found by key.

    Ranges are given as in etcd's requests: ``range_end`` empty for a single key,
    one zero byte for everything from ``key`` on, else the first key beyond the range.
    """

    __slots__ = ("_keys", "_open", "_ranges", "_starts")

    def __init__(self) -> None:
        self._keys: dict[bytes, dict[T, None]] = {}
        self._ranges: IntervalTree[T] = IntervalTree()
        self._open: dict[bytes, dict[T, None]] = {}
        self._starts: list[bytes] = []  # the keys of _open, sorted

    def __bool__(self) -> bool:
        return bool(self._keys or self._starts or self._ranges)

    def add(self, key: bytes, range_end: bytes, member: T) -> None:
        """Register ``member`` on a range that is not empty."""
        if not range_end:
            self._keys.setdefault(key, {})[member] = None
        elif range_end != FROM_KEY:
            self._ranges.add(key, range_end, member)
        else:
            if key not in self._open:
                insort(self._starts, key)
            self._open.setdefault(key, {})[member] = None

    def remove(self, key: bytes, range_end: bytes, member: T) -> None:
        """Undo :meth:`add`.  Raises :class:`KeyError` if ``member`` is not there."""
        if not range_end:
            _discard(self._keys, key, member)
        elif range_end != FROM_KEY:
            self._ranges.remove(key, range_end, member)
        elif _discard(self._open, key, member):
            del self._starts[bisect_left(self._starts, key)]

    def find(self, key: bytes) -> Collection[T]:
        """Everyone whose range holds ``key``, in an order that depends on past calls only."""
        single = self._keys.get(key, ())
        if not self._starts and not self._ranges:
            return single
        found = list(single)
        self._ranges.find_into(key, found)
        for start in self._starts:
            if start > key:
                break
            found.extend(self._open[start])
        return found

    def check(self) -> None:
        """Verify the structure; raises :class:`AssertionError`."""
        self._ranges.check()
        assert self._starts == sorted(self._open), "open ranges and their starts differ"
        assert all(self._keys.values()), "a key without members"
        assert all(self._open.values()), "an open range without members"


def _discard(groups: dict[bytes, dict[T, None]], key: bytes, member: T) -> bool:
    """Take ``member`` out of its group; True if that was the last one."""
    members = groups[key]
    del members[member]
    if members:
        return False
    del groups[key]
    return True
