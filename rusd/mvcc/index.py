"""The keys: which there are, in order, and each one's changes.

A table leads from a key to its changes, oldest first: the record itself while
there is one only, a list of them after that.  etcd's key index groups the same
changes into generations, each ended by a tombstone; here the records carry what
a generation would know (``create_revision`` and ``version``).

Two sorted lists hold the order: keys that live at the newest revision, and keys
that are deleted but have retained changes.  Positions in the first one make
counts at the newest revision O(log n).  Reads of the past walk both.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from operator import attrgetter
from typing import Any

from rusd.mvcc.history import by_mod_revision
from rusd.mvcc.keys import FROM_KEY, KeyList
from rusd.mvcc.record import Record
from rusd.mvcc.table import MASK, KeyTable
from rusd.sorting import sort_steps
from rusd.steps import PAGE, Steps, Turn, discard_steps

KeyHistory = Record | list[Record]

Garbage = list[list[Any] | dict[Any, Any]]
"""Large collections that are of no more use, to be let go of bit by bit."""

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
        self.histories: KeyTable[KeyHistory] = KeyTable()
        self.live = KeyList()
        self.dead = KeyList()

    def add(self, record: Record) -> None:
        """Take the newest change of a key.  O(1) for a change of a live key, else O(log n)."""
        key = record.key
        histories = self.histories.shards[hash(key) & MASK]
        history = histories.get(key)
        if history is None:
            histories[key] = record
            (self.live if record.version else self.dead).add(key)
            return
        if type(history) is list:
            was_live = history[-1].version
            history.append(record)
        else:
            was_live = history.version  # type: ignore[union-attr]
            histories[key] = [history, record]  # type: ignore[list-item]
        if was_live and not record.version:
            self.live.remove(key)
            self.dead.add(key)
        elif record.version and not was_live:
            self.dead.remove(key)
            self.live.add(key)

    def add_steps(
        self, records: Sequence[Record], newest: Mapping[bytes, Record] | KeyTable[Record], turn: Turn
    ) -> Steps[Callable[[], Garbage]]:
        """Take many changes of one revision; ``newest`` has the last one of each key.

        While this goes on, and until what it gives back is called, the keys that live at the
        revision before stay as they were, but a history may end with a newer change.
        """
        was = _Moves(self.histories)
        for start in range(0, len(records), PAGE):  # mostly in order of their keys, unlike `newest`
            page = records[start : start + PAGE]
            was.add([record for record in page if newest[record.key] is record])
            turn.left -= PAGE
            if turn.left <= 0:
                yield
        for start in range(0, len(records), PAGE):
            self.load(records[start : start + PAGE])
            turn.left -= PAGE
            if turn.left <= 0:
                yield
        leaving = yield from sort_steps(was.dying, turn)
        entering = yield from sort_steps([*was.born, *was.revived] if was.born else was.revived, turn)
        commit_live = yield from self.live.merge_steps(leaving, entering, turn)
        left = yield from sort_steps(was.revived, turn)
        entered = yield from sort_steps([*was.dying, *was.stillborn] if was.stillborn else was.dying, turn)
        commit_dead = yield from self.dead.merge_steps(left, entered, turn)

        def commit() -> Garbage:
            garbage: Garbage = [commit_live(), commit_dead(), leaving, entering, left, entered]
            return [*garbage, was.born, was.revived, was.dying, was.stillborn]

        return commit

    def load(self, records: Iterable[Record]) -> None:
        """Take changes as :meth:`add` does, leaving the order to :meth:`order_steps`; for bulk loading."""
        shards = self.histories.shards
        for record in records:
            key = record.key
            histories = shards[hash(key) & MASK]
            history = histories.get(key)
            if history is None:
                histories[key] = record
            elif type(history) is list:
                history.append(record)
            else:
                histories[key] = [history, record]  # type: ignore[list-item]

    def order_steps(self, turn: Turn) -> Steps[None]:
        """Bring the keys of a new index into order after :meth:`load`; O(n log n)."""
        live: list[bytes] = []
        dead: list[bytes] = []
        for shard in self.histories.shards:
            histories = iter(shard.items())
            while page := list(islice(histories, PAGE)):
                for key, history in page:
                    newest = history[-1] if type(history) is list else history
                    (live if newest.version else dead).append(key)  # type: ignore[union-attr]
                turn.left -= len(page) / 4
                if turn.left <= 0:
                    yield
        for keys, unordered in ((self.live, live), (self.dead, dead)):
            ordered = yield from sort_steps(unordered, turn)
            commit = yield from keys.merge_steps((), ordered, turn)
            commit()
            yield from discard_steps([unordered, ordered], turn)

    def get(self, key: bytes, revision: int) -> Record | None:
        """The put that stands for ``key`` at ``revision``; ``None`` if the key does not exist there."""
        history = self.histories.shards[hash(key) & MASK].get(key)
        if history is None:
            return None
        record = newest_at(history, revision)
        return record if record is not None and record.version else None

    def get_newest(self, key: bytes) -> Record | None:
        """The put that stands for ``key`` after all changes; ``None`` if it does not exist."""
        history = self.histories.shards[hash(key) & MASK].get(key)
        if history is None:
            return None
        newest = history[-1] if type(history) is list else history
        return newest if newest.version else None  # type: ignore[union-attr,return-value]

    def count(self, key: bytes, range_end: bytes) -> int:
        """How many keys of the range live at the newest revision; O(log n)."""
        start, stop = self.live.span(key, range_end)
        return stop - start

    def width(self, key: bytes, range_end: bytes) -> int:
        """How many keys of the range there are, deleted ones included; O(log n)."""
        start, stop = self.dead.span(key, range_end)
        return self.count(key, range_end) + stop - start

    def newest(
        self, key: bytes, range_end: bytes, limit: int, *, before: int = 0
    ) -> tuple[list[Record], int]:
        """The live records of a range at the newest revision and how many there are in all.

        At most ``limit`` records, 0 for all.  O(log n + records).  While :meth:`add_steps` goes on,
        ``before`` must be the revision before.
        """
        start, stop = self.live.span(key, range_end)
        total = stop - start
        if limit > 0:
            stop = min(stop, start + limit)
        shards = self.histories.shards
        histories = [shards[hash(name) & MASK][name] for name in self.live.islice(start, stop)]
        if before:
            return [newest_at(history, before) for history in histories], total  # type: ignore[misc]
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
            start, stop = source.span(key, range_end)
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
        key = record.key
        history = self.histories.shards[hash(key) & MASK].get(key)
        return history is not None and newest_at(history, revision) is record

    def forget(self, record: Record, revision: int) -> bool:
        """Cut from the history of the record's key what a compaction at ``revision`` drops.

        Says whether ``record`` itself, which is not newer than ``revision``, stays.
        """
        key = record.key
        histories = self.histories.shards[hash(key) & MASK]
        history = histories.get(key)
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
            histories[key] = history[0]
        return stays and newest is record

    def check(self, before: int = 0) -> None:
        """Verify the invariants of the index; raises :class:`AssertionError`.

        While :meth:`add_steps` goes on, ``before`` must be the revision before.
        """
        newest = {
            key: newest_at(history, before) if before else _newest(history)
            for key, history in self.histories.items()
        }
        present = {key: record for key, record in newest.items() if record is not None}
        assert list(self.live) == sorted(key for key, record in present.items() if record.version), "live"
        assert list(self.dead) == sorted(key for key, record in present.items() if not record.version), "dead"
        for keys in (self.live, self.dead):
            keys.check()
        for key, history in self.histories.items():
            changes = history if isinstance(history, list) else [history]
            assert not isinstance(history, list) or len(history) > 1, key
            _check_key(key, changes)

    def _remove(self, key: bytes) -> None:
        del self.histories[key]
        self.dead.remove(key)


class _Moves:
    """Which keys change between living and dead."""

    def __init__(self, histories: KeyTable[KeyHistory]) -> None:
        self._histories = histories  # as they were before
        self.born: list[bytes] = []
        self.revived: list[bytes] = []
        self.dying: list[bytes] = []
        self.stillborn: list[bytes] = []  # put and deleted in one transaction

    def add(self, newest: Iterable[Record]) -> None:
        """Look at the newest changes of some keys."""
        shards = self._histories.shards
        for record in newest:
            key = record.key
            history = shards[hash(key) & MASK].get(key)
            if history is None:
                (self.born if record.version else self.stillborn).append(key)
            elif _newest(history).version:
                if not record.version:
                    self.dying.append(key)
            elif record.version:
                self.revived.append(key)


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
