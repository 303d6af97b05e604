"""Clusters of real processes under load: members that were away for long, that come, and that go.

Speeds are printed (``pytest -s``), never judged: machines differ, and other tests run beside these.
"""

from __future__ import annotations

import shutil
from pathlib import Path

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
REFUSALS = (
    "etcdserver: unhealthy cluster",
    "etcdserver: can only promote a learner member which is in sync with leader",
)
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
        assert (await calls.status(absent)).leader == leader.id, "there was an election"
        await check_that_all_agree(calls, cluster, load)


class Reconfiguration:
    """Changes of the membership, each tried until it succeeds: some are refused for a while."""

    def __init__(self, calls: Calls, through: Member) -> None:
        self._calls = calls
        self._through = through

    async def add(self, url: str, *, learner: bool) -> int:
        """The new member's id."""
        answer = rpc_pb2.MemberAddResponse()
        request = rpc_pb2.MemberAddRequest(peerURLs=[url], isLearner=learner)
        answer.ParseFromString(await self._until_done("MemberAdd", request))
        return answer.member.ID

    async def promote(self, member: Member) -> None:
        await self._until_done("MemberPromote", rpc_pb2.MemberPromoteRequest(ID=member.id))

    async def remove(self, member: Member) -> None:
        await self._until_done("MemberRemove", rpc_pb2.MemberRemoveRequest(ID=member.id))

    async def _until_done(self, name: str, request: Message) -> bytes:
        answers: list[bytes] = []

        async def done() -> bool:
            try:
                answers.append(
                    await self._calls.ask(self._through, CLUSTER + name, request.SerializeToString())
                )
            except StatusError as error:
                if error.message not in REFUSALS:  # it may have been carried out
                    raise
            return bool(answers)

        await until(done, name)
        return answers[0]


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
            assert await calls.leader() == leader.index, "there was an election"
        for member in (newcomer, replaced):
            assert len(events(member, "applied snapshot")) >= 1, member.name
            assert not (await calls.status(member)).isLearner
        assert load.unanswered <= 64, "a call failed though its member was there all the time"
        await check_that_all_agree(calls, cluster, load)


async def _ended(member: Member) -> bool:
    return not member.running
