"""What operators do, done under load: leader moved, compaction, snapshot, defragmentation, progress."""

from __future__ import annotations

import itertools
import random

import attrs
import trio

from chaos.client import CallError, Client
from chaos.faults.base import Fault, Plan, Stage, again_and_again
from chaos.watching import Watcher
from etcdpb import rpc_pb2
from rusd.grpc import StatusError

AGAIN_SECONDS = 0.2
PROGRESS_SECONDS = 0.03
BACK = 50
"""Revisions by which a watcher that asks at once begins in the past."""
LOOK_SECONDS = 0.3
_CLUSTER = "/etcdserverpb.Cluster/"
_MAINTENANCE = "/etcdserverpb.Maintenance/"


@attrs.frozen
class Leader:
    """The leader hands over to another member."""

    name: str = "leader"
    summary: str = "leadership is handed to another member, again and again"
    nodes: int = 2
    alone: bool = False
    flags: tuple[str, ...] = ()

    def plan(self, chance: random.Random, nodes: int, at: float, seconds: float) -> Plan:
        order = tuple(chance.sample(range(nodes), nodes))
        return Plan(at, seconds, self.name, order, amount=chance.choice((0.3, 1.0, 3.0)))

    async def play(self, stage: Stage, plan: Plan) -> str:
        moved = await again_and_again(plan.seconds, plan.amount, lambda: self._move(stage, plan))
        return f"leader moved {moved} times"

    async def _move(self, stage: Stage, plan: Plan) -> bool:
        leader = stage.leader()
        if leader is None:
            return False
        target = next(member for member in plan.members if member != leader)
        request = rpc_pb2.MoveLeaderRequest(targetID=stage.cluster.id_of(target))
        try:
            async with stage.client(leader) as client:
                await client.call(f"{_MAINTENANCE}MoveLeader", request, rpc_pb2.MoveLeaderResponse)
        except CallError:
            return False
        return True


@attrs.frozen
class Compact:
    """History is compacted close to the present, again and again."""

    name: str = "compact"
    summary: str = "history is compacted close to the present, again and again"
    nodes: int = 1
    alone: bool = False
    flags: tuple[str, ...] = ()

    def plan(self, chance: random.Random, nodes: int, at: float, seconds: float) -> Plan:
        behind = float(chance.choice((0, 0, 3, 30)))
        return Plan(at, seconds, self.name, (chance.randrange(nodes),), amount=behind)

    async def play(self, stage: Stage, plan: Plan) -> str:
        done = await again_and_again(plan.seconds, AGAIN_SECONDS, lambda: stage.compact(int(plan.amount)))
        return f"{done} compactions, {plan.amount:.0f} revisions behind"


@attrs.frozen
class Snapshot:
    """Whole snapshots are fetched."""

    name: str = "snapshot"
    summary: str = "whole snapshots are fetched from a member, again and again"
    nodes: int = 1
    alone: bool = False
    flags: tuple[str, ...] = ()

    def plan(self, chance: random.Random, nodes: int, at: float, seconds: float) -> Plan:
        return Plan(at, seconds, self.name, (chance.randrange(nodes),), leader=chance.random() < 0.5)

    async def play(self, stage: Stage, plan: Plan) -> str:
        (member,) = stage.aim(plan)

        async def fetch() -> int:
            async with stage.client(member) as client:
                return await fetch_snapshot(client)

        size = await again_and_again(plan.seconds, AGAIN_SECONDS, fetch)
        return f"{size} bytes from n{member}"


async def fetch_snapshot(client: Client) -> int:
    """Read a snapshot to its end, or to where it breaks; returns its size."""
    size = 0
    try:
        async with await client.stream(f"{_MAINTENANCE}Snapshot") as stream:
            await stream.send(rpc_pb2.SnapshotRequest().SerializeToString())
            stream.end()
            while (payload := await stream.receive()) is not None:
                size += len(payload)
    except (CallError, StatusError):
        pass
    return size


@attrs.frozen
class Defragment:
    """A member's backend is rewritten."""

    name: str = "defrag"
    summary: str = "one member after the other is defragmented"
    nodes: int = 1
    alone: bool = False
    flags: tuple[str, ...] = ()

    def plan(self, chance: random.Random, nodes: int, at: float, seconds: float) -> Plan:
        return Plan(at, seconds, self.name, tuple(chance.sample(range(nodes), nodes)))

    async def play(self, stage: Stage, plan: Plan) -> str:
        done = 0
        with trio.move_on_after(plan.seconds):
            while True:
                for member in plan.members:
                    async with stage.client(member) as client:
                        done += await defragment(client)
                    await trio.sleep(AGAIN_SECONDS)
        return f"{done} defragmentations"


async def defragment(client: Client) -> bool:
    """Have the member defragmented; whether it was."""
    request = rpc_pb2.DefragmentRequest()
    try:
        await client.call(f"{_MAINTENANCE}Defragment", request, rpc_pb2.DefragmentResponse)
    except CallError:
        return False
    return True


@attrs.frozen
class Progress:
    """Watchers ask how far they are, all the time."""

    name: str = "progress"
    summary: str = "watch streams are asked for progress, all the time and as soon as they are made"
    nodes: int = 1
    alone: bool = False
    flags: tuple[str, ...] = ()

    def plan(self, chance: random.Random, nodes: int, at: float, seconds: float) -> Plan:
        return Plan(at, seconds, self.name, ())

    async def play(self, stage: Stage, plan: Plan) -> str:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_from_the_past, stage)
            asked = await again_and_again(plan.seconds, PROGRESS_SECONDS, lambda: self._ask(stage))
            nursery.cancel_scope.cancel()
        return f"{asked} questions"

    async def _ask(self, stage: Stage) -> int:
        for watcher in stage.recorders:
            await watcher.ask_progress()
        return len(stage.recorders)

    async def _watch_from_the_past(self, stage: Stage) -> None:
        """Begin before the present, and ask before the server can have caught up."""
        process = next(stage.processes)
        async with stage.client(0) as client:
            for number in itertools.count(1):
                start = max(stage.compacted + 1, stage.told() - BACK)
                name = f"{self.name} {process}.{number}"
                watcher = Watcher(name, stage.recorder, client, next=start, impatient=True)
                with trio.move_on_after(LOOK_SECONDS):
                    await watcher.run()
                client.move()


FAULTS: tuple[Fault, ...] = (Leader(), Compact(), Snapshot(), Defragment(), Progress())
