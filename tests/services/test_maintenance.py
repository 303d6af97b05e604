"""Alarms, status, hashes, defragmentation."""

from __future__ import annotations

from typing import Any

import pytest

from etcdpb import rpc_pb2
from etcdpb.rpc_pb2 import (
    CORRUPT,
    NONE,
    NOSPACE,
    AlarmRequest,
    CompactionRequest,
    DefragmentRequest,
    DeleteRangeRequest,
    HashKVRequest,
    HashRequest,
    LeaseGrantRequest,
    LeaseRevokeRequest,
    PutRequest,
    RangeRequest,
    RequestOp,
    StatusRequest,
    TxnRequest,
)
from rusd.grpc import StatusError
from rusd.testing import MemoryDisk
from tests.support.inprocess import Etcd, running

FULL = ("RESOURCE_EXHAUSTED", "etcdserver: mvcc: database space exceeded")
BROKEN = ("DATA_LOSS", "etcdserver: corrupt cluster")
PUT = RequestOp(request_put=PutRequest(key=b"t"))
DELETE = RequestOp(request_delete_range=DeleteRangeRequest(key=b"t"))
GET = RequestOp(request_range=RangeRequest(key=b"t"))


async def alarm(etcd: Etcd, action: Any, kind: Any = NOSPACE, member: int = 7) -> list[tuple[int, int]]:
    request = AlarmRequest(action=action, memberID=member, alarm=kind)
    answer = await etcd.call("Maintenance/Alarm", request)
    return [(entry.memberID, entry.alarm) for entry in answer.alarms]


async def status(etcd: Etcd) -> rpc_pb2.StatusResponse:
    return await etcd.call("Maintenance/Status", StatusRequest())  # type: ignore[no-any-return]


# -- alarms -----------------------------------------------------------------------------------


async def test_alarms_are_raised_listed_and_disarmed() -> None:
    async with running() as etcd:
        assert await alarm(etcd, AlarmRequest.GET, NONE) == []
        assert await alarm(etcd, AlarmRequest.ACTIVATE) == [(7, NOSPACE)]
        assert await alarm(etcd, AlarmRequest.ACTIVATE) == [(7, NOSPACE)]
        assert await alarm(etcd, AlarmRequest.ACTIVATE, CORRUPT, 8) == [(8, CORRUPT)]
        assert await alarm(etcd, AlarmRequest.GET, NONE, 99) == [(7, NOSPACE), (8, CORRUPT)]
        assert await alarm(etcd, AlarmRequest.GET, CORRUPT) == [(8, CORRUPT)]
        assert await alarm(etcd, AlarmRequest.DEACTIVATE, NOSPACE, 8) == []
        assert await alarm(etcd, AlarmRequest.DEACTIVATE) == [(7, NOSPACE)]
        assert await alarm(etcd, AlarmRequest.GET, NONE) == [(8, CORRUPT)]


async def test_an_alarm_of_type_none_is_no_alarm_and_unknown_actions_do_nothing() -> None:
    async with running() as etcd:
        assert await alarm(etcd, AlarmRequest.ACTIVATE, NONE) == []
        assert await alarm(etcd, 9) == []
        assert await alarm(etcd, AlarmRequest.GET, NONE) == []


async def test_a_full_member_takes_reads_deletes_and_nothing_that_adds() -> None:
    async with running() as etcd:
        await etcd.put(b"k")
        lease = await etcd.grant(60)
        await alarm(etcd, AlarmRequest.ACTIVATE)
        for name, request in (
            ("KV/Put", PutRequest(key=b"k")),
            ("KV/Txn", TxnRequest(success=[PUT])),
            ("KV/Txn", TxnRequest(failure=[PUT])),
            ("KV/Txn", TxnRequest(success=[RequestOp(request_txn=TxnRequest(failure=[PUT]))])),
            ("Lease/LeaseGrant", LeaseGrantRequest(TTL=60)),
        ):
            assert await etcd.refused(name, request) == FULL
        assert (await etcd.get(b"k")).count == 1
        await etcd.call("KV/Txn", TxnRequest(success=[GET, DELETE]))
        await etcd.call("Lease/LeaseRevoke", LeaseRevokeRequest(ID=lease))
        assert (await etcd.delete(b"k")).deleted == 1
        await etcd.call("KV/Compact", CompactionRequest(revision=3))
        await etcd.call("Maintenance/Defragment", DefragmentRequest())
        await alarm(etcd, AlarmRequest.DEACTIVATE)
        await etcd.put(b"k")


