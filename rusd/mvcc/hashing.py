"""HashKV: one number that members with the same history agree on.

It is etcd's: CRC-32C over the bucket name ``key`` and then, in revision order,
over each stored change up to the revision asked for: its revision key (8 bytes
big endian main revision, ``_``, 8 bytes sub revision, ``t`` for a tombstone)
and its ``KeyValue``.

Changes at or below the compacted revision count only if a compaction *at the
revision asked for* would keep them; if it would keep nothing at all, none of
them is left out.  A tombstone at the compacted revision never counts.  Whether
the compacted changes have been removed yet makes no difference.

The hashes of the last compactions are remembered (not across restarts) and
given again when their very revision is asked for.  Those were made with the
compacted revision before theirs.  So only the triple of :class:`HashKv`
compares.

Source: etcd's server/storage/mvcc/hash.go and key_index.go, release 3.6.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs
import google_crc32c

from rusd.mvcc.history import Cursor
from rusd.mvcc.record import Record

if TYPE_CHECKING:
    from rusd.mvcc.store import Pin, Store

REMEMBERED_HASHES = 10
"""How many compactions' hashes etcd remembers (``hashStorageMaxSize``)."""

_pack_revision = struct.Struct(">QcQ").pack


@attrs.frozen
class HashKv:
    """A hash, the compacted revision it was made under and the revision up to which it goes."""

    hash: int
    compact_revision: int
    hash_revision: int


def revision_key(record: Record) -> bytes:
    """The key under which etcd's backend stores a change."""
    key = _pack_revision(record.mod_revision, b"_", record.sub)
    return key if record.version else key + b"t"


class KvHasher:
    """Hashes records given in revision order.

    Whether a compaction at ``revision`` keeps anything is only known at the end,
    so until a kept record is seen two checksums are carried along: one that
    leaves out what would not be kept, one that leaves out nothing.
    """

    def __init__(self, compact_revision: int, revision: int) -> None:
        self._compact_revision = compact_revision
        self._revision = revision
        self._strict = self._lenient = int(google_crc32c.value(b"key"))
        self.anything_kept = False

    def feed(self, records: Sequence[Record], keep: Sequence[bool]) -> None:
        """Take the next records; ``keep`` says of each whether a compaction would keep it."""
        compact_revision = self._compact_revision
        strict: list[bytes] = []
        lenient: list[bytes] = []
        for record, kept in zip(records, keep, strict=True):
            main = record.mod_revision
            if main == compact_revision and not record.version:
                continue
            lenient.append(revision_key(record))
            lenient.append(record.encoded)
            if kept or main > compact_revision:
                strict.append(lenient[-2])
                strict.append(lenient[-1])
        if not self.anything_kept:
            self.anything_kept = any(keep)
            self._lenient = google_crc32c.extend(self._lenient, b"".join(lenient))
        self._strict = google_crc32c.extend(self._strict, b"".join(strict))

    def result(self) -> HashKv:
        """The hash of what was fed."""
        crc = self._strict if self.anything_kept else self._lenient
        return HashKv(crc, self._compact_revision, self._revision)


class HashKvJob:
    """One HashKV being computed in slices; ``result`` once ``step`` has returned true.

    Pins the history until done or :meth:`close` d.
    """

    def __init__(self, store: Store, revision: int) -> None:
        self.current_revision = store.current_revision
        self.result: HashKv | None = None
        self._store = store
        self._revision = revision
        self._compact_revision = store.compact_revision
        self._cursor = Cursor(store.history, revision)
        self._hasher = KvHasher(store.compact_revision, revision)
        self._pin: Pin | None = store.pin()

    def step(self, budget: int = 1000) -> bool:
        """Hash a slice of at most ``budget`` records; whether the result is there."""
        if self.result is not None:
            return True
        records = self._cursor.take(budget)
        if not records:
            self.result = self._hasher.result()
            self.close()
            return True
        store, revision, compact_revision = self._store, self._revision, self._compact_revision
        if records[0].mod_revision <= compact_revision and store.compactions:
            records = [record for record in records if store.retained(record, compact_revision)]
        if self._hasher.anything_kept and records and records[0].mod_revision > compact_revision:
            keep = [True] * len(records)  # these count in any case
        else:
            newest_is = store.index.newest_is
            keep = [record.version > 0 and newest_is(record, revision) for record in records]
        self._hasher.feed(records, keep)
        return False

    def close(self) -> None:
        """Give up the pin; for a job that is abandoned."""
        pin, self._pin = self._pin, None
        if pin is not None:
            pin.release()


class RememberedHash(HashKvJob):
    """A job that has nothing left to do."""

    def __init__(self, store: Store, result: HashKv) -> None:
        self.current_revision = store.current_revision
        self.result = result
        self._pin = None


def hash_kv(store: Store, revision: int) -> HashKvJob:
    """The job for ``Store.hash_kv``."""
    for remembered in store.compaction_hashes:
        if remembered.hash_revision == revision:
            return RememberedHash(store, remembered)
    store.check_readable(revision)
    # A negative revision is not refused by etcd; nothing is that old.
    return HashKvJob(store, revision or store.current_revision)


def remember(store: Store, result: HashKv) -> None:
    """Keep the hash of a compaction, and of those with the highest revisions only so many."""
    hashes = sorted([*store.compaction_hashes, result], key=lambda item: item.hash_revision)
    store.compaction_hashes = hashes[-REMEMBERED_HASHES:]
