"""The multi-version key-value store.

Every change makes a new revision; reads see any revision that was not compacted.
The rules are etcd's.  The store is a deterministic function of the calls made to
it: no clock, no I/O, no chance, and nothing iterates in an order that could
differ between two members.

It knows nothing of leases beyond the number stored with a key, of watches, of
permissions or of requests and answers; :mod:`rusd.mvcc.ranges` and
:mod:`rusd.mvcc.txn` evaluate requests on it.

Readers and the one writer take turns in one thread.  What would take long comes
as a job with ``step(budget)`` or as a generator of steps; between steps readers
see the revision before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import chain

from rusd.mvcc import hashing, transaction
from rusd.mvcc.compaction import Compaction
from rusd.mvcc.errors import CompactedError, FutureRevisionError
from rusd.mvcc.hashing import HashKv, HashKvJob
from rusd.mvcc.history import Cursor, History
from rusd.mvcc.index import Garbage, KeyIndex
from rusd.mvcc.ranges import RangeRequest, RangeResult, fetch_limit, read_steps
from rusd.mvcc.record import Record
from rusd.mvcc.snapshot import Dump
from rusd.steps import Steps, Turn

FIRST_REVISION = 1
"""The current revision of an empty store."""

NEVER_COMPACTED = -1

# What a change takes in etcd's backend beside the KeyValue: the revision key and bbolt's
# header of a leaf element.  Only for size estimates.
_RECORD_OVERHEAD_BYTES = 17 + 16


PUBLISH_AT_ONCE = 500
"""Changes up to which a transaction is published in one go: less work, and no millisecond's."""


class Pin:
    """Keeps changes in place until :meth:`release`; compactions that would remove them wait meanwhile."""

    def __init__(self, pinned: dict[Pin, int]) -> None:
        self._pinned = pinned

    def release(self) -> None:
        """Let compactions go on; more than once does no harm."""
        self._pinned.pop(self, None)


