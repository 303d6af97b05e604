"""Run as many seeds as you like: ``python -m tests.simulation --seeds 0:1000 --nodes 3``.

Prints how many seeds a second were run, what they have been through, and for a
failing one how to see it again.  ``--trace`` shrinks one failing seed and tells
its story; ``--mutant`` runs a server with a rule broken.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

import attrs

from tests.simulation.coverage import Coverage
from tests.simulation.mutants import MUTANTS
from tests.simulation.properties import Violation
from tests.simulation.schedule import PROFILES, Decision, Profile, describe, draw
from tests.simulation.shrink import shrink
from tests.simulation.world import Settings, World, simulate, spare_hosts


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 1 if a property did not hold."""
    options = _parser().parse_args(arguments)
    settings, profile = _cluster(options)
    first, _, last = options.seeds.partition(":")
    seeds = range(int(first), int(last) if last else int(first) + 1)
    if options.trace:
        return _tell(seeds[0], settings, profile)
    return _run(seeds, settings, profile, options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", default="0:100", help="first:last, the last not included; or one")
    parser.add_argument("--nodes", type=int, default=3, help="servers that found the cluster")
    parser.add_argument("--profile", choices=PROFILES, default="rough", help="what happens to the cluster")
    parser.add_argument("--minutes", type=float, help="stop after so much time")
    parser.add_argument("--seconds", type=int, help="of simulated time with faults in each run")
    parser.add_argument("--plain", action="store_true", help="without PreVote and CheckQuorum")
    parser.add_argument("--no-pre-vote", action="store_true", help="with CheckQuorum alone")
    parser.add_argument("--mutant", choices=[mutant.broken.__name__ for mutant in MUTANTS])
    parser.add_argument(
        "--trace", action="store_true", help="shrink the first seed, which fails, and tell it"
    )
    parser.add_argument("--keep-going", action="store_true", help="do not stop at the first failure")
    return parser


def _cluster(options: argparse.Namespace) -> tuple[Settings, Profile]:
    profile = PROFILES[options.profile]
    settings = Settings(
        size=options.nodes + spare_hosts(profile),
        voters=options.nodes,
        pre_vote=not (options.plain or options.no_pre_vote),
        check_quorum=not options.plain,
    )
    for mutant in MUTANTS:
        if mutant.broken.__name__ == options.mutant:
            settings, profile = mutant.settings, mutant.profile
    if options.seconds:
        profile = attrs.evolve(profile, seconds=options.seconds)
    return settings, profile


def _run(seeds: range, settings: Settings, profile: Profile, options: argparse.Namespace) -> int:
    total, failed, done = Coverage(), 0, 0
    begin = time.monotonic()
    for seed in seeds:
        if options.minutes and time.monotonic() - begin > 60 * options.minutes:
            break
        done += 1
        try:
            total.update(simulate(seed, settings, profile).coverage)
        except Violation as violation:
            failed += 1
            print(f"seed {seed}: {violation}\n    see it again: {_again(seed)}", flush=True)
            if not options.keep_going:
                break
    took = time.monotonic() - begin
    print(f"{done} seeds, {failed} failed, {done / took:.1f} a second\n\n{total.report(done)}")
    return 1 if failed else 0


def _again(seed: int) -> str:
    given, words = iter(sys.argv[1:]), []
    for word in given:
        if word == "--seeds":
            next(given)
        elif not word.startswith("--seeds=") and word not in {"--trace", "--keep-going"}:
            words.append(word)
    return " ".join(["python -m tests.simulation", *words, f"--seeds {seed} --trace"])


def _tell(seed: int, settings: Settings, profile: Profile) -> int:
    """Shrink the schedule of a failing seed, and print what is left and what happens then."""
    decisions = draw(seed, settings.size, profile)
    violation, _ = attempt(seed, settings, profile, decisions)
    if violation is None:
        print(f"seed {seed} is clean")
        return 0
    wanted = violation.property

    def fails(some: Sequence[Decision]) -> bool:
        found, _ = attempt(seed, settings, profile, some)
        return found is not None and found.property == wanted

    least = shrink(decisions, fails)
    last, world = attempt(seed, settings, profile, least, traced=True)
    print("\n".join(world.trace.lines))
    print(f"\n{last}\n\n{len(least)} of {len(decisions)} decisions:\n{describe(least)}")
    return 1


def attempt(
    seed: int,
    settings: Settings,
    profile: Profile,
    decisions: Sequence[Decision],
    *,
    traced: bool = False,
) -> tuple[Violation | None, World]:
    """Run one schedule: what failed, if anything, and the world afterwards."""
    world = World(seed, settings, traced=traced)
    try:
        world.run(decisions, seconds=profile.seconds)
    except Violation as violation:
        return violation, world
    return None, world


if __name__ == "__main__":
    sys.exit(main())
