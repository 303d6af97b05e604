"""The write-ahead log: append batches, sync them, read entries back, drop old segments.

What the disk holds is laid out in :mod:`rusd.storage.batch` and
:mod:`rusd.storage.record`; what is believed after a restart is decided in
:mod:`rusd.storage.recovery`.  Here is the order of the writes:

*   one batch, one sync, then the next batch;
*   a new segment is written under a temporary name; the sync of its first
    batch syncs the file, renames it, and syncs the directory;
*   segments are removed from the oldest on, the directory synced after each,
    so that a crash never leaves a hole;
*   :func:`open` writes the last good batch again, cuts off and so zeroes what
    follows, and syncs file and directory, before it hands out anything: after a
    kill, the page cache may show a batch that the disk does not have.

**Threads.**  One call at a time, whatever the method, with one exception:
while :meth:`Wal.sync` runs in a worker thread, :meth:`Wal.entries` and the
properties may be used elsewhere.  :meth:`Wal.prepare_space` above all must not
overlap a :meth:`Wal.write`: both write to the space behind the tail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import attrs

from rusd.environment import Disk, DiskFile
from rusd.raft.messages import Entry, HardState
from rusd.storage.batch import disk_size, encode_batch
from rusd.storage.errors import CorruptionError, WalFailedError
from rusd.storage.files import SegmentFiles, remove_leftovers
from rusd.storage.positions import Place, Span
from rusd.storage.record import (
    ENTRY_OVERHEAD_BYTES,
    MalformedError,
    Opening,
    SnapshotMarker,
    decode_entries,
    encode_payload,
    read_prefix,
)
from rusd.storage.recovery import MARKERS_KEPT, ScannedLog, scan, segment_names
from rusd.storage.segment import RESTORE_ADVICE, Segment, read_batches

SEGMENT_BYTES = 64 * 1024 * 1024


@attrs.frozen
class Recovered:
    """What a restart starts from; all of it is durable."""

    identity: bytes
    hard_state: HardState
    marker: SnapshotMarker | None  # load this snapshot; None: begin from nothing
    entries: Sequence[Entry]  # those after the marker, consecutive


def create(
    disk: Disk,
    directory: str,
    identity: bytes,
    *,
    hard_state: HardState | None = None,
    entries: Sequence[Entry] = (),
    marker: SnapshotMarker | None = None,
    segment_bytes: int = SEGMENT_BYTES,
) -> Wal:
    """Begin a log in ``directory``, durably, and open it.

    ``identity`` is kept for :func:`open` to hand back.  ``entries`` are the first
    ones: after a crash there is either no log, or one with all of them.  With a
    ``marker`` the log begins after that snapshot, whose file must be durable already.

    Raises :class:`FileExistsError` if a log is there, :class:`ValueError` for a gap, :class:`OSError`.
    """
    first = marker.index + 1 if marker else 1
    if [entry.index for entry in entries] != list(range(first, first + len(entries))):
        raise ValueError(f"the first entries of this log must be {first} and those that follow it")
    disk.make_directory(directory)
    if segment_names(disk, directory):
        raise FileExistsError(f"{directory}: a log is here already")
    remove_leftovers(disk, directory)
    log = ScannedLog(directory)
    log.identity = identity
    log.hard_state = hard_state or HardState()
    wal = Wal(log, SegmentFiles(disk, directory, segment_bytes))
    try:
        wal._append(log.hard_state, entries, marker=marker, resets_log=marker is not None, in_one=True)
        wal.sync()
    except BaseException:
        wal.close()
        raise
    return wal


def open(  # noqa: A001 - as wal.open(), which is how it is used
    disk: Disk,
    directory: str,
    *,
    is_usable: Callable[[SnapshotMarker], bool] | None = None,
    segment_bytes: int = SEGMENT_BYTES,
) -> tuple[Wal, Recovered]:
    """Open the log in ``directory`` and make what it says durable.

    ``is_usable`` tells whether the snapshot file of a marker is there and
    whole; it is asked from the newest marker on.  Without it all are.

    Raises :class:`CorruptionError`, :class:`FormatError`,
    :class:`MissingSnapshotError`, all before anything is changed, and :class:`OSError`.
    """
    log = scan(disk, directory)
    marker = log.choose_marker(is_usable or (lambda _: True))
    remove_leftovers(disk, directory)
    file = disk.open(log.path)
    files = SegmentFiles(disk, directory, segment_bytes, segments=log.segments, ends=log.ends, file=file)
    try:
        _mend(disk, file, log)
        wal = Wal(log, files)
        entries = wal.entries(marker.index + 1 if marker else 1, wal.last_index + 1)
    except BaseException:
        files.close()
        raise
    return wal, Recovered(log.identity, log.hard_state, marker, entries)


class Wal:
    """An open log; made by :func:`create` and :func:`open`.

    Methods that touch the disk raise :class:`OSError` as it comes.  After a
    failed write or sync every further one raises :class:`WalFailedError`.
    """

    def __init__(self, log: ScannedLog, files: SegmentFiles) -> None:
        self._files = files
        self._positions = log.positions
        self._markers = log.markers
        self._identity = log.identity
        self._hard_state = log.hard_state
        self._number = log.next_number
        self._checksum = log.checksum
        self._is_synced = True
        self._is_failed = False
        self._bytes_written = 0

    # -- writing ------------------------------------------------------------------

    def write(self, hard_state: HardState | None, entries: Sequence[Entry]) -> None:
        """Append one batch; it counts once :meth:`sync` has returned.

        ``hard_state`` ``None`` means: as before.  ``entries`` are consecutive
        and replace all those from the first one's index on; the first may be
        at most ``last_index + 1``.  Nothing is written if there is nothing new.
        More than a segment holds is split, and synced in between.

        Raises :class:`ValueError` for other entries, :class:`RuntimeError` if the
        batch before is not synced, :class:`OSError`, :class:`WalFailedError`.
        """
        state = hard_state or self._hard_state
        if not entries:
            if state != self._hard_state:
                self._append(state, ())
            return
        first, last = entries[0].index, entries[-1].index
        if last - first != len(entries) - 1 or not 1 <= first <= self._positions.last_index + 1:
            raise ValueError(f"entries {first} to {last} ({len(entries)}) can't follow {self.last_index}")
        self._append(state, entries)

    def mark_snapshot(
        self, marker: SnapshotMarker, hard_state: HardState | None = None, *, resets_log: bool = False
    ) -> None:
        """Append a batch that says: the snapshot file up to ``marker.index`` is durable.

        Like a :meth:`write` it counts once :meth:`sync` has returned.
        ``resets_log`` is for a received snapshot: all entries are dropped, and
        the log goes on at ``marker.index + 1``.

        Raises what :meth:`write` raises.
        """
        if marker.index < 1 or (marker.index > self.last_index and not resets_log):
            raise ValueError(f"a snapshot at {marker.index}, and the log ends at {self.last_index}")
        self._append(hard_state or self._hard_state, (), marker=marker, resets_log=resets_log)

    def sync(self) -> None:
        """Return once the last batch is on stable storage.  May run in a worker thread.

        Raises :class:`OSError`, :class:`WalFailedError`.
        """
        if self._is_failed:
            raise _already_failed()
        if self._is_synced:
            return
        try:
            self._files.sync()
        except BaseException:
            self._is_failed = True
            raise
        self._is_synced = True

    def _append(
        self,
        state: HardState,
        entries: Sequence[Entry],
        *,
        marker: SnapshotMarker | None = None,
        resets_log: bool = False,
        in_one: bool = False,
    ) -> None:
        """Write a batch, or two where one would be longer than a segment, unless they must be ``in_one``."""
        if self._is_failed:
            raise _already_failed()
        if not self._is_synced:
            raise RuntimeError("the batch before is not synced yet")
        payload = encode_payload(state, entries, marker=marker, resets_log=resets_log)
        files = self._files
        opens_segment = files.tail + disk_size(len(payload)) > files.limit or not files.sequence
        if opens_segment:
            opening = Opening(files.sequence + 1, self.last_index, self._identity, tuple(self._markers))
            payload = encode_payload(state, entries, opening=opening, marker=marker, resets_log=resets_log)
            if disk_size(len(payload)) > files.limit and len(entries) > 1 and not in_one:
                self._append_halves(state, entries)
                return
        place = self._write_batch(payload, opens_segment=opens_segment)
        self._hard_state = state
        if marker is not None:  # before the entries, which may follow it
            self._note_marker(marker, resets_log=resets_log)
        if entries:
            self._positions.append(entries[0].index, len(entries), place)

    def _append_halves(self, state: HardState, entries: Sequence[Entry]) -> None:
        """Two batches for one.  No marker: :func:`create` alone has both, and it wants one batch."""
        half = len(entries) // 2
        commit = min(state.commit, entries[half - 1].index)  # never beyond what is in the log
        self._append(HardState(state.term, state.vote, commit), entries[:half])
        self.sync()
        self._append(state, entries[half:])

    def _write_batch(self, payload: bytes, *, opens_segment: bool) -> Place:
        sectors, checksum = encode_batch(self._number, self._checksum, payload)
        self._is_synced = False
        try:
            if opens_segment:
                self._files.begin(Segment(self._files.sequence + 1, self.last_index + 1))
            place = self._files.append(sectors)
        except BaseException:
            self._is_failed = True
            raise
        self._bytes_written += len(sectors)
        self._number += 1
        self._checksum = checksum
        return place

    def _note_marker(self, marker: SnapshotMarker, *, resets_log: bool) -> None:
        if resets_log:
            self._positions.reset(marker.index)
            self._markers.clear()
        self._markers.append(marker)
        del self._markers[:-MARKERS_KEPT]

    # -- space ------------------------------------------------------------------------

    def prepare_space(self) -> bool:
        """Take one small step of writing zeros ahead of the tail; ``True`` if more is wanted.

        One after each batch is meant: 256 KiB, more after large batches, at most 1 MiB.
        Raises :class:`OSError`, which harms nothing: the log works on without, more slowly.
        """
        return not self._is_failed and self._files.prepare()

    def release(self, index: int) -> None:
        """Remove the oldest segments as long as they hold no entry from ``index`` on.

        Does nothing while a batch is not synced: it may be the one that makes them superfluous.
        Raises :class:`OSError`; what is left then can be released later.
        """
        if self._is_failed or not self._is_synced:
            return
        while (oldest := self._files.oldest_sequences) is not None:
            own = self._positions.first_in(oldest[0])
            following = self._positions.first_in(oldest[1])
            if own != following and (following is None or following > index):
                return
            self._positions.drop_before(oldest[1])
            self._files.remove_oldest()

    # -- reading ----------------------------------------------------------------------

    def entries(self, low: int, high: int, max_bytes: int | None = None) -> list[Entry]:
        """Entries ``low`` to ``high - 1``, read from the files again.

        With ``max_bytes`` only as many as fit, but at least one.

        Raises :class:`IndexError` if the log does not hold them,
        :class:`CorruptionError` if they have changed, :class:`OSError`.
        """
        found: list[Entry] = []
        room = max_bytes
        for span in self._positions.spans(low, high):
            for entries in self._read_span(span):
                if room is None:
                    found += entries
                    continue
                for entry in entries:
                    room -= len(entry.data) + ENTRY_OVERHEAD_BYTES
                    if room < 0 and found:
                        return found
                    found.append(entry)
        return found

    def _read_span(self, span: Span) -> Iterator[list[Entry]]:
        low = span.low
        with self._files.reading(span.place.sequence) as (file, path, end):
            for offset, payload in read_batches(file, path, span.place.offset, end):
                prefix = read_prefix(payload, 0)
                first, following = prefix.first_index, prefix.first_index + prefix.entry_count
                if low >= following:
                    continue
                try:
                    entries = decode_entries(payload, prefix)
                except MalformedError as error:
                    raise CorruptionError(path, offset, str(error), RESTORE_ADVICE) from error
                yield entries[low - first : span.high - first]
                low = min(following, span.high)
                if low == span.high:
                    return

    # -- state ------------------------------------------------------------------------

    @property
    def first_index(self) -> int:
        """The oldest entry held; ``last_index + 1`` if none is."""
        return self._positions.first_index

    @property
    def last_index(self) -> int:
        """The newest entry written, synced or not."""
        return self._positions.last_index

    @property
    def hard_state(self) -> HardState:
        """As last written."""
        return self._hard_state

    @property
    def identity(self) -> bytes:
        """What :func:`create` was given."""
        return self._identity

    @property
    def markers(self) -> tuple[SnapshotMarker, ...]:
        """The newest snapshots noted in the log, oldest first."""
        return tuple(self._markers)

    @property
    def batch_number(self) -> int:
        """Of the last batch written."""
        return self._number - 1

    @property
    def bytes_written(self) -> int:
        """Bytes of batches written by this object, for metrics."""
        return self._bytes_written

    def bytes_after(self, index: int) -> int:
        """About how many bytes a restart from a snapshot at ``index`` would read."""
        if index >= self.last_index:
            return 0
        low = max(index + 1, self.first_index)
        return self._files.bytes_from(self._positions.spans(low, low + 1)[0].place)

    def close(self) -> None:
        """Release the files; a batch that is not synced may be lost."""
        self._is_failed = True
        self._files.close()

    def check(self) -> None:
        """Verify the invariants; reads every entry back.  O(bytes)."""
        self._positions.check()
        self._files.check()
        held = range(self.first_index, self.last_index + 1)
        assert [entry.index for entry in self.entries(held.start, held.stop)] == list(held)


def _already_failed() -> WalFailedError:
    return WalFailedError("the log is closed, or a write or sync has failed before")


def _mend(disk: Disk, file: DiskFile, log: ScannedLog) -> None:
    """Make durable what was read, and nothing else: after a kill, the page cache may know more than the disk.

    That goes for names too: the process may have ended between renaming a segment and syncing the directory.

    Cutting the file off zeroes all that follows, for what lies behind a file's
    end reads as zeros when it grows again; and it happens in one step, so a
    crash in the middle leaves nothing new to judge.
    """
    file.write_at(log.last_batch_at, log.last_batch)
    file.truncate(log.tail)
    file.sync()
    disk.sync_directory(log.directory)
