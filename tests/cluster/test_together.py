"""Whole replicas together: writes, reads, leaders and members, with a mock clock."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from etcdpb import rusd_pb2
from rusd.raft import Entry, InvariantViolation, Message, MessageType
from rusd.replica import (
    BadTransfereeError,
    LeaderChangedError,
    NotLeaderError,
    ReplicaError,
    RequestTimeoutError,
    TransferTimeoutError,
)
from tests.cluster.together import Together, together, until


async def others(cluster: Together) -> tuple[int, list[int]]:
    """The leader, and who follows it."""
    leader = await cluster.leader()
    return leader, [me for me in cluster.members if me != leader]


async def test_any_member_takes_writes_and_reads(autojump_clock: MockClock) -> None:
    async with together() as cluster:
        await cluster.leader()
        for number, me in enumerate((1, 2, 3, 2, 1), 2):
            assert await cluster.put(me, b"k", b"%d" % number) == number
            for reader in cluster.members:
                await cluster.replica(reader).wait_linearizable()
                record = cluster.members[reader].machine.store.get(b"k")
                assert record is not None
                assert record.value == b"%d" % number
        await cluster.equal()


async def test_a_leaders_appends_leave_before_its_own_sync(autojump_clock: MockClock) -> None:
    async with together(start=False) as cluster:
        for member in cluster.members.values():
            member.inline = False
        await cluster.start()
        leader, followers = await others(cluster)
        cluster.members[leader].slow_disk_seconds = 30.0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cluster.put, followers[0], b"k")
            # Two disks are a majority: the followers may go ahead of their leader.
            await until(lambda: cluster.members[followers[1]].machine.store.get(b"k") is not None)
            assert (
                cluster.replica(leader).core.node.log.persisted_index
                < cluster.replica(leader).core.node.last_index
            )
            term = cluster.replica(leader).term
            await trio.sleep(2.0)  # heartbeats go on, until the disk counts as hung
            assert cluster.replica(leader).leader_id == leader
            assert cluster.replica(leader).term == term
        cluster.members[leader].slow_disk_seconds = 0.0
        await cluster.equal()


async def test_a_write_during_an_election_waits_for_the_new_leader(autojump_clock: MockClock) -> None:
    async with together() as cluster:
        leader, followers = await others(cluster)
        for me in (leader, followers[1]):
            await cluster.members[me].crash(None)
        await until(lambda: cluster.replica(followers[0]).leader_id == 0)
        async with trio.open_nursery() as nursery:

            async def write() -> None:
                assert await cluster.put(followers[0], b"k") == 2

            nursery.start_soon(write)
            await trio.sleep(0.5)
            await cluster.start(followers[1])


async def test_a_write_to_a_follower_of_a_leader_that_is_gone_waits_for_the_next(
    autojump_clock: MockClock,
) -> None:
    async with together() as cluster:
        leader, followers = await others(cluster)
        await cluster.members[leader].crash(None)
        assert cluster.replica(followers[0]).leader_id == leader  # for all it knows
        assert await cluster.put(followers[0], b"k") == 2


async def test_without_a_quorum_calls_end_with_an_error(autojump_clock: MockClock) -> None:
    async with together() as cluster:
        leader, followers = await others(cluster)
        for me in followers:
            await cluster.members[me].crash(None)
        with pytest.raises(RequestTimeoutError):
            await cluster.put(leader, b"k")
        with pytest.raises(RequestTimeoutError):
            await cluster.replica(leader).wait_linearizable()
        assert not await cluster.replica(leader).leadership.confirm()


async def test_a_read_at_a_lost_leader_is_told_of_the_change(autojump_clock: MockClock) -> None:
    async with together() as cluster:
        leader, followers = await others(cluster)
        cluster.network.part([(leader, me) for me in followers] + [(me, leader) for me in followers])
        async with trio.open_nursery() as nursery:

            async def read() -> None:
                with pytest.raises(LeaderChangedError):
                    await cluster.replica(leader).wait_linearizable()

            nursery.start_soon(read)
            await until(lambda: cluster.replica(followers[0]).leader_id in followers)
            cluster.network.heal()


# -- leadership -----------------------------------------------------------------------------


async def test_a_leader_that_was_stopped_is_not_certain_before_a_quorum_has_confirmed_it(
    autojump_clock: MockClock,
) -> None:
    async with together() as cluster:
        leader, followers = await others(cluster)
        leadership = cluster.replica(leader).leadership
        cluster.network.part([(me, leader) for me in followers])
        autojump_clock.autojump_threshold = float("inf")
        autojump_clock.jump(0.5)
        assert not leadership.is_certain()  # before anything else has run
        await trio.testing.wait_all_tasks_blocked()
        assert cluster.replica(leader).leader_id == leader
        assert not leadership.is_certain()  # a tick alone confirms nothing
        cluster.network.heal()
        autojump_clock.autojump_threshold = 0.0
        assert await leadership.confirm()
        await until(leadership.is_certain)
        assert cluster.replica(leader).leader_id == leader
        assert not await cluster.replica(followers[0]).leadership.confirm()


async def test_a_stopped_leader_that_was_deposed_meanwhile_finds_out(autojump_clock: MockClock) -> None:
    async with together() as cluster:
        leader, followers = await others(cluster)
        cluster.network.part([(leader, me) for me in followers] + [(me, leader) for me in followers])
        leadership = cluster.replica(leader).leadership
        leadership._last_tick -= 10
        assert not leadership.is_certain()
        await until(lambda: cluster.replica(followers[0]).leader_id in followers)
        cluster.network.heal()
        assert not await leadership.confirm()


async def test_a_sole_member_is_always_certain(autojump_clock: MockClock) -> None:
    async with together(1) as cluster:
        await cluster.replica(1).campaign()
        autojump_clock.jump(100)
        assert cluster.replica(1).leadership.is_certain()
        assert await cluster.replica(1).leadership.confirm()


async def test_leadership_moves_on_request(autojump_clock: MockClock) -> None:
    async with together() as cluster:
        leader, followers = await others(cluster)
        await cluster.replica(leader).leadership.transfer(followers[1])
        assert await cluster.leader() == followers[1]
        with pytest.raises(NotLeaderError):
            await cluster.replica(leader).leadership.transfer(followers[0])
        with pytest.raises(BadTransfereeError):
            await cluster.replica(followers[1]).leadership.transfer(99)


async def test_a_transfer_that_comes_to_nothing_ends_with_an_error_and_writes_go_on(
    autojump_clock: MockClock,
) -> None:
    async with together() as cluster:
        leader, followers = await others(cluster)
        await cluster.members[followers[0]].crash(None)
        async with trio.open_nursery() as nursery:

            async def transfer() -> None:
                with pytest.raises(TransferTimeoutError):
                    await cluster.replica(leader).leadership.transfer(followers[0], 3.0)

            nursery.start_soon(transfer)
            await trio.sleep(0)
            assert await cluster.put(leader, b"k") == 2  # once the transfer is given up
        assert await cluster.leader() == leader


async def test_a_leader_that_stops_hands_over_to_a_member_that_is_there(autojump_clock: MockClock) -> None:
    async with together() as cluster:
        leader, followers = await others(cluster)
        await cluster.members[followers[0]].crash(None)
        gone = cluster.replica(leader).core.node.progress[followers[0]]
        await until(lambda: not gone.active and not gone.lately)
        assert await cluster.replica(leader).hand_over(3.0)
        assert cluster.replica(leader).leader_id == followers[1]
        assert not await cluster.replica(leader).hand_over(3.0)


# -- members --------------------------------------------------------------------------------


async def test_a_single_member_grows_to_three(autojump_clock: MockClock) -> None:
    async with together(1) as cluster:
        await cluster.replica(1).campaign()
        for number in range(100):
            await cluster.put(1, b"%d" % number)
        await cluster.join(2)
        await cluster.join(3, learner=True)
        await until(lambda: cluster.replica(1).core.node.progress[3].match > 100)
        await cluster.change(rusd_pb2.ConfigurationChange.PROMOTE_LEARNER, 3, at=2)
        await cluster.equal()
        await cluster.members[1].crash(None)
        await cluster.leader()
        assert await cluster.put(3, b"k") == 102


async def test_a_leader_that_is_removed_says_so_and_the_others_go_on(autojump_clock: MockClock) -> None:
    async with together() as cluster:
        leader, followers = await others(cluster)
        removed = cluster.replica(leader).removed
        assert not removed.is_set()
        await cluster.change(rusd_pb2.ConfigurationChange.REMOVE_MEMBER, leader, at=followers[0])
        await removed.wait()
        await cluster.members.pop(leader).crash(None)
        assert await cluster.leader() in followers
        assert await cluster.put(followers[0], b"k") == 2
        await cluster.equal()


async def test_a_cluster_shrinks_to_one_that_goes_on_alone(autojump_clock: MockClock) -> None:
    """First a leader removes itself, then another, and last one removes its only peer."""
    async with together(4) as cluster:
        for left in (3, 2, 1):
            leader = await cluster.leader()
            assert await cluster.put(leader, b"k") == 5 - left
            gone = leader if left > 1 else next(me for me in cluster.members if me != leader)
            await cluster.change(rusd_pb2.ConfigurationChange.REMOVE_MEMBER, gone)
            if gone == leader:
                await cluster.replica(gone).removed.wait()
            await cluster.members.pop(gone).crash(0.0)
        (last,) = cluster.members
        await cluster.members[last].crash(0.0)
        await cluster.start()
        assert await cluster.leader() == last
        assert await cluster.put(last, b"k") == 5
        assert cluster.replica(last).may_read_now()
        await cluster.equal()


async def test_a_member_that_has_yet_to_join_is_not_taken_for_removed(autojump_clock: MockClock) -> None:
    async with together(1) as cluster:
        await cluster.replica(1).campaign()
        await cluster.join(2)
        await cluster.equal()
        assert not cluster.replica(2).removed.is_set()


# -- messages that no correct peer sends --------------------------------------------------------


async def test_garbage_is_dropped_and_said_once(autojump_clock: MockClock) -> None:
    async with together() as cluster:
        leader, (follower, other) = await others(cluster)
        replica = cluster.replica(follower)
        term = replica.term
        good = {"type": MessageType.APPEND_ENTRIES, "from_": leader, "to": follower, "term": term}
        last = replica.core.node.last_index
        for wrong in (
            {"to": other},
            {"from_": 0},
            {"from_": follower},
            {"term": 0},
            {"term": 1 << 63},
            {"type": MessageType.INSTALL_SNAPSHOT},
            {"index": last, "log_term": term, "entries": [Entry(term, last + 2)]},
            {"index": last, "log_term": term, "entries": [Entry(term + 1, last + 1)]},
            {"index": last, "log_term": term, "entries": [Entry(term, last + 1, 1, b"?")]},  # type: ignore[arg-type]
        ):
            replica.receive([Message(**(good | wrong))])  # type: ignore[arg-type]
        replica.receive(
            [
                Message(
                    type=MessageType.READ_INDEX_RESPONSE, from_=leader, to=follower, term=term, context=b"?"
                )
            ]
        )
        assert replica.core.node.last_index == last
        assert await cluster.put(follower, b"k") == 2
        assert await cluster.leader() == leader
        said = cluster.members[follower].sink.events("dropped a message that no correct peer sends")
        assert len(said) == 1


async def test_a_broken_invariant_ends_the_replica_not_its_caller(autojump_clock: MockClock) -> None:
    with pytest.RaisesGroup(InvariantViolation, flatten_subgroups=True):
        async with together() as cluster:
            leader, (follower, _) = await others(cluster)
            replica = cluster.replica(follower)
            commit = Message(
                type=MessageType.HEARTBEAT,
                from_=leader,
                to=follower,
                term=replica.term,
                commit=replica.core.node.last_index + 100,
            )
            replica.receive([commit])
            replica.receive([commit])  # it takes nothing any more
            await trio.sleep_forever()


async def test_requests_to_a_stopped_replica_are_refused(autojump_clock: MockClock) -> None:
    async with together() as cluster:
        leader = await cluster.leader()
        cluster.replica(leader).stop()
        with pytest.raises(ReplicaError):
            await cluster.change(rusd_pb2.ConfigurationChange.REMOVE_MEMBER, 2, at=leader)
