"""The data directory: lock, layout, refusals, choosing the snapshot, pruning."""

from __future__ import annotations

import contextlib
import errno
import posixpath
import stat
from pathlib import Path

import pytest

from rusd.environment import RealDisk
from rusd.raft.messages import Entry, EntryType, HardState
from rusd.storage import (
    DataDir,
    DataDirLockedError,
    FormatError,
    MissingLogError,
    MissingSnapshotError,
    SnapshotMarker,
    SnapshotName,
    Wal,
)
from rusd.testing.disk import FaultDisk, MemoryDisk

PATH = "/srv/data"
SMALL = 4096


def fill(log: Wal, first: int, last: int) -> None:
    for index in range(first, last + 1):
        log.write(HardState(1, 1, index - 1), [Entry(1, index, EntryType.NORMAL, bytes(300))])
        log.sync()


def snapshot(member: DataDir, log: Wal, index: int, *, is_noted: bool = True) -> SnapshotName:
    name = SnapshotName(index=index, term=1)
    writer = member.write_snapshot(name, b"h")
    writer.write(b"state at %d" % index)
    writer.finish()
    if is_noted:
        log.mark_snapshot(SnapshotMarker(index, 1))
        log.sync()
    return name


def new_member(disk: MemoryDisk) -> tuple[DataDir, Wal]:
    member = DataDir(disk, PATH)
    assert not member.has_member
    return member, member.create_member(b"id", segment_bytes=SMALL)


def test_a_member_is_found_again_after_a_crash() -> None:
    disk = MemoryDisk()
    _, log = new_member(disk)
    fill(log, 1, 5)
    assert disk.list_directory(f"{PATH}/member") == ["lock", "snap", "wal"]
    again = DataDir(disk.crash(), PATH)
    assert again.has_member
    opened = again.open_member()
    assert opened.recovered.identity == b"id"
    assert len(opened.recovered.entries) == 5
    assert (opened.snapshot, opened.skipped) == (None, ())


def test_a_separate_wal_directory_is_used() -> None:
    disk = MemoryDisk()
    member = DataDir(disk, PATH, wal_directory="/fast/wal")
    member.create_member(b"id")
    assert len(disk.list_directory("/fast/wal")) == 1
    assert disk.list_directory(f"{PATH}/member") == ["lock", "snap"]


def test_two_processes_cannot_share_a_directory() -> None:
    disk = MemoryDisk()
    member = DataDir(disk, PATH)
    with pytest.raises(DataDirLockedError, match=f"{PATH}: another process"):
        DataDir(disk, PATH)
    member.close()
    DataDir(disk, PATH)


def test_etcds_own_data_is_refused_and_left_alone() -> None:
    disk = MemoryDisk()
    disk.make_directory(f"{PATH}/member/snap")
    disk.open(f"{PATH}/member/snap/db", create=True)
    with pytest.raises(FormatError, match="belongs to etcd"):
        DataDir(disk, PATH)
    assert disk.list_directory(f"{PATH}/member") == ["snap"]


def test_snapshots_without_a_log_are_not_thrown_away() -> None:
    disk = MemoryDisk()
    member, log = new_member(disk)
    fill(log, 1, 5)
    name = snapshot(member, log, 4)
    elsewhere = DataDir(disk.crash(), PATH, wal_directory="/other")
    with pytest.raises(MissingLogError, match="put the log back"):
        elsewhere.create_member(b"new")
    assert elsewhere.snapshots() == [name]
    elsewhere.create_member(b"new", marker=SnapshotMarker(4, 1))


def test_the_newest_noted_snapshot_is_the_start() -> None:
    disk = MemoryDisk()
    member, log = new_member(disk)
    fill(log, 1, 9)
    snapshot(member, log, 3)
    newest = snapshot(member, log, 6)
    snapshot(member, log, 8, is_noted=False)
    opened = DataDir(disk.crash(), PATH).open_member(segment_bytes=SMALL)
    assert opened.snapshot == newest
    assert [entry.index for entry in opened.recovered.entries] == [7, 8, 9]
    reader = member.read_snapshot(newest)
    assert (reader.header, list(reader.chunks())) == (b"h", [b"state at 6"])


