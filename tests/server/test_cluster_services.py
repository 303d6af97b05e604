"""What a cluster's members do for clients beyond reads and writes, whichever is asked."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from etcdpb import rpc_pb2
from etcdpb.rpc_pb2 import (
    CORRUPT,
    AlarmRequest,
    HashKVRequest,
    LeaseGrantRequest,
    LeaseKeepAliveRequest,
    LeaseTimeToLiveRequest,
    MoveLeaderRequest,
    PutRequest,
    WatchCreateRequest,
    WatchRequest,
)
from rusd.grpc import StatusError
from rusd.listeners import StartError
from rusd.state import Kind, StateMachine
from rusd.steps import Turn
from tests.server.test_membership import failure_to_start
from tests.support.town import House, Town, town

NO_LEADER = ("UNAVAILABLE", "etcdserver: no leader")
HAS_LEADER = (("hasleader", b"true"),)


async def grant(house: House, ttl: int) -> int:
    return int((await house.call("Lease/LeaseGrant", LeaseGrantRequest(TTL=ttl))).ID)


async def keep_alive(house: House, lease: int) -> int:
    """The TTL that the lease has again."""
    async with house.open("Lease/LeaseKeepAlive") as stream:
        await stream.send(LeaseKeepAliveRequest(ID=lease))
        answer = await stream.receive()
        assert answer.header.member_id == house.id
        return int(answer.TTL)


async def time_to_live(house: House, lease: int) -> Any:
    request = LeaseTimeToLiveRequest(ID=lease, keys=True)
    return await house.call("Lease/LeaseTimeToLive", request)


async def isolate(cluster: Town) -> House:
    """A follower that is left alone."""
    alone = (await cluster.followers())[0]
    for name in [house.name for house in cluster.houses.values() if house is not alone]:
        await cluster.stop(name)
    return alone


# -- leases ---------------------------------------------------------------------------------------


async def test_leases_are_kept_alive_and_looked_at_through_any_member(autojump_clock: Any) -> None:
    async with town("a", "b", "c") as cluster:
        for house in cluster.houses.values():
            lease = await grant(house, 30)
            await house.put(b"k", lease=lease)
            await trio.sleep(10)
            answer = await time_to_live(house, lease)
            assert (answer.grantedTTL, list(answer.keys), answer.header.member_id) == (30, [b"k"], house.id)
            assert 15 < answer.TTL <= 20
            assert await keep_alive(house, lease) == 30
            assert 25 < (await time_to_live(house, lease)).TTL <= 30
            assert await keep_alive(house, 12345) == 0
            assert (await time_to_live(house, 12345)).TTL == -1


async def test_a_lease_runs_out_for_all_members(autojump_clock: Any) -> None:
    async with town("a", "b", "c") as cluster:
        follower = (await cluster.followers())[0]
        lease = await grant(follower, 5)
        await follower.put(b"k", lease=lease)
        await trio.sleep(4)
        assert await follower.value(b"k") == b""
        await trio.sleep(3)
        assert await follower.value(b"k") is None


async def test_a_new_leader_gives_each_lease_its_full_time_again(autojump_clock: Any) -> None:
    async with town("a", "b", "c") as cluster:
        leader = await cluster.leader()
        lease = await grant(leader, 20)
        await trio.sleep(15)
        await cluster.stop(leader.name)
        follower = (await cluster.followers())[0]
        assert (await time_to_live(follower, lease)).TTL >= 18
        await trio.sleep(15)
        assert (await time_to_live(follower, lease)).TTL > 0
        await trio.sleep(15)
        assert (await time_to_live(follower, lease)).TTL == -1


async def test_what_only_a_leader_answers_is_answered_as_soon_as_there_is_another_one(
    autojump_clock: Any,
) -> None:
    async with town("a", "b", "c", strict_reconfig_check=False) as cluster:
        leader, follower = await cluster.leader(), (await cluster.followers())[0]
        lease, gone = await grant(leader, 20), leader.id
        await cluster.stop(leader.name)
        stopped = trio.current_time()
        async with trio.open_nursery() as nursery:
            remove = rpc_pb2.MemberRemoveRequest(ID=gone)
            nursery.start_soon(follower.call, "Cluster/MemberRemove", remove)
            nursery.start_soon(time_to_live, follower, lease)
            assert await keep_alive(follower, lease) == 20
        assert trio.current_time() - stopped < 5  # two elections at most, and not the whole time of a request


async def test_without_a_leader_lease_calls_say_so_in_the_end(autojump_clock: Any) -> None:
    async with town("a", "b", "c") as cluster:
        alone = await isolate(cluster)
        await trio.sleep(3)
        assert await alone.refused("Lease/LeaseTimeToLive", LeaseTimeToLiveRequest(ID=1)) == NO_LEADER
        with pytest.raises(StatusError, match="no leader"):
            await keep_alive(alone, 1)


# -- who leads ------------------------------------------------------------------------------------


async def test_leadership_moves_to_the_member_asked_for(autojump_clock: Any) -> None:
    async with town("a", "b", "c") as cluster:
        leader, follower = await cluster.leader(), (await cluster.followers())[0]
        request = MoveLeaderRequest(targetID=follower.id)
        not_leader = ("FAILED_PRECONDITION", "etcdserver: not leader")
        bad = ("FAILED_PRECONDITION", "etcdserver: bad leader transferee")
        assert await follower.refused("Maintenance/MoveLeader", request) == not_leader
        assert await leader.refused("Maintenance/MoveLeader", MoveLeaderRequest(targetID=1)) == bad
        answer = await leader.call("Maintenance/MoveLeader", request)
        assert not answer.HasField("header")
        assert await cluster.leader() is follower
        await leader.put(b"k", b"v")


async def test_a_leader_that_drains_hands_over(autojump_clock: Any) -> None:
    async with town("a", "b", "c") as cluster:
        leader, others = await cluster.leader(), await cluster.followers()
        assert leader.server is not None
        await leader.server.drain(0.0)
        assert (await others[0].status()).leader in [house.id for house in others]
        assert leader.sink.events("leadership transfer finished")


async def test_a_member_without_a_leader_says_so_and_still_reads_what_it_has(autojump_clock: Any) -> None:
    async with town("a", "b", "c") as cluster:
        await cluster["a"].put(b"k", b"v")
        alone = await isolate(cluster)
        await trio.sleep(3)
        status = await alone.status()
        assert (status.leader, list(status.errors)) == (0, ["etcdserver: no leader"])
        assert await alone.value(b"k", serializable=True) == b"v"
        assert len(await alone.members(linearizable=False)) == 3


async def test_streams_that_want_a_leader_end_when_there_is_none_for_long(autojump_clock: Any) -> None:
    async with town("a", "b", "c") as cluster:
        alone = (await cluster.followers())[0]
        async with (
            alone.open("Watch/Watch", metadata=HAS_LEADER) as wants,
            alone.open("Watch/Watch") as patient,
        ):
            for stream in (wants, patient):
                await stream.send(WatchRequest(create_request=WatchCreateRequest(key=b"k")))
                assert (await stream.receive()).created
            await isolate_from(cluster, alone)
            with pytest.raises(StatusError, match="etcdserver: no leader"):
                await wants.receive()
            name = next(name for name in cluster.houses if name != alone.name)
            await cluster.start(name)
            await alone.put(b"k", b"v")
            assert (await patient.receive()).events[0].kv.value == b"v"


async def isolate_from(cluster: Town, alone: House) -> None:
    for name in [house.name for house in cluster.houses.values() if house is not alone]:
        await cluster.stop(name)


# -- corruption -------------------------------------------------------------------------------------


def spoil(house: House) -> None:
    """From now on this member stores other values than the log says."""
    machine: StateMachine = house.server._parts._machine  # type: ignore[union-attr]
    put = machine._handlers[Kind.PUT - 1]

    def put_another(request: PutRequest, turn: Turn) -> object:
        return put(PutRequest(key=request.key, value=request.value + b"!"), turn)

    machine._handlers[Kind.PUT - 1] = put_another


async def test_hashes_agree_on_all_members(autojump_clock: Any) -> None:
    async with town("a", "b", "c") as cluster:
        for number in range(20):
            await cluster["a"].put(b"%d" % (number % 7), b"v")
        await cluster["b"].call("KV/Compact", rpc_pb2.CompactionRequest(revision=15))
        hashes = set()
        for house in cluster.houses.values():
            await house.value(b"k")
            answer = await house.call("Maintenance/HashKV", HashKVRequest(revision=20))
            hashes.add((answer.hash, answer.compact_revision, answer.hash_revision))
        assert len(hashes) == 1


async def test_a_leader_that_checks_finds_the_member_that_differs_and_all_are_told(
    autojump_clock: Any,
) -> None:
    async with town("a", "b", "c", corrupt_check_time=5.0) as cluster:
        leader, (victim, other) = await cluster.leader(), await cluster.followers()
        await leader.put(b"k", b"v")
        await trio.sleep(6)
        assert leader.sink.events("finished peer corruption check")[-1]["number-of-peers-checked"] == 2
        assert await leader.call("Maintenance/Alarm", AlarmRequest()) is not None
        spoil(victim)
        await leader.put(b"l", b"v")
        await trio.sleep(6)
        (alarm,) = (await other.call("Maintenance/Alarm", AlarmRequest())).alarms
        assert (alarm.memberID, alarm.alarm) == (victim.id, CORRUPT)
        refused = await other.refused("KV/Put", PutRequest(key=b"k"))
        assert refused == ("DATA_LOSS", "etcdserver: corrupt cluster")
        assert await other.value(b"l") == b"v"
        assert f"memberID:{victim.id} alarm:CORRUPT " in list((await other.status()).errors)


async def test_a_member_that_answers_with_nonsense_is_left_out(autojump_clock: Any) -> None:
    async with town("a", "b", "c", corrupt_check_time=5.0) as cluster:
        leader = await cluster.leader()

        async def nonsense(*_: object) -> bytes:
            return b"\xff"

        leader.server._parts._network.call = nonsense  # type: ignore[union-attr, method-assign]
        await trio.sleep(6)
        assert len(leader.sink.events("failed hash kv request")) == 2
        assert leader.sink.events("finished peer corruption check")[-1]["number-of-peers-checked"] == 0
        await leader.put(b"k")


async def test_hashes_of_compactions_tell_who_differs(autojump_clock: Any) -> None:
    settings = {"feature_gates": {"CompactHashCheck": True}, "compact_hash_check_time": 5.0}
    async with town("a", "b", "c", **settings) as cluster:
        leader, (victim, _) = await cluster.leader(), await cluster.followers()
        spoil(victim)
        await leader.put(b"k", b"v")
        await leader.put(b"l", b"v")
        await leader.call("KV/Compact", rpc_pb2.CompactionRequest(revision=3, physical=True))
        await trio.sleep(12)
        (alarm,) = (await leader.call("Maintenance/Alarm", AlarmRequest())).alarms
        assert (alarm.memberID, alarm.alarm) == (victim.id, CORRUPT)


async def test_a_member_whose_history_differs_does_not_start(autojump_clock: Any) -> None:
    settings = {"feature_gates": {"InitialCorruptCheck": True}}
    async with town("a", "b", "c", **settings) as cluster:
        leader, (restarted, _) = await cluster.leader(), await cluster.followers()
        await leader.put(b"k", b"v")
        await cluster.stop(restarted.name)
        await cluster.start(restarted.name)
        assert restarted.sink.events("initial corruption checking passed; no corruption")
        for house in cluster.houses.values():
            if house is not restarted:
                spoil(house)
        await leader.put(b"l", b"v")
        assert await restarted.value(b"l") == b"v"
        await cluster.stop(restarted.name)
        error = await failure_to_start(cluster, restarted.name)
        assert isinstance(error, StartError)
        assert str(error) == f"{restarted.id:x} found data inconsistency with peers"
