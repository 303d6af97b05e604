"""The keys: which there are, in order, and each one's changes.

A dict leads from a key to its changes, oldest first: the record itself while
there is one only, a list of them after that.  etcd's key index groups the same
changes into generations, each ended by a tombstone; here the records carry what
a generation would know (``create_revision`` and ``version``).

Two sorted lists hold the order: keys that live at the newest revision, and keys
that are deleted but have retained changes.  Positions in the first one make
counts at the newest revision O(log n).  Reads of the past walk both.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from operator import attrgetter

from sortedcontainers import SortedList

from rusd.mvcc.history import by_mod_revision
from rusd.mvcc.record import Record

KeyHistory = Record | list[Record]

FROM_KEY = b"\x00"
"""The ``range_end`` that means "all keys from ``key`` on"."""


by_key = attrgetter("key")


def contains(key: bytes, range_end: bytes, candidate: bytes) -> bool:
    """Whether etcd's range ``key``, ``range_end`` holds ``candidate``."""
    if not range_end:
        return candidate == key
    return key <= candidate and (range_end == FROM_KEY or candidate < range_end)


def newest_at(history: KeyHistory, revision: int) -> Record | None:
    """The newest change at or below ``revision``, a tombstone included."""
    if type(history) is not list:
        return history if history.mod_revision <= revision else None  # type: ignore[union-attr,return-value]
    newest = history[-1]
    if newest.mod_revision <= revision:
        return newest
    position = bisect_right(history, revision, key=by_mod_revision)
    return history[position - 1] if position else None


