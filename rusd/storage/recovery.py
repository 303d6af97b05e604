"""Reading a WAL after a restart: what is good, what a crash left over, what is damage.

Only reads; :mod:`rusd.storage.wal` mends and goes on.  The rules, with *n* the
number of the first batch that is not intact:

*   Batch *n+1* is never written before the sync of *n* returned.  So an
    undamaged header of a later batch, wherever it stands, proves that *n* was
    complete once: **corruption**.
*   Otherwise *n* was the last, and perhaps never acknowledged.  A crash keeps
    any subset of its sectors, the last of these perhaps only in part; space
    not written reads as zeros.  If such an unwritten part shows, it is a
    **torn tail** and is dropped.  If every sector is there and the sums are
    wrong, the batch was complete and a bit flipped: **corruption**.
*   What a crash leaves was written from the front of its sectors, so whatever
    else stands in the space behind the last batch is **corruption** too.
*   Only the last segment can have a torn tail: the next one is begun after
    the last batch before it was synced.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from rusd.environment import Disk
from rusd.raft.messages import HardState
from rusd.storage.batch import (
    CONTINUATION,
    END,
    FORMAT_VERSION,
    HEADER_BYTES,
    MAGIC,
    SECTOR_BYTES,
    Header,
    batch_is_intact,
    body_is_intact,
    has_unwritten_part,
    is_zero,
    other_version,
    payload_of,
    read_header,
    written_sectors,
)
from rusd.storage.errors import CorruptionError, FormatError, MissingSnapshotError
from rusd.storage.positions import Place, Positions
from rusd.storage.record import (
    PREFIX_BYTES,
    MalformedError,
    Opening,
    SnapshotMarker,
    decode_contents,
    read_prefix,
)
from rusd.storage.segment import RESTORE_ADVICE, Segment, parse_name

MARKERS_KEPT = 4  # more than the two snapshots that are kept, so that a marker outlives its file


class ScannedLog:
    """All that a WAL holds but the entries themselves, which stay in the files."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.segments: list[Segment] = []
        self.ends: dict[int, int] = {}  # where the batches of each segment end, by sequence
        self.positions = Positions()
        self.markers: list[SnapshotMarker] = []
        self.identity = b""
        self.hard_state = HardState()
        self.next_number = 1
        self.checksum = 0  # of the last batch
        self.last_batch_at = 0  # its offset, in the last segment
        self.last_batch = b""  # its sectors as they should be
        self.tail = 0  # where the batches of the last segment end

    @property
    def path(self) -> str:
        """The last segment's."""
        return f"{self.directory}/{self.segments[-1].name}"

    def choose_marker(self, is_usable: Callable[[SnapshotMarker], bool]) -> SnapshotMarker | None:
        """The newest marker with a usable snapshot and every entry after it; ``None`` to begin from nothing.

        Raises :class:`MissingSnapshotError` if the log has neither.
        """
        first = self.positions.first_index
        for marker in reversed(self.markers):
            if first <= marker.index + 1 and is_usable(marker):
                return marker
        if first == 1:
            return None
        wanted = ", ".join(f"{marker.term:016x}-{marker.index:016x}" for marker in self.markers) or "none"
        raise MissingSnapshotError(
            f"{self.directory}: the log begins at index {first} and no usable snapshot reaches it "
            f"(noted in the log: {wanted}); {RESTORE_ADVICE}"
        )


def segment_names(disk: Disk, directory: str) -> list[Segment]:
    """The segments in ``directory``, oldest first."""
    found = (parse_name(name) for name in disk.list_directory(directory))
    return sorted(segment for segment in found if segment is not None)


def scan(disk: Disk, directory: str) -> ScannedLog:
    """Read and verify the whole log; O(bytes), about a segment of memory.

    Raises :class:`CorruptionError`, :class:`FormatError`, :class:`OSError`.
    """
    log = ScannedLog(directory)
    segments = segment_names(disk, directory)
    if not segments:
        raise FormatError(f"{directory}: no log here")
    for segment in segments:
        _check_follows(log, segment)
        log.segments.append(segment)
        with contextlib.closing(disk.open(log.path)) as file:
            data = file.read_at(0, file.size())
        data += bytes(-len(data) % SECTOR_BYTES)
        _scan_segment(log, data, is_last=segment is segments[-1])
        log.ends[segment.sequence] = log.tail
    if any(marker.index > log.positions.last_index for marker in log.markers):
        raise _corruption(log, log.tail, "a snapshot is noted that lies beyond the end of the log")
    return log


def _check_follows(log: ScannedLog, segment: Segment) -> None:
    if not log.segments:
        return
    before = log.segments[-1]
    if segment.sequence != before.sequence + 1:
        problem = f"a segment is missing between {before.name} and {segment.name}"
        raise CorruptionError(log.path, log.tail, problem, RESTORE_ADVICE)


def _scan_segment(log: ScannedLog, data: bytes, *, is_last: bool) -> None:
    offset = 0
    while (header := read_header(data, offset)) is not None and batch_is_intact(data, offset, header):
        _take_batch(log, data, offset, header)
        offset += header.size
    log.tail = offset
    if offset == 0:
        raise _bad_start(log, data)
    if not is_last:
        if not is_zero(data[offset:]):
            raise _corruption(log, offset, "damaged batch, and the log goes on in the next segment")
        return
    if _tail_is_whole(log, data, offset, header):
        assert header is not None
        _take_batch(log, data.ljust(offset + header.size, b"\0"), offset, header)
        log.tail = offset + header.size
    _keep_last_batch(log, data)


