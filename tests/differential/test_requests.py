"""Random requests against a real etcd: every answer, error and event is the same on both.

A failure names its seed and step.  ``RUSD_DIFFERENTIAL_SEED=<seed>`` runs that seed alone, with as many steps
as ``RUSD_DIFFERENTIAL_STEPS`` says; ``RUSD_TEST_SERVER=etcd`` compares etcd with itself, which has to show
nothing.
"""

from __future__ import annotations

import os
import random
from collections import Counter

import pytest

from tests.differential.conftest import Pair
from tests.differential.generator import Generator
from tests.differential.known_differences import ROWS, UNSENDABLE
from tests.differential.lockstep import Lockstep
from tests.differential.pair import DifferenceError
from tests.differential.steps import Step
from tests.support.processes import kind_under_test

WATCHERS = 40
FAST_SEEDS, FAST_STEPS = range(3), 300
LONG_SEEDS, LONG_STEPS = range(100, 120), 3_000


def run(lockstep: Lockstep, seed: str, steps: int) -> Counter[str]:
    """Run one seed; returns how often each known difference was met."""
    generator = Generator(seed)
    chance = random.Random(f"watchers of {seed}")
    # A quarter of the watchers sees everything; the others come while the history grows.
    starts = Counter([0] * (WATCHERS // 4) + [chance.randrange(steps) for _ in range(WATCHERS * 3 // 4)])
    for number in range(steps):
        step: Step | None = None
        try:
            for _ in range(starts[number]):
                lockstep.run(step := generator.create_watch(lockstep.view))
            lockstep.run(step := generator.next(lockstep.view))
        except (DifferenceError, TimeoutError) as difference:
            raise AssertionError(
                _report(seed, steps, f"step {number}: {str(step)[:1000]}", difference)
            ) from None
    try:
        lockstep.check_watchers()
    except (DifferenceError, TimeoutError) as difference:
        raise AssertionError(_report(seed, steps, "the end", difference)) from None
    return lockstep.fired


def _report(seed: str, steps: int, where: str, difference: Exception) -> str:
    replay = f"RUSD_DIFFERENTIAL_SEED={seed} RUSD_DIFFERENTIAL_STEPS={steps} pytest {__file__}"
    return f"seed {seed}, {where}\n{difference}\nreplay: {replay}"


@pytest.mark.parametrize("seed", FAST_SEEDS)
def test_random_requests_are_answered_alike(pair: Pair, seed: int) -> None:
    seed_text = os.environ.get("RUSD_DIFFERENTIAL_SEED", str(seed))
    steps = int(os.environ.get("RUSD_DIFFERENTIAL_STEPS", FAST_STEPS))
    with pair() as lockstep:
        run(lockstep, seed_text, steps)


@pytest.mark.long
def test_many_random_requests_are_answered_alike_and_every_known_difference_shows(pair: Pair) -> None:
    fired: Counter[str] = Counter()
    for seed in LONG_SEEDS:
        with pair() as lockstep:
            fired += run(lockstep, str(seed), LONG_STEPS)
    unsendable = {row.name for row in UNSENDABLE}
    if kind_under_test() == "etcd":
        assert set(fired) <= unsendable, "etcd differs from itself"
    else:
        needed = {row.name for row in ROWS} | unsendable
        assert set(fired) == needed, "rows that never fired"
