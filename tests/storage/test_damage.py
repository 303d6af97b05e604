"""A log cut at every byte, and flipped at every byte: torn tails are dropped, damage is refused."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import pytest

from rusd.raft.messages import Entry, EntryType, HardState
from rusd.storage import CorruptionError, FormatError, SnapshotMarker, wal
from rusd.storage.batch import CONTINUATION, END, MAGIC, SECTOR_BYTES, encode_batch, read_header
from rusd.storage.record import encode_payload
from rusd.testing.disk import MemoryDisk

DIRECTORY = "/wal"
LIMIT = 8 * SECTOR_BYTES

Row = tuple[int, bytes]


@attrs.frozen
class Log:
    """Segment files as bytes, and what stands in the last of them."""

    files: dict[str, bytes]
    rows: list[Row]  # of the whole log
    batch_ends: list[tuple[int, int]]  # in the last segment: (offset, rows so far)

    @property
    def last(self) -> str:
        return max(self.files)


def make_log(tail: list[list[bytes]], fill: int = 0) -> Log:
    """Three segments with runs of zeros and large entries; ``tail`` are the last segment's batches.

    ``fill`` zeros are written ahead of the tail of each segment, as for later use.
    """
    disk = MemoryDisk()
    log = wal.create(disk, DIRECTORY, b"identity", segment_bytes=LIMIT)
    rows: list[Row] = []
    ends: list[tuple[int, int]] = []

    def save(items: list[bytes]) -> None:
        first = len(rows) + 1
        log.write(
            HardState(1, 1, len(rows)),
            [Entry(1, first + i, EntryType.NORMAL, d) for i, d in enumerate(items)],
        )
        log.sync()
        rows.extend((first + i, item) for i, item in enumerate(items))

    save([b"a", b"", bytes(100)])
    save([bytes(1500)])
    log.mark_snapshot(SnapshotMarker(2, 1))
    log.sync()
    while len(disk.list_directory(DIRECTORY)) < 3:
        save([b"x" * 300 + bytes(500), b"y"])
    path = f"{DIRECTORY}/{disk.list_directory(DIRECTORY)[-1]}"
    file = disk.open(path)
    ends.append((file.size(), len(rows)))
    for items in tail:
        save(items)
        ends.append((file.size(), len(rows)))
    files = {}
    for name in disk.list_directory(DIRECTORY):
        opened = disk.open(f"{DIRECTORY}/{name}")
        files[name] = opened.read_at(0, opened.size()) + bytes(fill)
    assert len(files) == 3
    return Log(files, rows, ends)


LOGS = {
    "small": make_log([[b"one"], [b"two", b"three"]]),
    "zeros": make_log([[bytes(1200)]], fill=SECTOR_BYTES),
    "stamps": make_log([[END * 600]]),
    "exact": make_log([[bytes(483 - 37 - 13)], [b"z" * (483 - 37 - 13)]]),
}


def recover(log: Log, name: str, data: bytes) -> list[Row]:
    """Open ``log`` with the file ``name`` replaced; twice, as a restart changes nothing for the next."""
    disk = disk_with(log.files | {name: data})
    found = []
    for _ in range(2):
        opened, recovered = wal.open(disk, DIRECTORY, is_usable=lambda marker: False, segment_bytes=LIMIT)
        opened.close()
        found.append([(entry.index, entry.data) for entry in recovered.entries])
    assert found[0] == found[1]
    return found[0]


def refuses(log: Log, name: str, data: bytes) -> bool:
    try:
        recover(log, name, data)
    except (CorruptionError, FormatError):
        return True
    return False


def refuses_byte(log: Log, disk: MemoryDisk, name: str, at: int, value: int) -> bool:
    """Whether one changed byte is refused; ``disk`` holds ``log``, and keeps it then."""
    file = disk.open(f"{DIRECTORY}/{name}")
    file.write_at(at, bytes((value,)))
    try:
        wal.open(disk, DIRECTORY, is_usable=lambda marker: False, segment_bytes=LIMIT)
    except (CorruptionError, FormatError):
        file.write_at(at, log.files[name][at : at + 1])
        return True
    return False


def disk_with(files: dict[str, bytes]) -> MemoryDisk:
    disk = MemoryDisk()
    disk.make_directory(DIRECTORY)
    for name, content in files.items():
        disk.open(f"{DIRECTORY}/{name}", create=True).write_at(0, content)
    return disk


@pytest.mark.parametrize("kind", LOGS)
def test_a_cut_at_any_byte_of_the_last_segment_keeps_every_whole_batch(kind: str) -> None:
    log = LOGS[kind]
    data = log.files[log.last]
    opening_end = log.batch_ends[0][0]
    # A batch is whole without its last byte; padding before that is zeros, written or not.
    needed = {opening_end: log.batch_ends[0][1]}
    needed |= {len(data[: end - 1].rstrip(b"\0")): count for end, count in log.batch_ends[1:]}
    for cut in range(opening_end, len(data)):
        whole = max(count for bytes_needed, count in needed.items() if bytes_needed <= cut)
        for torn in (data[:cut], data[:cut].ljust(len(data), b"\0")):
            assert recover(log, log.last, torn) == log.rows[:whole], f"cut at {cut}"


@pytest.mark.parametrize("kind", ["small"])
def test_a_cut_where_the_log_goes_on_is_refused(kind: str) -> None:
    log = LOGS[kind]
    for name, data in log.files.items():
        used = len(data.rstrip(b"\0")) if name != log.last else SECTOR_BYTES
        for cut in range(used):
            assert refuses(log, name, data[:cut]), f"{name} cut at {cut}"


@pytest.mark.parametrize("kind", LOGS)
def test_a_flip_at_any_byte_is_refused(kind: str) -> None:
    log = LOGS[kind]
    disk = disk_with(log.files)
    for name, data in log.files.items():
        for at, byte in enumerate(data):
            for mask in (0xFF, 1 << at % 8):
                assert refuses_byte(log, disk, name, at, byte ^ mask), f"{name}: flip at {at}"


@pytest.mark.parametrize("kind", LOGS)
def test_a_byte_set_to_zero_or_to_a_stamp_never_loses_an_entry(kind: str) -> None:
    """A byte that turns zero may look unwritten: then nothing that was acknowledged may go with it."""
    log = LOGS[kind]
    name, data = log.last, log.files[log.last]
    disk = disk_with(log.files)
    for at in range(len(data)):
        for value in (0, MAGIC[0], CONTINUATION[0], END[0]):
            if at % SECTOR_BYTES not in {0, SECTOR_BYTES - 1} and value:
                continue
            if not refuses_byte(log, disk, name, at, value):
                changed = data[:at] + bytes((value,)) + data[at + 1 :]
                assert recover(log, name, changed) == log.rows, f"{value} at {at}"
                disk = disk_with(log.files)


@pytest.mark.parametrize("kind", LOGS)
def test_a_sector_that_became_zero_before_a_later_batch_is_refused(kind: str) -> None:
    log = LOGS[kind]
    for name, data in log.files.items():
        end = len(data) if name != log.last else log.batch_ends[-2][0]
        for at in range(0, end, SECTOR_BYTES):
            if any(data[at : at + SECTOR_BYTES]):
                gone = data[:at] + bytes(SECTOR_BYTES) + data[at + SECTOR_BYTES :]
                assert refuses(log, name, gone), f"{name}: sector at {at}"


def swap(data: bytes) -> bytes:
    return (
        data[:SECTOR_BYTES]
        + data[2 * SECTOR_BYTES : 3 * SECTOR_BYTES]
        + data[SECTOR_BYTES : 2 * SECTOR_BYTES]
    )


def repeat_last(data: bytes) -> bytes:
    return data + data[-SECTOR_BYTES:]


def foreign_bytes_behind(data: bytes) -> bytes:
    return data + b"\0" * SECTOR_BYTES + b"hello".ljust(SECTOR_BYTES, b"\0")


def foreign_bytes_behind_a_torn_batch(data: bytes) -> bytes:
    """A torn batch explains sectors of its own, none behind its end."""
    torn = data[:-1].rstrip(b"\0")[:-1]
    return torn.ljust(len(data), b"\0") + CONTINUATION * SECTOR_BYTES


@pytest.mark.parametrize(
    "change", [swap, repeat_last, foreign_bytes_behind, foreign_bytes_behind_a_torn_batch]
)
def test_sectors_in_the_wrong_place_are_refused(change: Callable[[bytes], bytes]) -> None:
    log = LOGS["small"]
    with pytest.raises(CorruptionError):
        recover(log, log.last, change(log.files[log.last]))


def test_a_refusal_names_file_offset_and_remedy_and_changes_nothing() -> None:
    log = LOGS["small"]
    data = log.files[log.last]
    at = log.batch_ends[0][0]
    disk = disk_with(log.files)
    path = f"{DIRECTORY}/{log.last}"
    disk.open(path).write_at(at + 60, b"\xff")
    disk.open(f"{DIRECTORY}/next.tmp", create=True)
    with pytest.raises(
        CorruptionError, match=f"{log.last}: offset {at}: .* nothing was changed; restore"
    ) as caught:
        wal.open(disk, DIRECTORY, segment_bytes=LIMIT)
    assert (caught.value.path, caught.value.offset) == (path, at)
    assert disk.open(path).read_at(0, 1 << 20) == data[: at + 60] + b"\xff" + data[at + 61 :]
    assert disk.exists(f"{DIRECTORY}/next.tmp")


def test_a_batch_with_a_good_checksum_that_is_too_short_to_say_anything_is_refused() -> None:
    disk = MemoryDisk()
    wal.create(disk, DIRECTORY, b"identity").close()
    path = f"{DIRECTORY}/{disk.list_directory(DIRECTORY)[0]}"
    file = disk.open(path)
    header = read_header(file.read_at(0, file.size()))
    assert header is not None
    number, checksum, offset, empty_at = header.number, header.checksum, header.size, 0
    rows = [Entry(1, index, EntryType.NORMAL, b"x") for index in (1, 2)]
    for payload in (encode_payload(HardState(), rows[:1]), b"", encode_payload(HardState(), rows[1:])):
        number += 1
        batch, checksum = encode_batch(number, checksum, payload)
        file.write_at(offset, batch)
        empty_at = empty_at if payload else offset
        offset += len(batch)
    with pytest.raises(CorruptionError, match="unreadable batch") as caught:
        wal.open(disk, DIRECTORY)
    assert caught.value.offset == empty_at


def test_a_marker_beyond_the_end_of_the_log_is_refused() -> None:
    disk = MemoryDisk()
    wal.create(disk, DIRECTORY, b"identity").close()
    path = f"{DIRECTORY}/{disk.list_directory(DIRECTORY)[0]}"
    file = disk.open(path)
    header = read_header(file.read_at(0, file.size()))
    assert header is not None
    payload = encode_payload(HardState(), (), marker=SnapshotMarker(5, 1))
    file.write_at(header.size, encode_batch(header.number + 1, header.checksum, payload)[0])
    with pytest.raises(CorruptionError, match="beyond the end of the log"):
        wal.open(disk, DIRECTORY)
