"""Leases: made, kept alive, looked at, expired by a clock that a test moves."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from etcdpb import kv_pb2, rpc_pb2
from etcdpb.rpc_pb2 import (
    LeaseGrantRequest,
    LeaseKeepAliveRequest,
    LeaseLeasesRequest,
    LeaseRevokeRequest,
    LeaseTimeToLiveRequest,
    WatchCreateRequest,
    WatchRequest,
)
from rusd.background import MAX_REVOKES_IN_FLIGHT
from rusd.testing import ApplyGate, MemoryDisk
from tests.support.inprocess import Etcd, running

NOT_FOUND = ("NOT_FOUND", "etcdserver: requested lease not found")


async def time_to_live(etcd: Etcd, lease: int, *, keys: bool = False) -> Any:
    return await etcd.call("Lease/LeaseTimeToLive", LeaseTimeToLiveRequest(ID=lease, keys=keys))


async def leases(etcd: Etcd) -> list[int]:
    answer = await etcd.call("Lease/LeaseLeases", LeaseLeasesRequest())
    return [status.ID for status in answer.leases]


# -- granting and revoking -----------------------------------------------------------------------


async def test_a_grant_answers_the_id_and_the_time_it_really_has() -> None:
    async with running() as etcd:
        answer = await etcd.call("Lease/LeaseGrant", LeaseGrantRequest(ID=7, TTL=60))
        assert (answer.ID, answer.TTL, answer.error, answer.header.revision) == (7, 60, "", 1)
        for asked in (1, 0, -5):
            answer = await etcd.call("Lease/LeaseGrant", LeaseGrantRequest(TTL=asked))
            assert answer.TTL == 2
            assert 0 < answer.ID < 2**63
        assert (await etcd.call("Lease/LeaseGrant", LeaseGrantRequest(ID=-9, TTL=60))).ID == -9


async def test_a_grant_is_refused_as_etcd_refuses_it() -> None:
    async with running() as etcd:
        await etcd.grant(60, 7)
        exists = ("FAILED_PRECONDITION", "etcdserver: lease already exists")
        assert await etcd.refused("Lease/LeaseGrant", LeaseGrantRequest(ID=7, TTL=60)) == exists
        too_large = ("OUT_OF_RANGE", "etcdserver: too large lease TTL")
        for lease in (7, 8):
            request = LeaseGrantRequest(ID=lease, TTL=9_000_000_001)
            assert await etcd.refused("Lease/LeaseGrant", request) == too_large
        await etcd.grant(9_000_000_000, 9)


async def test_revoking_deletes_the_keys_in_one_revision_and_in_order() -> None:
    async with running() as etcd, etcd.open("Watch/Watch") as stream:
        lease = await etcd.grant(60)
        for key in (b"c", b"a", b"b"):
            await etcd.put(key, lease=lease)
        await etcd.put(b"kept")
        await stream.send(WatchRequest(create_request=WatchCreateRequest(key=b"a", range_end=b"z")))
        await stream.receive()
        answer = await etcd.call("Lease/LeaseRevoke", LeaseRevokeRequest(ID=lease))
        assert answer.header.revision == 6
        response = await stream.receive()
        assert [event.kv.key for event in response.events] == [b"a", b"b", b"c"]
        assert {event.type for event in response.events} == {kv_pb2.Event.DELETE}
        assert {event.kv.mod_revision for event in response.events} == {6}
        assert await etcd.refused("Lease/LeaseRevoke", LeaseRevokeRequest(ID=lease)) == NOT_FOUND
        assert (await etcd.get(b"kept")).count == 1


async def test_revoking_a_lease_without_keys_makes_no_revision() -> None:
    async with running() as etcd:
        lease = await etcd.grant(60)
        answer = await etcd.call("Lease/LeaseRevoke", LeaseRevokeRequest(ID=lease))
        assert answer.header.revision == 1


async def test_a_key_follows_its_last_put() -> None:
    async with running() as etcd:
        one, two = await etcd.grant(60), await etcd.grant(60)
        await etcd.put(b"moved", lease=one)
        await etcd.put(b"freed", lease=one)
        await etcd.put(b"moved", lease=two)
        await etcd.put(b"freed")
        await etcd.call("Lease/LeaseRevoke", LeaseRevokeRequest(ID=one))
        assert (await etcd.get(b"moved")).kvs[0].lease == two
        assert (await etcd.get(b"freed")).kvs[0].lease == 0
        assert list((await time_to_live(etcd, two, keys=True)).keys) == [b"moved"]


# -- looking ----------------------------------------------------------------------------------------


async def test_time_to_live_counts_down_in_whole_seconds() -> None:
    async with running() as etcd:
        lease = await etcd.grant(60)
        await etcd.put(b"b", lease=lease)
        await etcd.put(b"a", lease=lease)
        await etcd.pass_time(10.4)
        answer = await time_to_live(etcd, lease)
        assert (answer.ID, answer.TTL, answer.grantedTTL, list(answer.keys)) == (lease, 49, 60, [])
        assert answer.header.revision == 3
        assert sorted((await time_to_live(etcd, lease, keys=True)).keys) == [b"a", b"b"]


@pytest.mark.parametrize("lease", [0, 12345])
async def test_a_lease_that_is_not_there_has_a_time_of_minus_one(lease: int) -> None:
    async with running() as etcd:
        answer = await time_to_live(etcd, lease, keys=True)
        assert (answer.ID, answer.TTL, answer.grantedTTL) == (lease, -1, 0)


async def test_leases_are_listed_the_next_to_expire_first() -> None:
    async with running() as etcd:
        for ttl, lease in ((300, 1), (100, 2), (200, 3)):
            await etcd.grant(ttl, lease)
        assert await leases(etcd) == [2, 3, 1]


# -- keeping alive ------------------------------------------------------------------------------------


async def test_a_lease_that_is_kept_alive_has_its_whole_time_again() -> None:
    async with running() as etcd, etcd.open("Lease/LeaseKeepAlive") as stream:
        lease = await etcd.grant(60)
        await etcd.put(b"k", lease=lease)
        for _ in range(3):
            await etcd.pass_time(50)
            await stream.send(LeaseKeepAliveRequest(ID=lease))
            answer = await stream.receive()
            assert (answer.ID, answer.TTL, answer.header.revision) == (lease, 60, 2)
        assert (await time_to_live(etcd, lease)).TTL == 60
        await etcd.pass_time(61)
        assert await etcd.value(b"k") is None


async def test_keeping_alive_what_is_not_there_answers_zero() -> None:
    async with running() as etcd, etcd.open("Lease/LeaseKeepAlive") as stream:
        for lease in (0, 99):
            await stream.send(LeaseKeepAliveRequest(ID=lease))
            answer = await stream.receive()
            assert (answer.ID, answer.TTL) == (lease, 0)
        stream.end()
        assert await stream.receive() is None


async def test_a_lease_that_is_out_of_time_cannot_be_saved_while_it_is_revoked() -> None:
    gate = ApplyGate()
    async with running(hooks=gate) as etcd, etcd.open("Lease/LeaseKeepAlive") as stream:
        lease = await etcd.grant(2)
        await etcd.put(b"k", lease=lease)
        await stream.send(LeaseKeepAliveRequest(ID=lease))
        await stream.receive()
        gate.close()
        etcd.clock.advance(3)
        await gate.waiting.wait()  # the revocation is committed and not applied
        await stream.send(LeaseKeepAliveRequest(ID=lease))
        assert await stream.is_silent()
        gate.open()
        assert (await stream.receive()).TTL == 0
        assert await etcd.value(b"k") is None


# -- expiring ------------------------------------------------------------------------------------------


async def test_a_lease_takes_its_keys_along_when_its_time_is_up() -> None:
    async with running() as etcd:
        lease = await etcd.grant(60)
        await etcd.put(b"k", lease=lease)
        await etcd.pass_time(59)
        assert await etcd.value(b"k") == b""
        await etcd.pass_time(1.5)
        assert await etcd.value(b"k") is None
        assert await leases(etcd) == []


async def test_many_leases_expire_together_without_waiting_for_more_time() -> None:
    count = 5 * MAX_REVOKES_IN_FLIGHT + 3
    async with running() as etcd:
        for number in range(count):
            await etcd.put(b"k%d" % number, lease=await etcd.grant(60))
        await etcd.pass_time(61)
        assert (await etcd.get(b"\0", b"\0")).count == 0
        assert await leases(etcd) == []


async def test_a_restart_gives_leases_their_whole_time_again() -> None:
    disk = MemoryDisk()
    async with running(disk=disk) as etcd:
        await etcd.put(b"k", lease=await etcd.grant(60, 5))
        await etcd.pass_time(50)
    async with running(disk=disk) as etcd:
        assert (await time_to_live(etcd, 5)).TTL >= 60
        await etcd.pass_time(55)
        assert await etcd.value(b"k") == b""
        await etcd.pass_time(7)
        assert await etcd.value(b"k") is None


async def test_checkpoints_make_a_restart_remember_how_long_was_left() -> None:
    disk = MemoryDisk()
    gates = {"LeaseCheckpoint": True, "LeaseCheckpointPersist": True}
    async with running(disk=disk, feature_gates=gates) as etcd:
        await etcd.grant(1000, 5)
        await etcd.pass_time(301)
        await etcd.pass_time(1)
    async with running(disk=disk, feature_gates=gates) as etcd, etcd.open("Lease/LeaseKeepAlive") as stream:
        assert 690 <= (await time_to_live(etcd, 5)).TTL <= 701
        await stream.send(LeaseKeepAliveRequest(ID=5))
        assert (await stream.receive()).TTL == 1000
        assert (await time_to_live(etcd, 5)).TTL == 1000
    async with running(disk=disk, feature_gates=gates) as etcd:  # renewed: the checkpoint is forgotten
        assert (await time_to_live(etcd, 5)).TTL >= 1000


async def test_a_lease_revoked_while_another_revocation_is_under_way_is_gone_once() -> None:
    gate = ApplyGate()
    async with running(hooks=gate) as etcd:
        lease = await etcd.grant(2)
        await etcd.put(b"k", lease=lease)
        gate.close()
        outcome: list[tuple[str, str]] = []

        async def revoke() -> None:
            outcome.append(await etcd.refused("Lease/LeaseRevoke", LeaseRevokeRequest(ID=lease)))

        async with trio.open_nursery() as nursery:
            etcd.clock.advance(3)
            await gate.waiting.wait()
            nursery.start_soon(revoke)
            await trio.testing.wait_all_tasks_blocked()
            gate.open()
        assert outcome == [NOT_FOUND]
        assert (await etcd.get(b"k")).header.revision == 3


async def test_a_grant_costs_quota() -> None:
    async with running(quota_backend_bytes=20_500) as etcd:
        full = ("RESOURCE_EXHAUSTED", "etcdserver: mvcc: database space exceeded")
        assert await etcd.refused("Lease/LeaseGrant", LeaseGrantRequest(TTL=60)) == full
        alarms = await etcd.call("Maintenance/Alarm", rpc_pb2.AlarmRequest())
        assert [entry.alarm for entry in alarms.alarms] == [rpc_pb2.NOSPACE]
