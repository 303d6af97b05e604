"""The Election service: campaigns, proclamations, resignations, and who watches them."""

from __future__ import annotations

import trio
import trio.testing

from etcdpb.rpc_pb2 import LeaseRevokeRequest
from etcdpb.v3election_pb2 import (
    CampaignRequest,
    CampaignResponse,
    LeaderKey,
    LeaderRequest,
    ProclaimRequest,
    ResignRequest,
)
from tests.support.inprocess import Etcd, Stream, running

NO_LEADER = ("UNKNOWN", "election: no leader")
NOT_LEADER = ("UNKNOWN", "election: not leader")
MISSING = ("UNKNOWN", '"leader" field must be provided')


class Candidate:
    """A task that campaigns; ``won`` is its answer."""

    def __init__(self, etcd: Etcd, lease: int, value: bytes) -> None:
        self.etcd = etcd
        self.lease = lease
        self.value = value
        self.won: CampaignResponse | None = None
        self.scope = trio.CancelScope()

    async def run(self) -> None:
        with self.scope:
            request = CampaignRequest(name=b"name", lease=self.lease, value=self.value)
            self.won = await self.etcd.call("Election/Campaign", request)

    @property
    def leader(self) -> LeaderKey:
        assert self.won is not None
        return self.won.leader


async def stand(etcd: Etcd, nursery: trio.Nursery, lease: int, value: bytes | None = None) -> Candidate:
    await etcd.grant(600, lease)
    candidate = Candidate(etcd, lease, b"%d" % lease if value is None else value)
    nursery.start_soon(candidate.run)
    await trio.testing.wait_all_tasks_blocked()
    return candidate


async def leader_value(etcd: Etcd) -> bytes:
    answer = await etcd.call("Election/Leader", LeaderRequest(name=b"name"))
    return bytes(answer.kv.value)


async def observed(stream: Stream) -> tuple[bytes, bytes, int]:
    answer = await stream.receive()
    return answer.kv.key, answer.kv.value, answer.header.revision


async def test_the_first_candidate_leads_and_the_others_follow_in_order() -> None:
    async with running() as etcd, trio.open_nursery() as nursery:
        assert await etcd.refused("Election/Leader", LeaderRequest(name=b"name")) == NO_LEADER
        one, two, three = [await stand(etcd, nursery, lease) for lease in (1, 2, 3)]
        assert one.won is not None
        assert one.leader == LeaderKey(name=b"name", key=b"name/1", rev=2, lease=1)
        assert one.won.header.revision == 2
        assert (two.won, three.won) == (None, None)
        assert await leader_value(etcd) == b"1"
        answer = await etcd.call("Election/Resign", ResignRequest(leader=one.leader))
        assert answer.header.revision == 5
        await trio.testing.wait_all_tasks_blocked()
        assert two.leader.rev == 3
        assert await leader_value(etcd) == b"2"
        await etcd.call("Lease/LeaseRevoke", LeaseRevokeRequest(ID=2))
        await trio.testing.wait_all_tasks_blocked()
        assert three.leader.key == b"name/3"


async def test_campaigning_again_changes_the_value() -> None:
    async with running() as etcd, trio.open_nursery() as nursery:
        one = await stand(etcd, nursery, 1)
        request = CampaignRequest(name=b"name", lease=1, value=b"new")
        again = await etcd.call("Election/Campaign", request)
        assert again.leader == one.leader
        assert await leader_value(etcd) == b"new"
        before = (await etcd.get(b"x")).header.revision
        await etcd.call("Election/Campaign", request)
        assert (await etcd.get(b"x")).header.revision == before  # the same value: nothing to write


async def test_without_a_lease_the_server_makes_one() -> None:
    async with running() as etcd:
        answer = await etcd.call("Election/Campaign", CampaignRequest(name=b"name", value=b"v"))
        assert answer.leader.lease > 0
        assert answer.leader.key == b"name/%x" % answer.leader.lease


async def test_a_candidate_who_gives_up_leaves_the_queue() -> None:
    async with running() as etcd, trio.open_nursery() as nursery:
        one, two, three = [await stand(etcd, nursery, lease) for lease in (1, 2, 3)]
        two.scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert (await etcd.get(b"name/2")).count == 0
        await etcd.call("Election/Resign", ResignRequest(leader=one.leader))
        await trio.testing.wait_all_tasks_blocked()
        assert three.won is not None


async def test_only_the_leader_proclaims() -> None:
    async with running() as etcd, trio.open_nursery() as nursery:
        one = await stand(etcd, nursery, 1)
        answer = await etcd.call("Election/Proclaim", ProclaimRequest(leader=one.leader, value=b"new"))
        assert answer.header.revision == 3
        assert await leader_value(etcd) == b"new"
        assert (await etcd.get(b"name/1")).kvs[0].lease == 1
        other = LeaderKey(name=b"name", key=b"name/1", rev=99, lease=1)
        assert await etcd.refused("Election/Proclaim", ProclaimRequest(leader=other)) == NOT_LEADER
        assert await etcd.refused("Election/Proclaim", ProclaimRequest()) == MISSING
        await etcd.call("Election/Resign", ResignRequest(leader=one.leader))
        gone = ProclaimRequest(leader=one.leader, value=b"late")
        assert await etcd.refused("Election/Proclaim", gone) == NOT_LEADER


async def test_resigning_what_one_is_not_does_nothing() -> None:
    async with running() as etcd, trio.open_nursery() as nursery:
        await stand(etcd, nursery, 1)
        other = LeaderKey(name=b"name", key=b"name/1", rev=99, lease=1)
        assert (await etcd.call("Election/Resign", ResignRequest(leader=other))).header.revision == 2
        assert await leader_value(etcd) == b"1"
        assert await etcd.refused("Election/Resign", ResignRequest()) == MISSING


async def test_errors_of_the_store_are_unknown_errors() -> None:
    async with running() as etcd:
        refused = await etcd.refused("Election/Campaign", CampaignRequest(name=b"name", lease=5))
        assert refused == ("UNKNOWN", "etcdserver: requested lease not found")


async def test_an_observer_sees_every_value_of_every_leader() -> None:
    async with running() as etcd, trio.open_nursery() as nursery:
        async with etcd.open("Election/Observe", LeaderRequest(name=b"name")) as stream:
            assert await stream.is_silent()  # nobody leads yet
            one = await stand(etcd, nursery, 1)
            assert await observed(stream) == (b"name/1", b"1", 2)
            two = await stand(etcd, nursery, 2)
            await etcd.call("Election/Proclaim", ProclaimRequest(leader=one.leader, value=b"x"))
            assert await observed(stream) == (b"name/1", b"x", 4)
            await etcd.call("Election/Resign", ResignRequest(leader=one.leader))
            assert await observed(stream) == (b"name/2", b"2", 5)
            await trio.testing.wait_all_tasks_blocked()  # until the second one knows it, too
            await etcd.call("Election/Proclaim", ProclaimRequest(leader=two.leader, value=b"y"))
            assert await observed(stream) == (b"name/2", b"y", 6)
            await etcd.call("Election/Resign", ResignRequest(leader=two.leader))
            assert await stream.is_silent()
            await stand(etcd, nursery, 3)
            assert await observed(stream) == (b"name/3", b"3", 8)


async def test_an_observer_who_comes_late_sees_the_present_leader() -> None:
    async with running() as etcd, trio.open_nursery() as nursery:
        await stand(etcd, nursery, 1)
        await etcd.put(b"unrelated")
        async with etcd.open("Election/Observe", LeaderRequest(name=b"name")) as stream:
            assert await observed(stream) == (b"name/1", b"1", 3)
