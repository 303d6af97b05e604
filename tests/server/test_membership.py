"""Members that come, are promoted, move and go, in whole clusters."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from etcdpb import rpc_pb2
from etcdpb.rpc_pb2 import (
    LeaseGrantRequest,
    MemberAddRequest,
    MemberListRequest,
    MemberPromoteRequest,
    MemberRemoveRequest,
    MemberUpdateRequest,
    PutRequest,
    RangeRequest,
    WatchRequest,
)
from rusd.config import parse_urls
from rusd.grpc import StatusError
from rusd.listeners import StartError
from rusd.server import RemovedError
from tests.support.town import House, Town, town

HEALTHY_SECONDS = 6.0
LEARNER = ("FAILED_PRECONDITION", "etcdserver: rpc not supported for learner")


async def add(house: House, url: str, *, learner: bool = False) -> Any:
    return await house.call("Cluster/MemberAdd", MemberAddRequest(peerURLs=[url], isLearner=learner))


async def join(cluster: Town, name: str, *others: str) -> House:
    """Start a member that was added as one of these."""
    return await cluster.start(
        name, initial_cluster=cluster.cluster(name, *others), initial_cluster_state="existing"
    )


async def failure_to_start(cluster: Town, name: str, **settings: Any) -> Exception:
    """Why a member does not start: tried in a nursery of its own, which the failure ends."""
    outside = cluster.nursery
    try:
        async with trio.open_nursery() as cluster.nursery:
            await cluster.start(name, **settings)
    except* Exception as group:
        error: Exception = group
    finally:
        cluster.nursery = outside
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def failure_to_join(cluster: Town, name: str, initial_cluster: str) -> str:
    error = await failure_to_start(
        cluster, name, initial_cluster=initial_cluster, initial_cluster_state="existing"
    )
    assert isinstance(error, StartError)
    return str(error)


# -- in ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("through", ["leader", "follower"])
async def test_a_learner_is_added_catches_up_and_is_promoted(through: str, autojump_clock: Any) -> None:
    async with town("a", "b", "c") as cluster:
        leader = await cluster.leader()
        asked = leader if through == "leader" else (await cluster.followers())[0]
        await leader.put(b"k", b"v")
        await trio.sleep(HEALTHY_SECONDS)
        house = cluster.build("d")

        added = await add(asked, house.peer_url, learner=True)
        assert (added.member.name, added.member.isLearner) == ("", True)
        assert added.member.ID in [member.ID for member in added.members]
        assert len(added.members) == 4
        assert added.header.revision == 0
        early = await asked.refused("Cluster/MemberPromote", MemberPromoteRequest(ID=added.member.ID))
        assert early == (
            "FAILED_PRECONDITION",
            "etcdserver: can only promote a learner member which is in sync with leader",
        )

        await join(cluster, "d", "a", "b", "c")
        assert house.id == added.member.ID
        assert (await house.status()).isLearner
        assert await house.value(b"k", serializable=True) == b"v"
        promoted = await asked.call("Cluster/MemberPromote", MemberPromoteRequest(ID=house.id))
        assert not any(member.isLearner for member in promoted.members)
        assert promoted.header.member_id == asked.id
        assert await house.value(b"k") == b"v"
        again = await asked.refused("Cluster/MemberPromote", MemberPromoteRequest(ID=house.id))
        assert again == ("FAILED_PRECONDITION", "etcdserver: can only promote a learner member")


async def test_a_learner_serves_its_status_and_serializable_ranges_alone(autojump_clock: Any) -> None:
    async with town("a", "b", "c") as cluster:
        await trio.sleep(HEALTHY_SECONDS)
        house = cluster.build("d")
        await add(cluster["a"], house.peer_url, learner=True)
        await join(cluster, "d", "a", "b", "c")

        for name, request in (
            ("KV/Range", RangeRequest(key=b"k")),
            ("KV/Put", PutRequest(key=b"k")),
            ("Lease/LeaseGrant", LeaseGrantRequest(TTL=10)),
            ("Cluster/MemberList", MemberListRequest()),
            ("Maintenance/Alarm", rpc_pb2.AlarmRequest()),
        ):
            assert await house.refused(name, request) == LEARNER
        async with house.open("Watch/Watch") as stream:
            await stream.send(WatchRequest())
            with pytest.raises(StatusError, match="rpc not supported for learner"):
                await stream.receive()
        assert await house.value(b"k", serializable=True) is None
        too_many = await cluster["a"].refused(
            "Cluster/MemberAdd", MemberAddRequest(peerURLs=["http://1.1.1.1:1"], isLearner=True)
        )
        assert too_many == ("FAILED_PRECONDITION", "etcdserver: too many learner members in cluster")


async def test_a_cluster_of_one_takes_in_a_second_voter_that_has_not_started(autojump_clock: Any) -> None:
    async with town("a") as cluster:
        house = cluster.build("b")
        added = await add(cluster["a"], house.peer_url)
        assert len(added.members) == 2
        await join(cluster, "b", "a")
        await house.put(b"k", b"v")
        assert await cluster["a"].value(b"k") == b"v"


async def test_a_member_joins_only_a_cluster_of_those_it_lists(autojump_clock: Any) -> None:
    async with town("a", "b", "c") as cluster:
        await trio.sleep(HEALTHY_SECONDS)
        house = cluster.build("d")
        everybody = cluster.cluster("a", "b", "c", "d")
        before = await failure_to_join(cluster, "d", everybody)
        assert before.endswith("}: member count is unequal")
        assert "Attributes:{Name:a ClientURLs:[http://127.0.0.1:20000]}" in before
        await add(cluster["a"], house.peer_url)
        other = everybody.replace(cluster["b"].peer_url, "http://127.0.0.1:1")
        assert "PeerURLs: no match found for existing member" in await failure_to_join(cluster, "d", other)
        nobody = "d=http://127.0.0.1:20031,x=http://127.0.0.1:1"
        assert await failure_to_join(cluster, "d", nobody) == (
            "cannot fetch cluster info from peer urls: "
            "could not retrieve cluster information from the given URLs"
        )


async def test_a_founder_that_lost_its_data_is_told_that_it_was_there(autojump_clock: Any) -> None:
    async with town("a", "b", "c") as cluster:
        identity = f"{cluster['c'].id:x}"
        await cluster.stop("c")
        port = cluster.houses.pop("c").port
        house = cluster.build("c")
        house.port = port
        error = await failure_to_start(cluster, "c")
        assert isinstance(error, StartError)
        assert str(error) == f"member {identity} has already been bootstrapped"


# -- refused ------------------------------------------------------------------------------------


async def test_members_that_make_no_sense_are_refused_in_etcds_words(autojump_clock: Any) -> None:
    async with town("a", "b", "c") as cluster:
        await trio.sleep(HEALTHY_SECONDS)
        taken = cluster["a"].peer_url
        not_found = ("NOT_FOUND", "etcdserver: member not found")
        exists = ("FAILED_PRECONDITION", "etcdserver: Peer URLs already exists")
        bad = ("INVALID_ARGUMENT", "etcdserver: given member URLs are invalid")
        leader, follower = await cluster.leader(), (await cluster.followers())[0]
        for house in (leader, follower):
            for name, request, refusal in (
                ("MemberAdd", MemberAddRequest(peerURLs=[taken]), exists),
                ("MemberAdd", MemberAddRequest(peerURLs=[]), bad),
                ("MemberAdd", MemberAddRequest(peerURLs=["http://1.1.1.1"]), bad),
                ("MemberRemove", MemberRemoveRequest(ID=1), not_found),
                ("MemberPromote", MemberPromoteRequest(ID=1), not_found),
                ("MemberUpdate", MemberUpdateRequest(ID=1, peerURLs=["http://1.1.1.1:1"]), not_found),
                ("MemberUpdate", MemberUpdateRequest(ID=cluster["b"].id, peerURLs=[taken]), exists),
            ):
                assert await house.refused(f"Cluster/{name}", request) == refusal


async def test_changes_that_endanger_the_quorum_are_refused(autojump_clock: Any) -> None:
    async with town("a", "b", "c") as cluster:
        young = await cluster["a"].refused(
            "Cluster/MemberAdd", MemberAddRequest(peerURLs=["http://1.1.1.1:1"])
        )
        assert young == ("UNAVAILABLE", "etcdserver: unhealthy cluster")
        await trio.sleep(HEALTHY_SECONDS)
        await cluster.stop("c")
        await cluster.leader()
        await trio.sleep(HEALTHY_SECONDS)
        down = await cluster["a"].refused(
            "Cluster/MemberAdd", MemberAddRequest(peerURLs=["http://1.1.1.1:1"])
        )
        assert down == ("UNAVAILABLE", "etcdserver: unhealthy cluster")
        alive = await cluster["a"].refused("Cluster/MemberRemove", MemberRemoveRequest(ID=cluster["b"].id))
        assert alive == ("UNAVAILABLE", "etcdserver: unhealthy cluster")
        await cluster["a"].call("Cluster/MemberRemove", MemberRemoveRequest(ID=cluster["c"].id))


# -- out, and elsewhere ----------------------------------------------------------------------------


@pytest.mark.parametrize("leads", [False, True])
async def test_a_removed_member_says_so_and_never_comes_back(leads: bool, autojump_clock: Any) -> None:
    async with town("a", "b", "c") as cluster:
        await trio.sleep(HEALTHY_SECONDS)
        leader = await cluster.leader()
        gone, rest = leader, (await cluster.followers())[0]
        if not leads:
            gone, rest = rest, leader
        identity = gone.id
        answer = await gone.call("Cluster/MemberRemove", MemberRemoveRequest(ID=identity))
        assert identity not in [member.ID for member in answer.members]
        await gone.ended.wait()
        assert isinstance(gone.failure, BaseExceptionGroup)
        assert gone.failure.subgroup(RemovedError)
        (line,) = gone.sink.events("server error")
        assert line["error"] == "the member has been permanently removed from the cluster"
        await cluster.leader()
        await rest.put(b"k", b"v")

        again = await rest.refused("Cluster/MemberRemove", MemberRemoveRequest(ID=identity))
        assert again == ("NOT_FOUND", "etcdserver: member not found")
        gone.sink.lines.clear()
        gone.client = gone.server = None
        assert isinstance(await failure_to_start(cluster, gone.name), RemovedError)


async def test_a_member_moves_to_another_address(autojump_clock: Any) -> None:
    async with town("a", "b", "c") as cluster:
        mover = (await cluster.followers())[0]
        identity = mover.id
        await cluster.stop(mover.name)
        new = parse_urls("http://127.0.0.1:29999")
        leader = await cluster.leader()
        answer = await leader.call(
            "Cluster/MemberUpdate", MemberUpdateRequest(ID=identity, peerURLs=[str(new[0])])
        )
        assert [list(member.peerURLs) for member in answer.members if member.ID == identity] == [
            [str(new[0])]
        ]
        await cluster.start(mover.name, listen_peer_urls=new, initial_advertise_peer_urls=new)
        await leader.put(b"k", b"v")
        assert await mover.value(b"k") == b"v"
        assert mover.id == identity


async def test_the_last_of_a_lost_cluster_goes_on_alone_when_it_is_forced_to(autojump_clock: Any) -> None:
    async with town("a", "b", "c") as cluster:
        await cluster["a"].put(b"k", b"v")
        for name in "abc":
            await cluster.stop(name)
        house = await cluster.start("b", force_new_cluster=True)
        assert [member.ID for member in await house.members()] == [house.id]
        assert await house.value(b"k") == b"v"
        await house.put(b"k", b"w")
        await cluster.stop("b")
        await cluster.start("b")
        assert [member.ID for member in await house.members()] == [house.id]
        assert await house.value(b"k") == b"w"
