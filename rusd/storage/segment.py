"""One WAL file: its name, and reading its batches.

A segment is batches from its first byte on, then zeros.  It is made under a
temporary name and renamed only after its first batch is synced, so a segment
that has its name has a good first batch.  It is never reused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from rusd.environment import DiskFile
from rusd.storage.batch import batch_is_intact, payload_of, read_header
from rusd.storage.errors import CorruptionError

TEMPORARY_SUFFIX = ".tmp"
NEXT_SEGMENT_NAME = "next" + TEMPORARY_SUFFIX

RESTORE_ADVICE = (
    "nothing was changed; restore the data directory from a copy, or, if other members have a quorum, "
    "remove this member from the cluster and add it again with an empty data directory"
)

_NAME = re.compile(r"([0-9a-f]{16})-([0-9a-f]{16})\.wal")
_WINDOW_BYTES = 1 << 20


class Segment(NamedTuple):
    """A segment file; ``first_index`` is what the log's next index was when it was begun."""

    sequence: int
    first_index: int

    @property
    def name(self) -> str:
        """As etcd names its WAL files: sequence and index, in hex."""
        return f"{self.sequence:016x}-{self.first_index:016x}.wal"


def parse_name(name: str) -> Segment | None:
    """The segment that the file ``name`` holds; ``None`` if it isn't a segment's name."""
    match = _NAME.fullmatch(name)
    return Segment(int(match[1], 16), int(match[2], 16)) if match else None


def read_batches(file: DiskFile, path: str, offset: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Offset and payload of the batches from ``offset`` to ``end``, both at batch boundaries; each verified.

    Raises :class:`CorruptionError` if one has changed since the log was opened.
    """
    window = _WINDOW_BYTES
    while offset < end:
        data = file.read_at(offset, min(window, end - offset))
        at, window = 0, _WINDOW_BYTES
        while at < len(data):
            header = read_header(data, at)
            if header is not None and len(data) < at + header.size <= end - offset:
                window = max(window, header.size)  # the next read begins at this batch
                break
            if header is None or not batch_is_intact(data, at, header):
                raise CorruptionError(
                    path, offset + at, "a batch changed after it was written", RESTORE_ADVICE
                )
            yield offset + at, payload_of(data, at, header.length)
            at += header.size
        if not data:
            raise CorruptionError(path, offset, "the file became shorter", RESTORE_ADVICE)
        offset += at
