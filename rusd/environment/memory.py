"""A disk in memory, which can lose power.

A server with ``--data-dir :memory:`` keeps its files on one, and tests do, for
:class:`MemoryDisk` keeps apart what was synced and what was not.
:meth:`MemoryDisk.crash` is the power cut: of everything not synced, the caller
chooses what survives, in units of 512-byte pages and single directory entries,
in any combination.  That is harsher than file systems are, and it is what
their documentation allows.

Two simplifications: directories themselves are durable at once, and a page
that was written twice since its last sync survives with its last content or
not at all.
"""

from __future__ import annotations

import errno
import os
import posixpath
from collections.abc import Callable, Collection
from typing import Literal

import attrs

PAGE_BYTES = 512


@attrs.frozen
class UnsyncedPage:
    """512 bytes of a file, written and not synced.  ``path`` is the file's name now."""

    path: str
    page: int  # offset / 512


@attrs.frozen
class UnsyncedSize:
    """A changed file length, not synced."""

    path: str


@attrs.frozen
class UnsyncedName:
    """A creation, renaming or removal whose directory was not synced; ``number`` counts them per disk."""

    operation: Literal["create", "rename", "remove"]
    path: str  # for a renaming, the new name
    number: int


Unsynced = UnsyncedPage | UnsyncedSize | UnsyncedName


