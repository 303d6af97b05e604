"""Faults of disks: slow, full, failing; and the store that is as full as its quota allows.

The first three need Linux, but not root: see :mod:`chaos.syscalls`.  The last works everywhere: it is
etcd's own idea of full, which raises an alarm that stops all writes until somebody makes room.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Awaitable, Callable

import attrs
import trio

from chaos import syscalls
from chaos.client import CallError
from chaos.faults.base import Fault, Plan, Stage
from chaos.model import Delete, Put, prefix_end
from etcdpb import rpc_pb2

QUOTA_BYTES = 32 * 1024 * 1024
FILLER_PREFIX = "filler/"
FILLER_BYTES = 1024 * 1024
ROOM_SECONDS = 40.0
DEATH_SECONDS = 5.0
"""What a server may take from a failed sync to its end before it counts as having survived."""


@attrs.frozen
class SlowDisk:
    """Syncs take long."""

    name: str = "slow-disk"
    summary: str = "each sync of one member takes 20 ms to 1 s longer"
    nodes: int = 1
    alone: bool = False
    flags: tuple[str, ...] = ()

    def plan(self, chance: random.Random, nodes: int, at: float, seconds: float) -> Plan:
        amount = chance.choice((0.02, 0.1, 0.3, 1.0))
        return Plan(at, seconds, self.name, (chance.randrange(nodes),), chance.random() < 0.5, "", amount)

    async def play(self, stage: Stage, plan: Plan) -> str:
        (member,) = stage.aim(plan)
        gate = stage.gates.get(member)
        if gate is None:
            return "not possible on this system"
        gate.delay = plan.amount
        try:
            await trio.sleep(plan.seconds)
        finally:
            gate.delay = 0.0
        return f"n{member}: {plan.amount} s more for {gate.held} syncs"


@attrs.frozen
class BadDisk:
    """Syncs fail, which a server may only survive by ending."""

    name: str
    summary: str
    number: int
    nodes: int = 1
    alone: bool = False
    flags: tuple[str, ...] = ()

    def plan(self, chance: random.Random, nodes: int, at: float, seconds: float) -> Plan:
        return Plan(at, seconds, self.name, (chance.randrange(nodes),), chance.random() < 0.4)

    async def play(self, stage: Stage, plan: Plan) -> str:
        (member,) = stage.aim(plan)
        gate = stage.gates.get(member)
        if gate is None:
            return "not possible on this system"
        before, ended = gate.held, False
        stage.cluster.let_end(member)
        gate.error = self.number
        try:
            await trio.sleep(plan.seconds)
            gate.error = 0
            if gate.held > before:
                ended = await stage.cluster.ends(member, DEATH_SECONDS)
        finally:
            gate.error = 0
            stage.cluster.launch(member)
        failed, what = gate.held - before, errno.errorcode[self.number]
        return f"n{member}: {failed} syncs failed with {what}, {'ended' if ended else 'survived'}"


@attrs.frozen
class Quota:
    """The store is filled up to its quota, and cleared again."""

    name: str = "quota"
    summary: str = "the store is filled to its quota; later compacted, defragmented, and the alarm disarmed"
    nodes: int = 1
    alone: bool = True
    flags: tuple[str, ...] = (f"--quota-backend-bytes={QUOTA_BYTES}",)

    def plan(self, chance: random.Random, nodes: int, at: float, seconds: float) -> Plan:
        return Plan(at, seconds, self.name, (chance.randrange(nodes),))

    async def play(self, stage: Stage, plan: Plan) -> str:
        member, written = plan.members[0], 0
        try:
            async with stage.session(self.name, member) as session:
                for number in range(2 * QUOTA_BYTES // FILLER_BYTES):
                    value = f"{session.unique()}." + "x" * FILLER_BYTES
                    if await session.do(Put(f"{FILLER_PREFIX}{number:03}", value)) is None:
                        break
                    written += 1
            await trio.sleep(plan.seconds)
        finally:
            with trio.move_on_after(ROOM_SECONDS, shield=True):
                await self._make_room(stage)
        return f"full after {written} values of {FILLER_BYTES} bytes"

    async def _make_room(self, stage: Stage) -> None:
        async with stage.session(self.name, 0) as session:
            while await session.do(Delete(FILLER_PREFIX, prefix_end(FILLER_PREFIX))) is None:
                pass
        await stage.compact(0)
        for member in range(stage.cluster.size):
            await _insist(stage, member, _defragment)
        await _insist(stage, 0, _disarm)


Work = Callable[[Stage, int], Awaitable[None]]


async def _insist(stage: Stage, member: int, work: Work) -> None:
    while True:
        try:
            await work(stage, member)
        except CallError:
            await trio.sleep(0.2)
        else:
            return


async def _defragment(stage: Stage, member: int) -> None:
    async with stage.client(member) as client:
        await client.call(
            "/etcdserverpb.Maintenance/Defragment",
            rpc_pb2.DefragmentRequest(),
            rpc_pb2.DefragmentResponse,
            timeout=10,
        )


async def _disarm(stage: Stage, member: int) -> None:
    """Disarm whatever space alarm any member has raised."""
    async with stage.client(member) as client:
        listed = await client.call(
            "/etcdserverpb.Maintenance/Alarm", rpc_pb2.AlarmRequest(), rpc_pb2.AlarmResponse
        )
        for alarm in listed.alarms:
            if alarm.alarm == rpc_pb2.NOSPACE:
                disarm = rpc_pb2.AlarmRequest(
                    action=rpc_pb2.AlarmRequest.DEACTIVATE, memberID=alarm.memberID, alarm=alarm.alarm
                )
                await client.call("/etcdserverpb.Maintenance/Alarm", disarm, rpc_pb2.AlarmResponse)


FAULTS: tuple[Fault, ...] = (
    SlowDisk(),
    BadDisk("full-disk", "syncs of one member fail with ENOSPC; it is started again later", errno.ENOSPC),
    BadDisk("bad-disk", "syncs of one member fail with EIO; it is started again later", errno.EIO),
    Quota(),
)


def gates_needed(names: set[str]) -> bool:
    """Whether a schedule with these faults needs members' syncs to be in our hands."""
    return bool(names & {"slow-disk", "full-disk", "bad-disk"}) and syscalls.available()
