"""What the watch hub needs to know about the store: a read-only view of its history.

The real one is the MVCC store; tests bring a list.  Records are shared with the
store, never copied and never changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol


class Record(Protocol):
    """One change of one key."""

    @property
    def key(self) -> bytes:
        """The key that was put or deleted."""

    @property
    def create_revision(self) -> int:
        """The revision that created the key; 0 in a tombstone."""

    @property
    def mod_revision(self) -> int:
        """The revision of this change."""

    @property
    def sub(self) -> int:
        """Which change of its revision this is; they are numbered upwards."""

    @property
    def tombstone(self) -> bool:
        """Whether this change is a delete."""

    @property
    def event_field(self) -> bytes:
        """Its ``mvccpb.KeyValue`` as field 2 of a message (tag, length, content), as events carry it."""


class History(Protocol):
    """The changes of a store, in order of their revisions."""

    @property
    def current_revision(self) -> int:
        """The newest revision."""

    @property
    def compact_revision(self) -> int:
        """The revision below which nothing can be read; -1 when never compacted."""

    def changes_since(self, revision: int, sub: int, last_revision: int, limit: int, /) -> Sequence[Any]:
        """The next records from ``revision`` and ``sub`` on, up to ``last_revision``, in order.

        At most ``limit``; fewer only if there are no more.
        """

    def previous(self, record: Any, /) -> Record | None:
        """The key as it was at ``record.mod_revision - 1``; None if absent then or compacted."""
