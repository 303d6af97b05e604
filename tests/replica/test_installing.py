"""A received snapshot and what follows it get onto the disk in an order that a crash cannot spoil."""

from __future__ import annotations

import contextlib

import attrs
import pytest

from rusd.raft import Configuration, Entry, EntryType, HardState, Ready, Snapshot
from rusd.replica.installing import write_ready
from rusd.storage import SnapshotMarker, wal
from rusd.storage.wal import Recovered
from rusd.testing.disk import DiskStoppedError, FaultDisk, MemoryDisk

MEMBERS = Configuration(frozenset({1, 2, 3}))
OLD = HardState(1, 1, 4)
NEW = HardState(7, 2, 11)


def entries(first: int, last: int, term: int) -> list[Entry]:
    return [Entry(term, index, EntryType.NORMAL, b"%d" % index * 400) for index in range(first, last + 1)]


def make_ready(*, after: int = 11, snapshot: Snapshot | None = None) -> Ready:
    """A snapshot up to 9, and entries after it."""
    return Ready(
        hard_state=NEW,
        entries=entries(10, after, 7),
        messages=[],
        messages_after_persist=[],
        committed=[],
        reads=[],
        snapshot=snapshot or Snapshot(9, 6, MEMBERS),
        mark=(7, after),
    )


def reopen(disk: MemoryDisk) -> Recovered:
    log, recovered = wal.open(disk, "/wal")
    log.check()
    log.close()
    return recovered


def test_the_log_goes_on_after_the_snapshot() -> None:
    disk = MemoryDisk()
    log = wal.create(disk, "/wal", b"id", hard_state=OLD, entries=entries(1, 5, 1))
    write_ready(log, make_ready())
    log.sync()
    recovered = reopen(disk.crash())
    assert recovered.marker == SnapshotMarker(9, 6, MEMBERS)
    assert recovered.hard_state == NEW
    assert recovered.entries == entries(10, 11, 7)


def test_a_snapshot_alone_needs_no_entries() -> None:
    disk = MemoryDisk()
    log = wal.create(disk, "/wal", b"id", hard_state=OLD, entries=entries(1, 5, 1))
    ready = make_ready(after=9)
    ready.hard_state = attrs.evolve(NEW, commit=9)
    write_ready(log, ready)
    log.sync()
    recovered = reopen(disk.crash())
    assert (recovered.marker, list(recovered.entries)) == (SnapshotMarker(9, 6, MEMBERS), [])


@pytest.mark.parametrize("survive", [False, True])
def test_a_crash_on_the_way_leaves_the_old_log_or_the_new_or_the_new_without_its_entries(
    survive: bool,
) -> None:
    """And what is committed never lies beyond what is in the log."""
    old = (None, OLD, 5)
    alone = (SnapshotMarker(9, 6, MEMBERS), attrs.evolve(NEW, commit=9), 9)
    whole = (SnapshotMarker(9, 6, MEMBERS), NEW, 11)
    seen: list[tuple[SnapshotMarker | None, HardState, int]] = []
    for operation in range(1, 8):
        disk = MemoryDisk()
        faults = FaultDisk(disk)
        log = wal.create(faults, "/wal", b"id", hard_state=OLD, entries=entries(1, 5, 1))
        faults.stop_after(None, operation, written=300)
        with contextlib.suppress(DiskStoppedError):
            write_ready(log, make_ready())
            log.sync()
        recovered = reopen(disk.crash(disk.unsynced() if survive else ()))
        last = recovered.entries[-1].index if recovered.entries else 9
        state = (recovered.marker, recovered.hard_state, last)
        assert state in (old, alone, whole)
        assert not seen or (old, alone, whole).index(state) >= (old, alone, whole).index(seen[-1])
        seen.append(state)
    assert {alone[2], whole[2]} <= {state[2] for state in seen}
