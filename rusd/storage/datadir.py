"""The data directory of one member: layout, lock, and which snapshot to start from.

::

    <data-dir>/member/lock     held while a process uses the directory
    <data-dir>/member/wal/     the log (or --wal-dir, anywhere)
    <data-dir>/member/snap/    snapshot files

All directories are made with mode 0700, as etcd does (``facts``: server,
start-up).  The format version stands in the files themselves, at the front of
each segment and each snapshot, so it can't disagree with them; etcd's own
files, and versions not known here, are refused and left alone.
"""

from __future__ import annotations

import contextlib
import posixpath
from collections.abc import Sequence

import attrs

from rusd.environment import Disk, DiskFile
from rusd.raft.messages import Entry, HardState
from rusd.storage import wal
from rusd.storage.errors import DataDirLockedError, FormatError, MissingLogError, StorageError
from rusd.storage.record import SnapshotMarker
from rusd.storage.recovery import segment_names
from rusd.storage.segment import TEMPORARY_SUFFIX
from rusd.storage.snapshot import SnapshotName, SnapshotReader, SnapshotWriter, list_snapshots
from rusd.storage.wal import Recovered, Wal

SNAPSHOTS_KEPT = 2


@attrs.frozen
class OpenedMember:
    """A member's state on disk, found after a restart."""

    wal: Wal
    recovered: Recovered
    snapshot: SnapshotName | None  # load this first; None: begin from nothing
    skipped: tuple[str, ...]  # what is wrong with newer snapshots that could not be used, for the log


class DataDir:
    """A locked data directory.

    ``path`` is the ``--data-dir``, ``wal_directory`` the ``--wal-dir``.
    Opening makes what is missing.  Raises :class:`DataDirLockedError`,
    :class:`FormatError` for etcd's data, :class:`OSError`.
    """

    def __init__(self, disk: Disk, path: str, *, wal_directory: str | None = None) -> None:
        self._disk = disk
        self.path = path
        self.member_directory = posixpath.join(path, "member")
        self.wal_directory = wal_directory or posixpath.join(self.member_directory, "wal")
        self.snapshot_directory = posixpath.join(self.member_directory, "snap")
        self._refuse_etcd()
        for directory in (path, self.member_directory, self.wal_directory, self.snapshot_directory):
            disk.make_directory(directory)
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
                "check --wal-dir, or move the data directory away to begin anew"
            )
        self._sync_directories()
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

        Files that a crash left half-written are removed.

        Raises :class:`CorruptionError`, :class:`FormatError`, :class:`MissingSnapshotError`
        (nothing is changed then), :class:`OSError`.
        """
        problems: list[str] = []
        log, recovered = wal.open(
            self._disk,
            self.wal_directory,
            is_usable=lambda marker: self._is_whole(marker, problems),
            segment_bytes=segment_bytes,
        )
        try:
            self._remove_unfinished()
            self._sync_directories()
        except BaseException:
            log.close()
            raise
        marker = recovered.marker
        name = SnapshotName(marker.index, marker.term) if marker else None
        return OpenedMember(log, recovered, name, tuple(problems))

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

    def _is_whole(self, marker: SnapshotMarker, problems: list[str]) -> bool:
        name = SnapshotName(marker.index, marker.term)
        try:
            with contextlib.closing(self.read_snapshot(name)) as reader:
                reader.verify()
        except FormatError:
            raise  # a newer rusd was here; an older snapshot must not hide that
        except (StorageError, FileNotFoundError) as error:
            problems.append(str(error))
            return False
        return True

    def _remove_unfinished(self) -> None:
        for name in self._disk.list_directory(self.snapshot_directory):
            if name.endswith(TEMPORARY_SUFFIX):
                self._disk.remove(posixpath.join(self.snapshot_directory, name))

    def _sync_directories(self) -> None:
        for directory in (self.path, self.member_directory):
            self._disk.sync_directory(directory)
        for directory in (self.path, self.wal_directory):
            with contextlib.suppress(PermissionError):  # the parent may not be ours, nor readable
                self._disk.sync_directory(posixpath.dirname(directory) or ".")
