"""The schedule of a run: a function of the seed, the number of members, the time, and the faults allowed."""

from __future__ import annotations

import random
from collections.abc import Sequence

from chaos.faults.base import Fault, Plan

FIRST_AT_SECONDS = 2.0
SHORTEST_SECONDS, LONGEST_SECONDS = 0.5, 8.0
PAUSES_SECONDS = (0.5, 4.0)
TWO_AT_ONCE = 0.3
_LAST_END = 1.0
"""Every fault has ended so long before the run does."""


def make_schedule(seed: int, nodes: int, duration: float, faults: Sequence[Fault]) -> tuple[Plan, ...]:
    """Faults one after the other with pauses between; three in ten times a second one joins in.

    Most are about as long as elections take, some longer.  The same arguments give the same schedule.
    """
    chance = random.Random(f"faults {seed}")
    able = sorted((fault for fault in faults if fault.nodes <= nodes), key=lambda fault: fault.name)
    plans: list[Plan] = []
    at = FIRST_AT_SECONDS
    while able:
        seconds = min(LONGEST_SECONDS, SHORTEST_SECONDS + chance.expovariate(1 / 2.5))
        seconds = min(seconds, duration - _LAST_END - at)
        if seconds < SHORTEST_SECONDS:
            break
        fault = chance.choice(able)
        plans.append(fault.plan(chance, nodes, round(at, 3), round(seconds, 3)))
        company = [other for other in able if other is not fault and not other.alone]
        if company and not fault.alone and chance.random() < TWO_AT_ONCE:
            offset = chance.uniform(0, seconds / 2)
            other = chance.choice(company)
            plans.append(other.plan(chance, nodes, round(at + offset, 3), round(seconds - offset, 3)))
        at += seconds + chance.uniform(*PAUSES_SECONDS)
    return tuple(plans)
