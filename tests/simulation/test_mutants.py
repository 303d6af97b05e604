"""A server that breaks one rule is found out, by the property that names the rule."""

from __future__ import annotations

import pytest

from tests.simulation.hunt import FIRST_SEED, MOST_SEEDS, Catch, hunt
from tests.simulation.mutants import MUTANTS, Mutant

MARGIN = 60
"""Seeds looked at from the one that is known to catch it."""

each_mutant = pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.broken.__name__)


def require_caught(mutant: Mutant, seeds: range) -> Catch:
    catch = hunt(mutant, seeds)
    assert catch.seed is not None, f"{mutant} went unnoticed, but for {catch.others}"
    return catch


@each_mutant
def test_a_broken_rule_is_found_out(mutant: Mutant) -> None:
    require_caught(mutant, range(mutant.seed, mutant.seed + MARGIN))


@pytest.mark.long
@each_mutant
def test_a_broken_rule_is_found_out_without_knowing_where_to_look(mutant: Mutant) -> None:
    """From a place nobody has looked at before; prints how many seeds it took."""
    catch = require_caught(mutant, range(FIRST_SEED, FIRST_SEED + MOST_SEEDS))
    print(f"{mutant.broken.__name__}: {catch.seeds} seeds")


def test_every_class_that_breaks_a_rule_says_which() -> None:
    assert all(mutant.broken.__doc__ for mutant in MUTANTS)
    assert len({mutant.broken for mutant in MUTANTS}) == len(MUTANTS)
