"""Whole servers in a cluster: they find each other, and any of them serves whatever one is asked for."""

from __future__ import annotations

from typing import Any

from etcdpb import rpc_pb2
from tests.support.town import town


async def test_founders_find_each_other_and_agree_on_members_and_version(autojump_clock: Any) -> None:
    async with town("a", "b", "c") as cluster:
        leader = await cluster.leader()
        await leader.put(b"k", b"v")
        for house in cluster.houses.values():
            assert await house.value(b"k") == b"v"
            assert [member.name for member in await house.members()] == sorted(
                "abc", key=lambda name: cluster[name].id
            )
            status = await house.status()
            assert (status.leader, status.storageVersion) == (leader.id, "3.6.0")
            assert not status.isLearner
            assert list(status.errors) == []


async def test_a_write_through_any_member_is_seen_by_all(autojump_clock: Any) -> None:
    async with town("a", "b", "c") as cluster:
        for name in "abc":
            await cluster[name].put(name.encode(), b"1")
        request = rpc_pb2.RangeRequest(key=b"\0", range_end=b"\0", count_only=True)
        for name in "abc":
            assert (await cluster[name].call("KV/Range", request)).count == 3


async def test_without_its_leader_the_others_go_on_and_it_comes_back(autojump_clock: Any) -> None:
    async with town("a", "b", "c") as cluster:
        first = await cluster.leader()
        await first.put(b"k", b"1")
        await cluster.stop(first.name)
        second = await cluster.leader()
        assert second is not first
        await second.put(b"k", b"2")
        await cluster.start(first.name)
        assert await first.value(b"k") == b"2"
        assert any(event["msg"] == "restarting local member" for event in first.sink.events())


async def test_a_member_takes_entries_larger_than_it_would_accept_from_clients(autojump_clock: Any) -> None:
    async with town("a", "b", "c", max_request_bytes=8_000_000) as cluster:
        restarted = (await cluster.followers())[0]
        await cluster.stop(restarted.name)
        leader = await cluster.leader()
        await leader.put(b"k", bytes(6_000_000))
        await cluster.start(restarted.name, max_request_bytes=1_000_000)
        value = await restarted.value(b"k")
        assert value is not None
        assert len(value) == 6_000_000
