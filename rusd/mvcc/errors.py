"""What a request to the store can be refused for.

Each error is raised before anything has changed, so that a refused request
leaves no trace.  The texts etcd's clients see belong to the service layer; these
classes carry the numbers.
"""

from __future__ import annotations


class MvccError(Exception):
    """The common base of everything the store refuses."""


class CompactedError(MvccError):
    """The revision asked for was compacted away (or, for a compaction, has been compacted already)."""

    def __init__(self, revision: int, compact_revision: int) -> None:
        super().__init__(f"revision {revision} is compacted, compacted revision is {compact_revision}")
        self.revision = revision
        self.compact_revision = compact_revision


class FutureRevisionError(MvccError):
    """The revision asked for does not exist yet."""

    def __init__(self, revision: int, current_revision: int) -> None:
        super().__init__(f"revision {revision} is in the future, current revision is {current_revision}")
        self.revision = revision
        self.current_revision = current_revision


class KeyNotFoundError(MvccError):
    """A put with ``ignore_value`` or ``ignore_lease`` found no key whose value or lease it could keep."""

    def __init__(self, key: bytes) -> None:
        super().__init__(f"no key {key!r}")
        self.key = key


class LeaseNotFoundError(MvccError):
    """A put names a lease that does not exist."""

    def __init__(self, lease: int) -> None:
        super().__init__(f"no lease {lease}")
        self.lease = lease


class SnapshotFormatError(MvccError):
    """The bytes given to a :class:`~rusd.mvcc.snapshot.Loader` are not a dump of a store."""
