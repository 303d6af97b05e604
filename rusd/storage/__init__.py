"""The write-ahead log and the snapshot files of one member, over the disk of the environment.

From the outside in:

================  ======================================================================
``datadir``       layout and lock of the data directory; which snapshot to start from
``wal``           the open log: write, sync, read back, release; begin and open one
``recovery``      reading a log after a restart: good, torn or damaged
``files``         the segment files of an open log; ``space``: zeros ahead of the tail
``segment``       one file: its name, its batches
``positions``     where each entry stands
``record``        what a batch says (sans-IO)
``batch``         how a batch lies in 512-byte sectors, and why (sans-IO): begin here
``snapshot``      snapshot files: writer, reader
================  ======================================================================
"""

from __future__ import annotations

from rusd.storage import wal
from rusd.storage.datadir import DataDir, OpenedMember
from rusd.storage.errors import (
    CorruptionError,
    DataDirLockedError,
    FormatError,
    MissingLogError,
    MissingSnapshotError,
    StorageError,
    WalFailedError,
)
from rusd.storage.record import SnapshotMarker
from rusd.storage.snapshot import SnapshotName, SnapshotReader, SnapshotWriter
from rusd.storage.wal import Recovered, Wal

__all__ = [
    "CorruptionError",
    "DataDir",
    "DataDirLockedError",
    "FormatError",
    "MissingLogError",
    "MissingSnapshotError",
    "OpenedMember",
    "Recovered",
    "SnapshotMarker",
    "SnapshotName",
    "SnapshotReader",
    "SnapshotWriter",
    "StorageError",
    "Wal",
    "WalFailedError",
    "wal",
]
