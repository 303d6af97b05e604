"""Hours of seeds: ``python -m tests.simulation.campaign --file campaign.json --cpu-hours 2``.

Takes one seed after the other through every kind of cluster (3 and 5 servers,
each profile; with PreVote and CheckQuorum, with the latter alone, and without), goes on after a failure,
and keeps in a file what it has been through, with the processor time that took.
A second call with the same file goes on where the first was stopped; ``--report``
prints what is in it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import attrs

from tests.simulation.coverage import Coverage
from tests.simulation.schedule import PROFILES
from tests.simulation.world import Settings, simulate, spare_hosts

FIRST_SEED = 1_000_000
"""Far from what the tests run."""

SAVE_SECONDS = 20
"""At most so much is lost when the campaign is stopped."""

TOLD = (
    "elections",
    "truncations",
    "configuration changes",
    "snapshots taken",
    "snapshots installed",
    "crashes",
    "crashes in recovery",
    "torn disks",
    "restarts",
    "partitions",
    "one-way cuts",
    "storms",
    "pauses",
    "transfers",
    "messages lost",
    "messages duplicated",
    "linearizable reads",
    "requests answered",
    "watch events",
)
"""What the report has a column for, in this order."""


ADDITIONS = {"": (True, True), " --no-pre-vote": (False, True), " --plain": (False, False)}
"""By option, whether servers have PreVote, and CheckQuorum."""


@attrs.frozen
class Kind:
    """One kind of cluster, and what happens to it."""

    nodes: int
    profile: str
    additions: str

    @property
    def options(self) -> str:
        """As ``python -m tests.simulation`` takes them."""
        return f"--nodes {self.nodes} --profile {self.profile}{self.additions}"

    def play(self, seed: int) -> Coverage:
        """One schedule.  Raises what it finds."""
        profile = PROFILES[self.profile]
        pre_vote, check_quorum = ADDITIONS[self.additions]
        settings = Settings(
            size=self.nodes + spare_hosts(profile),
            voters=self.nodes,
            pre_vote=pre_vote,
            check_quorum=check_quorum,
        )
        return simulate(seed, settings, profile).coverage


KINDS = tuple(Kind(*some) for some in product((3, 5), PROFILES, ADDITIONS))


@attrs.define
class Campaign:
    """What has been done so far; ``failures`` are pairs of what was found and how to see it again."""

    next_seed: int = FIRST_SEED
    cpu_seconds: float = 0.0
    schedules: dict[str, int] = attrs.field(factory=dict)
    coverage: dict[str, dict[str, int]] = attrs.field(factory=dict)
    failures: list[tuple[str, str]] = attrs.field(factory=list)

    def round(self) -> None:
        """The next seed in every kind of cluster."""
        seed, self.next_seed = self.next_seed, self.next_seed + 1
        for kind in KINDS:
            begin = time.process_time()
            try:
                found = kind.play(seed)
            except Exception as error:
                again = f"python -m tests.simulation --seeds {seed} {kind.options} --trace"
                self.failures.append((f"{type(error).__name__}: {error}", again))
                print(f"{error}\n    {again}", flush=True)
            else:
                total = Coverage(self.coverage.get(kind.options, {}))
                total.update(found)
                self.coverage[kind.options] = dict(total)
            self.schedules[kind.options] = self.schedules.get(kind.options, 0) + 1
            self.cpu_seconds += time.process_time() - begin

    def save(self, path: Path) -> None:
        """Keep this in ``path``, whole or not at all."""
        draft = path.with_suffix(".new")
        draft.write_text(json.dumps(attrs.asdict(self), indent=1))
        os.replace(draft, path)

    @classmethod
    def load(cls, path: Path) -> Campaign:
        """What ``path`` has; a new campaign if there is no such file."""
        return cls(**json.loads(path.read_text())) if path.exists() else cls()

    def report(self) -> str:
        """A Markdown table: a row for each thing, in all and for each schedule, by size of cluster."""
        total, done = self._sum(""), sum(self.schedules.values())
        small, large = self._sum("--nodes 3"), self._sum("--nodes 5")
        few = sum(count for options, count in self.schedules.items() if options.startswith("--nodes 3"))
        lines = [
            f"{done:,} schedules in {self.cpu_seconds / 3600:.2f} hours of processor time, "
            f"{len(self.failures)} failed; seeds {FIRST_SEED} to {self.next_seed - 1}, "
            f"each in {len(self.schedules)} kinds of cluster.",
            "",
            "| | in all | per schedule | 3 servers | 5 servers |",
            "|---|--:|--:|--:|--:|",
        ]
        for name in TOLD:
            each = (_ratio(total, done, name), _ratio(small, few, name), _ratio(large, done - few, name))
            lines.append(f"| {name} | {total[name]:,} | {each[0]} | {each[1]} | {each[2]} |")
        lines += [f"\n{what}\n    {again}" for what, again in self.failures]
        return "\n".join(lines)

    def _sum(self, beginning: str) -> Coverage:
        total = Coverage()
        for options, coverage in self.coverage.items():
            if options.startswith(beginning):
                total.update(coverage)
        return total


def _ratio(coverage: Coverage, schedules: int, name: str) -> str:
    return f"{coverage[name] / max(schedules, 1):.2f}"


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 1 if a property did not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.campaign", description=__doc__)
    parser.add_argument("--file", type=Path, required=True, help="what is known so far; made if need be")
    parser.add_argument("--cpu-hours", type=float, default=2.0, help="stop when so much is used in all")
    parser.add_argument("--report", action="store_true", help="only tell what has been reached")
    options = parser.parse_args(arguments)
    campaign = Campaign.load(options.file)
    saved = time.monotonic()
    while not options.report and campaign.cpu_seconds < 3600 * options.cpu_hours:
        campaign.round()
        if time.monotonic() - saved > SAVE_SECONDS:
            campaign.save(options.file)
            saved = time.monotonic()
    if not options.report:
        campaign.save(options.file)
    print(campaign.report())
    return 1 if campaign.failures else 0


if __name__ == "__main__":
    sys.exit(main())
