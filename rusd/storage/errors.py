"""What can go wrong with files, other than the :class:`OSError` that the disk itself raises."""

from __future__ import annotations


class StorageError(Exception):
    """Base of everything raised here."""


class CorruptionError(StorageError):
    """A file holds what no crash explains; nothing was changed.

    ``path`` and ``offset`` (bytes) say where, ``advice`` what the operator can do.
    """

    def __init__(self, path: str, offset: int, problem: str, advice: str) -> None:
        super().__init__(f"{path}: offset {offset}: {problem}; {advice}")
        self.path = path
        self.offset = offset
        self.problem = problem
        self.advice = advice


class FormatError(StorageError):
    """Files of another program, or of a version of rusd that this one does not know."""


class MissingSnapshotError(StorageError):
    """No snapshot file and no log that together give a complete state."""


class MissingLogError(StorageError):
    """Snapshot files without the log that goes with them."""


class DataDirLockedError(StorageError):
    """Another process uses the data directory."""


class WalFailedError(StorageError):
    """The log had a failed write or sync (or was closed), and takes nothing more.

    What a failed sync left on the disk is unknown, and the operating system
    may report the next one as fine.  So there is no second try in this process.
    """