class KeyIndex:
    """Keys in order and the changes of each."""

    def __init__(self) -> None:
        self.histories: dict[bytes, KeyHistory] = {}
        self.live: SortedList[bytes] = SortedList()
        self.dead: SortedList[bytes] = SortedList()

    def add(self, record: Record) -> None:
        """Take the newest change of a key.  O(1) for a change of a live key, else O(log n)."""
        key = record.key
        history = self.histories.get(key)
        if history is None:
            self.histories[key] = record
            (self.live if record.version else self.dead).add(key)
            return
        if type(history) is list:
            was_live = history[-1].version
            history.append(record)
        else:
            was_live = history.version  # type: ignore[union-attr]
            self.histories[key] = [history, record]  # type: ignore[list-item]
        if was_live and not record.version:
            self.live.remove(key)
            self.dead.add(key)
        elif record.version and not was_live:
            self.dead.remove(key)
            self.live.add(key)

    def load(self, records: Iterable[Record]) -> None:
        """Take changes as :meth:`add` does, leaving the order to :meth:`sort`; for bulk loading."""
        histories = self.histories
        for record in records:
            key = record.key
            history = histories.get(key)
            if history is None:
                histories[key] = record
            elif type(history) is list:
                history.append(record)
            else:
                histories[key] = [history, record]  # type: ignore[list-item]

    def sort(self) -> None:
        """Bring the keys into order after :meth:`load`; O(n log n)."""
        live: list[bytes] = []
        dead: list[bytes] = []
        for key, history in self.histories.items():
            newest = history[-1] if type(history) is list else history
            (live if newest.version else dead).append(key)  # type: ignore[union-attr]
        self.live = SortedList(live)
        self.dead = SortedList(dead)

    def get(self, key: bytes, revision: int) -> Record | None:
        """The put that stands for ``key`` at ``revision``; ``None`` if the key does not exist there."""
        history = self.histories.get(key)
        if history is None:
            return None
        record = newest_at(history, revision)
        return record if record is not None and record.version else None

    def count(self, key: bytes, range_end: bytes) -> int:
        """How many keys of the range live at the newest revision; O(log n)."""
        start, stop = self._live_span(key, range_end)
        return stop - start

    def newest(self, key: bytes, range_end: bytes, limit: int) -> tuple[list[Record], int]:
        """The live records of a range at the newest revision and how many there are in all.

        At most ``limit`` records, 0 for all.  O(log n + records).
        """
        start, stop = self._live_span(key, range_end)
        total = stop - start
        if limit > 0:
            stop = min(stop, start + limit)
        histories = map(self.histories.__getitem__, self.live.islice(start, stop))
        records = [history[-1] if type(history) is list else history for history in histories]
        return records, total  # type: ignore[return-value]

    def at(self, key: bytes, range_end: bytes, revision: int, limit: int) -> tuple[list[Record], int]:
        """As :meth:`newest`, at any revision; O(keys in the range, deleted ones included)."""
        records: list[Record] = []
        for candidate in self.page(key, range_end, 0):
            record = newest_at(self.histories[candidate], revision)
            if record is not None and record.version:
                records.append(record)
        total = len(records)
        if limit > 0:
            del records[limit:]
        return records, total

    def page(self, key: bytes, range_end: bytes, size: int) -> list[bytes]:
        """The first ``size`` keys (0: all) of a range, live or not, in order."""
        keys: list[bytes] = []
        for source in (self.live, self.dead):
            start, stop = _span(source, key, range_end)
            if size > 0:
                stop = min(stop, start + size)
            if stop > start:
                # Two sorted runs, which Python's sort merges in linear time.
                keys = (
                    sorted(keys + list(source.islice(start, stop)))
                    if keys
                    else list(source.islice(start, stop))
                )
        if size > 0:
            del keys[size:]
        return keys

    def newest_is(self, record: Record, revision: int) -> bool:
        """Whether ``record`` is the newest change of its key at or below ``revision``."""
        history = self.histories.get(record.key)
        return history is not None and newest_at(history, revision) is record

    def forget(self, record: Record, revision: int) -> bool:
        """Cut from the history of the record's key what a compaction at ``revision`` drops.

        Says whether ``record`` itself, which is not newer than ``revision``, stays.
        """
        key = record.key
        history = self.histories.get(key)
        if history is None:  # a tombstone took the key with it
            return False
        if type(history) is not list:
            if history is not record:
                return False
            if record.version or record.mod_revision == revision:
                return True
            self._remove(key)
            return False
        position = bisect_right(history, revision, key=by_mod_revision) - 1
        if position < 0:  # cut before; all that is left is newer
            return False
        newest = history[position]
        stays = newest.version > 0 or newest.mod_revision == revision
        del history[: position if stays else position + 1]
        if not history:
            self._remove(key)
        elif len(history) == 1:
            self.histories[key] = history[0]
        return stays and newest is record

    def check(self) -> None:
        """Verify the invariants of the index; raises :class:`AssertionError`."""
        live = [key for key, history in self.histories.items() if _newest(history).version]
        dead = [key for key, history in self.histories.items() if not _newest(history).version]
        assert list(self.live) == sorted(live), "live keys"
        assert list(self.dead) == sorted(dead), "dead keys"
        for key, history in self.histories.items():
            changes = history if isinstance(history, list) else [history]
            assert not isinstance(history, list) or len(history) > 1, key
            _check_key(key, changes)

    def _remove(self, key: bytes) -> None:
        del self.histories[key]
        self.dead.remove(key)

    def _live_span(self, key: bytes, range_end: bytes) -> tuple[int, int]:
        return _span(self.live, key, range_end)


def _span(keys: SortedList[bytes], key: bytes, range_end: bytes) -> tuple[int, int]:
    """The positions ``[start, stop)`` of a range in a sorted list; ``stop >= start``."""
    if not keys:
        return 0, 0
    start = keys.bisect_left(key)
    if not range_end:
        return start, start + (start < len(keys) and keys[start] == key)
    if range_end == FROM_KEY:
        return start, len(keys)
    return start, max(start, keys.bisect_left(range_end))


def _newest(history: KeyHistory) -> Record:
    return history[-1] if isinstance(history, list) else history


def _check_key(key: bytes, changes: list[Record]) -> None:
    """One key's changes follow each other as puts and deletes do."""
    before: Record | None = None
    for record in changes:
        assert record.key == key
        if before is not None:
            place = (record.mod_revision, record.sub)
            assert (before.mod_revision, before.sub) < place, key
        if record.version and before is not None:
            again = before.version > 0
            created = before.create_revision if again else record.mod_revision
            assert record.version == before.version + 1, key
            assert record.create_revision == created, key
        if not record.version:
            assert before is None or before.version, f"{key!r} deleted twice"
        before = record
