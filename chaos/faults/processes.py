"""Faults of processes: killed, restarted, stopped for a while."""

from __future__ import annotations

import random
from collections.abc import Sequence

import attrs
import trio

from chaos.faults.base import Fault, Plan, Stage


def some(chance: random.Random, nodes: int) -> tuple[int, ...]:
    """Mostly one member, sometimes a larger minority, now and then a majority or all."""
    minority = max(1, (nodes - 1) // 2)
    count = chance.choices(
        (1, minority, nodes // 2 + 1, nodes),
        (6, 2, 1, 1),
    )[0]
    return tuple(chance.sample(range(nodes), count))


def named(members: Sequence[int]) -> str:
    """Members for a report."""
    return ", ".join(f"n{member}" for member in members)


@attrs.frozen
class Kill:
    """SIGKILL, and start again later."""

    name: str = "kill"
    summary: str = "kill -9 of one, some or all members, started again after a while"
    nodes: int = 1
    alone: bool = False
    flags: tuple[str, ...] = ()

    def plan(self, chance: random.Random, nodes: int, at: float, seconds: float) -> Plan:
        return Plan(at, seconds, self.name, some(chance, nodes), leader=chance.random() < 0.4)

    async def play(self, stage: Stage, plan: Plan) -> str:
        members = stage.aim(plan)
        try:
            for member in members:
                await stage.cluster.kill(member)
            await trio.sleep(plan.seconds)
        finally:
            for member in members:
                stage.cluster.launch(member)
        return f"kill -9 {named(members)}"


@attrs.frozen
class Restart:
    """SIGTERM, and start again at once."""

    name: str = "restart"
    summary: str = "orderly stop of a member, started again at once"
    nodes: int = 1
    alone: bool = False
    flags: tuple[str, ...] = ()

    def plan(self, chance: random.Random, nodes: int, at: float, seconds: float) -> Plan:
        return Plan(at, seconds, self.name, (chance.randrange(nodes),), leader=chance.random() < 0.4)

    async def play(self, stage: Stage, plan: Plan) -> str:
        members = stage.aim(plan)
        try:
            await stage.cluster.terminate(members[0])
        finally:
            stage.cluster.launch(members[0])
        await trio.sleep(plan.seconds)
        return f"restarted {named(members)}"


@attrs.frozen
class Pause:
    """SIGSTOP for a while."""

    name: str = "pause"
    summary: str = "SIGSTOP of one, some or all members, SIGCONT after a while"
    nodes: int = 1
    alone: bool = False
    flags: tuple[str, ...] = ()

    def plan(self, chance: random.Random, nodes: int, at: float, seconds: float) -> Plan:
        return Plan(at, seconds, self.name, some(chance, nodes), leader=chance.random() < 0.5)

    async def play(self, stage: Stage, plan: Plan) -> str:
        members = stage.aim(plan)
        try:
            for member in members:
                stage.cluster.pause(member)
            await trio.sleep(plan.seconds)
        finally:
            for member in members:
                stage.cluster.resume(member)
        return f"paused {named(members)}"


@attrs.frozen
class Stutter:
    """SIGSTOP in short bursts."""

    name: str = "stutter"
    summary: str = "a member that runs in fits and starts, stopped for up to half a second at a time"
    nodes: int = 1
    alone: bool = False
    flags: tuple[str, ...] = ()

    def plan(self, chance: random.Random, nodes: int, at: float, seconds: float) -> Plan:
        stop = chance.choice((0.05, 0.15, 0.5))
        return Plan(at, seconds, self.name, (chance.randrange(nodes),), chance.random() < 0.5, amount=stop)

    async def play(self, stage: Stage, plan: Plan) -> str:
        members = stage.aim(plan)
        try:
            with trio.move_on_after(plan.seconds):
                while True:
                    stage.cluster.pause(members[0])
                    await trio.sleep(plan.amount)
                    stage.cluster.resume(members[0])
                    await trio.sleep(plan.amount)
        finally:
            stage.cluster.resume(members[0])
        return f"{named(members)} stops for {plan.amount} s at a time"


FAULTS: tuple[Fault, ...] = (Kill(), Restart(), Pause(), Stutter())
