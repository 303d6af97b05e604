"""What all members must agree on, and what clients may be told.

Every write that is acknowledged has a revision; what stands at a revision is known from
whoever published it first, and everybody else must publish the same.  A call is linearizable if its answer
is of a revision that nobody had been told of before it was made, or a later one.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from rusd.mvcc import Record


@attrs.frozen
class Change:
    """A key's value as of a revision; None if it was deleted."""

    key: bytes
    value: bytes | None


class Model:
    """One cluster's history."""

    def __init__(self) -> None:
        self.revisions: dict[int, tuple[Change, ...]] = {}
        self.newest_told = 1
        self.writes = 0
        self.reads = 0
        self.errors: dict[str, int] = {}
        self._versions: dict[bytes, list[tuple[int, bytes | None]]] = {}

    def published(self, member: int, revision: int, records: Sequence[Record]) -> None:
        """A member says what ``revision`` is."""
        changes = tuple(
            Change(record.key, None if record.tombstone else bytes(record.value)) for record in records
        )
        known = self.revisions.setdefault(revision, changes)
        assert known == changes, f"{member} has {changes} at revision {revision}, somebody had {known}"
        for change in changes:
            versions = self._versions.setdefault(change.key, [])
            if not versions or versions[-1][0] < revision:
                versions.append((revision, change.value))

    def value(self, key: bytes, revision: int) -> bytes | None:
        """What ``key`` has at ``revision``."""
        for at, value in reversed(self._versions.get(key, [])):
            if at <= revision:
                return value
        return None

    def wrote(self, floor: int, revision: int, change: Change) -> None:
        """A client is told that its ``change`` is ``revision``."""
        self.writes += 1
        assert change in self.revisions[revision], f"{change} was acknowledged as revision {revision}"
        assert revision > floor, f"{change} was acknowledged as revision {revision}, {floor} was known before"
        self.newest_told = max(self.newest_told, revision)

    def read(self, floor: int, revision: int, change: Change) -> None:
        """A client is told what a key has as of ``revision``."""
        self.reads += 1
        expected = self.value(change.key, revision)
        assert change.value == expected, f"{change} was read at revision {revision}, which has {expected!r}"
        assert revision >= floor, f"{change} was read at revision {revision}, {floor} was known before"
        self.newest_told = max(self.newest_told, revision)

    def failed(self, error: Exception) -> None:
        """A client is told of an error."""
        name = type(error).__name__
        self.errors[name] = self.errors.get(name, 0) + 1
