"""Snapshot files: a header, checksummed chunks, a footer; written aside, then renamed.

What the bytes mean is the owner's business.  Layout, little-endian::

    magic "RUSDSNAP" 8 │ version 4 │ index 8 │ term 8 │ header length 4 │ header │ checksum 4
    chunk length 4 (not 0) │ checksum 4 │ chunk                                   … as many as there are
    0 4 │ chunks 8 │ bytes 8 │ whole checksum 4 │ checksum 4                       end of the file

Each checksum is CRC-32C begun from the one before, so a chunk can't be lost,
doubled or moved; a chunk's covers its length too.  The whole checksum is that
of the last chunk (without chunks, of the header).

A file that has its final name was complete and synced before it got it.  Only
a note in the WAL (:meth:`rusd.storage.wal.Wal.mark_snapshot`) makes it count.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from struct import Struct

import attrs
import google_crc32c

from rusd.environment import Disk, DiskFile
from rusd.storage.errors import CorruptionError, FormatError
from rusd.storage.segment import TEMPORARY_SUFFIX

FORMAT_VERSION = 1
CHUNK_BYTES = 1 << 20  # what a writer should be fed at a time
MAX_CHUNK_BYTES = 1 << 30

_MAGIC = b"RUSDSNAP"
_START = Struct("<8sIQQI")
_CHUNK = Struct("<II")
_FOOTER = Struct("<IQQI")
_CHECKSUM = Struct("<I")
_NAME = re.compile(r"([0-9a-f]{16})-([0-9a-f]{16})\.snap")

_ADVICE = "an older snapshot is used if the log reaches back to it; else restore this member from another one"


@attrs.frozen(order=True)
class SnapshotName:
    """A snapshot's place in the log, which is also its file's name."""

    index: int
    term: int

    @property
    def name(self) -> str:
        """As etcd names its snapshot files: term and index, in hex."""
        return f"{self.term:016x}-{self.index:016x}.snap"


def list_snapshots(disk: Disk, directory: str) -> list[SnapshotName]:
    """The snapshot files in ``directory``, oldest first, whatever is in them."""
    matches = (_NAME.fullmatch(name) for name in disk.list_directory(directory))
    return sorted(SnapshotName(index=int(m[2], 16), term=int(m[1], 16)) for m in matches if m)


class SnapshotWriter:
    """Writes one snapshot file, chunk by chunk.

    ``header`` is the owner's, handed back by :class:`SnapshotReader`.  Nothing
    counts before :meth:`finish` has returned.  After any :class:`OSError` call
    :meth:`abort` and, later, begin anew.  :meth:`sync` and :meth:`finish` may
    take long and may run in a worker thread, one call at a time.
    """

    def __init__(self, disk: Disk, directory: str, name: SnapshotName, header: bytes = b"") -> None:
        self._disk = disk
        self._directory = directory
        self._name = name
        self._temporary = f"{directory}/{name.name}{TEMPORARY_SUFFIX}"
        if disk.exists(self._temporary):
            disk.remove(self._temporary)
        self._file: DiskFile | None = disk.open(self._temporary, create=True)
        start = _START.pack(_MAGIC, FORMAT_VERSION, name.index, name.term, len(header)) + header
        self._checksum: int = google_crc32c.value(start)
        self._pending = [start, _CHECKSUM.pack(self._checksum)]
        self._pending_bytes = len(start) + _CHECKSUM.size
        self._offset = 0
        self._chunks = 0
        self.bytes_written = 0  # of chunks

    @property
    def path(self) -> str:
        """The file's final name."""
        return f"{self._directory}/{self._name.name}"

    def write(self, chunk: bytes) -> None:
        """Append ``chunk``, which comes back from the reader as it is; about 1 MiB is a good size.

        Raises :class:`OSError`; :class:`ValueError` for an empty or huge chunk.
        """
        if not 0 < len(chunk) <= MAX_CHUNK_BYTES:
            raise ValueError(f"a chunk of {len(chunk)} bytes")
        length = len(chunk).to_bytes(4, "little")
        self._checksum = google_crc32c.extend(google_crc32c.extend(self._checksum, length), chunk)
        self._pending += (length, _CHECKSUM.pack(self._checksum), chunk)
        self._pending_bytes += _CHUNK.size + len(chunk)
        self._chunks += 1
        self.bytes_written += len(chunk)
        if self._pending_bytes >= CHUNK_BYTES:
            self._flush()

    def sync(self) -> None:
        """Bring what is written so far to stable storage, so that :meth:`finish` has less to wait for."""
        self._flush()
        self._open_file().sync()

    def finish(self) -> None:
        """Complete the file and give it its name, durably.  Raises :class:`OSError`."""
        footer = _FOOTER.pack(0, self._chunks, self.bytes_written, self._checksum)
        self._pending += (footer, _CHECKSUM.pack(google_crc32c.extend(self._checksum, footer)))
        self._flush()
        file = self._open_file()
        file.sync()
        file.close()
        self._file = None
        self._disk.rename(self._temporary, self.path)
        self._disk.sync_directory(self._directory)

    def abort(self) -> None:
        """Give up and remove what there is; never raises :class:`OSError`.  Harmless after :meth:`finish`."""
        if self._file is not None:
            self._file.close()
            self._file = None
        with contextlib.suppress(OSError):
            if self._disk.exists(self._temporary):
                self._disk.remove(self._temporary)

    def _flush(self) -> None:
        data = b"".join(self._pending)
        self._open_file().write_at(self._offset, data)
        self._offset += len(data)
        self._pending.clear()
        self._pending_bytes = 0

    def _open_file(self) -> DiskFile:
        if self._file is None:
            raise ValueError("the snapshot is finished or given up")
        return self._file


