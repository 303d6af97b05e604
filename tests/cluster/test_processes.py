"""Clusters of real processes under load: members that were away for long, that come, and that go.

Speeds are printed (``pytest -s``), never judged: machines differ, and other tests run beside these.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message

from chaos.cluster import Member, running
from chaos.server import find_server
from etcdpb import rpc_pb2
from rusd.grpc import StatusError
from tests.cluster.load import Calls, writing
from tests.cluster.processes import caught_up, check_that_all_agree, events, until

MISSED = 200_000
CLUSTER = "/etcdserverpb.Cluster/"
Listed = dict[str, Any]
"""The members by their peer URLs."""
FLAGS = ("--quota-backend-bytes=8589934592",)


@pytest.mark.long
async def test_a_member_that_missed_200_000_writes_catches_up_by_a_snapshot_under_load(
    tmp_path: Path,
) -> None:
    async with running(find_server("rusd"), 3, tmp_path, more=FLAGS, proxied=False) as cluster:
        calls = Calls(cluster)
        leader = cluster.members[await calls.leader()]
        absent = cluster.members[(leader.index + 1) % 3]
        async with writing(cluster, leader.index, keys=1_000) as load:
            await load.more(5_000)
            print(f"\nall three there: {await load.measure(5)}")
            await cluster.kill(absent.index)
            print(f"one away: {await load.more(MISSED - 5_000)}")
            print(f"one away, at the end: {await load.more(5_000)}")

            puts = load.puts
            cluster.launch(absent.index)
            seconds = await caught_up(calls, absent, leader)
            while_catching_up = (load.puts - puts) / seconds
            print(f"catching up: {seconds:.1f} s, {while_catching_up:.0f} puts a second meanwhile")
            print(f"all three there: {await load.measure(5)}")
        assert len(events(absent, "applied snapshot")) >= 1
        await check_that_all_agree(calls, cluster, load)


class Reconfiguration:
    """Changes of the membership, asked of one member.

    A cluster under load refuses some for a while, and a call that fails may have been carried out: so each is
    tried until the list of members shows it.
    """

    def __init__(self, calls: Calls, through: Member) -> None:
        self._calls = calls
        self._through = through

    async def add(self, url: str, *, learner: bool) -> int:
        """The new member's id."""
        request = rpc_pb2.MemberAddRequest(peerURLs=[url], isLearner=learner)
        listed = await self._until("MemberAdd", request, lambda listed: url in listed)
        return listed[url].ID

    async def promote(self, member: Member) -> None:
        request = rpc_pb2.MemberPromoteRequest(ID=member.id)
        await self._until("MemberPromote", request, lambda listed: not listed[member.peer_url].isLearner)

    async def remove(self, member: Member) -> None:
        request = rpc_pb2.MemberRemoveRequest(ID=member.id)
        await self._until("MemberRemove", request, lambda listed: member.peer_url not in listed)

    async def _until(self, name: str, request: Message, holds: Callable[[Listed], bool]) -> Listed:
        listed: Listed = {}

        async def done() -> bool:
            nonlocal listed
            try:
                listed = await self._list()
                if not holds(listed):
                    await self._ask(name, request)
            except (StatusError, OSError):
                return False
            return holds(listed)

        await until(done, name)
        return listed

    async def _list(self) -> Listed:
        answer = rpc_pb2.MemberListResponse()
        answer.ParseFromString(await self._ask("MemberList", rpc_pb2.MemberListRequest(linearizable=True)))
        return {url: member for member in answer.members for url in member.peerURLs}

    async def _ask(self, name: str, request: Message) -> bytes:
        return await self._calls.ask(self._through, CLUSTER + name, request.SerializeToString())


@pytest.mark.long
async def test_members_come_and_go_and_are_replaced_under_load(tmp_path: Path) -> None:
    async with running(find_server("rusd"), 3, tmp_path, more=FLAGS, proxied=False) as cluster:
        calls = Calls(cluster)
        leader = cluster.members[await calls.leader()]
        leaving = cluster.members[(leader.index + 1) % 3]
        replaced = cluster.members[(leader.index + 2) % 3]
        change = Reconfiguration(calls, leader)
        async with writing(cluster, leader.index, keys=1_000) as load:
            await load.more(20_000)
            newcomer = cluster.prepare()
            cluster.joins(newcomer.index, await change.add(newcomer.peer_url, learner=True))
            print(f"\na learner catches up: {await caught_up(calls, newcomer, leader):.1f} s")
            assert (await calls.status(newcomer)).isLearner
            await change.promote(newcomer)

            await load.more(5_000)
            await change.remove(leaving)
            await until(lambda: _ended(leaving), "a removed member ends")
            await cluster.leaves(leaving.index)
            await load.more(5_000)

            await cluster.kill(replaced.index)
            await load.more(20_000)
            await change.remove(replaced)
            shutil.rmtree(replaced.folder)
            cluster.renew(replaced.index, await change.add(replaced.peer_url, learner=False))
            cluster.launch(replaced.index)
            print(f"a replaced member catches up: {await caught_up(calls, replaced, leader):.1f} s")
            await load.more(5_000)
        for member in (newcomer, replaced):
            assert len(events(member, "applied snapshot")) >= 1, member.name
            assert not (await calls.status(member)).isLearner
        await check_that_all_agree(calls, cluster, load)


async def _ended(member: Member) -> bool:
    return not member.running
