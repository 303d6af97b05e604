"""Disks for tests, from one place: one in memory that can lose power, one that fails on request.

The former, :class:`MemoryDisk`, is :mod:`rusd.environment.memory`'s.
:class:`FaultDisk`, from :mod:`rusd.testing.fault_disk`, wraps it or any other
disk and makes chosen operations fail.
"""

from rusd.environment.memory import (
    PAGE_BYTES,
    MemoryDisk,
    MemoryFile,
    Unsynced,
    UnsyncedName,
    UnsyncedPage,
    UnsyncedSize,
)
from rusd.testing.fault_disk import DiskStoppedError, FaultDisk, Operation

__all__ = [
    "PAGE_BYTES",
    "DiskStoppedError",
    "FaultDisk",
    "MemoryDisk",
    "MemoryFile",
    "Operation",
    "Unsynced",
    "UnsyncedName",
    "UnsyncedPage",
    "UnsyncedSize",
]
