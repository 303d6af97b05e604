"""The data directory of one member: layout, lock, and which snapshot to start from.

::

    <data-dir>/member/lock     held while a process uses the directory
    <data-dir>/member/wal/     the log
    <data-dir>/member/snap/    snapshot files; one found damaged is kept as <name>.broken, out of the way

All directories are made with mode 0700, as etcd does.  The format version stands
in the files themselves, at the front of each segment and each snapshot, so it
can't disagree with them; etcd's own files, and versions not known here, are
refused and left alone.
"""

from __future__ import annotations

import contextlib
import errno
import posixpath
from collections.abc import Sequence

import attrs

from rusd.environment import Disk, DiskFile
from rusd.raft.messages import Entry, HardState
from rusd.storage import wal
from rusd.storage.errors import DataDirLockedError, FormatError, MissingLogError, StorageError
from rusd.storage.files import remove_leftovers
from rusd.storage.record import SnapshotMarker
from rusd.storage.recovery import segment_names
from rusd.storage.snapshot import SnapshotName, SnapshotReader, SnapshotWriter, list_snapshots
from rusd.storage.wal import Recovered, Wal

SNAPSHOTS_KEPT = 2
BROKEN_SUFFIX = ".broken"

# A directory above ours may not be ours to open, or of a file system that can't sync (a read-only root).
_NOT_SYNCED = {errno.EACCES, errno.EPERM, errno.EINVAL, errno.EROFS}


@attrs.frozen
class OpenedMember:
    """A member's state on disk, found after a restart."""

    wal: Wal
    recovered: Recovered
    snapshot: SnapshotName | None  # load this first; None: begin from nothing
    skipped: tuple[str, ...]  # what is wrong with newer snapshots that could not be used, for the log


