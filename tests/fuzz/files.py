"""Target: what a restart reads: write-ahead log and snapshot files of any content.

The input changes the files of a good member, or replaces parts of them by batches and chunks whose checksums
are right but whose content is anything.  Asserted: the log opens or is refused with a
:class:`~rusd.storage.StorageError`, and then no file has changed; a log that opens goes on, and says the same
when it is opened again; damage that a checksum can see is never taken for data.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from google.protobuf.message import DecodeError

from etcdpb import rpc_pb2
from rusd.mvcc import SnapshotFormatError
from rusd.raft.messages import Configuration, Entry, EntryType, HardState
from rusd.state import Kind, StateMachine
from rusd.state import snapshot as state_snapshot
from rusd.storage import SnapshotMarker, StorageError, wal
from rusd.storage.batch import SECTOR_BYTES, encode_batch, read_header
from rusd.storage.recovery import scan
from rusd.storage.snapshot import SnapshotName, SnapshotReader, SnapshotWriter
from rusd.testing.disk import MemoryDisk
from tests.fuzz.etcd import Etcd
from tests.fuzz.log import MEMBER
from tests.fuzz.source import Source

DIRECTORY: Final = "/member"
SEGMENT: Final = 8 * SECTOR_BYTES
SNAPSHOT: Final = SnapshotName(index=9, term=2)

Files = dict[str, bytes]


# -- the log ------------------------------------------------------------------------------------


@cache
def good_log() -> Files:
    """Three segments with a marker, small and large batches, and zeros behind the last one."""
    disk = MemoryDisk()
    log = wal.create(disk, DIRECTORY, b"identity", segment_bytes=SEGMENT)
    for round_ in range(7):
        first = log.last_index + 1
        entries = [
            Entry(1, first + i, EntryType.NORMAL, bytes((round_,)) * size) for i, size in enumerate((3, 700))
        ]
        log.write(HardState(1, MEMBER, first - 1), entries)
        log.sync()
        if round_ == 2:
            log.mark_snapshot(SnapshotMarker(4, 1, Configuration(frozenset((MEMBER,)))))
            log.sync()
    files = read_all(disk)
    last = max(files)
    files[last] += bytes(2 * SECTOR_BYTES)
    return files


def read_all(disk: MemoryDisk) -> Files:
    found = {}
    for name in disk.list_directory(DIRECTORY):
        file = disk.open(f"{DIRECTORY}/{name}")
        found[name] = file.read_at(0, file.size())
    return found


def make_disk(files: Files) -> MemoryDisk:
    disk = MemoryDisk()
    disk.make_directory(DIRECTORY)
    for name, content in files.items():
        file = disk.open(f"{DIRECTORY}/{name}", create=True)
        file.write_at(0, content)
        file.sync()
    disk.sync_directory(DIRECTORY)
    return disk


def damaged_log(source: Source) -> Files:
    files = dict(good_log())
    while source.more and files:
        op = source.byte()
        name = sorted(files)[source.byte() % len(files)]
        content = bytearray(files[name])
        at = source.short() % (len(content) + 1)
        match op & 7:
            case 0 if content:
                content[at % len(content)] ^= source.byte()
            case 1:
                del content[at:]
            case 2:
                sector = at // SECTOR_BYTES * SECTOR_BYTES
                content[sector : sector + SECTOR_BYTES] = bytes(SECTOR_BYTES)
            case 3:
                content[at:at] = source.chunk()
            case 4:
                del files[name]
                continue
            case 5:
                content[at : at + 255] = source.chunk()
            case 6 | 7:
                content = bytearray(with_batch(bytes(content), source))
        files[name] = bytes(content)
    return files


def with_batch(content: bytes, source: Source) -> bytes:
    """One batch of the segment, and all after it, replaced by one with any payload and good checksums."""
    offset, number, previous = 0, 1, 0
    for _ in range(source.byte() % 8):
        header = read_header(content, offset)
        if header is None:
            break
        offset, number, previous = offset + header.size, header.number + 1, header.checksum
    header = read_header(content, offset)
    if offset == 0 and header is not None:
        number, previous = header.number, header.previous
    payload = bytearray(source.chunk())
    if header is not None and source.flag():  # what stood there, changed in one place
        start = offset + 28
        payload = bytearray(content[start : start + min(header.length, 483)])
        if payload:
            payload[source.byte() % len(payload)] = source.byte()
    batch, _ = encode_batch(number, previous, bytes(payload))
    return content[:offset] + batch + bytes(SECTOR_BYTES)


def open_log(source: Source) -> None:
    files = damaged_log(source)
    disk = make_disk(files)
    try:
        scan(disk, DIRECTORY)
    except StorageError:
        try:
            wal.open(disk, DIRECTORY, segment_bytes=SEGMENT)
        except StorageError:
            pass
        else:
            raise AssertionError("opened, though its scan fails") from None
        assert read_all(disk) == files, "refused, and yet something was changed"
        return
    try:
        log, recovered = wal.open(disk, DIRECTORY, segment_bytes=SEGMENT)
    except StorageError:  # no snapshot, or entries whose checksum is right and that are none
        return
    first = recovered.marker.index + 1 if recovered.marker else 1
    assert [entry.index for entry in recovered.entries] == list(range(first, first + len(recovered.entries)))
    log.write(HardState(9, 9, 0), [Entry(9, log.last_index + 1, EntryType.NORMAL, b"new")])
    log.sync()
    log.close()
    again, restarted = wal.open(disk.crash(), DIRECTORY, segment_bytes=SEGMENT)
    again.close()
    assert list(restarted.entries[:-1]) == list(recovered.entries)
    assert restarted.entries[-1].data == b"new"
    assert restarted.identity == recovered.identity


# -- snapshots ------------------------------------------------------------------------------------


@cache
def good_snapshot() -> tuple[bytes, list[bytes], bytes]:
    """Header, chunks, and the file they make."""
    etcd = Etcd()
    for lease in (1, 2):
        etcd.log.propose(Kind.LEASE_GRANT, rpc_pb2.LeaseGrantRequest(ID=lease, TTL=60), lambda *_: None)
    for number in range(6):
        put = rpc_pb2.PutRequest(key=b"k%d" % (number % 4), value=b"v", lease=number % 3)
        etcd.log.propose(Kind.PUT, put, lambda *_: None)
    etcd.log.propose(Kind.DELETE_RANGE, rpc_pb2.DeleteRangeRequest(key=b"k1"), lambda *_: None)
    etcd.log.propose(Kind.COMPACT, rpc_pb2.CompactionRequest(revision=4), lambda *_: None)
    etcd.settle()
    cut = state_snapshot.cut(etcd.machine, SNAPSHOT.index, SNAPSHOT.term, [MEMBER], [])
    chunks = []
    while (chunk := cut.dump.next_chunk(2)) is not None:
        chunks.append(chunk)
    return cut.header, chunks, write_snapshot(cut.header, chunks)[SNAPSHOT.name]


def write_snapshot(header: bytes, chunks: list[bytes]) -> Files:
    disk = make_disk({})
    writer = SnapshotWriter(disk, DIRECTORY, SNAPSHOT, header)
    for chunk in chunks:
        writer.write(chunk)
    writer.finish()
    return read_all(disk)


def read_snapshot(content: bytes) -> tuple[bytes, list[bytes]]:
    reader = SnapshotReader(make_disk({SNAPSHOT.name: content}), DIRECTORY, SNAPSHOT)
    return reader.header, list(reader.chunks())


def damaged_snapshot(source: Source) -> None:
    """A file changed anywhere is refused."""
    header, chunks, good = good_snapshot()
    content = bytearray(good)
    while source.more:
        op, at = source.byte(), source.short() % (len(content) + 1)
        match op & 3:
            case 0 if content:
                content[at % len(content)] ^= source.byte()
            case 1:
                del content[at:]
            case 2:
                content[at:at] = source.chunk()
            case 3:
                content[at : at + 200] = source.chunk()
    try:
        found = read_snapshot(bytes(content))
    except StorageError:
        return
    assert bytes(content) == good, "a change that went unnoticed"
    assert found == (header, chunks)


def strange_snapshot(source: Source) -> None:
    """A file that is whole, and says anything, is loaded or refused."""
    header, good_chunks, _ = good_snapshot()
    chunks = list(good_chunks)
    while source.more:
        op = source.byte()
        number = source.byte() % (len(chunks) + 1)
        if number == len(chunks):
            changed = bytearray(header)
        else:
            changed = bytearray(chunks[number])
        at = source.short() % (len(changed) + 1)
        match op & 3:
            case 0 if changed:
                changed[at % len(changed)] = source.byte()
            case 1:
                del changed[at : at + 1 + source.byte() % 8]
            case 2:
                changed[at:at] = source.chunk()
            case 3 if number < len(chunks) - 1:
                chunks[number], chunks[number + 1] = chunks[number + 1], chunks[number]
                continue
        if number == len(chunks):
            header = bytes(changed)
        elif changed:
            chunks[number] = bytes(changed)
    again = read_snapshot(write_snapshot(header, chunks)[SNAPSHOT.name])
    assert again == (header, chunks)
    machine = StateMachine()
    try:
        state_snapshot.load(machine, header, chunks)
    except (SnapshotFormatError, DecodeError):  # what a member at its start turns into a StorageError
        return
    machine.store.range(b"\0", b"\0")


def target(data: bytes) -> None:
    """Raises whatever should not have come out of recovery, and :class:`AssertionError`."""
    source = Source(data)
    (open_log, damaged_snapshot, strange_snapshot)[source.byte() % 3](source)
