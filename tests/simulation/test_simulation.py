"""Whole clusters under seeded faults: safety at every step, liveness once the faults stop.

``python -m tests.simulation --seeds 0:1000`` runs as many seeds as one likes, and
prints how to see a failing one again.
"""

from __future__ import annotations

import pytest

from rusd.raft import Node
from tests.raft.mutants import SkipsTheConsistencyCheck, VotesTwice
from tests.simulation import properties
from tests.simulation.mutants import ForgetsItsVote
from tests.simulation.properties import Violation
from tests.simulation.world import Settings, World, simulate


@pytest.mark.parametrize("seed", range(20))
def test_three_servers_are_safe_and_recover(seed: int) -> None:
    world = simulate(seed)
    assert world.clients.answered > 2


def test_the_same_seed_gives_the_same_run() -> None:
    def facts(world: World) -> object:
        return world.coverage, world.model.revisions, world.scheduler.events

    assert facts(simulate(3)) == facts(simulate(3))


@pytest.mark.parametrize(
    ("mutant", "property_"),
    [
        (ForgetsItsVote, properties.STABLE_STORAGE),
        (VotesTwice, properties.ELECTION_SAFETY),
        (SkipsTheConsistencyCheck, properties.LOG_MATCHING),
    ],
)
def test_a_broken_rule_is_found_out(mutant: type[Node], property_: str) -> None:
    found = []
    for seed in range(200):
        try:
            simulate(seed, Settings(node_class=mutant, pre_vote=False, check_quorum=False))
        except Violation as violation:
            found.append(violation.property)
            if violation.property == property_:
                return
    raise AssertionError(f"{property_} never failed: {found}")
