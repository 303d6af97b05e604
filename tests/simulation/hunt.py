"""How many seeds it takes to find each broken rule: ``python -m tests.simulation.hunt``.

Begins, for every mutant, at a seed that nobody has looked at before, and prints a
Markdown table.  A mutant counts as caught when the property fails that names its
rule; others may fail before.
"""

from __future__ import annotations

import argparse
import inspect
import sys
from collections import Counter
from collections.abc import Iterable, Sequence

import attrs

from tests.simulation.mutants import MUTANTS, Mutant
from tests.simulation.properties import Violation
from tests.simulation.schedule import PROFILES
from tests.simulation.world import simulate

FIRST_SEED = 10_000
MOST_SEEDS = 2_000


@attrs.frozen
class Catch:
    """The seed that caught a mutant, None if none did, after ``seeds`` of them; and what else had failed."""

    seed: int | None
    seeds: int
    others: Counter[str]


def hunt(mutant: Mutant, seeds: Iterable[int]) -> Catch:
    """Run the mutant with one seed after the other until the property fails that names its rule."""
    others: Counter[str] = Counter()
    count = 0
    for seed in seeds:
        count += 1
        try:
            simulate(seed, mutant.settings, mutant.profile)
        except Violation as violation:
            if violation.property == mutant.caught_by:
                return Catch(seed, count, others)
            others[violation.property] += 1
        except Exception as error:  # what is broken breaks what others take for granted
            others[type(error).__name__] += 1
    return Catch(None, count, others)


def row(mutant: Mutant, catch: Catch) -> str:
    """One line of the table."""
    names = {id(profile): name for name, profile in PROFILES.items()}
    plain = ", plain" if not mutant.quiet else "" if mutant.pre_vote else ", no PreVote"
    cluster = f"{mutant.size}, {names[id(mutant.profile)]}{plain}"
    rule = " ".join((inspect.getdoc(mutant.broken) or "").split())
    seeds = f"{catch.seeds}" if catch.seed is not None else f"not in {catch.seeds}"
    before = ", ".join(f"{name} ({count})" for name, count in catch.others.items()) or "-"
    return f"| `{mutant.broken.__name__}` | {rule} | {cluster} | {mutant.caught_by} | {seeds} | {before} |"


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 1 if some mutant went unnoticed."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.hunt", description=__doc__)
    parser.add_argument("--first", type=int, default=FIRST_SEED, help="the seed to begin at")
    parser.add_argument("--most", type=int, default=MOST_SEEDS, help="seeds to try")
    options = parser.parse_args(arguments)
    print("| mutant | the rule it breaks | cluster | caught by | seeds | what else failed before |")
    print("|---|---|---|---|--:|---|", flush=True)
    unnoticed = 0
    for mutant in MUTANTS:
        catch = hunt(mutant, range(options.first, options.first + options.most))
        unnoticed += catch.seed is None
        print(row(mutant, catch), flush=True)
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main())