async def test_a_corrupt_cluster_takes_reads_only() -> None:
    async with running() as etcd:
        await etcd.put(b"k")
        lease = await etcd.grant(60)
        await alarm(etcd, AlarmRequest.ACTIVATE, CORRUPT)
        for name, request in (
            ("KV/Put", PutRequest(key=b"k")),
            ("KV/DeleteRange", DeleteRangeRequest(key=b"k")),
            ("KV/Txn", TxnRequest(success=[DELETE])),
            ("KV/Compact", CompactionRequest(revision=2)),
            ("Lease/LeaseGrant", LeaseGrantRequest(TTL=60)),
            ("Lease/LeaseRevoke", LeaseRevokeRequest(ID=lease)),
        ):
            assert await etcd.refused(name, request) == BROKEN
        assert (await etcd.get(b"k")).count == 1
        await etcd.call("KV/Txn", TxnRequest(success=[GET]))
        await alarm(etcd, AlarmRequest.DEACTIVATE, CORRUPT)
        await etcd.put(b"k")


async def test_a_member_over_its_quota_raises_the_alarm_and_recovers_as_etcd_does() -> None:
    async with running(quota_backend_bytes=100_000) as etcd:
        value = b"v" * 10_000
        written = 0
        while True:
            try:
                await etcd.put(b"k", value)
            except StatusError as error:
                refused = error
                break
            written += 1
        assert (refused.code.name, refused.message) == FULL
        assert written > 3
        # When the refusal arrives the alarm is raised already.
        assert (await status(etcd)).errors == [f"memberID:{etcd.server.member_id} alarm:NOSPACE "]
        assert await alarm(etcd, AlarmRequest.GET, NONE) == [(etcd.server.member_id, NOSPACE)]
        # Even a small one, and a wrong one: the quota comes first.
        assert await etcd.refused("KV/Put", PutRequest(key=b"k", value=value)) == FULL
        assert await etcd.refused("KV/Put", PutRequest(value=value)) == FULL

        await etcd.call("KV/Compact", CompactionRequest(revision=written + 1, physical=True))
        await alarm(etcd, AlarmRequest.DEACTIVATE, member=etcd.server.member_id)
        assert await etcd.refused("KV/Put", PutRequest(key=b"k", value=value * 2)) == FULL  # not shrunk yet
        await alarm(etcd, AlarmRequest.DEACTIVATE, member=etcd.server.member_id)
        await etcd.call("Maintenance/Defragment", DefragmentRequest())
        assert await etcd.put(b"k", value) == written + 2
        assert (await status(etcd)).errors == []


async def test_alarms_survive_a_restart_from_the_log_and_from_a_snapshot() -> None:
    disk = MemoryDisk()
    for _ in range(3):
        async with running(disk=disk, snapshot_count=5) as etcd:
            if not await alarm(etcd, AlarmRequest.GET, NONE):
                await alarm(etcd, AlarmRequest.ACTIVATE, CORRUPT)
                await alarm(etcd, AlarmRequest.ACTIVATE, NOSPACE)
                await alarm(etcd, AlarmRequest.ACTIVATE, 77)  # of a kind that nobody knows
            for _ in range(20):
                await alarm(etcd, AlarmRequest.GET, NONE)
            await etcd.until(
                lambda: any(name.endswith(".snap") for name in disk.list_directory("/data/member/snap"))
            )
            assert await alarm(etcd, AlarmRequest.GET, NONE) == [(7, NOSPACE), (7, CORRUPT), (7, 77)]
            assert await etcd.refused("KV/Put", PutRequest(key=b"k")) == BROKEN
            assert list((await status(etcd)).errors) == [
                "memberID:7 alarm:NOSPACE ",
                "memberID:7 alarm:CORRUPT ",
                "memberID:7 alarm:77 ",
            ]


# -- status -------------------------------------------------------------------------------------


