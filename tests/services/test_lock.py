"""The Lock service: who waits, who is next, and what is left behind."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from etcdpb.rpc_pb2 import LeaseRevokeRequest, LeaseTimeToLiveRequest
from etcdpb.v3lock_pb2 import LockRequest, UnlockRequest
from rusd.grpc import Code, StatusError
from rusd.storage import WalFailedError
from rusd.testing import FaultDisk, MemoryDisk
from tests.support.inprocess import Etcd, running

PREFIX = b"name/"


class Waiter:
    """A task that waits for the lock; ``key`` is set once it has it."""

    def __init__(self, etcd: Etcd, lease: int) -> None:
        self.etcd = etcd
        self.lease = lease
        self.key: bytes | None = None
        self.error: StatusError | None = None
        self.scope = trio.CancelScope()

    async def run(self) -> None:
        with self.scope:
            try:
                answer = await self.etcd.call("Lock/Lock", LockRequest(name=b"name", lease=self.lease))
                self.key = answer.key
            except StatusError as error:
                self.error = error


async def queue(etcd: Etcd) -> list[bytes]:
    """The keys of all who hold or want the lock, the oldest first."""
    answer = await etcd.get(PREFIX, b"name0")
    return [kv.key for kv in sorted(answer.kvs, key=lambda kv: kv.create_revision)]


async def enqueue(etcd: Etcd, nursery: trio.Nursery, count: int) -> list[Waiter]:
    """Waiters with leases 1 to ``count``, in this order."""
    waiters = []
    for lease in range(1, count + 1):
        await etcd.grant(600, lease)
        waiters.append(Waiter(etcd, lease))
        nursery.start_soon(waiters[-1].run)
        await trio.testing.wait_all_tasks_blocked()
    return waiters


async def test_a_free_lock_is_taken_at_once() -> None:
    async with running() as etcd:
        lease = await etcd.grant(60, 0xABC)
        answer = await etcd.call("Lock/Lock", LockRequest(name=b"name", lease=lease))
        assert answer.key == b"name/abc"
        assert answer.header.revision == 2
        kv = (await etcd.get(answer.key)).kvs[0]
        assert (kv.value, kv.lease, kv.create_revision) == (b"", lease, 2)
        again = await etcd.call("Lock/Lock", LockRequest(name=b"name", lease=lease))
        assert again.key == answer.key
        assert again.header.revision == 2  # nothing was written


async def test_without_a_lease_the_server_makes_one_of_a_minute() -> None:
    async with running() as etcd:
        answer = await etcd.call("Lock/Lock", LockRequest(name=b"name"))
        lease = (await etcd.get(answer.key)).kvs[0].lease
        assert answer.key == b"name/%x" % lease
        left = await etcd.call("Lease/LeaseTimeToLive", LeaseTimeToLiveRequest(ID=lease))
        assert left.grantedTTL == 60
        await etcd.pass_time(61)  # nobody keeps it alive
        assert await queue(etcd) == []


async def test_a_negative_lease_is_written_as_go_writes_it() -> None:
    async with running() as etcd:
        await etcd.grant(60, -17)
        assert (await etcd.call("Lock/Lock", LockRequest(name=b"name", lease=-17))).key == b"name/-11"


async def test_the_lock_goes_from_one_to_the_next_in_order() -> None:
    async with running() as etcd, trio.open_nursery() as nursery:
        waiters = await enqueue(etcd, nursery, 4)
        for position, waiter in enumerate(waiters):
            assert [other.key is not None for other in waiters] == [n <= position for n in range(4)]
            assert waiter.key == b"name/%x" % waiter.lease
            await etcd.call("Lock/Unlock", UnlockRequest(key=waiter.key))
            await trio.testing.wait_all_tasks_blocked()
        assert await queue(etcd) == []


async def test_locks_of_other_names_are_free() -> None:
    async with running() as etcd:
        for number, name in enumerate((b"name", b"nam", b"name0", b"name/x", b"")):
            await etcd.grant(60, number + 1)
            assert (await etcd.call("Lock/Lock", LockRequest(name=name, lease=number + 1))).key


async def test_who_gives_up_waiting_leaves_the_queue_and_wakes_nobody() -> None:
    async with running() as etcd, trio.open_nursery() as nursery:
        first, second, third = await enqueue(etcd, nursery, 3)
        second.scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert await queue(etcd) == [b"name/1", b"name/3"]
        assert third.key is None
        await etcd.call("Lock/Unlock", UnlockRequest(key=first.key))
        await trio.testing.wait_all_tasks_blocked()
        assert third.key == b"name/3"


async def test_who_waits_past_the_deadline_leaves_the_queue() -> None:
    async with running() as etcd:
        await etcd.grant(600, 1)
        await etcd.grant(600, 2)
        await etcd.call("Lock/Lock", LockRequest(name=b"name", lease=1))

        async def lock() -> None:
            request = LockRequest(name=b"name", lease=2).SerializeToString()
            with pytest.raises(StatusError) as caught:
                await etcd.client.unary("/v3lockpb.Lock/Lock", request, timeout=5.0)
            assert caught.value.code is Code.DEADLINE_EXCEEDED

        async with trio.open_nursery() as nursery:
            nursery.start_soon(lock)
            await trio.testing.wait_all_tasks_blocked()
            assert await queue(etcd) == [b"name/1", b"name/2"]
            await etcd.pass_time(6)
        await trio.testing.wait_all_tasks_blocked()
        assert await queue(etcd) == [b"name/1"]


async def test_who_waits_with_a_lease_that_ends_is_told_so() -> None:
    async with running() as etcd, trio.open_nursery() as nursery:
        first, second = await enqueue(etcd, nursery, 2)
        await etcd.call("Lease/LeaseRevoke", LeaseRevokeRequest(ID=2))
        await trio.testing.wait_all_tasks_blocked()
        assert second.error is None  # it looks when its turn comes, as in etcd
        await etcd.call("Lock/Unlock", UnlockRequest(key=first.key))
        await trio.testing.wait_all_tasks_blocked()
        assert second.error is not None
        assert (second.error.code, second.error.message) == (Code.UNKNOWN, "mutex: session is expired")


async def test_nobody_in_the_queue_keeps_a_server_whose_disk_failed_from_ending(
    autojump_clock: trio.testing.MockClock,
) -> None:
    disk, begun = FaultDisk(MemoryDisk()), 0.0
    with pytest.RaisesGroup(WalFailedError, flatten_subgroups=True, allow_unwrapped=True):
        async with running(disk=disk) as etcd, trio.open_nursery() as nursery:
            await enqueue(etcd, nursery, 20)  # many, as it takes the wrong order of two tasks
            begun = trio.current_time()
            disk.fail("sync")
            await etcd.put(b"k", b"v")
    assert trio.current_time() == begun


async def test_a_holder_whose_lease_ends_makes_room() -> None:
    async with running() as etcd, trio.open_nursery() as nursery:
        first, second = await enqueue(etcd, nursery, 2)
        assert first.key
        await etcd.call("Lease/LeaseRevoke", LeaseRevokeRequest(ID=1))
        await trio.testing.wait_all_tasks_blocked()
        assert second.key == b"name/2"


async def test_a_lease_that_is_not_there_is_an_unknown_error() -> None:
    async with running() as etcd:
        refused = await etcd.refused("Lock/Lock", LockRequest(name=b"name", lease=5))
        assert refused == ("UNKNOWN", "etcdserver: requested lease not found")


async def test_unlocking_deletes_that_key_whatever_it_is() -> None:
    async with running() as etcd:
        await etcd.put(b"plain")
        assert (await etcd.call("Lock/Unlock", UnlockRequest(key=b"plain"))).header.revision == 3
        assert (await etcd.call("Lock/Unlock", UnlockRequest(key=b"plain"))).header.revision == 3
        assert await etcd.refused("Lock/Unlock", UnlockRequest()) == (
            "UNKNOWN",
            "etcdserver: key is not provided",
        )


async def test_a_server_that_stops_while_somebody_waits_stops_cleanly() -> None:
    async with trio.open_nursery() as nursery:
        async with running() as etcd:
            waiters = await enqueue(etcd, nursery, 3)
        for waiter in waiters:
            waiter.scope.cancel()
    assert [event for event in etcd.sink.events() if event["level"] != "warn"] == []
