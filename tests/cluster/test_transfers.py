"""Snapshots between members: who fell behind catches up while writes go on, whatever breaks on the way."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock

from etcdpb import rpc_pb2, rusd_pb2
from rusd.raft import Message
from rusd.replica import PeerError
from rusd.state import Kind
from rusd.storage.snapshot import SnapshotName
from tests.cluster.member import LOG_ENTRIES
from tests.cluster.network import MemoryPeers
from tests.cluster.together import Together, together, until


async def write(cluster: Together, count: int, *, at: int, first: int = 0) -> None:
    for number in range(first, first + count):
        await cluster.put(at, b"k%d" % (number % 50), b"%d" % number)


async def left_behind(cluster: Together) -> tuple[int, int]:
    """A leader, and a member that was down for more than the leader's log remembers."""
    leader = await cluster.leader()
    gone = next(me for me in cluster.members if me != leader)
    await cluster.members[gone].crash(None)
    node = cluster.replica(leader).core.node
    await until(lambda: not (node.progress[gone].active or node.progress[gone].lately))
    await write(cluster, 4 * LOG_ENTRIES, at=leader)
    return leader, gone


async def test_who_was_away_for_long_catches_up_while_writes_go_on(
    autojump_clock: MockClock,
) -> None:
    async with together() as cluster:
        leader, gone = await left_behind(cluster)
        await cluster.replica(leader).propose_and_wait(
            Kind.LEASE_GRANT, rpc_pb2.LeaseGrantRequest(ID=5, TTL=100)
        )
        leased = rpc_pb2.PutRequest(key=b"leased", lease=5)
        await cluster.replica(leader).propose_and_wait(Kind.PUT, leased)
        async with trio.open_nursery() as nursery:
            await cluster.start(gone)
            nursery.start_soon(lambda: write(cluster, 3 * LOG_ENTRIES, at=leader, first=1000))
        await cluster.equal()
        assert cluster.members[gone].installed == 1
        machine = cluster.members[gone].machine
        assert machine.leases.keys(5) == [b"leased"]
        assert await cluster.put(gone, b"k") == machine.store.current_revision
        # It may be the one that others are sent a snapshot by, and find its own again.
        await cluster.members[gone].crash(0.0)
        await cluster.start(gone)
        await cluster.equal()
        assert cluster.members[gone].installed == 1


async def test_the_log_in_memory_is_bounded_while_a_member_is_away(autojump_clock: MockClock) -> None:
    async with together() as cluster:
        _, _ = await left_behind(cluster)
        for me, member in cluster.members.items():
            if member.is_up:
                assert cluster.replica(me).core.node.log.entries_held <= LOG_ENTRIES + 1


async def test_a_member_that_joins_a_cluster_with_history_gets_a_snapshot(autojump_clock: MockClock) -> None:
    async with together(1) as cluster:
        await cluster.replica(1).campaign()
        await write(cluster, 5 * LOG_ENTRIES, at=1)
        await cluster.join(2)
        await cluster.equal()
        assert cluster.members[2].installed == 1
        assert not cluster.replica(2).removed.is_set()


