"""Removing what a compaction gave up, in slices.

The compacted revision moves at once, in ``Store.compact``.  This job then walks
all records up to it, in revision order, and keeps of each key the newest one;
of a tombstone only one that stands at the compacted revision itself (etcd since
3.5.16).  It waits while what it would remove is pinned.

On its way it computes the hash that etcd remembers of each compaction: over
everything that stood up to the compacted revision, before removal.  etcd
forgets it if the compaction before was not done yet, and so does this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rusd.mvcc.hashing import KvHasher, remember
from rusd.mvcc.history import Cursor, Slot
from rusd.mvcc.record import Record
from rusd.steps import CHEAP

if TYPE_CHECKING:
    from rusd.mvcc.store import Store


class Compaction:
    """One compaction's removal of old records.  ``done`` once all of it is removed."""

    def __init__(self, store: Store, revision: int, previous_revision: int) -> None:
        self.revision = revision
        self.previous_revision = previous_revision
        self.done = False
        self._store = store
        self._cursor: Cursor | None = None
        self._base: list[Record] = []
        self._rest_position: int | None = None
        self._garbage: list[list[Slot]] | None = None
        self._hasher = None if store.compactions else KvHasher(previous_revision, revision)

    def step(self, budget: int = 1000) -> bool:
        """Handle about ``budget`` records of the oldest compaction under way; whether *this* one is done.

        Compactions run one after the other, so stepping the newest drives them all.
        Does nothing while it :attr:`waits`.
        """
        if self.done or self.waits:
            return self.done
        self._store.compactions[0]._advance(budget)
        return self.done

    @property
    def waits(self) -> bool:
        """Of one that is not done: whether the next change to be removed is pinned."""
        return self._store.is_pinned(self._store.compactions[0].revision)

    def _advance(self, budget: int) -> None:
        if self._garbage is not None:
            self._free(budget * CHEAP)
        elif self._rest_position is not None:
            self._copy_rest(budget * CHEAP)
        else:
            self._judge(budget)

    def _judge(self, budget: int) -> None:
        """Keep or drop the next records."""
        store = self._store
        if self._cursor is None:
            self._cursor = Cursor(store.history, self.revision)
        records = self._cursor.take(budget)
        if not records:
            self._rest_position = self._cursor.base_stop
            return
        forget, revision = store.index.forget, self.revision
        keep = [forget(record, revision) for record in records]
        if self._hasher is not None:
            self._hasher.feed(records, keep)
        self._base += [record for record, kept in zip(records, keep, strict=True) if kept]
        dropped = [record for record, kept in zip(records, keep, strict=True) if not kept]
        store.bytes_in_use -= store.account(dropped)

    def _copy_rest(self, budget: int) -> None:
        """Take over the records of the old base that are newer than the compaction, then swap."""
        history = self._store.history
        start = self._rest_position or 0
        if start < len(history.base):
            self._base += history.base[start : start + budget]
            self._rest_position = start + budget
            return
        self._garbage = history.compacted(self.revision, self._base)
        self._base = []
        self._cursor = None
        if self._hasher is not None:
            remember(self._store, self._hasher.result())

    def _free(self, budget: int) -> None:
        """Let go of what was dropped, bit by bit."""
        garbage = self._garbage
        while garbage and budget > 0:
            part = garbage[-1]
            if not part:
                garbage.pop()
                continue
            slot = part.pop()
            budget -= 1
            if isinstance(slot, list):  # a whole transaction, perhaps a huge one: bit by bit too
                garbage.append(slot)  # type: ignore[arg-type]
        if garbage:
            return
        self.done = True
        self._store.compactions.popleft()
