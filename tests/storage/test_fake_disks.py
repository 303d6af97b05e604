"""The fake disks themselves: what a power cut keeps, and when a fault strikes."""

from __future__ import annotations

import errno

import pytest

from rusd.testing.disk import (
    PAGE_BYTES,
    DiskStoppedError,
    FaultDisk,
    MemoryDisk,
    UnsyncedName,
    UnsyncedPage,
    UnsyncedSize,
)


def make(path: str = "/d/f", data: bytes = b"") -> MemoryDisk:
    """A disk with one durable file."""
    disk = MemoryDisk()
    disk.make_directory("/d")
    file = disk.open(path, create=True)
    file.write_at(0, data)
    file.sync()
    disk.sync_directory("/d")
    return disk


def content(disk: MemoryDisk, path: str = "/d/f") -> bytes:
    file = disk.open(path)
    return file.read_at(0, file.size())


def test_files_read_back_what_was_written() -> None:
    disk = make()
    file = disk.open("/d/f")
    file.write_at(3, b"abc")
    assert file.read_at(0, 100) == b"\0\0\0abc"
    assert file.read_at(4, 1) == b"b"
    file.truncate(4)
    file.truncate(6)
    assert content(disk) == b"\0\0\0a\0\0"
    file.close()
    with pytest.raises(OSError, match="Bad file"):
        file.size()


def test_errors_are_the_operating_systems() -> None:
    disk = make()
    for number, attempt in (
        (errno.ENOENT, lambda: disk.open("/d/none")),
        (errno.EEXIST, lambda: disk.open("/d/f", create=True)),
        (errno.ENOENT, lambda: disk.open("/none/f", create=True)),
        (errno.ENOENT, lambda: disk.remove("/d/none")),
        (errno.ENOENT, lambda: disk.rename("/d/none", "/d/x")),
        (errno.ENOENT, lambda: disk.list_directory("/none")),
        (errno.EISDIR, lambda: disk.open("/d")),
        (errno.EEXIST, lambda: disk.make_directory("/d/f")),
    ):
        with pytest.raises(OSError) as caught:  # noqa: PT011 - the number is looked at
            attempt()
        assert caught.value.errno == number


def test_names_and_parents() -> None:
    disk = MemoryDisk()
    disk.make_directory("/a/b/c")
    disk.open("/a/b/f", create=True)
    assert disk.list_directory("/a/b/") == ["c", "f"]
    assert disk.list_directory("/") == ["a"]
    assert disk.exists("/a/b")
    assert disk.exists("/a/b/f")
    assert not disk.exists("/a/f")
    disk.make_directory("relative/path")
    assert disk.list_directory(".") == ["relative"]


def test_a_lock_has_one_holder() -> None:
    disk = make()
    lock = disk.lock("/d/lock")
    with pytest.raises(BlockingIOError):
        disk.lock("/d/lock")
    lock.close()
    disk.lock("/d/lock")
    disk.copy().lock("/d/lock")


def test_what_was_synced_survives_and_the_rest_page_by_page() -> None:
    disk = make(data=b"a" * 3 * PAGE_BYTES)
    file = disk.open("/d/f")
    file.write_at(10, b"b" * 3 * PAGE_BYTES)
    assert disk.unsynced() == [*(UnsyncedPage("/d/f", page) for page in range(4)), UnsyncedSize("/d/f")]
    assert content(disk.crash()) == b"a" * 3 * PAGE_BYTES
    one = content(disk.crash([UnsyncedPage("/d/f", 1)]))
    assert one == b"a" * PAGE_BYTES + b"b" * PAGE_BYTES + b"a" * PAGE_BYTES
    longer = content(disk.crash([UnsyncedSize("/d/f")]))
    assert longer == (b"a" * 3 * PAGE_BYTES).ljust(3 * PAGE_BYTES + 10, b"\0")
    assert content(disk.crash([UnsyncedPage("/d/f", 3)])) == b"a" * 3 * PAGE_BYTES + b"b" * 10
    assert content(disk.copy()) == content(disk)
    file.sync()
    assert disk.unsynced() == []
    assert content(disk.crash()) == content(disk)


def test_a_lost_truncation_brings_the_old_bytes_back() -> None:
    disk = make(data=b"a" * 2 * PAGE_BYTES)
    disk.open("/d/f").truncate(100)
    assert content(disk.crash()) == b"a" * 2 * PAGE_BYTES
    assert content(disk.crash(disk.unsynced())) == b"a" * 100


def test_names_survive_one_by_one() -> None:
    disk = make(data=b"old")
    disk.open("/d/new", create=True).write_at(0, b"new")
    disk.open("/d/new").sync()
    disk.rename("/d/new", "/d/f")
    create, rename = disk.unsynced()
    assert isinstance(create, UnsyncedName)
    assert isinstance(rename, UnsyncedName)
    assert (create.operation, rename.operation) == ("create", "rename")
    assert content(disk.crash()) == b"old"
    assert disk.crash([create]).list_directory("/d") == ["f", "new"]
    assert disk.crash([rename]).list_directory("/d") == ["f"]
    assert content(disk.crash([rename])) == b"new"
    disk.sync_directory("/d")
    assert disk.unsynced() == []


def test_a_removed_file_may_come_back() -> None:
    disk = make(data=b"old")
    disk.remove("/d/f")
    assert content(disk.crash()) == b"old"
    assert not disk.crash(disk.unsynced()).exists("/d/f")


def test_a_crash_leaves_the_disk_before_it_alone() -> None:
    disk = make(data=b"old")
    file = disk.open("/d/f")
    file.write_at(0, b"new")
    after = disk.crash()
    after.open("/d/f").write_at(0, b"!!!")
    assert content(disk) == b"new"


def test_the_nth_operation_fails_once() -> None:
    faults = FaultDisk(make())
    file = faults.open("/d/f")
    faults.fail("write", 2)
    file.write_at(0, b"a")
    with pytest.raises(OSError, match="Input/output"):
        file.write_at(1, b"b")
    file.write_at(2, b"c")
    assert file.read_at(0, 3) == b"a\0c"
    assert (faults.counts["write"], faults.counts["sync"]) == (3, 0)


def test_a_fault_of_any_kind_counts_every_change() -> None:
    faults = FaultDisk(make())
    faults.fail(None, 3)
    file = faults.open("/d/f")
    file.truncate(0)
    faults.sync_directory("/d")
    with pytest.raises(OSError, match="Input/output"):
        file.sync()


def test_a_stopped_disk_does_nothing_more_and_may_tear_a_write() -> None:
    disk = make()
    faults = FaultDisk(disk)
    file = faults.open("/d/f")
    faults.stop_after("write", 2, written=3)
    file.write_at(0, b"first")
    with pytest.raises(DiskStoppedError):
        file.write_at(0, b"SECOND")
    for attempt in (file.sync, file.size, lambda: faults.remove("/d/f"), lambda: faults.open("/d/f")):
        with pytest.raises(DiskStoppedError):
            attempt()
    assert content(disk) == b"SECst"


def test_planned_faults_can_be_forgotten() -> None:
    faults = FaultDisk(make())
    faults.fail("sync")
    faults.clear()
    faults.open("/d/f").sync()
