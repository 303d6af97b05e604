"""Faults of the network between members: partitions of each shape, delay, low rate, resets, half-open
connections.

Partitions hold bytes back and deliver them when they heal, as IP networks do to TCP; new connections are
accepted, but nothing comes through.  :class:`Reset` is the network that breaks connections instead.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

import attrs
import trio

from chaos.faults.base import Fault, Plan, Stage, again_and_again
from chaos.faults.processes import named
from chaos.links import Rule, Way

Shape = Callable[[tuple[int, ...]], set[Way]]
"""Which ways are cut, given the members in a random order; the first is the one that it is mostly about."""


def both(pairs: Iterable[Way]) -> set[Way]:
    """Each pair and its way back."""
    return {way for sender, receiver in pairs for way in ((sender, receiver), (receiver, sender))}


def isolate(order: tuple[int, ...]) -> set[Way]:
    """The first is cut off from all others."""
    return both((order[0], other) for other in order[1:])


def halves(order: tuple[int, ...]) -> set[Way]:
    """A minority with the first in it, and the rest."""
    middle = len(order) // 2
    return both((here, there) for here in order[:middle] for there in order[middle:])


def bridge(order: tuple[int, ...]) -> set[Way]:
    """Two sides that see each other only through the first, which sees all."""
    rest = order[1:]
    middle = len(rest) // 2
    return both((here, there) for here in rest[:middle] for there in rest[middle:])


def ring(order: tuple[int, ...]) -> set[Way]:
    """Each sees only its neighbours in a circle: a majority, but no two the same (from five members on)."""
    size = len(order)
    return both(
        (order[here], order[there])
        for here in range(size)
        for there in range(here)
        if (here - there) % size not in (1, size - 1)
    )


def deaf(order: tuple[int, ...]) -> set[Way]:
    """The first is heard, but hears nobody."""
    return {(other, order[0]) for other in order[1:]}


def mute(order: tuple[int, ...]) -> set[Way]:
    """The first hears all, but nobody hears it."""
    return {(order[0], other) for other in order[1:]}


def one_way(order: tuple[int, ...]) -> set[Way]:
    """One single way is cut."""
    return {(order[0], order[1])}


def shatter(order: tuple[int, ...]) -> set[Way]:
    """Nobody sees anybody."""
    return {(here, there) for here in order for there in order if here != there}


SHAPES: dict[str, Shape] = {
    shape.__name__.replace("_", "-"): shape
    for shape in (isolate, halves, bridge, ring, deaf, mute, one_way, shatter)
}


def shapes_for(nodes: int) -> list[str]:
    """The shapes that cut something in a cluster of this size."""
    return [name for name, shape in SHAPES.items() if nodes > 1 and shape(tuple(range(nodes)))]


def _order(chance: random.Random, nodes: int) -> tuple[int, ...]:
    return tuple(chance.sample(range(nodes), nodes))


async def _rule(stage: Stage, ways: set[Way], rule: Rule, seconds: float) -> None:
    stage.cluster.network.add(ways, rule)
    try:
        await trio.sleep(seconds)
    finally:
        stage.cluster.network.remove(ways, rule)


@attrs.frozen
class Partition:
    """A cut of some shape."""

    name: str = "partition"
    summary: str = f"the network is cut: {', '.join(SHAPES)}"
    nodes: int = 2
    alone: bool = False
    flags: tuple[str, ...] = ()

    def plan(self, chance: random.Random, nodes: int, at: float, seconds: float) -> Plan:
        order, leader = _order(chance, nodes), chance.random() < 0.5
        return Plan(at, seconds, self.name, order, leader, shape=chance.choice(shapes_for(nodes)))

    async def play(self, stage: Stage, plan: Plan) -> str:
        order = stage.aim(plan)
        await _rule(stage, SHAPES[plan.shape](order), Rule(hold=True), plan.seconds)
        return f"{plan.shape} around {named(order[:1])}"


@attrs.frozen
class Delay:
    """Everything to and from a member, or everybody, takes longer."""

    name: str = "delay"
    summary: str = "messages of one member, or of all, take 20 ms to 1 s longer"
    nodes: int = 2
    alone: bool = False
    flags: tuple[str, ...] = ()

    def plan(self, chance: random.Random, nodes: int, at: float, seconds: float) -> Plan:
        shape = chance.choice(("isolate", "shatter", "mute"))
        amount = chance.choice((0.02, 0.1, 0.3, 1.0))
        return Plan(at, seconds, self.name, _order(chance, nodes), chance.random() < 0.5, shape, amount)

    async def play(self, stage: Stage, plan: Plan) -> str:
        order = stage.aim(plan)
        await _rule(stage, SHAPES[plan.shape](order), Rule(delay=plan.amount), plan.seconds)
        return f"{plan.amount} s more, {plan.shape} around {named(order[:1])}"


@attrs.frozen
class Rate:
    """A slow line to and from a member."""

    name: str = "rate"
    summary: str = "the line of one member, or of all, carries only 1 to 50 kB/s"
    nodes: int = 2
    alone: bool = False
    flags: tuple[str, ...] = ()

    def plan(self, chance: random.Random, nodes: int, at: float, seconds: float) -> Plan:
        shape = chance.choice(("isolate", "shatter", "mute"))
        amount = chance.choice((1_000.0, 10_000.0, 50_000.0))
        return Plan(at, seconds, self.name, _order(chance, nodes), chance.random() < 0.5, shape, amount)

    async def play(self, stage: Stage, plan: Plan) -> str:
        order = stage.aim(plan)
        await _rule(stage, SHAPES[plan.shape](order), Rule(rate=plan.amount), plan.seconds)
        return f"{plan.amount:.0f} bytes/s, {plan.shape} around {named(order[:1])}"


@attrs.frozen
class Reset:
    """Connections break, again and again."""

    name: str = "reset"
    summary: str = "connections of one member, or of all, are reset, again and again"
    nodes: int = 2
    alone: bool = False
    flags: tuple[str, ...] = ()

    def plan(self, chance: random.Random, nodes: int, at: float, seconds: float) -> Plan:
        shape, pause = chance.choice(("isolate", "shatter")), chance.choice((0.1, 0.5, 2.0))
        return Plan(at, seconds, self.name, _order(chance, nodes), chance.random() < 0.5, shape, pause)

    async def play(self, stage: Stage, plan: Plan) -> str:
        order = stage.aim(plan)

        async def reset() -> int:
            return stage.cluster.proxy.reset(SHAPES[plan.shape](order))

        broken = await again_and_again(plan.seconds, plan.amount, reset)
        return f"{broken} resets, {plan.shape} around {named(order[:1])}"


@attrs.frozen
class HalfOpen:
    """Connections whose far end is gone without a word."""

    name: str = "half-open"
    summary: str = "connections of one member, or of all, lose their far end and are told only later"
    nodes: int = 2
    alone: bool = False
    flags: tuple[str, ...] = ()

    def plan(self, chance: random.Random, nodes: int, at: float, seconds: float) -> Plan:
        shape = chance.choice(("isolate", "mute", "deaf", "shatter"))
        return Plan(at, seconds, self.name, _order(chance, nodes), chance.random() < 0.5, shape)

    async def play(self, stage: Stage, plan: Plan) -> str:
        order = stage.aim(plan)
        proxy = stage.cluster.proxy
        broken = proxy.half_open(SHAPES[plan.shape](order))
        try:
            await trio.sleep(plan.seconds)
        finally:
            noticed = len(broken) - proxy.drop(broken)
        return (
            f"{len(broken)} half-open connections, {plan.shape} around {named(order[:1])};"
            f" {noticed} were noticed by the other end"
        )


FAULTS: tuple[Fault, ...] = (Partition(), Delay(), Rate(), Reset(), HalfOpen())
