"""The tail of the replicated log, in memory.

Not the disk: the owner writes what :meth:`Log.take_unpersisted` hands out and
says when it is durable.  Not the whole log either: entries that are applied
and durable are dropped from the front once there are too many, and what stood
at or below ``base_index`` is only in the owner's files from then on.

::

        base_index                persisted_index  handed_index      last_index
            │  … entries held here …      │              │               │
    ────────┼─────────────────────────────┼──────────────┼───────────────┤
    dropped │           durable           │ being written│ not yet taken │

Truncation (§5.3: a follower deletes what conflicts with its leader's log)
moves the two middle marks back, which is what makes a late "that is durable
now" for a deleted entry harmless.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rusd.raft.errors import InvariantViolation

if TYPE_CHECKING:
    from rusd.raft.messages import Entry

DEFAULT_MAX_ENTRIES = 5_000
DEFAULT_MAX_BYTES = 16 * 1024 * 1024

MOST_TRIMMED = 5_000
"""Entries dropped at a time: a millisecond's work."""


class Log:
    """Entries ``base_index + 1`` to ``last_index`` with their terms.

    ``entries`` are those found on disk after a restart, all of them durable;
    ``base_index`` and ``base_term`` name the entry before the first of them.
    The two limits bound what :meth:`trim` leaves of the applied part.
    Raises :class:`InvariantViolation` if the entries are not consecutive.
    """

    __slots__ = (
        "_bytes",
        "_entries",
        "_max_bytes",
        "_max_entries",
        "base_index",
        "base_term",
        "handed_index",
        "last_index",
        "persisted_index",
    )

    def __init__(
        self,
        entries: Sequence[Entry] = (),
        *,
        base_index: int = 0,
        base_term: int = 0,
        max_entries: int = DEFAULT_MAX_ENTRIES,
        max_bytes: int = DEFAULT_MAX_BYTES,
    ) -> None:
        self._entries: list[Entry] = list(entries)
        self._bytes = sum(len(entry.data) for entry in self._entries)
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self.base_index = base_index
        self.base_term = base_term
        self.last_index = base_index + len(self._entries)
        self.persisted_index = self.last_index
        self.handed_index = self.last_index
        self.check()

    # -- reading ------------------------------------------------------------

    @property
    def entries_held(self) -> int:
        """How many entries are held."""
        return len(self._entries)

    @property
    def bytes_held(self) -> int:
        """Bytes of data in the entries held."""
        return self._bytes

    @property
    def last_term(self) -> int:
        """The term of the last entry."""
        return self._entries[-1].term if self._entries else self.base_term

    def term(self, index: int) -> int | None:
        """The term of the entry at ``index``; None if it is not held (dropped, or beyond the end)."""
        position = index - self.base_index
        if position > 0:
            return self._entries[position - 1].term if index <= self.last_index else None
        return self.base_term if position == 0 else None

    def holds(self, index: int, term: int) -> bool:
        """Whether the entry at ``index`` is there and of ``term``."""
        return self.term(index) == term

    def slice(self, first: int, last: int) -> list[Entry]:
        """Entries ``first`` to ``last``, both included; all must be held (:class:`InvariantViolation`)."""
        if first <= self.base_index or last > self.last_index:
            raise InvariantViolation(
                f"entries {first} to {last} asked for, {self.base_index + 1} to {self.last_index} held"
            )
        return self._entries[first - self.base_index - 1 : last - self.base_index]

    def slice_bytes(self, first: int, max_bytes: int) -> list[Entry]:
        """Entries from ``first`` on while their data fits ``max_bytes``, but one at least if there is one."""
        if first > self.last_index:
            return []
        entries = self.slice(first, first)
        left = max_bytes - len(entries[0].data)
        # One by one: behind them may be hundreds of thousands, for a member that was away.
        for position in range(first - self.base_index, len(self._entries)):
            entry = self._entries[position]
            left -= len(entry.data)
            if left < 0:
                break
            entries.append(entry)
        return entries

    def find_conflict(self, entries: Sequence[Entry]) -> int:
        """Where in ``entries`` the first stands that this log does not hold; their number if it holds all."""
        for position, entry in enumerate(entries):
            if not self.holds(entry.index, entry.term):
                return position
        return len(entries)

    def last_at_or_below_term(self, index: int, term: int) -> int:
        """The last index up to ``index`` whose term is at most ``term``: where two logs may still agree.

        Terms never fall along a log (§5.3), so nothing between the result and
        ``index`` can match a log whose entry at ``index`` has ``term``.  This is
        how a rejected leader skips a whole term in one step.
        """
        index = min(index, self.last_index)
        while index > self.base_index:
            held = self.term(index)
            if held is not None and held <= term:
                break
            index -= 1
        return index

    # -- writing ------------------------------------------------------------

    def append(self, entry: Entry) -> None:
        """Add ``entry``, whose index the caller has made ``last_index + 1``."""
        self._entries.append(entry)
        self._bytes += len(entry.data)
        self.last_index += 1

    def truncate(self, index: int) -> None:
        """Delete the entry at ``index`` and all that follow it (§5.3)."""
        if index > self.last_index:
            return
        if index <= self.base_index:
            raise InvariantViolation(f"truncation at {index} reaches below the base {self.base_index}")
        position = index - self.base_index - 1
        self._bytes -= sum(len(entry.data) for entry in self._entries[position:])
        del self._entries[position:]
        self.last_index = index - 1
        self.handed_index = min(self.handed_index, self.last_index)
        self.persisted_index = min(self.persisted_index, self.last_index)

    def reset(self, index: int, term: int) -> None:
        """Forget everything: a snapshot up to ``index``/``term`` takes the place of the log (§7)."""
        self._entries.clear()
        self._bytes = 0
        self.base_index = self.last_index = self.handed_index = self.persisted_index = index
        self.base_term = term

    def trim(self, through: int) -> bool:
        """Drop entries up to ``through`` from the front if the log is over its limits.

        Drops down to three quarters of the limits, and nothing before a quarter
        of the entries may go (or as many as the limit): so the list is not moved on
        every call, not even far over the limits, where a recovery begins.  At most
        :data:`MOST_TRIMMED` go at a time.  Returns whether the base has moved.
        """
        held = len(self._entries)
        if held <= self._max_entries and self._bytes <= self._max_bytes:
            return False
        keep_entries, keep_bytes = self._max_entries * 3 // 4, self._max_bytes * 3 // 4
        limit = min(through, self.persisted_index) - self.base_index
        if limit < min(held / 4, self._max_entries):
            return False
        limit = min(limit, MOST_TRIMMED)
        count, size = 0, self._bytes
        while count < limit and (held - count > keep_entries or size > keep_bytes):
            size -= len(self._entries[count].data)
            count += 1
        if count == 0:
            return False
        self.base_term = self._entries[count - 1].term
        self.base_index += count
        del self._entries[:count]
        self._bytes = size
        return True

    # -- the disk -----------------------------------------------------------

    def take_unpersisted(self) -> list[Entry]:
        """The entries nobody was asked to write yet; each is handed out once, in order."""
        first = self.handed_index - self.base_index
        self.handed_index = self.last_index
        return self._entries[first:]

    def persisted(self, term: int, index: int) -> bool:
        """The disk holds the log up to ``index``, where it wrote an entry of ``term``.  Whether that counts.

        It does not if the entry was deleted meanwhile.  Comparing terms is not
        enough: the same entry may have been deleted and received again, with a
        write of the conflicting one still to come.  Then it stands above
        ``handed_index`` again, and waits for its own write.
        """
        if not self.persisted_index < index <= self.handed_index or not self.holds(index, term):
            return False
        self.persisted_index = index
        return True

    def check(self) -> None:
        """Verify what must always hold; raises :class:`InvariantViolation`."""
        if not self.base_index <= self.persisted_index <= self.handed_index <= self.last_index:
            raise InvariantViolation(
                f"log marks out of order: base {self.base_index}, persisted {self.persisted_index}, "
                f"handed {self.handed_index}, last {self.last_index}"
            )
        index, term = self.base_index, self.base_term
        for entry in self._entries:
            index += 1
            if entry.index != index:
                raise InvariantViolation(f"entry {entry.index} stands where {index} belongs")
            if entry.term < term:
                raise InvariantViolation(f"entry {index} of term {entry.term} follows one of term {term}")
            term = entry.term
        if index != self.last_index:
            raise InvariantViolation(f"the last entry is {index}, not {self.last_index}")
        if self._bytes != sum(len(entry.data) for entry in self._entries):
            raise InvariantViolation("the log has lost count of its bytes")
