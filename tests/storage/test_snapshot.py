"""Snapshot files: round trips, damage at every byte, crashes at every step."""

from __future__ import annotations

import contextlib

import google_crc32c
import pytest

from rusd.storage import CorruptionError, FormatError, SnapshotName, SnapshotReader, SnapshotWriter
from rusd.storage.snapshot import CHUNK_BYTES, list_snapshots
from rusd.testing.disk import DiskStoppedError, FaultDisk, MemoryDisk

DIRECTORY = "/snap"
NAME = SnapshotName(index=300, term=7)


def new_disk() -> MemoryDisk:
    disk = MemoryDisk()
    disk.make_directory(DIRECTORY)
    return disk


def write(disk: MemoryDisk | FaultDisk, chunks: list[bytes], header: bytes = b"header") -> SnapshotWriter:
    writer = SnapshotWriter(disk, DIRECTORY, NAME, header)
    for chunk in chunks:
        writer.write(chunk)
    writer.finish()
    return writer


def read(disk: MemoryDisk, name: SnapshotName = NAME) -> tuple[bytes, list[bytes]]:
    with contextlib.closing(SnapshotReader(disk, DIRECTORY, name)) as reader:
        return reader.header, list(reader.chunks())


@pytest.mark.parametrize(
    "chunks",
    [[], [b"a"], [b"a", b"bc", bytes(1000)], [bytes(CHUNK_BYTES)] * 3, [b"x" * (3 * CHUNK_BYTES), b"y"]],
    ids=["empty", "one", "few", "full", "large"],
)
def test_chunks_come_back_as_they_were_written(chunks: list[bytes]) -> None:
    disk = new_disk()
    writer = write(disk, chunks)
    assert writer.bytes_written == sum(map(len, chunks))
    after = disk.crash()
    assert after.list_directory(DIRECTORY) == ["0000000000000007-000000000000012c.snap"]
    assert read(after) == (b"header", chunks)
    assert list_snapshots(after, DIRECTORY) == [NAME]


def test_syncing_on_the_way_changes_nothing() -> None:
    disk = new_disk()
    writer = SnapshotWriter(disk, DIRECTORY, NAME)
    for chunk in (b"a", b"b", b"c"):
        writer.write(chunk)
        writer.sync()
    writer.finish()
    assert read(disk) == (b"", [b"a", b"b", b"c"])


@pytest.mark.parametrize("mask", [0xFF, 0x01, 0x80])
def test_a_flip_at_any_byte_is_refused(mask: int) -> None:
    disk = new_disk()
    path = write(disk, [b"a" * 50, bytes(50), b"c"]).path
    file = disk.open(path)
    data = file.read_at(0, file.size())
    for at in range(len(data)):
        file.write_at(at, bytes((data[at] ^ mask,)))
        with pytest.raises((CorruptionError, FormatError)) as caught:
            read(disk)
        assert path in str(caught.value)
        file.write_at(at, data[at : at + 1])
    assert read(disk) == (b"header", [b"a" * 50, bytes(50), b"c"])


def test_a_cut_at_any_byte_is_refused_and_so_is_more() -> None:
    disk = new_disk()
    file = disk.open(write(disk, [b"a" * 50, bytes(50)]).path)
    data = file.read_at(0, file.size())
    for cut in range(len(data)):
        file.truncate(cut)
        with pytest.raises(CorruptionError):
            read(disk)
        file.write_at(0, data)
    file.write_at(len(data), b"\0")
    with pytest.raises(CorruptionError, match="behind the footer"):
        read(disk)


def test_a_lost_doubled_or_moved_chunk_is_refused() -> None:
    chunks = [b"a" * 20, b"b" * 20, b"c" * 20]
    disk = new_disk()
    file = disk.open(write(disk, chunks, header=b"").path)
    data = file.read_at(0, file.size())
    start, size = 36, 28
    a, b, c = (data[start + i * size : start + (i + 1) * size] for i in range(3))
    assert data == data[:start] + a + b + c + data[start + 3 * size :]
    for body in (a + c, a + b, b + c, a + a + b + c, b + a + c):
        file.truncate(0)
        file.write_at(0, data[:start] + body + data[start + 3 * size :])
        with pytest.raises(CorruptionError):
            read(disk)


def test_a_file_under_anothers_name_is_refused() -> None:
    disk = new_disk()
    other = SnapshotName(index=301, term=7)
    disk.rename(write(disk, [b"a"]).path, f"{DIRECTORY}/{other.name}")
    with pytest.raises(CorruptionError, match="another's name"):
        read(disk, other)


def test_other_versions_are_refused_by_number() -> None:
    disk = new_disk()
    file = disk.open(write(disk, [], header=b"").path)
    start = file.read_at(0, 8) + (2).to_bytes(4, "little") + file.read_at(12, 20)
    file.write_at(0, start + google_crc32c.value(start).to_bytes(4, "little"))
    with pytest.raises(FormatError, match="version 2; this rusd reads version 1"):
        read(disk)


def test_empty_chunks_are_refused() -> None:
    writer = SnapshotWriter(new_disk(), DIRECTORY, NAME)
    with pytest.raises(ValueError, match="0 bytes"):
        writer.write(b"")


def test_a_crash_at_any_step_leaves_no_file_or_a_whole_one() -> None:
    chunks = [b"a" * CHUNK_BYTES, b"b" * 700]
    stop, is_done = 0, False
    while not is_done:
        stop += 1
        disk = new_disk()
        faults = FaultDisk(disk)
        faults.stop_after(None, stop, written=600)
        with contextlib.suppress(DiskStoppedError):
            write(faults, chunks)
        is_done = not faults.is_stopped
        items = disk.unsynced()
        for kept in ([], items, items[:1], items[:2], items[1:], items[::2], items[1::2]):
            after = disk.crash(kept)
            for name in list_snapshots(after, DIRECTORY):
                assert read(after, name) == (b"header", chunks)
    assert stop > 5


def test_a_failed_snapshot_is_given_up_and_tried_again() -> None:
    disk = new_disk()
    for operation in ("create", "write", "sync", "rename", "sync_directory"):
        faults = FaultDisk(disk)
        faults.fail(operation)
        with pytest.raises(OSError, match="Input/output"):
            write_or_give_up(faults)
        assert not [name for name in disk.list_directory(DIRECTORY) if name.endswith(".tmp")]
        write(disk, [b"again"])
        assert read(disk)[1] == [b"again"]


def write_or_give_up(disk: FaultDisk) -> None:
    writer = SnapshotWriter(disk, DIRECTORY, NAME)
    try:
        writer.write(b"a")
        writer.finish()
    finally:
        writer.abort()


def test_giving_up_removes_the_file_and_is_harmless_after_the_end() -> None:
    disk = new_disk()
    writer = SnapshotWriter(disk, DIRECTORY, NAME)
    writer.write(b"a" * CHUNK_BYTES)
    writer.abort()
    assert disk.list_directory(DIRECTORY) == []
    with pytest.raises(ValueError, match="given up"):
        writer.finish()
    write(disk, [b"b"]).abort()
    assert read(disk)[1] == [b"b"]
