"""What etcd's members ask each other over HTTP, as a tool or one of them could ask here."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio

from etcdpb import rpc_pb2, rusd_pb2
from tests.support.http import Answer, ask
from tests.support.town import House, Town, town

TEXT = "text/plain; charset=utf-8"


async def peer(house: House, target: str, method: str = "GET", body: bytes = b"", **headers: str) -> Answer:
    fields = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return await ask(house.environment, house.peer_url, target, method, body, fields)


def cluster_of(house: House) -> str:
    assert house.server is not None
    return f"{house.server.cluster_id:x}"


async def trouble(cluster: Town, *targets: tuple[House, str, str, bytes]) -> list[tuple[int, str]]:
    """Status and text of answers that are errors."""
    answers = [await peer(house, target, method, body) for house, target, method, body in targets]
    assert all(answer.headers["content-type"] == TEXT for answer in answers)
    return [(answer.status, answer.body) for answer in answers]


@pytest.mark.parametrize(
    ("target", "method", "allowed"),
    [
        ("/members", "POST", "GET"),
        ("/members/hashkv", "POST", "GET"),
        ("/members/promote/1", "GET", "POST"),
        ("/downgrade/enabled", "PUT", "GET"),
        ("/version", "DELETE", "GET"),
        ("/leases", "GET", None),
        ("/leases/internal", "GET", None),
    ],
)
async def test_each_path_has_one_method(
    target: str, method: str, allowed: str | None, autojump_clock: Any
) -> None:
    async with town("a") as cluster:
        answer = await peer(cluster["a"], target, method)
        assert (answer.status, answer.body) == (405, "Method Not Allowed\n")
        assert answer.headers.get("allow") == allowed
        for unknown in ("/leases/", "/members/", "/downgrade", "/raft"):
            assert (await peer(cluster["a"], unknown, method)).status == 404


# -- leases ---------------------------------------------------------------------------------------


def renewal(lease: int) -> bytes:
    return rpc_pb2.LeaseKeepAliveRequest(ID=lease).SerializeToString()


def question(lease: int, *, keys: bool = False) -> bytes:
    asked = rpc_pb2.LeaseTimeToLiveRequest(ID=lease, keys=keys)
    return rusd_pb2.LeaseInternalRequest(LeaseTimeToLiveRequest=asked).SerializeToString()


async def test_the_leader_renews_leases_and_tells_how_long_they_have(autojump_clock: Any) -> None:
    async with town("a", "b", "c") as cluster:
        leader = await cluster.leader()
        lease = (await leader.call("Lease/LeaseGrant", rpc_pb2.LeaseGrantRequest(TTL=30))).ID
        await leader.put(b"k", lease=lease)
        await trio.sleep(10)
        left = await peer(leader, "/leases/internal", "POST", question(lease, keys=True))
        found = rusd_pb2.LeaseInternalResponse.FromString(left.raw).LeaseTimeToLiveResponse
        assert (found.ID, found.grantedTTL, list(found.keys)) == (lease, 30, [b"k"])
        assert 18 <= found.TTL <= 20
        assert found.HasField("header")
        assert not found.header.cluster_id
        assert left.headers["content-type"] == "application/protobuf"

        renewed = await peer(leader, "/leases", "POST", renewal(lease))
        assert rpc_pb2.LeaseKeepAliveResponse.FromString(renewed.raw) == rpc_pb2.LeaseKeepAliveResponse(
            ID=lease, TTL=30
        )
        left = await peer(leader, "/leases/internal", "POST", question(lease))
        found = rusd_pb2.LeaseInternalResponse.FromString(left.raw).LeaseTimeToLiveResponse
        assert found.TTL >= 29
        assert not found.keys


async def test_questions_about_leases_that_make_no_sense_are_refused(autojump_clock: Any) -> None:
    async with town("a", "b", "c") as cluster:
        leader, follower = await cluster.leader(), (await cluster.followers())[0]
        assert await trouble(
            cluster,
            (leader, "/leases", "POST", renewal(77)),
            (leader, "/leases/internal", "POST", question(77)),
            (follower, "/leases", "POST", renewal(77)),
            (follower, "/leases/internal", "POST", question(77)),
            (leader, "/leases", "POST", b"\xff"),
            (leader, "/leases/internal", "POST", b"\xff"),
            (leader, "/leases/internal", "POST", b""),
            (leader, "/leases", "POST", bytes(70_000)),
            (leader, "/leases/internal", "POST", bytes(70_000)),
        ) == [
            (404, "lease not found\n"),
            (404, "lease not found\n"),
            (400, "not a primary lessor\n"),
            (500, "not a primary lessor\n"),
            (400, "error unmarshalling request\n"),
            (400, "error unmarshalling request\n"),
            (400, "error unmarshalling request\n"),
            (413, "request body too large\n"),
            (413, "request body too large\n"),
        ]


# -- members --------------------------------------------------------------------------------------


@pytest.mark.parametrize("through", ["leader", "follower"])
async def test_a_learner_is_promoted_by_whoever_is_asked(through: str, autojump_clock: Any) -> None:
    async with town("a", "b", "c") as cluster:
        leader, follower = await cluster.leader(), (await cluster.followers())[0]
        asked = leader if through == "leader" else follower
        await trio.sleep(6)
        house = cluster.build("d")
        request = rpc_pb2.MemberAddRequest(peerURLs=[house.peer_url], isLearner=True)
        learner = (await asked.call("Cluster/MemberAdd", request)).member.ID
        target = f"/members/promote/{learner}"
        assert await trouble(cluster, (asked, target, "POST", b"")) == [
            (412, "etcdserver: can only promote a learner member which is in sync with leader\n")
        ]
        await cluster.start("d", initial_cluster=cluster.cluster(*"abcd"), initial_cluster_state="existing")
        answer = await peer(asked, target, "POST")
        assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
        assert answer.headers["x-etcd-cluster-id"] == cluster_of(asked)
        members = {member["id"]: member for member in json.loads(answer.body)}
        assert len(members) == 4
        assert members[learner]["peerURLs"] == [house.peer_url]
        assert "isLearner" not in members[learner]
        assert await trouble(
            cluster,
            (asked, target, "POST", b""),
            (asked, "/members/promote/1", "POST", b""),
            (asked, "/members/promote/x", "POST", b""),
            (asked, f"/members/promote/{2**64}", "POST", b""),
        ) == [
            (412, "membership: can only promote a learner member\n"),
            (404, "membership: ID not found\n"),
            (404, "member x not found in cluster\n"),
            (404, f"member {2**64} not found in cluster\n"),
        ]


async def test_a_promotion_that_fails_otherwise_is_an_error_of_the_server(autojump_clock: Any) -> None:
    async with town("a", "b", "c") as cluster:
        alone = (await cluster.followers())[0]
        for name in [house.name for house in cluster.houses.values() if house is not alone]:
            await cluster.stop(name)
        answer = await peer(alone, "/members/promote/7", "POST")
        assert (answer.status, answer.body) == (500, '{"message":"Internal Server Error"}')


# -- history, and versions ----------------------------------------------------------------------------


async def test_a_hash_over_http_is_the_one_over_grpc(autojump_clock: Any) -> None:
    async with town("a") as cluster:
        house = cluster["a"]
        for value in (b"1", b"2", b"3"):
            await house.put(b"k", value)
        for revision in (0, 3):
            expected = await house.call("Maintenance/HashKV", rpc_pb2.HashKVRequest(revision=revision))
            body = json.dumps({"revision": revision}).encode()
            answer = await peer(house, "/members/hashkv", body=body, X_Etcd_Cluster_ID=cluster_of(house))
            assert answer.status == 200
            assert answer.headers["x-etcd-cluster-id"] == cluster_of(house)
            assert json.loads(answer.body) == {
                "header": {"revision": 4},
                "hash": expected.hash,
                "compact_revision": -1,
                "hash_revision": revision or 4,
            }
        await house.call("KV/Compact", rpc_pb2.CompactionRequest(revision=3))
        assert await trouble(
            cluster,
            (house, "/members/hashkv", "GET", b'{"revision":1}'),
            (house, "/members/hashkv", "GET", b'{"revision":9}'),
            (house, "/members/hashkv", "GET", b""),
            (house, "/members/hashkv", "GET", b'{"revision":"1"}'),
            (house, "/members/hashkv", "GET", b"[" * 100_000),
        ) == [
            (400, "mvcc: required revision has been compacted\n"),
            (400, "mvcc: required revision is a future revision\n"),
            (400, "error unmarshalling request\n"),
            (400, "error unmarshalling request\n"),
            (400, "error unmarshalling request\n"),
        ]
        other = await peer(house, "/members/hashkv", body=b"{}", X_Etcd_Cluster_ID="77")
        assert (other.status, other.body) == (412, "cluster ID mismatch\n")


async def test_whether_a_downgrade_is_enabled_is_told_linearizably(autojump_clock: Any) -> None:
    async with town("a", "b", "c") as cluster:
        enable = rpc_pb2.DowngradeRequest(action=rpc_pb2.DowngradeRequest.ENABLE, version="3.5")
        follower = (await cluster.followers())[0]
        for body in ("false", "true"):
            for house in cluster.houses.values():
                answer = await peer(house, "/downgrade/enabled")
                assert (answer.status, answer.body) == (200, body)
                assert answer.headers["content-type"] == "text/plain"
                assert answer.headers["x-etcd-cluster-id"] == cluster_of(house)
            if body == "false":
                await follower.call("Maintenance/Downgrade", enable)
        for name in [house.name for house in cluster.houses.values() if house is not follower]:
            await cluster.stop(name)
        await trio.sleep(3)
        answer = await peer(follower, "/downgrade/enabled")
        assert answer.status == 500
        assert answer.body.startswith("failed linearized read: etcdserver: ")


async def test_nobody_joins_a_cluster_that_is_on_its_way_down(autojump_clock: Any) -> None:
    from tests.server.test_membership import failure_to_join

    async with town("a") as cluster:
        house = cluster.build("b")
        await cluster["a"].call("Cluster/MemberAdd", rpc_pb2.MemberAddRequest(peerURLs=[house.peer_url]))
        enable = rpc_pb2.DowngradeRequest(action=rpc_pb2.DowngradeRequest.ENABLE, version="3.5")
        await cluster["a"].call("Maintenance/Downgrade", enable)
        problem = await failure_to_join(cluster, "b", cluster.cluster("a", "b"))
        assert problem == "incompatible with current running cluster"
