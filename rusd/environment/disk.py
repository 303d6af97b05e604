"""Files, addressed by offset, and the directories they are in."""

from __future__ import annotations

import errno
import fcntl
import os
import sys
from typing import Protocol


class DiskFile(Protocol):
    """An open file, addressed by offset.  Every method may raise :class:`OSError`."""

    def size(self) -> int:
        """The length of the file in bytes."""

    def read_at(self, offset: int, length: int) -> bytes:
        """Up to ``length`` bytes from ``offset``; shorter only at the end of the file."""

    def write_at(self, offset: int, data: bytes) -> None:
        """Write all of ``data`` at ``offset``, growing the file as needed."""

    def truncate(self, size: int) -> None:
        """Set the length of the file to ``size`` bytes."""

    def sync(self) -> None:
        """Return once contents and length are on stable storage (``fdatasync``)."""

    def close(self) -> None:
        """Release the file; writes that were not synced may be lost in a crash."""


class Disk(Protocol):
    """A file system.  Paths are absolute or relative strings; errors are :class:`OSError`."""

    def make_directory(self, path: str) -> None:
        """Create ``path`` and missing parents, mode 0700; fine if it exists."""

    def list_directory(self, path: str) -> list[str]:
        """The names in ``path``, sorted."""

    def exists(self, path: str) -> bool:
        """Whether ``path`` names a file or a directory."""

    def open(self, path: str, *, create: bool = False) -> DiskFile:
        """Open for reading and writing; ``create`` makes a new file and refuses an existing one."""

    def rename(self, source: str, target: str) -> None:
        """Replace ``target`` by ``source`` atomically (durable after :meth:`sync_directory`)."""

    def remove(self, path: str) -> None:
        """Delete the file ``path``."""

    def sync_directory(self, path: str) -> None:
        """Return once creations, renames and removals in ``path`` are on stable storage."""

    def lock(self, path: str) -> DiskFile:
        """Take an exclusive lock on the file ``path`` (made if missing) until it is closed.

        Raises :class:`BlockingIOError` if another holder has it.
        """


class RealFile:
    """A file of the operating system."""

    def __init__(self, fd: int, *, fsync: bool) -> None:
        self._fd = fd
        self._fsync = fsync

    def size(self) -> int:
        return os.fstat(self._fd).st_size

    def read_at(self, offset: int, length: int) -> bytes:
        parts: list[bytes] = []
        while length > 0:
            part = os.pread(self._fd, length, offset)
            if not part:
                break
            parts.append(part)
            offset += len(part)
            length -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def write_at(self, offset: int, data: bytes) -> None:
        written = os.pwrite(self._fd, data, offset)
        while written < len(data):  # a short write is legal, if rare, on a regular file
            count = os.pwrite(self._fd, memoryview(data)[written:], offset + written)
            if count == 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            written += count

    def truncate(self, size: int) -> None:
        os.ftruncate(self._fd, size)

    def sync(self) -> None:
        if not self._fsync:
            return
        if sys.platform == "darwin":
            fcntl.fcntl(self._fd, fcntl.F_FULLFSYNC)
        else:
            os.fdatasync(self._fd)

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class RealDisk:
    """The file system of the operating system.

    ``fsync=False`` (``--unsafe-no-fsync``) turns every sync into nothing.
    """

    def __init__(self, *, fsync: bool = True) -> None:
        self._fsync = fsync

    def make_directory(self, path: str) -> None:
        os.makedirs(path, mode=0o700, exist_ok=True)

    def list_directory(self, path: str) -> list[str]:
        return sorted(os.listdir(path))

    def exists(self, path: str) -> bool:
        return os.path.exists(path)

    def open(self, path: str, *, create: bool = False) -> RealFile:
        flags = os.O_RDWR | os.O_CLOEXEC
        if create:
            flags |= os.O_CREAT | os.O_EXCL
        return RealFile(os.open(path, flags, 0o600), fsync=self._fsync)

    def rename(self, source: str, target: str) -> None:
        os.replace(source, target)

    def remove(self, path: str) -> None:
        os.unlink(path)

    def sync_directory(self, path: str) -> None:
        if not self._fsync:
            return
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def lock(self, path: str) -> RealFile:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            raise
        return RealFile(fd, fsync=self._fsync)