class SnapshotReader:
    """Reads one snapshot file and verifies it on the way.

    ``header`` is there at once.  Raises :class:`CorruptionError`,
    :class:`FormatError` for a version it doesn't know, :class:`OSError`.
    """

    def __init__(self, disk: Disk, directory: str, name: SnapshotName) -> None:
        self.path = f"{directory}/{name.name}"
        self.name = name
        self._file = disk.open(self.path)
        try:
            self.header = self._read_start()
        except BaseException:
            self._file.close()
            raise

    def chunks(self) -> Iterator[bytes]:
        """The chunks as they were written; complete and undamaged only once this ends without an error."""
        at, checksum = self._body_at, self._start_checksum
        count = total = 0
        while True:
            length, expected = _CHUNK.unpack(self._read(at, _CHUNK.size))
            if length == 0:
                break
            chunk = self._read(at + _CHUNK.size, length)
            checksum = google_crc32c.extend(
                google_crc32c.extend(checksum, length.to_bytes(4, "little")), chunk
            )
            if checksum != expected:
                raise self._corruption(at, "checksum mismatch in a chunk")
            yield chunk
            at += _CHUNK.size + length
            count += 1
            total += length
        self._check_footer(at, _FOOTER.pack(0, count, total, checksum), checksum)

    @property
    def size(self) -> int:
        """Of the file, in bytes."""
        return self._file.size()

    def verify(self) -> None:
        """Read everything once; returns if the file is complete and undamaged."""
        for _ in self.chunks():
            pass

    def close(self) -> None:
        """Release the file."""
        self._file.close()

    def _read_start(self) -> bytes:
        start = self._read(0, _START.size)
        magic, version, index, term, length = _START.unpack(start)
        if magic != _MAGIC:
            raise self._corruption(0, "not a snapshot of rusd's")
        if length > MAX_CHUNK_BYTES:
            raise self._corruption(0, "damaged header")
        end = _START.size + length
        start = self._read(0, end)
        self._start_checksum: int = google_crc32c.value(start)
        if self._read(end, _CHECKSUM.size) != _CHECKSUM.pack(self._start_checksum):
            raise self._corruption(0, "damaged header")
        if version != FORMAT_VERSION:
            raise FormatError(
                f"{self.path}: snapshot format version {version}; "
                f"this rusd reads version {FORMAT_VERSION} only"
            )
        if (index, term) != (self.name.index, self.name.term):
            raise self._corruption(0, f"the snapshot of index {index}, term {term} under another's name")
        self._body_at = end + _CHECKSUM.size
        return start[_START.size :]

    def _check_footer(self, at: int, footer: bytes, checksum: int) -> None:
        expected = footer + _CHECKSUM.pack(google_crc32c.extend(checksum, footer))
        if self._read(at, len(expected)) != expected:
            raise self._corruption(at, "damaged footer")
        if self._file.size() != at + len(expected):
            raise self._corruption(at + len(expected), "bytes behind the footer")

    def _read(self, offset: int, length: int) -> bytes:
        data = b"" if length > MAX_CHUNK_BYTES else self._file.read_at(offset, length)
        if len(data) != length:
            raise self._corruption(offset, "the file is too short")
        return data

    def _corruption(self, offset: int, problem: str) -> CorruptionError:
        return CorruptionError(self.path, offset, problem, _ADVICE)
