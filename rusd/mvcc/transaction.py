"""A write transaction: changes beside the store until they are published.

The changes of one transaction share one new revision and are numbered by their
sub revision in the order made.  Reads through the transaction see them; nobody
else does before :meth:`WriteTransaction.publish`.

A transaction that deletes a million keys would stop the server for seconds, so
what can be large also comes in steps (:mod:`rusd.steps`).  Between any two of
them readers still see the revision before: a publication prepares aside what the
new revision needs, and puts all of it in place in its last step.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rusd.mvcc.index import Garbage, by_key
from rusd.mvcc.keys import KeyList
from rusd.mvcc.ranges import RangeResult, read_steps
from rusd.mvcc.record import Record, put_record, tombstone_record
from rusd.mvcc.table import KeyTable
from rusd.steps import ENDLESS, PAGE, Steps, Turn, discard_steps, finish

if TYPE_CHECKING:
    from rusd.mvcc.store import Store


LARGE_OVERLAY = 10_000
"""Keys from which on the overlay is no plain dict: its growth would stop the server."""


class Changes:
    """What a transaction did: its revision, the records in order, and what each one replaced."""

    __slots__ = ("previous", "records", "revision")

    def __init__(self, revision: int, records: list[Record], previous: list[Record | None]) -> None:
        self.revision = revision
        self.records = records
        self.previous = previous


class WriteTransaction:
    """Changes on top of ``revision``, the revision that was current at the beginning."""

    __slots__ = ("_overlay", "_previous", "_records", "_sorted", "_sorted_records", "_store", "revision")

    def __init__(self, store: Store) -> None:
        self._store = store
        self.revision = store.current_revision
        self._records: list[Record] = []
        self._previous: list[Record | None] = []
        # The newest change of each key touched.
        self._overlay: dict[bytes, Record] | KeyTable[Record] = {}
        self._sorted: KeyList | None = None  # its keys, once a range is asked for
        self._sorted_records = 0  # of so many records the keys are in it

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
        record = self._overlay.get(key) if self._records else None
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
        if not own and (revision > 0 or self._store.current_revision == self.revision):
            result = self._store.range(key, range_end, revision=revision, limit=limit, count_only=count_only)
            result.revision = view_revision
            return result
        if not range_end:
            record = self.get(key)
            found = [] if record is None or count_only else [record]
            return RangeResult(found, int(record is not None), False, view_revision)
        return finish(self.range_steps(key, range_end, ENDLESS, limit=limit, count_only=count_only))

    def range_steps(
        self,
        key: bytes,
        range_end: bytes,
        turn: Turn,
        *,
        revision: int = 0,
        limit: int = 0,
        count_only: bool = False,
    ) -> Steps[RangeResult]:
        """:meth:`range` in steps."""
        if self._records and (revision <= 0 or revision == self.view_revision):
            return (yield from self._own_range_steps(key, range_end, limit, turn, count_only=count_only))
        result = yield from read_steps(
            self._store,
            key,
            range_end,
            turn,
            revision=revision,
            limit=limit,
            count_only=count_only,
            pinned_revision=0 if revision > 0 else self.revision,
        )
        result.revision = self.view_revision
        return result

    def _own_range_steps(
        self, key: bytes, range_end: bytes, limit: int, turn: Turn, *, count_only: bool
    ) -> Steps[RangeResult]:
        """A range as the changes made so far leave it."""
        records: list[Record] = []
        total = 0
        start: bytes | None = key
        yield from self._sort_overlay(turn)
        while start is not None:
            page, start = self._page(start, range_end, turn)
            total += len(page)
            if not count_only and not 0 < limit <= len(records):
                records += page
            if turn.left <= 0:
                yield
        if limit > 0:
            del records[limit:]
        return RangeResult(records, total, not count_only and len(records) < total, self.view_revision)

    def _sort_overlay(self, turn: Turn) -> Steps[None]:
        """Have the keys touched in order.  Transactions that only put never come here."""
        if not self._records:
            return
        keys = self._sorted
        if keys is None:
            keys = self._sorted = KeyList()
        while self._sorted_records < len(self._records):
            part = self._records[self._sorted_records : self._sorted_records + PAGE]
            for record in part:
                if record.key not in keys:
                    keys.add(record.key)
            self._sorted_records += len(part)
            turn.left -= len(part)
            if turn.left <= 0:
                yield

    def _page(self, key: bytes, range_end: bytes, turn: Turn) -> tuple[list[Record], bytes | None]:
        """Some of the live records of a range, in key order, and where to go on; ``None``: at the end.

        Changes made before :meth:`_sort_overlay` are seen, and the store does not change before publication.
        """
        if not range_end:
            record = self.get(key)
            turn.left -= 1
            return ([] if record is None else [record]), None
        size = int(max(1, min(turn.left, PAGE)))
        page: Sequence[Record] = self._store.range(key, range_end, revision=self.revision, limit=size).records
        stop = page[-1].key + b"\x00" if len(page) == size else None
        if self._sorted is not None:
            overlay = self._overlay
            first, last = self._sorted.span(key, range_end)
            own = list(self._sorted.islice(first, min(last, first + size)))
            if last - first > size and (stop is None or own[-1] < stop):
                stop = own[-1] + b"\x00"
            if stop is not None:
                del own[bisect_left(own, stop) :]
            live = [
                record for record in page if record.key not in overlay and (stop is None or record.key < stop)
            ]
            if own:
                live += [overlay[name] for name in own if overlay[name].version]
                live.sort(key=by_key)
            turn.left -= len(own)
            page = live
        turn.left -= len(page)
        return list(page), stop

    # -- changing ---------------------------------------------------------------

    def put(self, key: bytes, value: bytes, lease: int = 0) -> tuple[Record, Record | None]:
        """Set a key; the new record and the one it replaces (``None`` for a new key)."""
        previous = self._overlay.get(key) if self._records else None
        if previous is None:  # who writes stands on the newest revision
            previous = self._store.index.get_newest(key)
        elif not previous.version:
            previous = None
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
        deleted: list[Record] = []
        finish(self.delete_steps(key, range_end, ENDLESS, deleted))
        return deleted

    def delete_steps(
        self, key: bytes, range_end: bytes, turn: Turn, deleted: list[Record] | None = None
    ) -> Steps[int]:
        """:meth:`delete_range` in steps; how many there were.  What stood there is added to ``deleted``."""
        count = 0
        start: bytes | None = key
        yield from self._sort_overlay(turn)
        while start is not None:
            # What is deleted on the way stands before the next page's start.
            victims, start = self._page(start, range_end, turn)
            self._delete(victims)
            count += len(victims)
            if deleted is not None:
                deleted += victims
            turn.left -= len(victims)
            if turn.left <= 0:
                yield
        return count

    def delete_keys(self, keys: Sequence[bytes]) -> None:
        """Delete single keys, in the order given; those that don't exist are left out."""
        records = map(self.get, keys)
        self._delete([record for record in records if record is not None])

    def _delete(self, victims: list[Record]) -> None:
        revision = self.revision + 1
        records, overlay = self._records, self._overlay
        if len(records) > LARGE_OVERLAY and isinstance(overlay, dict):
            overlay = self._overlay = KeyTable(overlay)
        for victim in victims:
            record = tombstone_record(victim.key, revision, len(records))
            overlay[victim.key] = record
            records.append(record)
        self._previous += victims

    # -- publishing -------------------------------------------------------------

    def publish(self) -> Changes | None:
        """Make the changes the store's next revision, in one step; ``None`` if there are none."""
        records = self._records
        if not records:
            return None
        store = self._begin_publication()
        add = store.index.add
        for record in records:
            add(record)
        store.bytes_in_use += store.account(records)
        self._end_publication(store)
        return Changes(self.revision + 1, records, self._previous)

    @property
    def changes(self) -> Changes:
        """What the transaction has done so far; not to be kept while it goes on."""
        return Changes(self.revision + 1, self._records, self._previous)

    def publish_steps(self, turn: Turn) -> Steps[Changes | None]:
        """:meth:`publish` in steps; readers see the new revision only once the work is done."""
        if len(self._records) <= self._store.publish_at_once:
            return self.publish()
        commit = yield from self.prepare_steps(turn)
        garbage = commit()
        yield from discard_steps(garbage, turn)
        return self.changes

    def prepare_steps(self, turn: Turn) -> Steps[Callable[[], Garbage]]:
        """Prepare the publication of many changes; what it gives back publishes them, at once.

        It is to be called in the turn in which it comes, and returns what is of no more use, for
        :func:`~rusd.steps.discard_steps`.
        """
        store = self._begin_publication()
        store.publishing = True
        pin = store.pin()  # a compaction would change the lists that are being prepared
        records = self._records
        size = 0
        try:
            commit_index = yield from store.index.add_steps(records, self._overlay, turn)
            for start in range(0, len(records), PAGE):
                size += store.account(records[start : start + PAGE])
                turn.left -= PAGE / 8
                if turn.left <= 0:
                    yield
        except BaseException:
            pin.release()  # a snapshot takes the place of it all; who waits for a compaction must not wait on
            raise

        def commit() -> Garbage:
            garbage = commit_index()
            store.bytes_in_use += size
            store.publishing = False
            pin.release()
            self._end_publication(store)
            garbage += [self._overlay] if isinstance(self._overlay, dict) else self._overlay.shards
            if self._sorted is not None:
                garbage.append(self._sorted.take_chunks())
            return garbage

        return commit

    def _begin_publication(self) -> Store:
        store = self._store
        if store.current_revision != self.revision or store.publishing:
            raise RuntimeError("the store has moved on since this transaction began")
        return store

    def _end_publication(self, store: Store) -> None:
        store.history.append(self.revision + 1, self._records)
        store.current_revision = self.revision + 1
