"""The open log: what may be written when, segments, reading back, release, failures."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Sequence

import pytest

from rusd.raft.messages import Configuration, Entry, EntryType, HardState
from rusd.storage import (
    CorruptionError,
    FormatError,
    MissingSnapshotError,
    SnapshotMarker,
    WalFailedError,
    wal,
)
from rusd.storage.batch import SECTOR_BYTES
from rusd.storage.space import FILL_STEP_BYTES, MOST_FILL_STEP_BYTES, fill_goal
from rusd.testing.disk import FaultDisk, MemoryDisk

DIRECTORY = "/data/member/wal"
SMALL = 4096


def entries(first: int, *data: bytes, term: int = 1) -> list[Entry]:
    return [Entry(term, first + i, EntryType.NORMAL, item) for i, item in enumerate(data)]


def plain(found: Sequence[Entry]) -> list[tuple[int, int, bytes]]:
    return [(entry.index, entry.term, entry.data) for entry in found]


def save(log: wal.Wal, first: int, *data: bytes, term: int = 1, commit: int = 0) -> None:
    log.write(HardState(term, 1, commit), entries(first, *data, term=term))
    log.sync()


def test_what_was_synced_is_recovered() -> None:
    disk = MemoryDisk()
    log = wal.create(disk, DIRECTORY, b"who I am", hard_state=HardState(1, 2, 0))
    save(log, 1, b"a", b"", bytes(3000), term=1)
    log.write(HardState(4, 9, 2), ())
    log.sync()
    log.check()
    log, recovered = wal.open(disk.crash(), DIRECTORY)
    assert recovered.identity == log.identity == b"who I am"
    assert recovered.hard_state == log.hard_state == HardState(4, 9, 2)
    assert recovered.marker is None
    assert plain(recovered.entries) == [(1, 1, b"a"), (2, 1, b""), (3, 1, bytes(3000))]
    assert recovered.entries[0].type is EntryType.NORMAL
    log.check()


def test_a_new_log_is_durable_and_empty() -> None:
    disk = MemoryDisk()
    wal.create(disk, DIRECTORY, b"id", hard_state=HardState(3, 2, 0))
    _, recovered = wal.open(disk.crash(), DIRECTORY)
    assert recovered == wal.Recovered(b"id", HardState(3, 2, 0), None, [])


def test_a_second_log_in_the_same_place_is_refused() -> None:
    disk = MemoryDisk()
    wal.create(disk, DIRECTORY, b"id")
    with pytest.raises(FileExistsError):
        wal.create(disk, DIRECTORY, b"other")


def test_nothing_to_say_writes_nothing() -> None:
    log = wal.create(MemoryDisk(), DIRECTORY, b"id")
    number = log.batch_number
    log.write(None, ())
    log.write(log.hard_state, ())
    assert log.batch_number == number
    log.write(HardState(1, 0, 0), ())
    assert log.batch_number == number + 1


def test_a_batch_waits_for_the_sync_of_the_one_before() -> None:
    log = wal.create(MemoryDisk(), DIRECTORY, b"id")
    log.write(None, entries(1, b"a"))
    with pytest.raises(RuntimeError, match="not synced"):
        log.write(None, entries(2, b"b"))
    log.sync()
    log.write(None, entries(2, b"b"))


@pytest.mark.parametrize("indexes", [[2], [0], [1, 3], [1, 1], [2, 1]])
def test_entries_out_of_order_are_refused_and_harm_nothing(indexes: list[int]) -> None:
    log = wal.create(MemoryDisk(), DIRECTORY, b"id")
    with pytest.raises(ValueError, match="can't follow"):
        log.write(None, [Entry(1, index, EntryType.NORMAL, b"") for index in indexes])
    save(log, 1, b"fine")


def test_a_conflicting_tail_is_overwritten() -> None:
    disk = MemoryDisk()
    log = wal.create(disk, DIRECTORY, b"id")
    save(log, 1, b"a", b"b", b"c", b"d")
    save(log, 3, b"C", term=2)
    save(log, 4, b"D", term=2)
    expected = [(1, 1, b"a"), (2, 1, b"b"), (3, 2, b"C"), (4, 2, b"D")]
    assert plain(log.entries(1, 5)) == expected
    log, recovered = wal.open(disk.crash(), DIRECTORY)
    assert plain(recovered.entries) == expected
    assert plain(log.entries(2, 4)) == expected[1:3]


def test_a_full_segment_is_followed_by_the_next() -> None:
    disk = MemoryDisk()
    log = wal.create(disk, DIRECTORY, b"id", segment_bytes=SMALL)
    for index in range(1, 30):
        save(log, index, b"%d" % index * 200, commit=index - 1)
    names = disk.list_directory(DIRECTORY)
    assert len(names) > 3
    assert names[0] == "0000000000000001-0000000000000001.wal"
    sizes = {disk.open(f"{DIRECTORY}/{name}").size() for name in names}
    assert max(sizes) <= SMALL
    log.check()
    log, recovered = wal.open(disk.crash(), DIRECTORY, segment_bytes=SMALL)
    assert plain(recovered.entries) == [(i, 1, b"%d" % i * 200) for i in range(1, 30)]
    assert recovered.hard_state == HardState(1, 1, 28)
    save(log, 30, b"on it goes")


def test_a_batch_beyond_a_segment_is_split_and_a_huge_entry_gets_its_own() -> None:
    disk = MemoryDisk()
    log = wal.create(disk, DIRECTORY, b"id", segment_bytes=SMALL)
    big = [bytes((i,)) * 1500 for i in range(1, 9)]
    save(log, 1, *big, commit=0)
    save(log, 9, bytes(3 * SMALL), b"small", commit=8)
    log.check()
    log, recovered = wal.open(disk.crash(), DIRECTORY, segment_bytes=SMALL)
    assert [entry.data for entry in recovered.entries] == [*big, bytes(3 * SMALL), b"small"]
    save(log, 11, b"next")
    assert log.last_index == 11


def test_a_split_batch_never_claims_a_commit_beyond_itself() -> None:
    disk = MemoryDisk()
    faults = FaultDisk(disk)
    log = wal.create(faults, DIRECTORY, b"id", segment_bytes=SMALL)
    faults.stop_after("write", 2)  # the second half
    with pytest.raises(OSError, match="stopped"):
        log.write(HardState(1, 1, 4), entries(1, *[bytes(1500)] * 4))
    _, recovered = wal.open(disk.crash(), DIRECTORY, segment_bytes=SMALL)
    assert [entry.index for entry in recovered.entries] == [1, 2]
    assert recovered.hard_state.commit == 2


def test_entries_are_read_back_within_a_budget() -> None:
    log = wal.create(MemoryDisk(), DIRECTORY, b"id", segment_bytes=SMALL)
    for index in range(1, 40):
        save(log, index, b"x" * 100)
    assert [entry.index for entry in log.entries(5, 30)] == list(range(5, 30))
    assert [entry.index for entry in log.entries(5, 30, max_bytes=400)] == [5, 6, 7]
    assert [entry.index for entry in log.entries(5, 30, max_bytes=1)] == [5]
    assert log.entries(5, 5) == []
    with pytest.raises(IndexError):
        log.entries(0, 3)
    with pytest.raises(IndexError):
        log.entries(39, 41)


def test_batches_larger_than_the_reading_window_are_read_back() -> None:
    log = wal.create(MemoryDisk(), DIRECTORY, b"id")
    data = [bytes((i,)) * (700_000 * i) for i in range(1, 5)]
    for index, item in enumerate(data, 1):
        save(log, index, item)
    assert [entry.data for entry in log.entries(1, 5)] == data


def test_a_change_on_disk_is_noticed_when_entries_are_read_back() -> None:
    disk = MemoryDisk()
    log = wal.create(disk, DIRECTORY, b"id")
    save(log, 1, b"x" * 100)
    path = f"{DIRECTORY}/{disk.list_directory(DIRECTORY)[0]}"
    disk.open(path).write_at(SECTOR_BYTES + 100, b"y")
    with pytest.raises(CorruptionError) as caught:
        log.entries(1, 2)
    assert (caught.value.path, caught.value.offset) == (path, SECTOR_BYTES)


# -- snapshots and release ------------------------------------------------------------


def test_a_marker_is_where_recovery_starts() -> None:
    disk = MemoryDisk()
    log = wal.create(disk, DIRECTORY, b"id")
    save(log, 1, b"a", b"b", b"c")
    marker = SnapshotMarker(2, 1, Configuration(frozenset({1, 2}), frozenset({3})))
    log.mark_snapshot(marker)
    log.sync()
    save(log, 4, b"d")
    log, recovered = wal.open(disk.crash(), DIRECTORY)
    assert recovered.marker == marker
    assert plain(recovered.entries) == [(3, 1, b"c"), (4, 1, b"d")]
    assert log.first_index == 1


def test_an_unusable_snapshot_is_passed_over_for_an_older_one() -> None:
    disk = MemoryDisk()
    log = wal.create(disk, DIRECTORY, b"id")
    save(log, 1, b"a", b"b", b"c")
    for index in (1, 2):
        log.mark_snapshot(SnapshotMarker(index, 1))
        log.sync()
    asked: list[int] = []

    def is_usable(marker: SnapshotMarker) -> bool:
        asked.append(marker.index)
        return marker.index == 1

    _, recovered = wal.open(disk.crash(), DIRECTORY, is_usable=is_usable)
    assert recovered.marker == SnapshotMarker(1, 1)
    assert asked == [2, 1]
    _, recovered = wal.open(disk.crash(), DIRECTORY, is_usable=lambda marker: False)
    assert recovered.marker is None  # the log reaches back to the beginning
    assert len(recovered.entries) == 3


def test_a_received_snapshot_takes_the_place_of_the_log() -> None:
    disk = MemoryDisk()
    log = wal.create(disk, DIRECTORY, b"id")
    save(log, 1, b"a", b"b", b"c")
    with pytest.raises(ValueError, match="snapshot at 100"):
        log.mark_snapshot(SnapshotMarker(100, 7))
    log.mark_snapshot(SnapshotMarker(100, 7), HardState(7, 0, 100), resets_log=True)
    log.sync()
    assert (log.first_index, log.last_index) == (101, 100)
    save(log, 101, b"on", term=7, commit=100)
    log, recovered = wal.open(disk.crash(), DIRECTORY)
    assert recovered.marker == SnapshotMarker(100, 7)
    assert plain(recovered.entries) == [(101, 7, b"on")]
    with pytest.raises(MissingSnapshotError, match="begins at index 101"):
        wal.open(disk.crash(), DIRECTORY, is_usable=lambda marker: False)


def test_a_log_can_begin_after_a_snapshot() -> None:
    disk = MemoryDisk()
    wal.create(disk, DIRECTORY, b"id", marker=SnapshotMarker(50, 3), hard_state=HardState(3, 0, 50))
    log, recovered = wal.open(disk.crash(), DIRECTORY)
    assert recovered.marker == SnapshotMarker(50, 3)
    assert (log.first_index, log.last_index) == (51, 50)


def test_a_log_can_begin_after_a_snapshot_with_entries() -> None:
    disk = MemoryDisk()
    marker = SnapshotMarker(50, 3)
    first = entries(51, *[bytes(300)] * 40, term=3)
    log = wal.create(
        disk,
        DIRECTORY,
        b"id",
        marker=marker,
        hard_state=HardState(3, 0, 50),
        entries=first,
        segment_bytes=SMALL,
    )
    assert (log.first_index, log.last_index, log.markers) == (51, 90, (marker,))
    log.check()
    save(log, 91, b"more", term=3, commit=60)
    log, recovered = wal.open(disk.crash(), DIRECTORY, segment_bytes=SMALL)
    assert recovered.marker == marker
    assert plain(recovered.entries) == plain([*first, *entries(91, b"more", term=3)])
    assert (log.first_index, log.last_index) == (51, 91)


@pytest.mark.parametrize(
    ("first", "marker"),
    [
        (entries(2, b"a"), None),
        ([*entries(1, b"a"), *entries(3, b"b")], None),
        (entries(1, b"a"), SnapshotMarker(50, 3)),
        (entries(52, b"a"), SnapshotMarker(50, 3)),
    ],
)
def test_first_entries_with_a_gap_are_refused_and_nothing_is_written(
    first: list[Entry], marker: SnapshotMarker | None
) -> None:
    disk = MemoryDisk()
    with pytest.raises(ValueError, match="first entries"):
        wal.create(disk, DIRECTORY, b"id", entries=first, marker=marker)
    assert not disk.exists(DIRECTORY) or not disk.list_directory(DIRECTORY)


@pytest.mark.parametrize("marker", [None, SnapshotMarker(50, 3)])
def test_after_a_crash_there_is_no_log_or_one_with_all_its_first_entries(
    marker: SnapshotMarker | None,
) -> None:
    first = entries(marker.index + 1 if marker else 1, *[bytes(300)] * 40)  # more than a segment
    outcomes = set()
    for stop in range(1, 20):
        disk = MemoryDisk()
        faults = FaultDisk(disk)
        faults.stop_after(None, stop)
        with contextlib.suppress(OSError):
            wal.create(faults, DIRECTORY, b"id", entries=first, marker=marker, segment_bytes=SMALL)
        for keep in ([], disk.unsynced(), disk.unsynced()[::2], disk.unsynced()[1::2]):
            after = disk.crash(keep)
            if not any(name.endswith(".wal") for name in after.list_directory(DIRECTORY)):
                outcomes.add(0)
                continue
            _, recovered = wal.open(after, DIRECTORY, segment_bytes=SMALL)
            assert recovered.marker == marker
            outcomes.add(len(recovered.entries))
    assert outcomes == {0, 40}


def test_release_drops_whole_segments_and_keeps_state() -> None:
    disk = MemoryDisk()
    log = wal.create(disk, DIRECTORY, b"id", segment_bytes=SMALL)
    for index in range(1, 30):
        save(log, index, bytes(200), commit=index - 1)
    log.mark_snapshot(SnapshotMarker(20, 1))
    log.sync()
    before = log.bytes_after(20)
    log.release(20)
    log.check()
    assert 10 < log.first_index <= 20
    assert log.bytes_after(20) == before
    log, recovered = wal.open(disk.crash(), DIRECTORY, segment_bytes=SMALL)
    assert recovered.identity == b"id"
    assert recovered.hard_state == HardState(1, 1, 28)
    assert [entry.index for entry in recovered.entries] == list(range(21, 30))
    with pytest.raises(MissingSnapshotError):
        wal.open(disk.crash(), DIRECTORY, is_usable=lambda marker: False)


def test_markers_and_state_survive_the_release_of_the_segments_they_were_written_to() -> None:
    disk = MemoryDisk()
    log = wal.create(disk, DIRECTORY, b"id", segment_bytes=SMALL)
    for index in range(1, 6):
        save(log, index, bytes(300), term=5)
    log.mark_snapshot(SnapshotMarker(5, 5))
    log.sync()
    log.write(HardState(6, 3, 1), ())
    log.sync()
    assert len(disk.list_directory(DIRECTORY)) == 1
    for index in range(6, 20):
        log.write(None, entries(index, bytes(300), term=6))
        log.sync()
    log.release(6)
    assert log.first_index == 6
    log, recovered = wal.open(disk.crash(), DIRECTORY, segment_bytes=SMALL)
    assert log.markers == (SnapshotMarker(5, 5),)
    assert recovered.hard_state == HardState(6, 3, 1)
    assert recovered.entries[0].index == 6


def test_a_log_replaced_by_a_snapshot_can_be_released() -> None:
    disk = MemoryDisk()
    log = wal.create(disk, DIRECTORY, b"id", segment_bytes=SMALL)
    for index in range(1, 20):
        save(log, index, bytes(300))
    log.mark_snapshot(SnapshotMarker(100, 2), resets_log=True)
    log.release(100)
    assert len(disk.list_directory(DIRECTORY)) > 2, "nothing goes before the marker is durable"
    log.sync()
    log.release(100)
    assert len(disk.list_directory(DIRECTORY)) == 1
    _, recovered = wal.open(disk.crash(), DIRECTORY, segment_bytes=SMALL)
    assert recovered.marker == SnapshotMarker(100, 2)


def test_a_crash_between_removals_never_leaves_a_hole() -> None:
    disk = MemoryDisk()
    log = wal.create(disk, DIRECTORY, b"id", segment_bytes=SMALL)
    for index in range(1, 60):
        save(log, index, bytes(300))
    log.mark_snapshot(SnapshotMarker(50, 1))
    log.sync()
    count = len(disk.list_directory(DIRECTORY))
    for stop in range(1, 2 * count):
        copy = disk.copy()
        faults = FaultDisk(copy)
        log, _ = wal.open(faults, DIRECTORY, segment_bytes=SMALL)
        faults.stop_after(None, stop)
        with contextlib.suppress(OSError):
            log.release(50)
        for keep in ([], copy.unsynced()):
            _, recovered = wal.open(copy.crash(keep), DIRECTORY, segment_bytes=SMALL)
            assert [entry.index for entry in recovered.entries] == list(range(51, 60))


def test_a_removal_whose_directory_sync_failed_is_synced_before_the_next() -> None:
    disk = MemoryDisk()
    faults = FaultDisk(disk)
    log = wal.create(faults, DIRECTORY, b"id", segment_bytes=SMALL)
    for index in range(1, 60):
        save(log, index, bytes(300))
    log.mark_snapshot(SnapshotMarker(50, 1))
    log.sync()
    faults.fail("sync_directory")
    with pytest.raises(OSError, match="Input/output"):
        log.release(50)
    faults.stop_after("sync_directory")
    with pytest.raises(OSError, match="stopped"):
        log.release(50)
    assert disk.unsynced()
    for item in disk.unsynced():
        _, recovered = wal.open(disk.crash([item]), DIRECTORY, segment_bytes=SMALL)
        assert len(recovered.entries) == 9


# -- space ----------------------------------------------------------------------------


def test_space_is_filled_ahead_in_small_steps_that_grow_with_the_log() -> None:
    disk = MemoryDisk()
    log = wal.create(disk, DIRECTORY, b"id")
    path = f"{DIRECTORY}/{disk.list_directory(DIRECTORY)[0]}"
    sizes = []
    for index in (1, 2, 3):
        while log.prepare_space():
            pass
        sizes.append(disk.open(path).size())
        save(log, index, bytes(800_000 * index**2))
    assert sizes == [1 << 20, 4 << 20, 16 << 20]
    log.check()
    _, recovered = wal.open(disk.crash(), DIRECTORY)
    assert [len(entry.data) for entry in recovered.entries] == [800_000, 3_200_000, 7_200_000]


def test_a_step_is_small() -> None:
    disk = MemoryDisk()
    log = wal.create(disk, DIRECTORY, b"id")
    path = f"{DIRECTORY}/{disk.list_directory(DIRECTORY)[0]}"
    before = disk.open(path).size()
    assert log.prepare_space()
    assert disk.open(path).size() - before <= FILL_STEP_BYTES


@pytest.mark.parametrize("size", [1000, 300_000, 600_000, 1_000_000])
def test_a_step_after_each_batch_keeps_the_zeros_ahead(size: int) -> None:
    disk = MemoryDisk()
    log = wal.create(disk, DIRECTORY, b"id")
    path = f"{DIRECTORY}/{disk.list_directory(DIRECTORY)[0]}"
    grown = []
    for index in range(1, 25):
        before = disk.open(path).size()
        save(log, index, bytes(size))
        if disk.open(path).size() > before:
            grown.append(index)
        before = disk.open(path).size()
        log.prepare_space()
        assert disk.open(path).size() - before <= MOST_FILL_STEP_BYTES
    assert set(grown) <= {1, 2}, "only at the beginning do batches make the file longer"


def test_fill_goals_stay_ahead_of_the_tail_and_within_the_segment() -> None:
    limit = 64 << 20
    goals = [fill_goal(tail, limit) for tail in range(0, limit, 100_000)]
    assert goals == sorted(goals)
    assert goals[0] == 1 << 20
    assert goals[-1] == limit
    assert all(goal >= tail for tail, goal in zip(range(0, limit, 100_000), goals, strict=True))
    assert fill_goal(0, SMALL) == SMALL


def test_the_next_segment_is_made_ready_and_then_used() -> None:
    disk = MemoryDisk()
    log = wal.create(disk, DIRECTORY, b"id", segment_bytes=SMALL)
    index = 1
    while "next.tmp" not in disk.list_directory(DIRECTORY):
        save(log, index, bytes(300))
        index += 1
        while log.prepare_space():
            pass
    assert disk.open(f"{DIRECTORY}/next.tmp").size() == SMALL
    while "next.tmp" in disk.list_directory(DIRECTORY):
        save(log, index, bytes(300))
        index += 1
    log.check()
    log, recovered = wal.open(disk.crash(), DIRECTORY, segment_bytes=SMALL)
    assert len(recovered.entries) == index - 1


def test_failing_to_prepare_space_harms_nothing() -> None:
    disk = MemoryDisk()
    faults = FaultDisk(disk)
    log = wal.create(faults, DIRECTORY, b"id", segment_bytes=SMALL)
    full = OSError(errno.ENOSPC, "No space left on device")
    for index in range(1, 30):
        for operation in ("write", "create"):
            faults.fail(operation, 1, full)
            with contextlib.suppress(OSError):
                log.prepare_space()
            faults.clear()
        save(log, index, bytes(300))
    _, recovered = wal.open(disk.crash(), DIRECTORY, segment_bytes=SMALL)
    assert len(recovered.entries) == 29


# -- failures -------------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["write", "sync"])
def test_after_a_failed_write_or_sync_nothing_more_is_taken(operation: str) -> None:
    disk = MemoryDisk()
    faults = FaultDisk(disk)
    log = wal.create(faults, DIRECTORY, b"id")
    save(log, 1, b"acknowledged")
    failure = OSError(errno.EIO, "broken")
    faults.fail(operation, 1, failure)  # type: ignore[arg-type]
    with pytest.raises(OSError, match="broken") as caught:
        save(log, 2, b"not")
    assert caught.value is failure
    with pytest.raises(WalFailedError):
        log.write(None, entries(2, b"x"))
    with pytest.raises(WalFailedError):
        log.sync()
    assert not log.prepare_space()
    _, recovered = wal.open(disk.crash(), DIRECTORY)
    assert plain(recovered.entries) == [(1, 1, b"acknowledged")]


def test_every_nth_failing_operation_loses_nothing_acknowledged() -> None:
    survived = False
    nth = 0
    while not survived:
        nth += 1
        disk = MemoryDisk()
        faults = FaultDisk(disk)
        faults.fail(None, nth)
        acknowledged = 0
        try:
            log = wal.create(faults, DIRECTORY, b"id", segment_bytes=SMALL)
            for index in range(1, 25):
                log.write(None, entries(index, bytes(400)))
                log.sync()
                acknowledged = index
                log.prepare_space()
            survived = True
        except OSError:
            pass
        if acknowledged:
            _, recovered = wal.open(disk.crash(), DIRECTORY, segment_bytes=SMALL)
            assert len(recovered.entries) >= acknowledged
    assert nth > 50


def test_a_closed_log_takes_nothing() -> None:
    log = wal.create(MemoryDisk(), DIRECTORY, b"id")
    log.close()
    with pytest.raises(WalFailedError):
        log.write(None, entries(1, b"a"))


def test_logs_of_others_and_of_other_versions_are_refused_by_name() -> None:
    disk = MemoryDisk()
    disk.make_directory(DIRECTORY)
    with pytest.raises(FormatError, match="no log here"):
        wal.open(disk, DIRECTORY)
    name = f"{DIRECTORY}/0000000000000000-0000000000000000.wal"
    disk.open(name, create=True).write_at(0, bytes.fromhex("0400000000000084") + bytes(600))
    with pytest.raises(FormatError, match="not a log of rusd"):
        wal.open(disk, DIRECTORY)


def test_a_missing_segment_is_named() -> None:
    disk = MemoryDisk()
    log = wal.create(disk, DIRECTORY, b"id", segment_bytes=SMALL)
    for index in range(1, 30):
        save(log, index, bytes(400))
    names = disk.list_directory(DIRECTORY)
    disk.remove(f"{DIRECTORY}/{names[1]}")
    with pytest.raises(CorruptionError, match="segment is missing") as caught:
        wal.open(disk, DIRECTORY, segment_bytes=SMALL)
    assert "remove this member" in caught.value.advice
    assert disk.exists(f"{DIRECTORY}/{names[-1]}")


def test_a_missing_first_segment_is_refused_without_a_snapshot() -> None:
    disk = MemoryDisk()
    log = wal.create(disk, DIRECTORY, b"id", segment_bytes=SMALL)
    for index in range(1, 30):
        save(log, index, bytes(400))
    disk.remove(f"{DIRECTORY}/{disk.list_directory(DIRECTORY)[0]}")
    with pytest.raises(MissingSnapshotError, match="noted in the log: none"):
        wal.open(disk, DIRECTORY, segment_bytes=SMALL)


def test_a_segment_of_another_log_is_refused() -> None:
    disks = [MemoryDisk(), MemoryDisk()]
    for disk, identity in zip(disks, (b"one", b"two"), strict=True):
        log = wal.create(disk, DIRECTORY, identity, segment_bytes=SMALL)
        for index in range(1, 20):
            save(log, index, identity * 100)
    name = f"{DIRECTORY}/{disks[0].list_directory(DIRECTORY)[1]}"
    foreign = disks[1].open(name)
    disks[0].open(name).write_at(0, foreign.read_at(0, foreign.size()))
    with pytest.raises(CorruptionError):
        wal.open(disks[0], DIRECTORY, segment_bytes=SMALL)