@pytest.mark.parametrize("damage", ["flip", "gone"])
def test_a_damaged_snapshot_is_passed_over_with_a_reason(damage: str) -> None:
    disk = MemoryDisk()
    member, log = new_member(disk)
    fill(log, 1, 9)
    older = snapshot(member, log, 3)
    newer = snapshot(member, log, 6)
    path = f"{member.snapshot_directory}/{newer.name}"
    if damage == "flip":
        disk.open(path).write_at(60, b"\xff")
    else:
        disk.remove(path)
    opened = DataDir(disk.copy(), PATH).open_member(segment_bytes=SMALL)
    assert opened.snapshot == older
    assert [entry.index for entry in opened.recovered.entries] == list(range(4, 10))
    assert len(opened.skipped) == 1
    assert newer.name in opened.skipped[0]


def test_a_damaged_snapshot_is_set_aside_and_never_kept_for_a_good_one() -> None:
    disk = MemoryDisk()
    member, log = new_member(disk)
    fill(log, 1, 30)
    good = snapshot(member, log, 30)
    member.prune(log)
    fill(log, 31, 60)
    damaged = snapshot(member, log, 60)
    member.prune(log)
    disk.open(f"{member.snapshot_directory}/{damaged.name}").write_at(60, b"\xff")
    disk = disk.copy()
    member = DataDir(disk, PATH)
    opened = member.open_member(segment_bytes=SMALL)
    assert opened.snapshot == good
    assert f"kept as {damaged.name}.broken" in opened.skipped[0]
    assert member.snapshots() == [good]
    fill(opened.wal, 61, 90)
    newest = snapshot(member, opened.wal, 90)
    member.prune(opened.wal)
    assert member.snapshots() == [good, newest]
    assert opened.wal.first_index <= good.index
    assert f"{damaged.name}.broken" in disk.list_directory(member.snapshot_directory)
    # The newest is damaged as well, and there still is a way back.
    disk.open(f"{member.snapshot_directory}/{newest.name}").write_at(60, b"\xff")
    again = DataDir(disk.copy(), PATH).open_member(segment_bytes=SMALL)
    assert again.snapshot == good
    assert len(again.recovered.entries) == 60


def test_a_snapshot_set_aside_can_be_written_anew_under_its_name() -> None:
    disk = MemoryDisk()
    member, log = new_member(disk)
    fill(log, 1, 9)
    name = snapshot(member, log, 6)
    for _ in range(2):  # the second time there is a file of the first
        disk.open(f"{member.snapshot_directory}/{name.name}").write_at(60, b"\xff")
        disk = disk.copy()
        member = DataDir(disk, PATH)
        opened = member.open_member(segment_bytes=SMALL)
        assert opened.snapshot is None
        assert snapshot(member, opened.wal, 6) == name
    opened = DataDir(disk.crash(), PATH).open_member(segment_bytes=SMALL)
    assert (opened.snapshot, opened.skipped) == (name, ())


def test_a_crash_while_a_snapshot_is_set_aside_changes_nothing() -> None:
    disk = MemoryDisk()
    member, log = new_member(disk)
    fill(log, 1, 9)
    older, newer = snapshot(member, log, 3), snapshot(member, log, 6)
    disk.open(f"{member.snapshot_directory}/{newer.name}").write_at(60, b"\xff")
    for stop in range(1, 15):
        copy = disk.copy()
        faults = FaultDisk(copy)
        faults.stop_after(None, stop)
        with contextlib.suppress(OSError):
            DataDir(faults, PATH).open_member(segment_bytes=SMALL)
        for keep in ([], copy.unsynced()):
            opened = DataDir(copy.crash(keep), PATH).open_member(segment_bytes=SMALL)
            assert opened.snapshot == older
            assert len(opened.recovered.entries) == 6
    assert not faults.is_stopped


class NamesDisk(MemoryDisk):
    """Knows the directories whose names are not durable yet, and may stop before making one so."""

    def __init__(self, stop_after: int = -1) -> None:
        super().__init__()
        self.unsynced_names: set[str] = set()
        self.syncs_left = stop_after

    def make_directory(self, path: str) -> None:
        parent = posixpath.normpath(path)
        while not self.exists(parent):
            self.unsynced_names.add(parent)
            parent = posixpath.dirname(parent) or "."
        super().make_directory(path)

    def sync_directory(self, path: str) -> None:
        if self.syncs_left == 0:
            raise OSError(errno.EIO, "killed here")
        self.syncs_left -= 1
        super().sync_directory(path)
        path = posixpath.normpath(path)
        self.unsynced_names -= {
            name for name in self.unsynced_names if (posixpath.dirname(name) or ".") == path
        }


