"""A member that dies in the middle of upkeep.

What a server writes in several steps (a compaction in batches, the copy of a defragmentation, the commit
before a snapshot) has to be right after each of them.  A kill at any time rarely falls between two; these
are aimed.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

import attrs
import trio

from chaos.client import Client
from chaos.faults.base import Fault, Plan, Stage, again_and_again
from chaos.faults.upkeep import defragment, fetch_snapshot
from chaos.model import Compact, Delete, Put

UP_SECONDS = 1.5
"""From a new start to the next crash."""
TOLD_SECONDS = 1.0
KEY = "crash"


@attrs.frozen
class Crash:
    """A member is killed a moment after it was asked for something that takes a while."""

    name: str = "crash"
    summary: str = "kill -9 in the middle of a compaction, defragmentation or snapshot, again and again"
    nodes: int = 1
    alone: bool = False
    flags: tuple[str, ...] = ()

    def plan(self, chance: random.Random, nodes: int, at: float, seconds: float) -> Plan:
        shape, most = chance.choice(tuple(_AT_WORK)), chance.choice((0.003, 0.03, 0.3))
        return Plan(at, seconds, self.name, (chance.randrange(nodes),), chance.random() < 0.4, shape, most)

    async def play(self, stage: Stage, plan: Plan) -> str:
        chance = random.Random(f"crash {plan.at}")
        done = await again_and_again(plan.seconds, UP_SECONDS, lambda: self._once(stage, plan, chance))
        return f"{done} times in {plan.shape}, after up to {plan.amount} s"

    async def _once(self, stage: Stage, plan: Plan, chance: random.Random) -> bool:
        (member,) = stage.aim(plan)
        moment = chance.uniform(0, plan.amount)
        async with stage.client(member) as client, trio.open_nursery() as nursery:
            work = await _AT_WORK[plan.shape](stage, client)
            if work is None:
                return False
            nursery.start_soon(work)
            await trio.sleep(moment)
            try:
                await stage.cluster.kill(member)
            finally:
                stage.cluster.launch(member)
            nursery.cancel_scope.cancel()
        return True


Work = Callable[[], Awaitable[object]]


async def _compaction(stage: Stage, client: Client) -> Work | None:
    """Compact all there is, of which a deletion is the last: nothing else then tells the newest revision."""
    async with stage.session("crash", client.member) as session:
        await session.do(Put(KEY, session.unique()))
        deleted = await session.do(Delete(KEY))
    if deleted is None:
        return None
    revision = deleted.revision
    with trio.move_on_after(TOLD_SECONDS):
        while stage.told() < revision:
            await trio.sleep(0.001)
    if not stage.compacted < revision <= stage.told():
        return None
    stage.compacted = revision

    async def compact() -> None:
        async with stage.session("crash", client.member) as session:
            await session.do(Compact(revision))

    return compact


async def _defragmentation(_stage: Stage, client: Client) -> Work:
    return lambda: defragment(client)


async def _snapshot(_stage: Stage, client: Client) -> Work:
    return lambda: fetch_snapshot(client)


_AT_WORK: dict[str, Callable[[Stage, Client], Awaitable[Work | None]]] = {
    "compact": _compaction,
    "defrag": _defragmentation,
    "snapshot": _snapshot,
}


FAULTS: tuple[Fault, ...] = (Crash(),)
