"""All retained changes in revision order.

Two parts.  Up to the *base revision* a plain list of records, sorted by
revision, in which revisions may be missing: what compaction left, or what came
out of a snapshot.  Above it, every revision exists, so the changes are found by
number: chunks of 1024 revisions, eight bytes a revision.

Not here: which records a compaction keeps (:mod:`rusd.mvcc.compaction`) and the
order by key (:mod:`rusd.mvcc.index`).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import attrgetter

from rusd.mvcc.record import Record

# One revision's changes.  The list is saved for the usual revision with one change.
Slot = Record | list[Record] | None

_CHUNK_BITS = 10
_CHUNK_MASK = (1 << _CHUNK_BITS) - 1

SLICE_BYTES = 1 << 20
"""Of records handed out at a time: whoever joins or checksums them does it in one turn."""

_SLOTS = 64
"""Revisions that a walk looks up in one go, until one of them has several changes."""

by_mod_revision = attrgetter("mod_revision")
by_place = attrgetter("mod_revision", "sub")


class History:
    """Changes by revision.

    ``base`` is replaced by compactions, never modified; whoever walks it holds
    on to the list it began with (and to a pin, see ``Store.pin``).
    """

    def __init__(self, base: list[Record], base_revision: int) -> None:
        self.base = base
        self.base_revision = base_revision
        self._chunks: dict[int, list[Slot]] = {}

    def append(self, revision: int, records: list[Record]) -> None:
        """Take the changes of the next revision, in order of their sub revisions; O(1).

        The list is kept as it is and must not change any more.
        """
        slot: Slot = records[0] if len(records) == 1 else records
        position = revision & _CHUNK_MASK
        chunk = self._chunks.get(revision >> _CHUNK_BITS)
        if chunk is None:
            chunk = self._chunks[revision >> _CHUNK_BITS] = [None] * position
        chunk.append(slot)

    def chunks(self) -> list[list[Slot]]:
        """Everything above the base, in pieces."""
        return list(self._chunks.values())

    def above_base(self, revision: int) -> Sequence[Record]:
        """The changes of an existing revision above the base revision; O(1)."""
        slot = self._chunks[revision >> _CHUNK_BITS][revision & _CHUNK_MASK]
        return slot if isinstance(slot, list) else (slot,)  # type: ignore[return-value]

    def slots(self, first: int, last: int) -> list[Slot]:
        """The changes of the revisions ``first``, above the base, to ``last``, or of the first of them.

        Raises :class:`LookupError` if ``first`` does not exist.
        """
        start = first & _CHUNK_MASK
        found = self._chunks[first >> _CHUNK_BITS][start : start + last - first + 1]
        if not found:
            raise IndexError(f"no revision {first}")
        return found

    def between(self, first: int, last: int) -> Iterator[tuple[int, Sequence[Record]]]:
        """Each revision from ``first`` to ``last`` that has changes, with them, in order."""
        if first <= self.base_revision:
            start = bisect_left(self.base, first, key=by_mod_revision)
            stop = bisect_right(self.base, last, key=by_mod_revision)
            part = (self.base[position] for position in range(start, stop))
            for revision, records in groupby(part, key=by_mod_revision):
                yield revision, tuple(records)
        for revision in range(max(first, self.base_revision + 1), last + 1):
            yield revision, self.above_base(revision)

    def since(self, revision: int, sub: int, last: int, limit: int) -> list[Record]:
        """The next changes from a place on (in the order of revision, sub), up to revision ``last``.

        At most ``limit``; fewer only if there are no more.
        """
        found: list[Record] = []
        if revision <= self.base_revision:
            start = bisect_left(self.base, (revision, sub), key=by_place)
            stop = bisect_right(self.base, last, key=by_mod_revision)
            found = self.base[start : min(stop, start + limit)]
            revision, sub = self.base_revision + 1, 0
        while revision <= last and len(found) < limit:
            records = self.above_base(revision)  # where nothing is missing: a change's sub is its position
            found += records[sub : sub + limit - len(found)]
            revision += 1
            sub = 0
        return found

    def compacted(self, revision: int, base: list[Record]) -> list[list[Slot]]:
        """Make ``base`` all there is up to ``revision`` (or the old base revision, if higher).

        Gives back what went out, in parts, for the caller to let go of bit by
        bit: freeing a million records at once would stop the server for long.
        """
        dropped: list[list[Slot]] = [self.base]  # type: ignore[list-item]
        first_chunk = self.base_revision >> _CHUNK_BITS  # emptied in part by the compaction before
        self.base = base
        if revision <= self.base_revision:
            return dropped
        self.base_revision = revision
        last_chunk = revision >> _CHUNK_BITS
        for number in range(first_chunk, last_chunk):
            chunk = self._chunks.pop(number, None)
            if chunk is not None:
                dropped.append(chunk)
        partly = self._chunks.get(last_chunk)
        if partly is not None:
            stop = (revision & _CHUNK_MASK) + 1
            dropped.append(partly[:stop])
            partly[:stop] = [None] * len(partly[:stop])
        return dropped


class Cursor:
    """A walk over all retained records up to ``last_revision``, in revision order, in slices.

    The history it walks must stay pinned while the walk goes on; changes above
    ``last_revision`` may come in meanwhile.
    """

    def __init__(self, history: History, last_revision: int) -> None:
        self._history = history
        self._last_revision = last_revision
        self._base = history.base
        self._base_position = 0
        self.base_stop = bisect_right(self._base, last_revision, key=by_mod_revision)
        self._revision = history.base_revision + 1
        self._rest: Sequence[Record] = ()
        self._rest_position = 0
        self._held: list[Record] = []  # passed already, too many bytes for the slice before

    def take(self, budget: int) -> list[Record]:
        """The next records, at most ``budget`` and ``SLICE_BYTES``, but one at least; none at the end."""
        records = self._held or self._walk(budget)
        stop = min(budget, _fitting(records))
        self._held = records[stop:]
        return records[:stop] if self._held else records

    def _walk(self, budget: int) -> list[Record]:
        if self._base_position < self.base_stop:
            start = self._base_position
            self._base_position = min(start + budget, self.base_stop)
            return self._base[start : self._base_position]
        records: list[Record] = []
        while len(records) < budget:
            if self._rest_position < len(self._rest):
                # One revision can hold a million changes, so it may take several slices.
                start = self._rest_position
                self._rest_position = start + budget - len(records)
                records += self._rest[start : self._rest_position]
            elif self._revision <= self._last_revision:
                last = self._revision + min(budget - len(records), _SLOTS) - 1
                for slot in self._history.slots(self._revision, min(last, self._last_revision)):
                    self._revision += 1
                    if type(slot) is list:
                        self._rest, self._rest_position = slot, 0
                        break
                    records.append(slot)  # type: ignore[arg-type]
            else:
                break
        return records


def _fitting(records: Sequence[Record]) -> int:
    """How many of the first ``records`` make up a slice."""
    size = sum([len(record.field) for record in records])
    if size <= SLICE_BYTES:
        return len(records)
    size = 0
    for count, record in enumerate(records):
        size += len(record.field)
        if size > SLICE_BYTES and count:
            return count
    return len(records)
