"""A disk that fails on request.

:class:`FaultDisk` wraps any disk: the n-th write, sync or other change fails
with the error of your choice, or the disk stops for good there, perhaps in the
middle of a write.  Reading is never made to fail before the disk has stopped.
"""

from __future__ import annotations

import errno
from typing import Literal

import attrs

from rusd.environment import Disk, DiskFile
from rusd.environment.memory import disk_error

Operation = Literal["write", "sync", "truncate", "create", "rename", "remove", "sync_directory"]


class DiskStoppedError(OSError):
    """The disk was told to stop here and does nothing any more."""


@attrs.define
class _Fault:
    operation: Operation | None  # None: any of them
    countdown: int
    error: OSError | None  # None: stop for good
    written: int


class FaultDisk:
    """Passes everything on to ``disk`` until a planned fault is due.

    ``counts`` has how often each :data:`Operation` was begun so far, failed ones too.
    """

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        self.counts: dict[Operation, int] = dict.fromkeys(
            ("write", "sync", "truncate", "create", "rename", "remove", "sync_directory"), 0
        )
        self.is_stopped = False
        self._faults: list[_Fault] = []

    def fail(self, operation: Operation | None, nth: int = 1, error: OSError | None = None) -> None:
        """The ``nth`` ``operation`` from now does nothing and raises ``error`` (EIO); ``None`` counts all."""
        self._faults.append(_Fault(operation, nth, error or disk_error(errno.EIO), 0))

    def stop_after(self, operation: Operation | None, nth: int = 1, *, written: int = 0) -> None:
        """Do ``nth - 1`` of these operations; stop for good at the next, which raises like all after it.

        If that one is a write, its first ``written`` bytes still reach the disk: a torn write.
        """
        self._faults.append(_Fault(operation, nth, None, written))

    def clear(self) -> None:
        """Forget the faults that are still to come."""
        self._faults.clear()

    # -- the contract of rusd.environment.Disk

    def make_directory(self, path: str) -> None:
        self._check()
        self.disk.make_directory(path)

    def list_directory(self, path: str) -> list[str]:
        self._check()
        return self.disk.list_directory(path)

    def exists(self, path: str) -> bool:
        self._check()
        return self.disk.exists(path)

    def open(self, path: str, *, create: bool = False) -> DiskFile:
        self._check()
        if create:
            self._begin("create")
        return _FaultFile(self, self.disk.open(path, create=create))

    def rename(self, source: str, target: str) -> None:
        self._begin("rename")
        self.disk.rename(source, target)

    def remove(self, path: str) -> None:
        self._begin("remove")
        self.disk.remove(path)

    def sync_directory(self, path: str) -> None:
        self._begin("sync_directory")
        self.disk.sync_directory(path)

    def lock(self, path: str) -> DiskFile:
        self._check()
        return self.disk.lock(path)

    # -- helpers

    def _check(self) -> None:
        if self.is_stopped:
            raise DiskStoppedError(errno.EIO, "the disk was stopped by the test")

    def _begin(self, operation: Operation) -> None:
        self._check()
        self.counts[operation] += 1
        if (fault := self._due(operation)) is not None:
            self._strike(fault)

    def _begin_write(self, file: DiskFile, offset: int, data: bytes) -> None:
        self._check()
        self.counts["write"] += 1
        if (fault := self._due("write")) is not None:
            if fault.written:
                file.write_at(offset, data[: fault.written])
            self._strike(fault)

    def _due(self, operation: Operation) -> _Fault | None:
        due = None
        for fault in self._faults:
            if fault.operation in {None, operation}:
                fault.countdown -= 1
                if fault.countdown == 0:
                    due = fault
        return due

    def _strike(self, fault: _Fault) -> None:
        if fault.error is not None:
            raise fault.error
        self.is_stopped = True
        self._check()


class _FaultFile:
    """An open file of a :class:`FaultDisk`."""

    def __init__(self, disk: FaultDisk, file: DiskFile) -> None:
        self._disk = disk
        self._file = file

    def size(self) -> int:
        self._disk._check()
        return self._file.size()

    def read_at(self, offset: int, length: int) -> bytes:
        self._disk._check()
        return self._file.read_at(offset, length)

    def write_at(self, offset: int, data: bytes) -> None:
        self._disk._begin_write(self._file, offset, data)
        self._file.write_at(offset, data)

    def truncate(self, size: int) -> None:
        self._disk._begin("truncate")
        self._file.truncate(size)

    def sync(self) -> None:
        self._disk._begin("sync")
        self._file.sync()

    def close(self) -> None:
        self._file.close()