def _bad_start(log: ScannedLog, data: bytes) -> Exception:
    version = other_version(data)
    if version is not None:
        return FormatError(
            f"{log.path}: WAL format version {version}; this rusd reads version {FORMAT_VERSION} only, "
            "start the version that wrote it"
        )
    matching = sum(a == b for a, b in zip(data, MAGIC, strict=False))
    if matching < len(MAGIC) - 1 and not is_zero(data[:SECTOR_BYTES]):  # one flipped byte is still damage
        return FormatError(f"{log.path}: not a log of rusd's; etcd's own data directories can't be used")
    return _corruption(log, 0, "damaged first batch of a segment")


# -- one good batch ---------------------------------------------------------------


def _take_batch(log: ScannedLog, data: bytes, offset: int, header: Header) -> None:
    """Add the intact batch at ``offset``.  What is rare is decoded; the rest is a look at its front."""
    if header.length < PREFIX_BYTES:
        raise _corruption(log, offset, "unreadable batch: shorter than what every batch begins with")
    prefix = read_prefix(data, offset + HEADER_BYTES)
    opens_log = offset == 0 and len(log.segments) == 1
    if not opens_log and (header.number, header.previous) != (log.next_number, log.checksum):
        raise _corruption(
            log,
            offset,
            f"batch {header.number} where batch {log.next_number} should be, or not its successor",
        )
    if prefix.flags or offset == 0:
        _take_rare(log, data, offset, header)
    if prefix.entry_count:
        place = Place(log.segments[-1].sequence, offset)
        try:
            log.positions.append(prefix.first_index, prefix.entry_count, place)
        except ValueError as error:
            raise _corruption(log, offset, f"gap in the log: {error}") from error
    log.hard_state = HardState(prefix.term, prefix.vote, prefix.commit)
    log.next_number = header.number + 1
    log.checksum = header.checksum
    log.last_batch_at = offset


def _take_rare(log: ScannedLog, data: bytes, offset: int, header: Header) -> None:
    try:
        contents = decode_contents(payload_of(data, offset, header.length))
    except MalformedError as error:
        raise _corruption(log, offset, f"unreadable batch: {error}") from error
    if (contents.opening is not None) != (offset == 0):
        raise _corruption(
            log, offset, "a segment's first batch stands elsewhere, or another one in its place"
        )
    if contents.opening is not None:
        _take_opening(log, contents.opening)
    if contents.marker is None:
        return
    if contents.resets_log:
        log.positions.reset(contents.marker.index)
        log.markers.clear()
    log.markers.append(contents.marker)
    del log.markers[:-MARKERS_KEPT]


def _take_opening(log: ScannedLog, opening: Opening) -> None:
    if opening.sequence != log.segments[-1].sequence:
        problem = f"segment {opening.sequence} under the name of another; files were renamed"
        raise _corruption(log, 0, problem)
    if len(log.segments) == 1:
        log.identity = opening.identity
        log.positions = Positions(opening.last_index)
        log.markers = list(opening.markers)
    elif (opening.identity, opening.last_index) != (log.identity, log.positions.last_index):
        raise _corruption(log, 0, "the segment belongs to another log")


# -- the end of the last segment ------------------------------------------------------


def _tail_is_whole(log: ScannedLog, data: bytes, tail: int, header: Header | None) -> bool:
    """Judge what stands from ``tail`` on: ``False`` for nothing or a torn write, which is dropped.

    ``True`` if the batch there lacks nothing but its last byte.  Raises :class:`CorruptionError`.
    """
    written = list(written_sectors(data, tail))
    if not written:
        return False
    for at in written:
        later = read_header(data, at) if at > tail else None
        if later is not None:
            problem = f"damaged batch, yet batch {later.number} stands at offset {at}"
            raise _corruption(log, tail, problem)
    if header is not None:
        return _started_batch_is_whole(log, data, tail, header)
    _check_headless(log, data, tail, written)
    return False


def _started_batch_is_whole(log: ScannedLog, data: bytes, tail: int, header: Header) -> bool:
    """The last batch has its header and is not intact: torn (``False``), all but complete, or damaged?"""
    if (header.number, header.previous) != (log.next_number, log.checksum):
        problem = f"batch {header.number} where batch {log.next_number} should be, or not its successor"
        raise _corruption(log, tail, problem)
    end = tail + header.size
    beyond = next(written_sectors(data, end), None)
    if beyond is not None:
        raise _corruption(log, beyond, "bytes behind the last batch that were never written there")
    batch = data[tail:end].ljust(header.size, b"\0")
    if batch[-1] == 0 and body_is_intact(batch, 0, header):
        return True
    if not has_unwritten_part(batch):
        raise _corruption(log, tail, f"checksum mismatch in batch {header.number}, which was complete once")
    return False


def _check_headless(log: ScannedLog, data: bytes, tail: int, written: list[int]) -> None:
    """There is no header, but there are ``written`` sectors: a torn write must explain them."""
    for at in written:
        if at > tail:
            if data[at : at + 1] != CONTINUATION:
                raise _corruption(log, at, "bytes behind the last batch that were never written there")
        elif data[at] != MAGIC[0] or not is_zero(data[at + HEADER_BYTES : at + SECTOR_BYTES]):
            raise _corruption(log, at, "damaged header of a batch that was complete once")


def _keep_last_batch(log: ScannedLog, data: bytes) -> None:
    """Remember the sectors of the last good batch, its last byte restored."""
    batch = data[log.last_batch_at : log.tail].ljust(log.tail - log.last_batch_at, b"\0")
    header = read_header(batch)
    assert header is not None
    log.last_batch = batch[: header.size - 1] + END


def _corruption(log: ScannedLog, offset: int, problem: str) -> CorruptionError:
    return CorruptionError(log.path, offset, problem, RESTORE_ADVICE)
