"""Snapshots of a server at work: taken under load, started from, retried, and the log cut behind them."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from etcdpb.rpc_pb2 import AlarmRequest, CompactionRequest, HashKVRequest
from rusd.mvcc import Dump
from rusd.replica import snapshotter
from rusd.replica.snapshotter import RETRY_SECONDS
from rusd.storage import WalFailedError
from rusd.testing import FaultDisk, ManualClock, MemoryDisk
from tests.support.inprocess import Etcd, running

SNAPSHOTS, LOG = "/data/member/snap", "/data/member/wal"


def snapshots(disk: MemoryDisk) -> list[str]:
    return [name for name in disk.list_directory(SNAPSHOTS) if name.endswith(".snap")]


async def write(etcd: Etcd, count: int, *, size: int = 10) -> None:
    """``count`` puts over few keys, so that the log outgrows the state."""
    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(etcd.put, b"k%d" % (number % 20), bytes(size))
    await etcd.call(
        "KV/Compact", CompactionRequest(revision=(await etcd.get(b"k")).header.revision, physical=True)
    )


async def picture(etcd: Etcd) -> object:
    everything = await etcd.get(b"\0", b"\0")
    everything.header.raft_term = 0
    hashed = await etcd.call("Maintenance/HashKV", HashKVRequest())
    return everything, hashed.hash_revision, hashed.compact_revision


async def test_a_snapshot_is_taken_under_load_and_a_restart_begins_with_it() -> None:
    disk = MemoryDisk()
    async with running(disk=disk, snapshot_count=50) as etcd:
        for _ in range(6):
            await write(etcd, 100)
            await etcd.until(lambda: bool(snapshots(disk)))
        lease = await etcd.grant(600)
        await etcd.put(b"leased", lease=lease)
        expected = await picture(etcd)
    (first, *_) = snapshots(disk)
    assert len(snapshots(disk)) <= 2
    async with running(disk=disk.crash(), snapshot_count=50) as etcd:
        assert await picture(etcd) == expected
        await etcd.pass_time(602)
        assert (await etcd.get(b"leased")).count == 0
    assert first


class SlowChunks:
    """Has ``clock`` go on with each chunk of a snapshot, and counts them."""

    def __init__(self, clock: ManualClock, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        next_chunk = Dump.next_chunk

        def slow_chunk(dump: Dump) -> bytes | None:
            self.count += 1
            clock.advance(seconds)
            return next_chunk(dump)

        monkeypatch.setattr(Dump, "next_chunk", slow_chunk)


@pytest.mark.parametrize(
    ("chunk_seconds", "rest_seconds"), [(0.004, 0.008), (3.0, snapshotter.MOST_REST_SECONDS)]
)
async def test_a_snapshot_that_is_being_written_rests_between_its_chunks(
    chunk_seconds: float, rest_seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice as long as the chunk took, but not for long because the disk was slow."""
    clock, disk = ManualClock(), MemoryDisk()
    chunks = SlowChunks(clock, chunk_seconds, monkeypatch)
    async with running(clock=clock, disk=disk, snapshot_count=50) as etcd:
        while not chunks.count:
            await etcd.put(b"k", bytes(100))
        for expected in (1, 2, 3):
            await trio.testing.wait_all_tasks_blocked()
            assert chunks.count == expected
            await etcd.put(b"meanwhile")
            await etcd.pass_time(rest_seconds - 0.0001)
            assert chunks.count == expected
            await etcd.pass_time(0.0002)
        await etcd.until(lambda: bool(snapshots(disk)))


async def test_a_snapshot_does_not_rest_while_another_one_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, disk = ManualClock(), MemoryDisk()
    chunks = SlowChunks(clock, 0.004, monkeypatch)
    async with running(clock=clock, disk=disk, snapshot_count=50) as etcd, trio.open_nursery() as nursery:
        while not chunks.count:
            await etcd.put(b"k", bytes(100))
        nursery.start_soon(etcd.server._parts._snapshotter.take)  # waits, as a received one would
        await etcd.pass_time(0.008)
        await etcd.until(lambda: bool(snapshots(disk)))
        nursery.cancel_scope.cancel()