async def test_a_transfer_that_breaks_is_begun_again(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    broken = 0
    send_snapshot = MemoryPeers.send_snapshot

    async def breaks(
        self: MemoryPeers, message: Message, header: bytes, chunks: AsyncIterator[bytes]
    ) -> None:
        nonlocal broken
        broken += 1
        if broken < 4:
            chunks = _Broken(chunks, broken)
        await send_snapshot(self, message, header, chunks)

    monkeypatch.setattr(MemoryPeers, "send_snapshot", breaks)
    async with together() as cluster:
        leader, gone = await left_behind(cluster)
        await cluster.start(gone)
        await cluster.equal()
        assert broken == 4
        assert cluster.members[gone].installed == 1
        assert len(cluster.members[leader].sink.events("failed to send a snapshot")) == 3


async def test_a_snapshot_that_is_damaged_on_the_leaders_disk_is_made_anew(autojump_clock: MockClock) -> None:
    async with together() as cluster:
        leader, gone = await left_behind(cluster)
        member = cluster.members[leader]
        transfers = cluster.replica(leader)._transfers
        assert transfers is not None
        await transfers._snapshotter.take()
        newest = transfers._snapshotter._newest
        assert newest is not None
        file = member.disk.open(f"/data/member/snap/{newest.name}")
        file.write_at(file.size() // 2, b"\xff\x00\xff\x00")
        await cluster.start(gone)
        await cluster.equal()
        assert cluster.members[gone].installed == 1
        assert member.sink.events("failed to send a snapshot")


class _Broken:
    """Chunks of which some are left out, altered or doubled."""

    def __init__(self, chunks: AsyncIterator[bytes], kind: int) -> None:
        self._chunks = chunks
        self._kind = kind
        self._count = 0

    def __aiter__(self) -> _Broken:
        return self

    async def __anext__(self) -> bytes:
        chunk = await anext(self._chunks)
        self._count += 1
        if self._kind == 1 and self._count == 2:
            raise StopAsyncIteration
        if self._kind == 2 and self._count == 2:
            return chunk[:-1]
        if self._kind == 3 and self._count == 2:
            return chunk + chunk
        return chunk


async def test_a_snapshot_that_nobody_needs_or_that_lies_is_refused(autojump_clock: MockClock) -> None:
    async with together() as cluster:
        leader, gone = await left_behind(cluster)
        taken: list[tuple[Message, bytes, list[bytes]]] = []

        class Thief(MemoryPeers):
            async def send_snapshot(
                self, message: Message, header: bytes, chunks: AsyncIterator[bytes]
            ) -> None:
                taken.append((message, header, [chunk async for chunk in chunks]))
                raise PeerError("stolen")

        cluster.replica(leader).connect(peers=None)
        transfers = cluster.replica(leader)._transfers
        assert transfers is not None
        peers = transfers._peers
        transfers._peers = Thief(cluster.network, leader)
        await cluster.start(gone)
        await until(lambda: bool(taken))
        message, header, chunks = taken[0]
        snapshot = message.snapshot
        assert snapshot is not None
        replica = cluster.replica(gone)
        before = replica.core.applied_index
        for wrong_message, wrong_header in (
            (_evolve(message, index=snapshot.index + 1), header),
            (_evolve(message, term=snapshot.term + 1), header),
            (message, header + b"\xff"),
            (message, b""),
        ):
            with pytest.raises(PeerError):
                await replica.receive_snapshot(wrong_message, wrong_header, _each(chunks))
        future = rusd_pb2.SnapshotHeader.FromString(header)
        future.term = message.term + 1
        with pytest.raises(PeerError, match="could be installed"):
            await replica.receive_snapshot(
                _evolve(message, term=future.term), future.SerializeToString(), _each(chunks)
            )
        assert replica.core.applied_index == before
        names = cluster.members[gone].files("/data/member/snap")
        assert SnapshotName(snapshot.index, snapshot.term).name not in names
        assert not [name for name in names if not name.endswith(".snap")]
        await replica.receive_snapshot(message, header, _each(chunks))
        assert replica.core.applied_index >= snapshot.index
        with pytest.raises(PeerError, match="no need"):
            await replica.receive_snapshot(message, header, _each(chunks))
        transfers._peers = peers
        await cluster.equal()


def _evolve(message: Message, **fields: int) -> Message:
    import attrs

    return attrs.evolve(message, snapshot=attrs.evolve(message.snapshot, **fields))


class _each:  # noqa: N801 - a function in all but its kind
    def __init__(self, chunks: list[bytes]) -> None:
        self._chunks = iter(chunks)

    def __aiter__(self) -> _each:
        return self

    async def __anext__(self) -> bytes:
        await trio.lowlevel.checkpoint()
        try:
            return next(self._chunks)
        except StopIteration:
            raise StopAsyncIteration from None


async def test_a_crash_at_any_point_of_an_installation_harms_nothing(
    autojump_clock: MockClock,
) -> None:
    for operations in range(1, 60, 5):
        async with together() as cluster:
            _, gone = await left_behind(cluster)
            member = cluster.members[gone]
            member.stop_disk_after(operations)
            await cluster.start_or_die(gone)
            await trio.sleep(5.0)
            if member.is_up:
                await member.crash(0.5)
            await until(lambda member=member: not member.is_up)  # type: ignore[misc]
            await cluster.start(gone)
            await cluster.equal()