class Store:
    """Keys, values and their history.

    ``current_revision`` is that of the last published transaction, 1 in an empty
    store; ``compact_revision`` is -1 until the first compaction.
    ``bytes_in_use`` estimates what etcd's backend would need.  ``publish_at_once`` is
    how many changes are published in one go even where steps are asked for.
    """

    def __init__(self) -> None:
        self.current_revision = FIRST_REVISION
        self.compact_revision = NEVER_COMPACTED
        self.index = KeyIndex()
        self.history = History([], FIRST_REVISION)
        self.bytes_in_use = 0
        self._pinned: dict[Pin, int] = {}
        self.compaction_hashes: list[HashKv] = []
        self.compactions: deque[Compaction] = deque()
        # Set while a large transaction is published bit by bit: histories in the index may then be
        # ahead of current_revision, so reads of the newest state must go by revision.
        self.publishing = False
        self.publish_at_once = PUBLISH_AT_ONCE

    # -- reading --------------------------------------------------------------

    @property
    def key_count(self) -> int:
        """How many keys live at the current revision."""
        return len(self.index.live)

    @property
    def view_revision(self) -> int:
        """The revision at which :meth:`range` and :meth:`get` read unless told otherwise."""
        return self.current_revision

    def get(self, key: bytes, revision: int = 0) -> Record | None:
        """The put that stands for ``key``, or ``None``; ``revision`` 0 or negative is the current one.

        Raises :class:`CompactedError` or :class:`FutureRevisionError`.
        """
        return self.index.get(key, self.check_readable(revision) if revision > 0 else self.current_revision)

    def count(self, key: bytes, range_end: bytes = b"", revision: int = 0) -> int:
        """How many keys of the range exist at ``revision``; O(log n) at the current one.

        Raises as :meth:`get`.
        """
        return self.range(key, range_end, revision=revision, count_only=True).count

    def range(
        self,
        key: bytes,
        range_end: bytes = b"",
        *,
        revision: int = 0,
        limit: int = 0,
        count_only: bool = False,
    ) -> RangeResult:
        """The live records of a range in key order, at most ``limit`` (0 or less: all), and their number.

        ``range_end`` is etcd's: empty for the one key, a zero byte for all keys
        from ``key`` on, else the first key not in the range.  Raises as :meth:`get`.
        """
        at = self.check_readable(revision) if revision > 0 else self.current_revision
        if not range_end:
            record = self.index.get(key, at)
            found = [] if record is None else [record]
            return RangeResult([] if count_only else found, len(found), False, self.current_revision)
        newest = at == self.current_revision
        if count_only:
            total = self.index.count(key, range_end) if newest else self.index.at(key, range_end, at, 0)[1]
            return RangeResult([], total, False, self.current_revision)
        if newest:
            records, total = self.index.newest(key, range_end, limit, before=at if self.publishing else 0)
        else:
            records, total = self.index.at(key, range_end, at, limit)
        return RangeResult(records, total, len(records) < total, self.current_revision)

    def collections(self) -> Garbage:
        """What it consists of, to be let go of bit by bit: it is of no use after that."""
        index, history = self.index, self.history
        return [
            history.base,
            *history.chunks(),
            *index.histories.shards,
            index.live.take_chunks(),
            index.dead.take_chunks(),
        ]

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
        """:meth:`range` in steps, see :func:`rusd.mvcc.ranges.read_steps`."""
        return read_steps(self, key, range_end, turn, revision=revision, limit=limit, count_only=count_only)

    def cost(self, request: RangeRequest) -> int:
        """About how many keys must be looked at to answer ``request``; O(log n)."""
        key, range_end = request.key, request.range_end
        if not range_end:
            return 1
        if 0 < request.revision < self.current_revision:
            return self.index.width(key, range_end)
        if request.count_only:
            return 1
        count = self.index.count(key, range_end)
        limit = fetch_limit(request)
        return min(count, limit) if limit else count

    def check_readable(self, revision: int) -> int:
        """``revision``, the current one for 0 and less, if it can be read; else raises as :meth:`get`."""
        if revision <= 0:
            return self.current_revision
        if revision > self.current_revision:
            raise FutureRevisionError(revision, self.current_revision)
        if revision < self.compact_revision:
            raise CompactedError(revision, self.compact_revision)
        return revision

    def changes(self, first_revision: int, last_revision: int) -> Iterator[tuple[int, Sequence[Record]]]:
        """Each revision of ``[first, last]`` that has changes, with them in order of their sub revisions.

        ``last`` above the current revision counts as the current one.  Raises
        :class:`CompactedError` if ``first`` is below the compacted revision.
        The iterator must not be kept while compactions step: take what you
        need in one turn and ask again for the rest.
        """
        if first_revision < self.compact_revision:
            raise CompactedError(first_revision, self.compact_revision)
        return self.history.between(first_revision, min(last_revision, self.current_revision))

    def changes_since(self, revision: int, sub: int, last_revision: int, limit: int) -> list[Record]:
        """The next changes from ``revision`` and ``sub`` on, up to ``last_revision``, as they happened.

        At most ``limit``; fewer only if there are no more.  Raises as :meth:`changes`.
        """
        if revision < self.compact_revision:
            raise CompactedError(revision, self.compact_revision)
        return self.history.since(revision, sub, min(last_revision, self.current_revision), limit)

    def previous(self, record: Record) -> Record | None:
        """What stood for the key just before the revision of ``record`` (an event's ``prev_kv``).

        ``None`` if the key did not exist or that revision is compacted.
        """
        revision = record.mod_revision - 1
        if revision < self.compact_revision:
            return None
        return self.index.get(record.key, revision)

    # -- writing --------------------------------------------------------------

    def begin(self) -> transaction.WriteTransaction:
        """A transaction on the current revision.

        Any number may be begun (one that changes nothing is a consistent view);
        to be published, it must stand on the then current revision.
        """
        return transaction.WriteTransaction(self)

    def compact(self, revision: int) -> Compaction:
        """Give up the history before ``revision``, at once for readers.

        What is no longer wanted is removed by the steps of the job given back.
        Raises :class:`CompactedError` if ``revision`` is not above the compacted
        one, :class:`FutureRevisionError` if it is above the current one.
        """
        if revision <= self.compact_revision:
            raise CompactedError(revision, self.compact_revision)
        if revision > self.current_revision:
            raise FutureRevisionError(revision, self.current_revision)
        job = Compaction(self, revision, self.compact_revision)
        self.compact_revision = revision
        self.compactions.append(job)
        return job

    @property
    def last_compaction(self) -> Compaction | None:
        """The newest compaction not yet done: what ``physical=true`` waits for, even when refused."""
        return self.compactions[-1] if self.compactions else None

    # -- the whole state --------------------------------------------------------

    def pin(self, revision: int = NEVER_COMPACTED) -> Pin:
        """Hold back the removal of old changes (not the compacted revision) until released.

        For who reads at ``revision`` only: a compaction up to there removes nothing that stands
        there and goes on, or reads that follow one another without a gap would hold it up for ever.
        """
        pin = Pin(self._pinned)
        self._pinned[pin] = revision
        return pin

    @property
    def pins(self) -> int:
        """How many pins there are."""
        return len(self._pinned)

    def is_pinned(self, revision: int) -> bool:
        """Whether a compaction at ``revision`` has to wait."""
        return any(pinned < revision for pinned in self._pinned.values())

    def hash_kv(self, revision: int) -> HashKvJob:
        """A job that computes etcd's HashKV up to ``revision`` (0: the current one).

        Raises as :meth:`get`.  See :mod:`rusd.mvcc.hashing`.
        """
        return hashing.hash_kv(self, revision)

    def dump(self) -> Dump:
        """A cut of the store at the current revision, to be written out in slices.

        Close it: it pins the history.  See :mod:`rusd.mvcc.snapshot`.
        """
        return Dump(self)

    def retained(self, record: Record, compact_revision: int) -> bool:
        """Whether a compaction at ``compact_revision`` would keep ``record``.

        Kept are newer records and, of each key, the newest one up to that revision,
        but a tombstone only if it stands at the compacted revision itself.
        """
        if record.mod_revision > compact_revision:
            return True
        if not record.version and record.mod_revision != compact_revision:
            return False
        return self.index.newest_is(record, compact_revision)

    def account(self, records: Sequence[Record]) -> int:
        """What ``records`` count for in ``bytes_in_use``."""
        return sum([len(record.field) for record in records]) + _RECORD_OVERHEAD_BYTES * len(records)

    def check(self) -> None:
        """Verify every invariant; raises :class:`AssertionError`.  O(everything)."""
        _check(self)


def _check(store: Store) -> None:
    index, history = store.index, store.history
    assert store.current_revision >= FIRST_REVISION
    assert NEVER_COMPACTED <= store.compact_revision <= store.current_revision
    assert history.base_revision <= store.current_revision
    index.check(store.current_revision if store.publishing else 0)
    cursor = Cursor(history, store.current_revision)
    records: list[Record] = []
    while part := cursor.take(1000):
        records += part
    places = [(record.mod_revision, record.sub) for record in records]
    assert places == sorted(set(places)), "history is out of order"
    assert all(place[0] <= store.current_revision for place in places)
    per_key = list(
        chain.from_iterable(
            entry if isinstance(entry, list) else [entry] for entry in index.histories.values()
        )
    )
    if not store.publishing:
        assert all(record.mod_revision <= store.current_revision for record in per_key)
    kept = [record for record in records if store.retained(record, store.compact_revision)]
    indexed = {id(record) for record in per_key}
    assert all(id(record) in indexed for record in kept), "a retained change is not in the index"
    if store.compactions or store.publishing:
        return
    assert len(kept) == len(records) == len(per_key), "history and index differ"
    assert store.bytes_in_use == store.account(records)