async def test_a_small_state_that_is_written_over_is_not_written_out_too_often() -> None:
    """All snapshots together stay within a small multiple of the log."""
    disk = MemoryDisk()
    async with running(disk=disk, snapshot_count=10) as etcd:
        for number in range(40):
            await etcd.put(b"large%d" % number, bytes(50_000))
        await trio.testing.wait_all_tasks_blocked()
        seen = set(snapshots(disk))
        for number in range(100):
            await etcd.put(b"k", b"%d" % number)  # small entries: the large state is not written again
            seen |= set(snapshots(disk))
        assert len(seen) <= 3


async def test_the_log_before_the_older_of_two_snapshots_is_given_up() -> None:
    disk = MemoryDisk()
    async with running(disk=disk, snapshot_count=20) as etcd:
        kept: set[str] = set()
        for _ in range(8):
            await write(etcd, 60, size=1_000_000 // 60)
            await trio.testing.wait_all_tasks_blocked()
            kept |= set(snapshots(disk))
        await etcd.until(lambda: len(snapshots(disk)) == 2)
        assert len(kept) > 2
        assert not [name for name in disk.list_directory(SNAPSHOTS) if not name.endswith(".snap")]
    async with running(disk=disk.crash()) as etcd:
        assert (await etcd.get(b"k0")).count == 1


@pytest.mark.parametrize("operation", ["create", "rename", "sync_directory"])
async def test_a_snapshot_that_fails_harms_nothing_and_is_tried_again(operation: str) -> None:
    memory = MemoryDisk()
    disk = FaultDisk(memory)
    async with running(disk=disk, snapshot_count=50) as etcd:
        disk.fail(operation)  # type: ignore[arg-type]
        for _ in range(2):
            await write(etcd, 60)
        await etcd.until(lambda: bool(etcd.sink.events("failed to write a snapshot; will try again")))
        await etcd.put(b"k", b"after")
        if operation != "sync_directory":
            assert snapshots(memory) == []
        await etcd.pass_time(RETRY_SECONDS + 1)
        await etcd.until(lambda: bool(snapshots(memory)))
    async with running(disk=memory.crash()) as etcd:
        assert await etcd.value(b"k") == b"after"


async def test_a_snapshot_that_cannot_be_noted_in_the_log_ends_the_server() -> None:
    """The note is a write of the log like any other: after it failed nothing can be acknowledged."""
    memory = MemoryDisk()
    disk = FaultDisk(memory)
    with pytest.raises(BaseExceptionGroup) as caught:  # noqa: PT012
        async with running(disk=disk, snapshot_count=50) as etcd:
            for _ in range(45):
                await etcd.put(b"k", bytes(100))
            finish = disk.rename

            def fail_after_rename(source: str, target: str) -> None:
                finish(source, target)
                disk.fail("sync")

            disk.rename = fail_after_rename  # type: ignore[method-assign]
            while True:
                await etcd.call("Maintenance/Alarm", AlarmRequest())
                await trio.lowlevel.checkpoint()
    assert caught.value.split(WalFailedError)[1] is None
    async with running(disk=memory.crash()) as etcd:
        assert (await etcd.get(b"k")).kvs[0].version == 45


async def test_a_crash_at_any_write_of_the_first_start_leaves_no_half_member() -> None:
    """The first files of a member: whatever power cut there is, the next start founds or finds it."""
    for nth in range(1, 40):
        memory = MemoryDisk()
        disk = FaultDisk(memory)
        disk.stop_after(None, nth)
        try:
            async with running(disk=disk) as etcd:
                await etcd.put(b"k", b"v")
            finished = True
        except BaseException:
            finished = False
        for after in (memory.crash(), memory.copy()):
            async with running(disk=after) as etcd:
                await etcd.put(b"k", b"again")
                assert await etcd.value(b"k") == b"again"
        if finished:
            assert nth > 5
            return
    raise AssertionError("the first start takes more writes than this test tries")


async def test_with_the_default_count_a_few_log_bytes_make_no_snapshot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(snapshotter, "DEFAULT_SNAPSHOT_COUNT", 20)
    disk = MemoryDisk()
    async with running(disk=disk, snapshot_count=20) as etcd:
        for number in range(60):
            await etcd.put(b"k", b"%d" % number)
        await trio.testing.wait_all_tasks_blocked()
        assert not snapshots(disk)
    monkeypatch.setattr(snapshotter, "FEW_LOG_BYTES", 20_000)
    async with running(disk=disk, snapshot_count=20) as etcd:
        await etcd.put(b"k", b"last")
        await etcd.until(lambda: bool(snapshots(disk)))