class DataDir:
    """A locked data directory.

    ``path`` is the ``--data-dir``; the log is in it unless a ``wal_directory`` is given.
    Opening makes what is missing, durably.  Raises :class:`DataDirLockedError`,
    :class:`FormatError` for etcd's data, :class:`OSError`.
    """

    def __init__(self, disk: Disk, path: str, *, wal_directory: str | None = None) -> None:
        self._disk = disk
        self.path = path = _without_slash(path)
        self.member_directory = posixpath.join(path, "member")
        self.wal_directory = _without_slash(wal_directory or posixpath.join(self.member_directory, "wal"))
        self.snapshot_directory = posixpath.join(self.member_directory, "snap")
        self._refuse_etcd()
        for directory in (path, self.member_directory, self.wal_directory, self.snapshot_directory):
            _make_durably(disk, directory)
        self._lock = self._take_lock()

    @property
    def has_member(self) -> bool:
        """Whether a member lives here: there is a log."""
        return bool(segment_names(self._disk, self.wal_directory))

    def create_member(
        self,
        identity: bytes,
        *,
        hard_state: HardState | None = None,
        entries: Sequence[Entry] = (),
        marker: SnapshotMarker | None = None,
        segment_bytes: int = wal.SEGMENT_BYTES,
    ) -> Wal:
        """Begin a new member's log, durably; the arguments are :func:`rusd.storage.wal.create`'s.

        Raises :class:`MissingLogError` if there are other snapshots than ``marker``'s:
        a log must have been here.
        """
        wanted = SnapshotName(marker.index, marker.term) if marker else None
        if any(name != wanted for name in self.snapshots()):
            raise MissingLogError(
                f"{self.wal_directory}: no log, but {self.snapshot_directory} has snapshots; "
                "put the log back, or move the data directory away to begin anew"
            )
        return wal.create(
            self._disk,
            self.wal_directory,
            identity,
            hard_state=hard_state,
            entries=entries,
            marker=marker,
            segment_bytes=segment_bytes,
        )

    def open_member(self, *, segment_bytes: int = wal.SEGMENT_BYTES) -> OpenedMember:
        """Open the log, with the newest snapshot that is whole, noted in it, and reached by it.

        Files that a crash left half-written are removed.  A damaged snapshot is renamed:
        under its name it would be counted as one of those worth keeping.

        Raises :class:`CorruptionError`, :class:`FormatError`, :class:`MissingSnapshotError`
        (nothing is changed then), :class:`OSError`.
        """
        problems: dict[SnapshotName, str] = {}
        log, recovered = wal.open(
            self._disk,
            self.wal_directory,
            is_usable=lambda marker: self._is_whole(marker, problems),
            segment_bytes=segment_bytes,
        )
        try:
            remove_leftovers(self._disk, self.snapshot_directory)
            skipped = tuple(self._set_aside(name, problem) for name, problem in problems.items())
        except BaseException:
            log.close()
            raise
        marker = recovered.marker
        name = SnapshotName(marker.index, marker.term) if marker else None
        return OpenedMember(log, recovered, name, skipped)

    def snapshots(self) -> list[SnapshotName]:
        """The snapshot files, oldest first."""
        return list_snapshots(self._disk, self.snapshot_directory)

    def write_snapshot(self, name: SnapshotName, header: bytes = b"") -> SnapshotWriter:
        """Begin a snapshot file; note it in the log once it is finished."""
        return SnapshotWriter(self._disk, self.snapshot_directory, name, header)

    def read_snapshot(self, name: SnapshotName) -> SnapshotReader:
        """Open a snapshot file.  Raises what :class:`SnapshotReader` raises."""
        return SnapshotReader(self._disk, self.snapshot_directory, name)

    def prune(self, log: Wal) -> None:
        """Keep two snapshots and the log from the older one; call it after a note in the log is synced.

        Raises :class:`OSError`, which harms nothing; the next call finishes the work.
        """
        present = set(self.snapshots())
        noted = {SnapshotName(marker.index, marker.term) for marker in log.markers}
        kept = sorted(present & noted)[-SNAPSHOTS_KEPT:]
        if not kept:
            return
        # A newer file without a note is one that is about to get it.
        for name in sorted(present - set(kept)):
            if name < kept[-1]:
                self._disk.remove(posixpath.join(self.snapshot_directory, name.name))
        if len(kept) == SNAPSHOTS_KEPT or log.first_index > 1:
            log.release(kept[0].index)

    def close(self) -> None:
        """Give up the lock.  The log is closed by its owner."""
        self._lock.close()

    # -- helpers

    def _refuse_etcd(self) -> None:
        if self._disk.exists(posixpath.join(self.snapshot_directory, "db")):
            raise FormatError(
                f"{self.path}: this data directory belongs to etcd; rusd can't use it, "
                "choose another --data-dir (a snapshot saved by etcdctl carries the data over)"
            )

    def _take_lock(self) -> DiskFile:
        try:
            return self._disk.lock(posixpath.join(self.member_directory, "lock"))
        except BlockingIOError as error:
            raise DataDirLockedError(f"{self.path}: another process uses this data directory") from error

    def _is_whole(self, marker: SnapshotMarker, problems: dict[SnapshotName, str]) -> bool:
        name = SnapshotName(marker.index, marker.term)
        try:
            with contextlib.closing(self.read_snapshot(name)) as reader:
                reader.verify()
        except FormatError:
            raise  # a newer rusd was here; an older snapshot must not hide that
        except (StorageError, FileNotFoundError) as error:
            problems[name] = str(error)
            return False
        return True

    def _set_aside(self, name: SnapshotName, problem: str) -> str:
        """Rename a snapshot that can't be used, if it is there; says what is wrong and what was done."""
        path = posixpath.join(self.snapshot_directory, name.name)
        if not self._disk.exists(path):
            return problem
        # Not lasting through a crash, this is done again by the next start.
        self._disk.rename(path, path + BROKEN_SUFFIX)
        self._disk.sync_directory(self.snapshot_directory)
        return f"{problem}; the file is kept as {name.name}{BROKEN_SUFFIX}"


def _make_durably(disk: Disk, directory: str) -> None:
    """Make ``directory`` and what is missing above it, with durable names.

    From the top down, each name made durable before the next is made: so a kill
    leaves at most one that is not, that of the deepest directory there is.
    Hence that one's is made durable again.
    """
    chain = [directory]
    while not disk.exists(chain[-1]) and _parent_of(chain[-1]) != chain[-1]:
        chain.append(_parent_of(chain[-1]))
    for each in reversed(chain):
        disk.make_directory(each)
        try:
            disk.sync_directory(_parent_of(each))
        except OSError as error:
            if error.errno not in _NOT_SYNCED:
                raise


def _without_slash(path: str) -> str:
    return path.rstrip("/") or path[:1]


def _parent_of(path: str) -> str:
    return posixpath.dirname(path) or "."
