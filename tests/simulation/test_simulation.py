"""Whole clusters under seeded faults: safety at every step, liveness once the faults stop.

``python -m tests.simulation --seeds 0:1000`` runs as many seeds as one likes, and
says how to see a failing one again.

To read how it is done: ``world`` puts the parts together; ``scheduler`` and
``network`` are time and distance; ``host`` is a machine and ``process`` one life of
a server on it, with ``snapshots``; ``schedule`` draws what ``faults`` carries out;
``clients`` and ``watchers`` ask and judge the answers by ``model``; ``safety``, with
``durable``, looks at every step and ``liveness`` at the end, for the ``properties``;
``mutants`` break rules, ``shrink`` and ``trace`` explain what was found.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.simulation.campaign import ADDITIONS, Kind
from tests.simulation.coverage import Coverage
from tests.simulation.schedule import PROFILES
from tests.simulation.world import World, simulate


def run(seeds: range, profile: str, nodes: int, additions: str = "") -> Coverage:
    """Run them all; what they have been through."""
    kind = Kind(nodes, profile, additions)
    total = Coverage()
    for seed in seeds:
        try:
            total.update(kind.play(seed))
        except Exception as error:
            error.add_note(f"python -m tests.simulation --seeds {seed} {kind.options}")
            raise
    return total


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(("nodes", "seeds"), [(3, range(20)), (5, range(100, 105))])
def test_clusters_are_safe_and_recover(profile: str, nodes: int, seeds: range) -> None:
    run(seeds, profile, nodes)


@pytest.mark.parametrize(("nodes", "seeds"), [(1, range(15)), (2, range(15)), (4, range(6))])
def test_clusters_of_other_sizes_are_safe_and_recover(nodes: int, seeds: range) -> None:
    run(seeds, "rough", nodes)


@pytest.mark.parametrize("profile", ["rough", "turning"])
def test_clusters_are_safe_without_the_thesis_additions(profile: str) -> None:
    """PreVote and CheckQuorum are there for calm; safety must not depend on them."""
    run(range(200, 212), profile, 3, " --plain")


@pytest.mark.parametrize("profile", ["rough", "turning"])
def test_clusters_are_safe_and_recover_without_pre_vote(profile: str) -> None:
    """As with ``--pre-vote=false``: a server whose term ran ahead has to be heard all the same."""
    run(range(200, 212), profile, 3, " --no-pre-vote")


def test_the_schedules_go_where_bugs_are() -> None:
    """A clean run means little if nothing happened in it."""
    rough = run(range(300, 312), "rough", 3)
    changing = run(range(300, 306), "changing", 3)
    shrinking = run(range(300, 306), "shrinking", 3)
    assert rough["elections"] > 3 * 12
    assert rough["crashes"] > 2 * 12
    assert rough["requests answered"] > 20 * 12
    for name in (
        "truncations",
        "snapshots installed",
        "torn disks",
        "crashes in recovery",
        "watches overtaken",
    ):
        assert rough[name] > 0, name
    for name in ("leases expired", "leases renewed", "progress notifications", "transfers"):
        assert rough[name] > 0, name
    assert changing["configuration changes"] > 6
    assert changing["changes answered"] > 6
    assert shrinking["clusters of one"] > 2
    assert shrinking["members gone for good"] > 0


@pytest.mark.long
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("nodes", [3, 5])
@pytest.mark.parametrize("additions", ADDITIONS)
def test_many_clusters_are_safe_and_recover(profile: str, nodes: int, additions: str) -> None:
    run(range(1000, 1150), profile, nodes, additions)


def test_the_same_seed_gives_the_same_run() -> None:
    def facts(world: World) -> object:
        return world.coverage, world.model.revisions, world.scheduler.events

    assert facts(simulate(3)) == facts(simulate(3))


def test_a_run_does_not_depend_on_how_this_process_hashes_text() -> None:
    """A seed that fails in one process must fail in the next."""
    script = (
        "from tests.simulation.world import simulate; w = simulate(5); print(w.scheduler.events, w.coverage)"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(outputs) == 1