async def test_status_tells_who_and_where_this_member_is() -> None:
    async with running() as etcd:
        await etcd.put(b"k", b"v")
        answer = await status(etcd)
        assert answer.version == "3.6.14"
        assert answer.storageVersion == "3.6.0"
        assert answer.leader == answer.header.member_id == etcd.server.member_id
        assert answer.header.revision == 2
        assert answer.raftTerm == answer.header.raft_term == 2
        assert answer.raftIndex == answer.raftAppliedIndex > 1
        assert answer.dbSizeQuota == 2 * 1024**3
        assert answer.dbSize >= answer.dbSizeInUse > 0
        assert answer.HasField("downgradeInfo")
        assert not answer.downgradeInfo.enabled
        assert not answer.isLearner
        assert list(answer.errors) == []


async def test_status_shows_an_alarm_of_nobody_without_its_member() -> None:
    async with running() as etcd:
        await alarm(etcd, AlarmRequest.ACTIVATE, member=0)
        assert list((await status(etcd)).errors) == ["alarm:NOSPACE "]


async def test_defragmentation_gives_space_back_and_answers_without_a_header() -> None:
    async with running() as etcd:
        for _ in range(20):
            await etcd.put(b"k", b"v" * 10_000)
        await etcd.call("KV/Compact", CompactionRequest(revision=21, physical=True))
        before = await status(etcd)
        assert before.dbSize > before.dbSizeInUse
        answer = await etcd.call("Maintenance/Defragment", DefragmentRequest())
        assert not answer.HasField("header")
        after = await status(etcd)
        assert after.dbSize == after.dbSizeInUse == before.dbSizeInUse


# -- hashes -----------------------------------------------------------------------------------------


async def test_equal_histories_have_equal_hashes_and_others_have_not() -> None:
    async def history(*, last: bytes) -> tuple[Any, Any]:
        async with running() as etcd:
            for number in range(30):
                await etcd.put(b"k%d" % (number % 7), b"%d" % number)
            await etcd.delete(b"k1", b"k3")
            await etcd.put(b"k", last)
            everything = await etcd.call("Maintenance/HashKV", HashKVRequest())
            return everything, await etcd.call("Maintenance/HashKV", HashKVRequest(revision=20))

    one, two, other = await history(last=b"v"), await history(last=b"v"), await history(last=b"w")
    assert one == two
    assert one[0].hash != other[0].hash
    assert one[1] == other[1]
    assert (one[0].hash_revision, one[0].compact_revision, one[0].header.revision) == (33, -1, 33)
    assert (one[1].hash_revision, one[1].header.revision) == (20, 33)


async def test_a_hash_at_a_revision_that_cannot_be_read_is_refused() -> None:
    async with running() as etcd:
        for _ in range(4):
            await etcd.put(b"k")
        await etcd.call("KV/Compact", CompactionRequest(revision=4))
        refused = await etcd.refused("Maintenance/HashKV", HashKVRequest(revision=3))
        assert refused == ("OUT_OF_RANGE", "etcdserver: mvcc: required revision has been compacted")
        refused = await etcd.refused("Maintenance/HashKV", HashKVRequest(revision=9))
        assert refused == ("OUT_OF_RANGE", "etcdserver: mvcc: required revision is a future revision")


async def test_the_hash_over_everything_sees_leases_too() -> None:
    async with running() as etcd:
        first = await etcd.call("Maintenance/Hash", HashRequest())
        await etcd.grant(60, 5)
        second = await etcd.call("Maintenance/Hash", HashRequest())
        assert first.header.revision == second.header.revision == 1
        assert first.hash != second.hash
        assert second.hash == (await etcd.call("Maintenance/Hash", HashRequest())).hash


@pytest.mark.parametrize("revision", [0, 400])
async def test_a_hash_may_be_given_up_halfway_and_compaction_goes_on(revision: int) -> None:
    async with running() as etcd:
        for number in range(500):
            await etcd.put(b"k%d" % (number % 3))
        async with etcd.open("Maintenance/HashKV", HashKVRequest(revision=revision)):
            pass
        await etcd.call("KV/Compact", CompactionRequest(revision=500, physical=True))