@pytest.mark.parametrize("path", ["/a/b/c", "/a/b/c/", "/a//b///c//", "a/b/c", "c", "c/", "./a/c"])
def test_every_directory_that_is_made_has_a_durable_name(path: str) -> None:
    disk = NamesDisk()
    disk.make_directory("/a")
    disk.unsynced_names.clear()
    DataDir(disk, path, wal_directory="/fast/disk/wal/").create_member(b"id")
    assert disk.list_directory(f"{path}/member") == ["lock", "snap"]
    assert disk.unsynced_names == set()


@pytest.mark.parametrize("stop", range(9))
def test_a_start_after_a_killed_one_makes_every_name_durable(stop: int) -> None:
    disk = NamesDisk(stop_after=stop)
    with contextlib.suppress(OSError):
        DataDir(disk, "/a/b/c").close()
    disk.syncs_left = -1
    DataDir(disk, "/a/b/c").create_member(b"id")
    assert disk.unsynced_names == set()


@pytest.mark.parametrize("number", [errno.EACCES, errno.EINVAL])
def test_a_parent_that_cannot_be_synced_is_no_obstacle(number: int) -> None:
    class Root(MemoryDisk):
        def sync_directory(self, path: str) -> None:
            if path == "/":
                raise OSError(number, "not yours")
            super().sync_directory(path)

    DataDir(Root(), "/data").create_member(b"id")


def test_a_failing_disk_is_not_taken_for_that() -> None:
    faults = FaultDisk(MemoryDisk())
    faults.fail("sync_directory")
    with pytest.raises(OSError, match="Input/output"):
        DataDir(faults, PATH)


def test_pruning_keeps_two_snapshots_and_the_log_from_the_older() -> None:
    disk = MemoryDisk()
    member, log = new_member(disk)
    names = []
    for round_ in range(1, 6):
        fill(log, log.last_index + 1, 30 * round_)
        names.append(snapshot(member, log, 30 * round_ - 5))
        member.prune(log)
        if round_ == 1:
            assert log.first_index == 1, "the beginning of the log is the older of two"
    assert member.snapshots() == names[-2:]
    assert 100 < log.first_index <= names[-2].index
    disk = disk.crash()
    disk.open(f"{member.snapshot_directory}/{names[-1].name}").write_at(40, b"\xff")
    opened = DataDir(disk, PATH).open_member(segment_bytes=SMALL)
    assert opened.snapshot == names[-2]
    assert len(opened.recovered.entries) == 150 - names[-2].index


def test_no_usable_snapshot_and_a_shortened_log_is_refused() -> None:
    disk = MemoryDisk()
    member, log = new_member(disk)
    for round_ in range(1, 4):
        fill(log, log.last_index + 1, 30 * round_)
        snapshot(member, log, 30 * round_)
        member.prune(log)
    for name in member.snapshots():
        disk.remove(f"{member.snapshot_directory}/{name.name}")
    with pytest.raises(MissingSnapshotError, match="no usable snapshot"):
        DataDir(disk.crash(disk.unsynced()), PATH).open_member(segment_bytes=SMALL)


def test_a_snapshot_about_to_be_noted_is_not_pruned_and_leftovers_go() -> None:
    disk = MemoryDisk()
    member, log = new_member(disk)
    fill(log, 1, 9)
    snapshot(member, log, 3)
    pending = snapshot(member, log, 8, is_noted=False)
    member.prune(log)
    assert pending in member.snapshots()
    disk.open(f"{member.snapshot_directory}/half.snap.tmp", create=True)
    again = DataDir(disk.copy(), PATH)
    again.open_member(segment_bytes=SMALL)
    assert pending in again.snapshots()
    assert all(name.endswith(".snap") for name in again._disk.list_directory(again.snapshot_directory))


def test_on_a_real_disk(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "data"
    member = DataDir(RealDisk(), str(path))
    log = member.create_member(b"id", segment_bytes=SMALL)
    fill(log, 1, 40)
    name = snapshot(member, log, 30)
    while log.prepare_space():
        pass
    for directory in (path, path / "member", path / "member" / "wal", path / "member" / "snap"):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    with pytest.raises(DataDirLockedError):
        DataDir(RealDisk(), str(path))
    log.close()
    member.close()
    again = DataDir(RealDisk(), str(path))
    opened = again.open_member(segment_bytes=SMALL)
    assert opened.snapshot == name
    assert [entry.index for entry in opened.recovered.entries] == list(range(31, 41))
    opened.wal.check()
    opened.wal.close()
    again.close()
