"""Power cuts: whatever subset of unsynced pages and names survives, nothing acknowledged is lost,
nothing unacknowledged is there in part, and the log opens."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rusd.raft.messages import Entry, EntryType, HardState
from rusd.storage import SnapshotMarker, wal
from rusd.storage.batch import FIRST_BYTES, LATER_BYTES, SECTOR_BYTES
from rusd.testing.disk import DiskStoppedError, FaultDisk, MemoryDisk, Unsynced

DIRECTORY = "/wal"
LIMIT = 16 * SECTOR_BYTES
OVERHEAD = 37 + 13  # of a batch with one entry

Row = tuple[int, int, bytes]


def entry(index: int, data: bytes, term: int = 1) -> Entry:
    return Entry(term, index, EntryType.NORMAL, data)


def recover(disk: MemoryDisk) -> list[Row]:
    log, recovered = wal.open(disk, DIRECTORY, is_usable=lambda marker: False, segment_bytes=LIMIT)
    log.check()
    log.close()
    return [(item.index, item.term, item.data) for item in recovered.entries]


def subsets(items: list[Unsynced]) -> Iterator[tuple[Unsynced, ...]]:
    for size in range(len(items) + 1):
        yield from combinations(items, size)


def data_of_sectors(count: int, filler: bytes) -> bytes:
    """An entry that makes a batch of exactly ``count`` full sectors."""
    return filler * (FIRST_BYTES + (count - 1) * LATER_BYTES - OVERHEAD)


@pytest.mark.parametrize("sectors", [1, 2, 3, 7])
@pytest.mark.parametrize("filler", [b"\0", b"\xc3", b"\xff"])
@pytest.mark.parametrize("is_filled", [False, True])
def test_any_subset_of_a_batchs_pages_is_the_whole_batch_or_none(
    sectors: int, filler: bytes, is_filled: bool
) -> None:
    disk = MemoryDisk()
    log = wal.create(disk, DIRECTORY, b"id", segment_bytes=LIMIT)
    log.write(None, [entry(1, b"acknowledged")])
    log.sync()
    if is_filled:
        log.prepare_space()
        log.write(HardState(1, 1, 1), ())
        log.sync()
    log.write(None, [entry(2, data_of_sectors(sectors, filler))])
    items = disk.unsynced()
    assert len(items) == sectors + (not is_filled)
    for kept in subsets(items):
        after = disk.crash(kept)
        is_whole = len([item for item in kept if item in items[:sectors]]) == sectors
        assert [row[0] for row in recover(after)] == ([1, 2] if is_whole else [1])
        log, _ = wal.open(after, DIRECTORY, segment_bytes=LIMIT)
        log.write(None, [entry(log.last_index + 1, b"next")])
        log.sync()
        assert recover(after.crash())[-1][2] == b"next"


@pytest.mark.parametrize("sectors", [2, 4])
def test_a_crash_in_the_repair_after_a_crash_changes_nothing(sectors: int) -> None:
    disk = MemoryDisk()
    log = wal.create(disk, DIRECTORY, b"id", segment_bytes=LIMIT)
    log.write(None, [entry(1, b"acknowledged" * 60)])
    log.sync()
    log.write(None, [entry(2, data_of_sectors(sectors, b"x"))])
    for kept in subsets(disk.unsynced()):
        first = disk.crash(kept)
        expected = recover(first.copy())
        for stop in range(1, 10):
            again = first.copy()
            faults = FaultDisk(again)
            faults.stop_after(None, stop, written=stop * 101)
            with contextlib.suppress(DiskStoppedError):
                wal.open(faults, DIRECTORY, segment_bytes=LIMIT)
            for kept_again in subsets(again.unsynced()):
                assert recover(again.crash(kept_again)) == expected


def test_what_recovery_hands_out_is_durable() -> None:
    """The process was killed, not the machine: the batch is in the page cache, and then the power goes."""
    disk = MemoryDisk()
    log = wal.create(disk, DIRECTORY, b"id", segment_bytes=LIMIT)
    log.write(None, [entry(1, bytes(2000))])
    _, recovered = wal.open(disk, DIRECTORY, segment_bytes=LIMIT)
    assert len(recovered.entries) == 1
    assert len(recover(disk.crash())) == 1


def test_a_segment_renamed_before_a_kill_has_its_name_durably_before_it_is_used() -> None:
    disk = MemoryDisk()
    faults = FaultDisk(disk)
    log = wal.create(faults, DIRECTORY, b"id", segment_bytes=LIMIT)
    faults.stop_after("sync_directory")
    index = 0
    with contextlib.suppress(DiskStoppedError):
        while True:
            log.write(None, [entry(index + 1, bytes(1500))])
            log.sync()
            index += 1
    log, recovered = wal.open(disk, DIRECTORY, segment_bytes=LIMIT)
    assert len(recovered.entries) == index + 1
    log.write(None, [entry(index + 2, b"acknowledged")])
    log.sync()
    assert len(recover(disk.crash())) == index + 2


@pytest.mark.parametrize("is_prepared", [False, True])
def test_a_crash_at_any_step_of_a_change_of_segments(is_prepared: bool) -> None:
    def run(faults: FaultDisk) -> Iterator[int]:
        log = wal.create(faults, DIRECTORY, b"id", segment_bytes=LIMIT)
        for index in range(1, 9):
            log.write(None, [entry(index, bytes(1500))])
            log.sync()
            yield index
            while is_prepared and log.prepare_space():
                pass

    stop, is_done = 0, False
    while not is_done:
        stop += 1
        for written in (0, 1, 700):
            disk = MemoryDisk()
            faults = FaultDisk(disk)
            faults.stop_after(None, stop, written=written)
            acknowledged = 0
            with contextlib.suppress(DiskStoppedError):
                for acknowledged in run(faults):  # noqa: B007 - the last one counts
                    pass
            is_done = not faults.is_stopped
            if acknowledged == 0:
                continue
            items = disk.unsynced()
            some = subsets(items) if len(items) < 8 else [(), items, items[::2], items[1::2]]
            for kept in some:
                found = [row[0] for row in recover(disk.crash(kept))]
                assert found in (list(range(1, acknowledged + 1)), list(range(1, acknowledged + 2)))


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(8, 60))
def test_large_batches_lose_any_pages(data: st.DataObject, sectors: int) -> None:
    disk = MemoryDisk()
    log = wal.create(disk, DIRECTORY, b"id")
    log.write(None, [entry(1, b"acknowledged")])
    log.sync()
    log.prepare_space()
    log.write(None, [entry(2, data_of_sectors(sectors, b"\0"))])
    items = disk.unsynced()
    kept = data.draw(st.sets(st.sampled_from(items)) | st.just(set(items)))
    lost = [item for item in items[2 : 2 + sectors] if item not in kept]
    found = [row[0] for row in recover(disk.crash(kept))]
    assert found in ([1], [1, 2])
    assert found == [1] or not [item for item in lost if item in items[:sectors]]


class Run:
    """Random writes, snapshots, releases and power cuts on one log, next to a plain model of it."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.disk = MemoryDisk()
        self.faults = FaultDisk(self.disk)
        self.log = wal.create(self.faults, DIRECTORY, b"id", segment_bytes=LIMIT)
        self.state = HardState()
        self.rows: list[Row] = []  # acknowledged
        self.tried: tuple[HardState, list[Row]] | None = None  # what a crash may or may not leave
        self.snapshot = 0
        self.crashes = 0

    def step(self) -> None:
        if self.chance.random() < 0.2:
            self.faults.clear()
            self.faults.stop_after(None, self.chance.randrange(1, 8), written=self.chance.randrange(3000))
        try:
            self.act()
        except DiskStoppedError:
            self.crash()
        if self.chance.random() < 0.05:
            self.crash()

    def act(self) -> None:
        action = self.chance.random()
        if action < 0.6:
            self.write()
        elif action < 0.8:
            self.log.prepare_space()
        elif action < 0.9 and self.rows and self.rows[-1][0] > self.snapshot:
            self.snapshot = self.rows[-1][0]
            self.log.mark_snapshot(SnapshotMarker(self.snapshot, self.rows[-1][1]))
            self.log.sync()
        elif self.snapshot:
            self.log.release(self.snapshot)

    def write(self) -> None:
        last = self.log.last_index
        first = max(last + 1 - self.chance.choice((0, 0, 0, 1, 3)), self.snapshot + 1)
        term = self.state.term + (first <= last) + self.chance.choice((0, 0, 1))
        sizes = [self.chance.choice((0, 1, 50, 400, 1500, 6000)) for _ in range(self.chance.randrange(4))]
        while sum(sizes) > LIMIT - 2000:
            sizes.pop()
        filler = self.chance.choice((b"\0", b"\xc3", b"x"))
        entries = [entry(first + i, filler * size, term) for i, size in enumerate(sizes)]
        state = HardState(term, self.chance.randrange(4), self.snapshot)
        rows = [row for row in self.rows if row[0] < first or not entries]
        rows += [(item.index, item.term, item.data) for item in entries]
        self.tried = (state, rows)
        self.log.write(state, entries)
        self.log.sync()
        self.state, self.rows = self.tried
        self.tried = None

    def crash(self) -> None:
        """Cut the power, now and perhaps again during recovery; then compare."""
        self.crashes += 1
        while True:
            items = self.disk.unsynced()
            survival = self.chance.choice((0.0, 0.1, 0.5, 0.9, 1.0))
            if self.chance.random() < 0.7:  # else only the process was killed, and nothing is synced by that
                self.disk = self.disk.crash([item for item in items if self.chance.random() < survival])
            self.faults = FaultDisk(self.disk)
            if self.chance.random() < 0.4:
                self.faults.stop_after(None, self.chance.randrange(1, 6), written=self.chance.randrange(600))
            try:
                self.log, recovered = wal.open(self.faults, DIRECTORY, segment_bytes=LIMIT)
            except DiskStoppedError:
                continue
            break
        marked = recovered.marker.index if recovered.marker else 0
        assert marked <= self.snapshot
        found = [(item.index, item.term, item.data) for item in recovered.entries]
        possible = [(self.state, self.rows), self.tried or (self.state, self.rows)]
        possible = [(state, [row for row in rows if row[0] > marked]) for state, rows in possible]
        assert (recovered.hard_state, found) in possible
        self.state = recovered.hard_state
        self.rows = [row for row in self.rows if row[0] <= marked] + found
        self.tried = None
        self.snapshot = marked
        self.log.check()


@pytest.mark.parametrize("seed", range(150))
def test_random_runs_lose_nothing_acknowledged(seed: int) -> None:
    run = Run(seed)
    for _ in range(60):
        run.step()
    run.crash()
    assert run.crashes > 1
