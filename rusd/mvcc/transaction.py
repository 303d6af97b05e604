"""A write transaction: changes beside the store until they are published.

The changes of one transaction share one new revision and are numbered by their
sub revision in the order made.  Reads through the transaction see them; nobody
else does before :meth:`WriteTransaction.publish`.

A transaction that deletes a million keys would stop the server for seconds, so
what can be large also comes as a generator of steps (``delete_steps``,
``publish_steps``): run it to its end, doing other work wherever it yields.
Between the steps of a publication readers still see the revision before.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, TypeVar

from rusd.mvcc.index import by_key, contains
from rusd.mvcc.ranges import RangeResult
from rusd.mvcc.record import Record, put_record, tombstone_record

if TYPE_CHECKING:
    from rusd.mvcc.store import Store

T = TypeVar("T")
Steps = Generator[None, None, T]

STEP_RECORDS = 1000
"""Changes handled between two yields: about a millisecond's work."""


def finish(steps: Steps[T]) -> T:
    """Run a generator of steps to its end in one go."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]


class Changes:
    """What a transaction did: its revision, the records in order, and what each one replaced."""

    __slots__ = ("previous", "records", "revision")

    def __init__(self, revision: int, records: Sequence[Record], previous: Sequence[Record | None]) -> None:
        self.revision = revision
        self.records = records
        self.previous = previous


class WriteTransaction:
    """Changes on top of ``revision``, the revision that was current at the beginning."""

    __slots__ = ("_overlay", "_previous", "_records", "_store", "revision")

    def __init__(self, store: Store) -> None:
        self._store = store
        self.revision = store.current_revision
        self._records: list[Record] = []
        self._previous: list[Record | None] = []
        self._overlay: dict[bytes, Record] = {}  # the newest change of each key touched

    @property
    def view_revision(self) -> int:
        """What reads through the transaction see: the begin, plus one once something changed."""
        return self.revision + 1 if self._records else self.revision

    @property
    def compact_revision(self) -> int:
        """The store's compacted revision."""
        return self._store.compact_revision

    @property
    def changed(self) -> bool:
        """Whether anything changed so far."""
        return bool(self._records)

    # -- reading --------------------------------------------------------------

    def get(self, key: bytes) -> Record | None:
        """The record of ``key`` as the transaction sees it, or ``None``."""
        record = self._overlay.get(key)
        if record is None:
            return self._store.index.get(key, self.revision)
        return record if record.version else None

    def range(
        self,
        key: bytes,
        range_end: bytes = b"",
        *,
        revision: int = 0,
        limit: int = 0,
        count_only: bool = False,
    ) -> RangeResult:
        """As :meth:`rusd.mvcc.store.Store.range`; without a revision it sees the changes made so far."""
        view_revision = self.view_revision
        own = self._records and (revision <= 0 or revision == view_revision)
        if not own:
            result = self._store.range(key, range_end, revision=revision, limit=limit, count_only=count_only)
            result.revision = view_revision
            return result
        if not range_end:
            record = self.get(key)
            records = [] if record is None else [record]
        else:
            records = self._merged(key, range_end)
        total = len(records)
        if count_only:
            records = []
        elif limit > 0:
            del records[limit:]
        return RangeResult(records, total, not count_only and len(records) < total, view_revision)

    def _merged(self, key: bytes, range_end: bytes) -> list[Record]:
        """The live records of a range with the overlay laid over the store's."""
        below = {
            record.key: record for record in self._store.range(key, range_end, revision=self.revision).records
        }
        touched = {name: record for name, record in self._overlay.items() if contains(key, range_end, name)}
        if not touched:
            return list(below.values())
        below.update(touched)
        return [record for _, record in sorted(below.items()) if record.version]

    # -- changing ---------------------------------------------------------------

    def put(self, key: bytes, value: bytes, lease: int = 0) -> tuple[Record, Record | None]:
        """Set a key; the new record and the one it replaces (``None`` for a new key)."""
        previous = self.get(key)
        revision = self.revision + 1
        sub = len(self._records)
        if previous is None:
            record = put_record(key, revision, revision, sub, 1, value, lease)
        else:
            record = put_record(
                key, previous.create_revision, revision, sub, previous.version + 1, value, lease
            )
        self._overlay[key] = record
        self._records.append(record)
        self._previous.append(previous)
        return record, previous

    def delete_range(self, key: bytes, range_end: bytes = b"") -> list[Record]:
        """Delete the keys of a range; what stood there, in key order."""
        if not range_end:
            record = self.get(key)
            if record is None:
                return []
            self._delete([record])
            return [record]
        return finish(self.delete_steps(key, range_end))

    def delete_steps(self, key: bytes, range_end: bytes = b"") -> Steps[list[Record]]:
        """:meth:`delete_range` in steps."""
        if not range_end:
            return self.delete_range(key)
        deleted: list[Record] = []
        overlay = self._overlay
        own = sorted(name for name in overlay if contains(key, range_end, name))
        start: bytes | None = key
        while start is not None:
            # The store itself does not change before publication, so it can be read page by page.
            page = self._store.range(start, range_end, revision=self.revision, limit=STEP_RECORDS).records
            stop = page[-1].key + b"\x00" if len(page) == STEP_RECORDS else None
            victims = [record for record in page if record.key not in overlay]
            if own:
                taken = len(own) if stop is None else bisect_left(own, stop)
                victims += [overlay[name] for name in own[:taken] if overlay[name].version]
                victims.sort(key=by_key)
                del own[:taken]
            self._delete(victims)
            deleted += victims
            # A page that ends at the range's end may give a start beyond it, which etcd's rules
            # take for an empty range.
            start = stop
            if start is not None:
                yield
        return deleted

    def _delete(self, victims: list[Record]) -> None:
        revision = self.revision + 1
        for victim in victims:
            record = tombstone_record(victim.key, revision, len(self._records))
            self._overlay[victim.key] = record
            self._records.append(record)
        self._previous += victims

    # -- publishing -------------------------------------------------------------

    def publish(self) -> Changes | None:
        """Make the changes the store's next revision, in one step; ``None`` if there are none."""
        records = self._records
        if not records:
            return None
        store = self._begin_publication()
        self._enter(store, records)
        return self._end_publication(store)

    def publish_steps(self) -> Steps[Changes | None]:
        """:meth:`publish` in steps; readers see the new revision only after the last one."""
        records = self._records
        if not records:
            return None
        store = self._begin_publication()
        store.publishing = True
        for start in range(0, len(records), STEP_RECORDS):
            if start:
                yield
            self._enter(store, records[start : start + STEP_RECORDS])
        store.publishing = False
        return self._end_publication(store)

    def _begin_publication(self) -> Store:
        store = self._store
        if store.current_revision != self.revision or store.publishing:
            raise RuntimeError("the store has moved on since this transaction began")
        return store

    def _enter(self, store: Store, records: list[Record]) -> None:
        add = store.index.add
        for record in records:
            add(record)
        store.bytes_in_use += store.account(records)

    def _end_publication(self, store: Store) -> Changes:
        revision = self.revision + 1
        store.history.append(revision, self._records)
        store.current_revision = revision
        return Changes(revision, self._records, self._previous)
