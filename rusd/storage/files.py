"""The segment files of an open log: appending sectors, beginning a new file, removing old ones.

Knows where bytes go and when they are durable, not what they say.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from rusd.environment import Disk, DiskFile
from rusd.storage.batch import SECTOR_BYTES
from rusd.storage.positions import Place
from rusd.storage.segment import NEXT_SEGMENT_NAME, TEMPORARY_SUFFIX, Segment
from rusd.storage.space import (
    MOST_FILL_STEP_BYTES,
    NEXT_SEGMENT_FILL_BYTES,
    fill_goal,
    fill_step,
    wants_next_segment,
)

_ZEROS = bytes(MOST_FILL_STEP_BYTES)


class SegmentFiles:
    """The files of one log.  Every method may raise :class:`OSError`.

    ``ends`` has, per sequence number, where the batches of a segment end.
    Without a ``file``, open on the last segment, there is no segment yet and
    :meth:`begin` comes next.
    """

    def __init__(
        self,
        disk: Disk,
        directory: str,
        limit: int,
        *,
        segments: list[Segment] | None = None,
        ends: dict[int, int] | None = None,
        file: DiskFile | None = None,
    ) -> None:
        self._disk = disk
        self._directory = directory
        self.limit = limit  # of a segment's length, in bytes
        self._segments = segments or []
        self._ends = ends or {}
        self._file = file
        self.tail = self._ends[self._segments[-1].sequence] if self._segments else 0
        self._filled = self.tail  # up to here the file has been written, if only with zeros
        self._appended = 0  # bytes, since the last step of filling
        self._next: DiskFile | None = None  # the next segment's file, made ready ahead of time
        self._next_filled = 0
        self.is_published = True  # the last segment has its final name, durably
        self._has_unsynced_removal = False

    @property
    def sequence(self) -> int:
        """Of the last segment; 0 if there is none."""
        return self._segments[-1].sequence if self._segments else 0

    @property
    def oldest_sequences(self) -> tuple[int, int] | None:
        """The two oldest segments, if the second is durable and the first could go."""
        if len(self._segments) < 2 or (len(self._segments) == 2 and not self.is_published):
            return None
        return self._segments[0].sequence, self._segments[1].sequence

    def append(self, sectors: bytes) -> Place:
        """Write at the tail; says where that was."""
        assert self._file is not None
        at = self.tail
        self._file.write_at(at, sectors)
        self.tail = at + len(sectors)
        self._appended += len(sectors)
        return Place(self._segments[-1].sequence, at)

    def sync(self) -> None:
        """Make all that was appended durable; a new segment gets its name."""
        assert self._file is not None
        self._file.sync()
        if self.is_published:
            return
        self._disk.rename(self._path_of(NEXT_SEGMENT_NAME), self._path_of(self._segments[-1].name))
        self._disk.sync_directory(self._directory)
        self.is_published = True

    def begin(self, segment: Segment) -> None:
        """Go on in a new file, which :meth:`sync` gives its name.  The one before must be synced."""
        file = self._next or self._make_next()
        if self._file is not None:
            self._file.close()
            self._ends[self.sequence] = self.tail
        self._segments.append(segment)
        self._file, self._next = file, None
        self.tail, self._filled = 0, self._next_filled
        self.is_published = False

    def prepare(self) -> bool:
        """One small step of writing zeros ahead of the tail; ``True`` if more is wanted."""
        assert self._file is not None
        step, self._appended = fill_step(self._appended), 0
        self._filled = max(self._filled, self.tail)
        if self._filled < (goal := fill_goal(self.tail, self.limit)):
            self._filled += _fill(self._file, self._filled, min(goal, self._filled + step))
            return True
        if not wants_next_segment(self.tail, self.limit):
            return False
        if self._next is None:
            self._next = self._make_next()
            return True
        if self._next_filled < (goal := min(NEXT_SEGMENT_FILL_BYTES, self.limit)):
            self._next_filled += _fill(self._next, self._next_filled, min(goal, self._next_filled + step))
            return True
        return False

    def remove_oldest(self) -> None:
        """Remove the oldest segment, durably: else a crash might bring it back after a later one is gone."""
        oldest = self._segments[0]
        if self._has_unsynced_removal:
            self._sync_removal()
        self._disk.remove(self._path_of(oldest.name))
        self._has_unsynced_removal = True
        del self._segments[0], self._ends[oldest.sequence]
        self._sync_removal()

    @contextlib.contextmanager
    def reading(self, sequence: int) -> Iterator[tuple[DiskFile, str, int]]:
        """A segment's file, its path, and where its batches end."""
        segment = self._segments[sequence - self._segments[0].sequence]
        path = self._path_of(segment.name)
        if segment is self._segments[-1]:
            assert self._file is not None
            yield self._file, path, self.tail
            return
        with contextlib.closing(self._disk.open(path)) as file:
            yield file, path, self._ends[sequence]

    def bytes_from(self, place: Place) -> int:
        """The bytes of batches from ``place`` to the tail."""
        full = sum(self._ends[s.sequence] for s in self._segments[:-1] if s.sequence >= place.sequence)
        return full + self.tail - place.offset

    def close(self) -> None:
        """Release the open files."""
        for file in (self._file, self._next):
            if file is not None:
                file.close()

    def check(self) -> None:
        """Verify that the segments follow each other and end on sector boundaries."""
        sequences = [segment.sequence for segment in self._segments]
        assert sequences == list(range(sequences[0], sequences[-1] + 1))
        assert set(sequences[:-1]) <= set(self._ends) <= set(sequences)
        assert self.tail % SECTOR_BYTES == 0
        assert self._file is not None
        assert self.tail <= self._file.size()

    def _sync_removal(self) -> None:
        self._disk.sync_directory(self._directory)
        self._has_unsynced_removal = False

    def _make_next(self) -> DiskFile:
        path = self._path_of(NEXT_SEGMENT_NAME)
        if self._disk.exists(path):  # left over from a step that failed
            self._disk.remove(path)
        self._next_filled = 0
        return self._disk.open(path, create=True)

    def _path_of(self, name: str) -> str:
        return f"{self._directory}/{name}"


def remove_leftovers(disk: Disk, directory: str) -> None:
    """Remove what was made ready and not used before the process ended, here a log or a snapshot begun."""
    for name in disk.list_directory(directory):
        if name.endswith(TEMPORARY_SUFFIX):
            disk.remove(f"{directory}/{name}")


def _fill(file: DiskFile, start: int, end: int) -> int:
    """Write zeros from ``start`` to ``end``; says how many."""
    file.write_at(start, _ZEROS[: end - start])
    return end - start
