"""A whole run: members, clients and faults by seed, and what must hold at the end."""

from __future__ import annotations

import random
from typing import cast

import trio

from etcdpb import rpc_pb2
from rusd.mvcc import PutResult
from rusd.replica import ReplicaError
from rusd.state import Kind
from tests.cluster.member import Member
from tests.cluster.model import Change, Model
from tests.cluster.network import Network

KEYS = tuple(b"k%d" % number for number in range(5))
CLIENTS = 4
FAULTS_SECONDS = 20.0
SETTLE_SECONDS = 60.0


class Run:
    """One cluster under one seed."""

    def __init__(self, seed: int, size: int = 3) -> None:
        self.chance = random.Random(seed)
        self.model = Model()
        self.size = size
        self.crashes = 0
        self.transfers = 0
        self.members: list[Member] = []
        self.network: Network
        self._number = 0

    async def go(self) -> None:
        """Raises :class:`AssertionError` if something does not hold."""
        async with trio.open_nursery() as nursery:
            self.network = Network(nursery, random.Random(self.chance.random()))
            self.members = [
                Member(me, self.size, self.network, self.model, random.Random(self.chance.random()))
                for me in range(1, self.size + 1)
            ]
            async with trio.open_nursery() as lives:
                for member in self.members:
                    await lives.start(member.live)
                async with trio.open_nursery() as clients:
                    for _ in range(CLIENTS):
                        clients.start_soon(self._client, random.Random(self.chance.random()))
                    with trio.move_on_after(FAULTS_SECONDS):
                        await self._play_faults(lives)
                    clients.cancel_scope.cancel()
                await self._settle(lives)
                lives.cancel_scope.cancel()
            nursery.cancel_scope.cancel()

    # -- clients ----------------------------------------------------------------------

    async def _client(self, chance: random.Random) -> None:
        while True:
            member = chance.choice(self.members)
            key = chance.choice(KEYS)
            try:
                if chance.random() < 0.6:
                    await self._put(member, key)
                else:
                    await self._get(member, key)
            except ReplicaError as error:
                self.model.failed(error)
            await trio.sleep(chance.uniform(0, 0.05))

    async def _put(self, member: Member, key: bytes) -> None:
        if member.replica is None:
            return
        self._number += 1
        value = b"v%d" % self._number
        floor = self.model.newest_told
        request = rpc_pb2.PutRequest(key=key, value=value)
        result = cast("PutResult", await self._of(member, member.replica.propose_and_wait, request))
        if result is not None:
            self.model.wrote(floor, result.revision, Change(key, value))

    async def _get(self, member: Member, key: bytes) -> None:
        replica = member.replica
        if replica is None:
            return
        floor = self.model.newest_told
        with trio.move_on_after(10):  # a process that died answers nobody
            await replica.wait_linearizable()
            if member.replica is replica:
                store = member.machine.store
                record = store.get(key)
                value = None if record is None else bytes(record.value)
                self.model.read(floor, store.current_revision, Change(key, value))

    async def _of(self, member: Member, propose, request) -> object:  # type: ignore[no-untyped-def]
        with trio.move_on_after(10):  # a process that died answers nobody
            return await propose(Kind.PUT, request)
        return None

    # -- faults -----------------------------------------------------------------------

    async def _play_faults(self, lives: trio.Nursery) -> None:
        chance = self.chance
        faults = (
            self._part,
            self._part_one_way,
            self._crash,
            self._crash,
            self._storm,
            self._slow,
            self._transfer,
        )
        while True:
            await trio.sleep(chance.uniform(0.2, 2.0))
            await chance.choice(faults)(lives)

    async def _part(self, _lives: trio.Nursery) -> None:
        """Cut a minority off."""
        away = set(self.chance.sample(range(1, self.size + 1), self.chance.randint(1, self.size // 2)))
        ids = range(1, self.size + 1)
        self.network.part([(a, b) for a in ids for b in ids if (a in away) != (b in away)])
        await trio.sleep(self.chance.uniform(0.5, 5.0))
        self.network.heal()

    async def _part_one_way(self, _lives: trio.Nursery) -> None:
        deaf = self.chance.randint(1, self.size)
        self.network.part([(other, deaf) for other in range(1, self.size + 1) if other != deaf])
        await trio.sleep(self.chance.uniform(0.5, 4.0))
        self.network.heal()

    async def _crash(self, lives: trio.Nursery) -> None:
        """Kill a process, or cut a machine's power; now and then all of them."""
        victims = self.members if self.chance.random() < 0.15 else [self.chance.choice(self.members)]
        for member in victims:
            if member.is_up:
                self.crashes += 1
                await member.crash(self.chance.choice((None, 0.0, 0.5)))
        await trio.sleep(self.chance.choice((0.1, 1.0, 4.0)))
        for member in victims:
            if not member.is_up:
                await lives.start(member.live)

    async def _storm(self, _lives: trio.Nursery) -> None:
        self.network.loss, self.network.slow_by = 0.2, 0.3
        await trio.sleep(self.chance.uniform(0.5, 3.0))
        self.network.heal()

    async def _slow(self, _lives: trio.Nursery) -> None:
        member = self.chance.choice(self.members)
        member.slow_disk_seconds = 0.5
        await trio.sleep(self.chance.uniform(0.5, 3.0))
        member.slow_disk_seconds = 0.0

    async def _transfer(self, _lives: trio.Nursery) -> None:
        for member in self.members:
            if member.leads and member.replica is not None and await member.replica.hand_over(1.0):
                self.transfers += 1

    # -- the end ----------------------------------------------------------------------

    async def _settle(self, lives: trio.Nursery) -> None:
        """Without faults, everybody agrees on everything soon, and nothing acknowledged is missing."""
        self.network.heal()
        for member in self.members:
            member.slow_disk_seconds = 0.0
            if not member.is_up:
                await lives.start(member.live)
        with trio.fail_after(SETTLE_SECONDS):
            await self._write_at_last()
            while len({self._position(member) for member in self.members}) > 1:
                await trio.sleep(0.1)
        hashes = set()
        for member in self.members:
            assert member.replica is not None
            member.replica.core.check()
            member.machine.check()
            job = member.machine.store.hash_kv(0)
            while job.result is None:
                job.step(1000)
            job.close()
            hashes.add(job.result)
            assert member.machine.store.current_revision >= self.model.newest_told
            for key in KEYS:
                record = member.machine.store.get(key)
                expected = self.model.value(key, member.machine.store.current_revision)
                assert (None if record is None else record.value) == expected
        assert len(hashes) == 1

    async def _write_at_last(self) -> None:
        while True:
            try:
                await self._put(self.members[0], b"last")
            except ReplicaError:
                await trio.sleep(0.1)
            else:
                return

    def _position(self, member: Member) -> tuple[int, int]:
        assert member.replica is not None
        core = member.replica.core
        return core.applied_index, member.machine.store.current_revision
