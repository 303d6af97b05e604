"""A server that breaks one rule is found out, by the property that names the rule."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tests.simulation.mutants import MUTANTS, Mutant
from tests.simulation.properties import Violation
from tests.simulation.world import simulate

MARGIN = 60
"""Seeds looked at from the one that is known to catch it."""

each_mutant = pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.broken.__name__)


def first_to_catch(mutant: Mutant, seeds: Iterable[int]) -> int:
    others: dict[str, int] = {}
    for seed in seeds:
        try:
            simulate(seed, mutant.settings, mutant.profile)
        except Violation as violation:
            if violation.property == mutant.caught_by:
                return seed
            others[violation.property] = seed
    raise AssertionError(f"{mutant} went unnoticed, but for {others}")


@each_mutant
def test_a_broken_rule_is_found_out(mutant: Mutant) -> None:
    first_to_catch(mutant, range(mutant.seed, mutant.seed + MARGIN))


@pytest.mark.long
@each_mutant
def test_a_broken_rule_is_found_out_without_knowing_where_to_look(mutant: Mutant) -> None:
    """From a place nobody has looked at before; prints how many seeds it took."""
    first = first_to_catch(mutant, range(10_000, 12_000))
    print(f"{mutant.broken.__name__}: {first - 10_000 + 1} seeds")


def test_every_class_that_breaks_a_rule_says_which() -> None:
    assert all(mutant.broken.__doc__ for mutant in MUTANTS)
    assert len({mutant.broken for mutant in MUTANTS}) == len(MUTANTS)
