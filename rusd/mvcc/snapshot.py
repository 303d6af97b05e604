"""Writing a store out and reading it back, chunk by chunk.

A dump is a cut: everything retained up to the revision that was current when it
began, in revision order, while writes go on and compactions wait.  What a
compaction has given up but not removed yet is left out, so equal histories give
equal dumps.  The chunks say what they are; files, checksums and compression
are the storage layer's business.

Each chunk begins with one byte.  ``H``: format version, current revision,
compacted revision.  ``R``: records, each a fixed header and its ``field``.
``E``: the number of records, the end.  Numbers are little endian.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from rusd.mvcc.errors import SnapshotFormatError
from rusd.mvcc.history import Cursor, History
from rusd.mvcc.record import Record
from rusd.steps import Steps, Turn

if TYPE_CHECKING:
    from rusd.mvcc.store import Pin, Store

FORMAT_VERSION = 1

CHUNK_RECORDS = 1000
"""Records in a chunk unless asked otherwise: one or two milliseconds' work.  Large ones make it fewer."""

_HEADER = struct.Struct("<cBqq")
# mod, create, version, lease, sub, key length, field length, where in the field the key begins
_RECORD = struct.Struct("<QQQqIIIB")
_END = struct.Struct("<cQ")


class Dump:
    """A cut of a store, taken out in slices.  Close it when done or abandoned."""

    def __init__(self, store: Store) -> None:
        self.current_revision = store.current_revision
        self.compact_revision = store.compact_revision
        self._store = store
        self._pin: Pin | None = store.pin()
        self._cursor = Cursor(store.history, store.current_revision)
        self._started = False
        self._ended = False
        self._count = 0

    def take(self, budget: int = CHUNK_RECORDS) -> list[Record]:
        """The next retained records, a slice of at most ``budget``; an empty list at the end.

        A slice is also bounded in bytes, see :meth:`Cursor.take`.
        """
        while (records := self._take_some(budget)) is not None:
            if records:
                return records
        return []

    def _take_some(self, budget: int) -> list[Record] | None:
        """What is retained of the next records, perhaps nothing; ``None`` at the end."""
        records = self._cursor.take(budget)
        if not records:
            return None
        if self._store.compactions and records[0].mod_revision <= self.compact_revision:
            retained, cut = self._store.retained, self.compact_revision
            return [record for record in records if retained(record, cut)]
        return records

    def next_chunk(self, budget: int = CHUNK_RECORDS) -> bytes | None:
        """The next piece of the dump, empty if all it would have held was given up; ``None`` after the last.

        At most ``budget`` records and about 1 MiB, or a single larger record.
        """
        if not self._started:
            self._started = True
            return _HEADER.pack(b"H", FORMAT_VERSION, self.current_revision, self.compact_revision)
        if self._ended:
            return None
        records = self._take_some(budget)
        if records is not None:
            self._count += len(records)
            return encode_records(records) if records else b""
        self._ended = True
        return _END.pack(b"E", self._count)

    def close(self) -> None:
        """Let compactions go on."""
        pin, self._pin = self._pin, None
        if pin is not None:
            pin.release()


def encode_records(records: list[Record]) -> bytes:
    """A chunk of records."""
    pack = _RECORD.pack
    parts = [b"R"] * (1 + 2 * len(records))
    parts[1::2] = [
        pack(
            record.mod_revision,
            record.create_revision,
            record.version,
            record.lease,
            record.sub,
            len(key := record.key),
            len(field := record.field),
            field.index(key, 2),
        )
        for record in records
    ]
    parts[2::2] = [record.field for record in records]
    return b"".join(parts)


class Loader:
    """Rebuilds a store from the chunks of a dump: feed them in order, then :meth:`finish_steps`."""

    def __init__(self) -> None:
        self._store: Store | None = None
        self._records: list[Record] = []
        self._last = (0, 0)
        self._complete = False
        self.leased: dict[bytes, int] = {}
        """The live keys that have a lease, and which."""

    def feed(self, chunk: bytes) -> None:
        """Take the next chunk.  Raises :class:`SnapshotFormatError`."""
        kind = chunk[:1]
        if self._complete:
            raise SnapshotFormatError("there is more after the end of the dump")
        if kind == b"H":
            self._begin(chunk)
        elif self._store is None:
            raise SnapshotFormatError("the dump does not begin with its header")
        elif kind == b"R":
            self._add(chunk, self._store)
        elif kind == b"E":
            self._end(chunk)
        else:
            raise SnapshotFormatError(f"unknown kind of chunk {kind!r}")

    def finish_steps(self, turn: Turn) -> Steps[Store]:
        """The store.  Raises :class:`SnapshotFormatError` if the dump is not complete."""
        store = self._store
        if store is None or not self._complete:
            raise SnapshotFormatError("the dump is not complete")
        # All at once is faster than each key in its place as it comes.
        yield from store.index.order_steps(turn)
        store.history = History(self._records, store.current_revision)
        return store

    def _begin(self, chunk: bytes) -> None:
        from rusd.mvcc.store import Store

        if self._store is not None or len(chunk) != _HEADER.size:
            raise SnapshotFormatError("a malformed header")
        _, version, current_revision, compact_revision = _HEADER.unpack(chunk)
        if version != FORMAT_VERSION:
            raise SnapshotFormatError(f"format version {version} is not known, {FORMAT_VERSION} is")
        if not -1 <= compact_revision <= current_revision or current_revision < 1:
            raise SnapshotFormatError("impossible revisions in the header")
        self._store = Store()
        self._store.current_revision = current_revision
        self._store.compact_revision = compact_revision

    def _add(self, chunk: bytes, store: Store) -> None:
        records = _decode_records(chunk)
        last = self._last
        for record in records:
            place = (record.mod_revision, record.sub)
            if place <= last:
                raise SnapshotFormatError(f"revision {place} comes after {last}")
            last = place
        if last[0] > store.current_revision:
            raise SnapshotFormatError(f"revision {last} is beyond the current one")
        self._last = last
        self._records += records
        store.bytes_in_use += store.account(records)
        self._note_leases(records)
        store.index.load(records)

    def _note_leases(self, records: list[Record]) -> None:
        leased = self.leased
        for record in records:
            if record.lease:
                leased[record.key] = record.lease
            elif leased:
                leased.pop(record.key, None)

    def _end(self, chunk: bytes) -> None:
        if len(chunk) != _END.size or _END.unpack(chunk)[1] != len(self._records):
            raise SnapshotFormatError("the number of records is not what the dump says")
        self._complete = True


def _decode_records(chunk: bytes) -> list[Record]:
    unpack, header_size, size = _RECORD.unpack_from, _RECORD.size, len(chunk)
    records: list[Record] = []
    position = 1
    while position < size:
        if position + header_size > size:
            raise SnapshotFormatError("a record is cut off")
        mod, create, version, lease, sub, key_length, length, key_start = unpack(chunk, position)
        position += header_size
        end = position + length
        key_end = position + key_start + key_length
        if end > size or key_end > end:
            raise SnapshotFormatError("a record is cut off")
        key = chunk[position + key_start : key_end]
        # A key made by this put can share one number for both revisions.
        created = mod if create == mod else create
        records.append(Record(key, created, mod, sub, version, lease, chunk[position:end]))
        position = end
    return records