class _Inode:
    """A file's bytes, and what its unsynced pages held before."""

    __slots__ = ("before", "data", "durable_size")

    def __init__(self) -> None:
        self.data = bytearray()
        self.durable_size = 0
        self.before: dict[int, bytes] = {}

    def will_change(self, start: int, end: int) -> None:
        """Remember the durable content of the pages that hold bytes ``start`` to ``end``."""
        for page in range(start // PAGE_BYTES, -(-end // PAGE_BYTES)):
            if page not in self.before:
                old = bytes(self.data[page * PAGE_BYTES : (page + 1) * PAGE_BYTES])
                self.before[page] = old.ljust(PAGE_BYTES, b"\0")

    def write(self, offset: int, data: bytes) -> None:
        end = offset + len(data)
        self.will_change(offset, end)
        if offset > len(self.data):
            self.data.extend(bytes(offset - len(self.data)))
        self.data[offset:end] = data

    def truncate(self, size: int) -> None:
        if size < len(self.data):
            self.will_change(size, len(self.data))
            del self.data[size:]
        else:
            self.data.extend(bytes(size - len(self.data)))

    def sync(self) -> None:
        self.before.clear()
        self.durable_size = len(self.data)

    def after_crash(self, pages: Collection[int], *, keep_size: bool) -> _Inode:
        """A file that kept only ``pages`` of those not synced."""
        kept = [page for page in pages if page in self.before]
        size = self.durable_size
        if keep_size:
            size = len(self.data)
        elif kept:
            size = max(size, min(len(self.data), (max(kept) + 1) * PAGE_BYTES))
        new = _Inode()
        new.data = bytearray(self.data[:size].ljust(size, b"\0"))
        for page, old in self.before.items():
            if page not in kept:
                start = page * PAGE_BYTES
                new.data[start : start + PAGE_BYTES] = old[: max(0, min(PAGE_BYTES, size - start))]
        new.durable_size = size
        return new


@attrs.frozen
class _NameChange:
    item: UnsyncedName
    inode: _Inode | None  # what the name stands for afterwards
    old_path: str | None = None  # a name that goes away


class MemoryFile:
    """An open file of a :class:`MemoryDisk`; a :class:`rusd.environment.DiskFile`."""

    def __init__(self, inode: _Inode, on_close: Callable[[], None] | None = None) -> None:
        self._inode: _Inode | None = inode
        self._on_close = on_close

    def size(self) -> int:
        return len(self._open().data)

    def read_at(self, offset: int, length: int) -> bytes:
        return bytes(self._open().data[offset : offset + length])

    def write_at(self, offset: int, data: bytes) -> None:
        self._open().write(offset, data)

    def truncate(self, size: int) -> None:
        self._open().truncate(size)

    def sync(self) -> None:
        self._open().sync()

    def close(self) -> None:
        self._inode = None
        if self._on_close is not None:
            self._on_close()
            self._on_close = None

    def _open(self) -> _Inode:
        if self._inode is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return self._inode


class MemoryDisk:
    """A file system in memory that remembers what a power cut could take away."""

    def __init__(self) -> None:
        self._directories: set[str] = {"/", "."}
        self._files: dict[str, _Inode] = {}
        self._durable_names: dict[str, _Inode] = {}
        self._changes: list[_NameChange] = []
        self._change_count = 0
        self._locked: set[str] = set()

    # -- the contract of rusd.environment.Disk

    def make_directory(self, path: str) -> None:
        path = posixpath.normpath(path)
        if path in self._files:
            raise disk_error(errno.EEXIST, path)
        while path and path not in self._directories:
            self._directories.add(path)
            path = posixpath.dirname(path) or "."

    def list_directory(self, path: str) -> list[str]:
        path = self._directory(path)
        names = [*self._files, *self._directories]
        return sorted(posixpath.basename(name) for name in names if _parent(name) == path and name != path)

    def exists(self, path: str) -> bool:
        path = posixpath.normpath(path)
        return path in self._files or path in self._directories

    def open(self, path: str, *, create: bool = False) -> MemoryFile:
        path = posixpath.normpath(path)
        if create:
            if self.exists(path):
                raise disk_error(errno.EEXIST, path)
            self._create(path)
        elif path in self._directories:
            raise disk_error(errno.EISDIR, path)
        return MemoryFile(self._inode(path))

    def rename(self, source: str, target: str) -> None:
        source, target = posixpath.normpath(source), posixpath.normpath(target)
        inode = self._inode(source)
        self._directory(_parent(target))
        del self._files[source]
        self._files[target] = inode
        self._note("rename", target, inode, source)

    def remove(self, path: str) -> None:
        path = posixpath.normpath(path)
        self._inode(path)
        del self._files[path]
        self._note("remove", path, None, path)

    def sync_directory(self, path: str) -> None:
        path = self._directory(path)
        waiting: list[_NameChange] = []
        for change in self._changes:
            if _parent(change.item.path) == path:
                _apply(self._durable_names, change)
            else:
                waiting.append(change)
        self._changes = waiting

    def lock(self, path: str) -> MemoryFile:
        path = posixpath.normpath(path)
        if path in self._locked:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN), path)
        if path not in self._files:
            self._create(path)
        self._locked.add(path)
        return MemoryFile(self._files[path], lambda: self._locked.discard(path))

    # -- the power cut

    def unsynced(self) -> list[Unsynced]:
        """Everything that a power cut now could take away, in a stable order."""
        items: list[Unsynced] = [change.item for change in self._changes]
        for path, inode in sorted(self._files.items()):
            items += [UnsyncedPage(path, page) for page in sorted(inode.before)]
            if len(inode.data) != inode.durable_size:
                items.append(UnsyncedSize(path))
        return items

    def crash(self, keep: Collection[Unsynced] = ()) -> MemoryDisk:
        """The disk after a power cut that spared only ``keep`` of :meth:`unsynced`.

        The result is a new disk with all of it durable; this one, with the
        files open on it, is unchanged, so many outcomes can be tried.
        """
        kept = set(keep)
        names = dict(self._durable_names)
        for change in self._changes:
            if change.item in kept:
                _apply(names, change)
        pages: dict[int, list[int]] = {}
        sizes: set[int] = set()
        for path, inode in self._files.items():
            pages[id(inode)] = [page for page in inode.before if UnsyncedPage(path, page) in kept]
            if UnsyncedSize(path) in kept:
                sizes.add(id(inode))
        after = MemoryDisk()
        after._directories = set(self._directories)
        after._files = {
            path: inode.after_crash(pages.get(id(inode), ()), keep_size=id(inode) in sizes)
            for path, inode in names.items()
        }
        after._durable_names = dict(after._files)
        return after

    def copy(self) -> MemoryDisk:
        """The same files on a disk of their own, all durable: what a killed process leaves to the next."""
        return self.crash(self.unsynced())

    # -- helpers

    def _create(self, path: str) -> None:
        self._directory(_parent(path))
        self._files[path] = inode = _Inode()
        self._note("create", path, inode)

    def _note(
        self,
        operation: Literal["create", "rename", "remove"],
        path: str,
        inode: _Inode | None,
        old_path: str | None = None,
    ) -> None:
        self._change_count += 1
        item = UnsyncedName(operation, path, self._change_count)
        self._changes.append(_NameChange(item, inode, old_path))

    def _inode(self, path: str) -> _Inode:
        if path not in self._files:
            raise disk_error(errno.ENOENT, path)
        return self._files[path]

    def _directory(self, path: str) -> str:
        path = posixpath.normpath(path)
        if path not in self._directories:
            raise disk_error(errno.ENOENT, path)
        return path


def _apply(names: dict[str, _Inode], change: _NameChange) -> None:
    if change.old_path is not None:
        names.pop(change.old_path, None)
    if change.inode is not None:
        names[change.item.path] = change.inode


def _parent(path: str) -> str:
    return posixpath.dirname(path) or "."


def disk_error(number: int, path: str = "") -> OSError:
    """The error that an operating system raises with ``number``."""
    return OSError(number, os.strerror(number), path)
