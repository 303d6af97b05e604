"""A few members side by side, for tests that say themselves what happens to them."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio

from etcdpb import rpc_pb2, rusd_pb2
from rusd.replica import Replica
from rusd.state import Kind
from tests.cluster.member import Member, url
from tests.cluster.model import Model
from tests.cluster.network import Network

LONG = 60.0
"""Seconds of a mock clock."""


class Together:
    """Members that found a cluster, and those that join them."""

    def __init__(self, nursery: trio.Nursery, lives: trio.Nursery, size: int) -> None:
        self.network = Network(nursery, random.Random(7))
        self.model = Model()
        self._lives = lives
        self.members = {me: self._member(me, size) for me in range(1, size + 1)}

    def _member(self, me: int, founding: int) -> Member:
        return Member(me, founding, self.network, self.model, random.Random(me))

    async def start(self, *members: int) -> None:
        """Start the processes of these, or of all."""
        for me in members or tuple(self.members):
            await self._lives.start(self.members[me].live)

    async def start_or_die(self, me: int) -> None:
        """Start a process that may not get far."""
        self._lives.start_soon(self.members[me].live)
        await trio.sleep(0.1)

    async def join(self, me: int, *, learner: bool = False) -> None:
        """Start another machine, and add it to the cluster."""
        self.members[me] = self._member(me, 0)
        await self.start(me)
        kinds = rusd_pb2.ConfigurationChange
        await self.change(kinds.ADD_LEARNER if learner else kinds.ADD_MEMBER, me)

    async def change(self, kind: rusd_pb2.ConfigurationChange.Type, me: int, *, at: int = 0) -> object:
        """Change the configuration, at a member or the leader."""
        change = rusd_pb2.ConfigurationChange(type=kind, member=rusd_pb2.Member(id=me, peer_urls=[url(me)]))
        replica = self.replica(at) if at else self.replica(await self.leader())
        return await replica.change_configuration(change)

    def replica(self, me: int) -> Replica:
        """The running replica of a member."""
        replica = self.members[me].replica
        assert replica is not None, f"{me} is down"
        return replica

    async def leader(self) -> int:
        """Who leads, as soon as somebody does whom a majority follows."""
        found = 0

        def is_settled() -> bool:
            nonlocal found
            replicas = [each.replica for each in self.members.values() if each.replica is not None]
            leaders = [each for each in replicas if each.leadership.is_certain()]
            for leader in leaders:
                node = leader.core.node
                followers = {each.core.node.id for each in replicas if each.leader_id == node.id}
                if len(followers & node.configuration.voters) * 2 > len(node.configuration.voters):
                    found = node.id
                    return leader.core.applied_term == node.term
            return False

        await until(is_settled)
        return found

    async def put(self, me: int, key: bytes, value: bytes = b"") -> int:
        """The revision that a put at ``me`` makes."""
        request = rpc_pb2.PutRequest(key=key, value=value)
        result = await self.replica(me).propose_and_wait(Kind.PUT, request)
        return int(result.revision)  # type: ignore[attr-defined]

    async def equal(self) -> None:
        """Return when all members that are up have applied the same."""
        running = [each for each in self.members.values() if each.replica is not None]
        await until(
            lambda: (
                len({each.replica.core.applied_index for each in running if each.replica is not None}) == 1
            )
        )
        assert len({each.machine.store.current_revision for each in running}) == 1
        assert len({tuple(each.machine.members.all()) for each in running}) == 1
        for each in running:
            assert each.replica is not None
            each.replica.core.check()
            each.machine.check()


async def until(condition: Callable[[], bool]) -> None:
    """Let time pass until ``condition`` holds."""
    with trio.fail_after(LONG):
        while not condition():
            await trio.sleep(0.01)


@asynccontextmanager
async def together(size: int = 3, *, start: bool = True) -> AsyncIterator[Together]:
    """``size`` members that found a cluster; under a mock clock."""
    async with trio.open_nursery() as nursery, trio.open_nursery() as lives:
        cluster = Together(nursery, lives, size)
        if start:
            await cluster.start()
        yield cluster
        lives.cancel_scope.cancel()
        nursery.cancel_scope.cancel()
