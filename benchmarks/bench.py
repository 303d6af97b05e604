"""What every part of the suite gets, and how parts are run: in turns, each time with a fresh server.

The order is first, second; second, first; first, second …: what drifts on a machine drifts for both, and
neither always has the other's traces before it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import attrs

from benchmarks.generator import Generator
from benchmarks.members import Cluster
from benchmarks.readings import Better, Reading, Series, collect
from benchmarks.servers import BenchmarkError, Server, Subject


@attrs.frozen
class Shape:
    """How many clients, and how many calls each has under way."""

    connections: int
    streams: int

    def __str__(self) -> str:
        return f"{self.connections}x{self.streams}"


SHAPES = (Shape(1, 1), Shape(16, 1), Shape(64, 1), Shape(4, 64))


@attrs.frozen
class Sizes:
    """How much of everything.  ``calls`` is a share of what a full run makes; the others are numbers of keys,
    watchers, connections, writes that a member misses, or kills."""

    calls: float = 1.0
    listed: tuple[int, ...] = (1_000, 10_000)
    counted: int = 100_000
    watchers: int = 1_000
    idle_watchers: int = 10_000
    idle_connections: int = 100
    remembered: tuple[int, ...] = (1_000, 100_000)
    grown: int = 1_000_000
    missed: int = 200_000
    kills: int = 20
    deleted: int = 100_000
    settle_seconds: float = 2.0


FULL = Sizes()
QUICK = Sizes(
    calls=0.02,
    listed=(1_000,),
    counted=5_000,
    watchers=100,
    idle_watchers=500,
    idle_connections=10,
    remembered=(1_000,),
    grown=10_000,
    missed=15_000,
    kills=2,
    deleted=1_000,
    settle_seconds=0.5,
)


@attrs.define
class Bench:
    """The surroundings of a measurement."""

    generator: Generator
    folder: Path
    sizes: Sizes = FULL
    shapes: Sequence[Shape] = SHAPES
    _servers: int = 0

    def server(self, subject: Subject) -> Server:
        """A server with an empty folder of its own, not started."""
        self._servers += 1
        return Server(subject, self.folder / f"server-{self._servers}")

    def cluster(self, subject: Subject) -> Cluster:
        """Three members with empty folders of their own, not started."""
        self._servers += 1
        return Cluster(subject, self.folder / f"cluster-{self._servers}")

    def calls(self, of_a_full_run: int) -> int:
        """How many calls to make where a full run makes so many."""
        return max(20, round(of_a_full_run * self.sizes.calls))

    def settle(self) -> None:
        """Give a server the time to come to rest before its memory is read."""
        time.sleep(self.sizes.settle_seconds)


Measure = Callable[[Bench, Subject], Iterable[Reading]]


@attrs.frozen
class Part:
    """A selectable part of the suite.  ``measure`` starts a server, measures it once and ends it.

    ``heavy`` parts take minutes and have fewer alternations.
    """

    name: str
    summary: str
    measure: Measure
    heavy: bool = False


@attrs.frozen
class Turn:
    """What is about to be measured; ``number`` counts from 1."""

    part: Part
    number: int
    of: int
    subject: Subject


def run(
    bench: Bench,
    parts: Iterable[Part],
    subjects: Sequence[Subject],
    alternations: int,
    heavy_alternations: int,
    announce: Callable[[Turn], None],
    failed: Callable[[Turn, BenchmarkError], None],
) -> Iterator[list[Series]]:
    """Measure part by part; after each, yields all that has come of it so far.

    ``announce`` is told before each turn; ``failed`` when something in it didn't work, and then the next turn
    begins.
    """
    found: list[tuple[str, int, Reading]] = []
    for part in parts:
        count = heavy_alternations if part.heavy else alternations
        for number in range(1, count + 1):
            for subject in subjects if number % 2 else reversed(subjects):
                turn = Turn(part, number, count, subject)
                announce(turn)
                try:
                    found += [(subject.label, number, reading) for reading in part.measure(bench, subject)]
                except BenchmarkError as error:
                    failed(turn, error)
        yield collect(found)


ONLY = ""
"""The measure's name in a table that has but one."""


def rate(table: str, row: str, measure: str, value: float | None) -> Reading:
    """Something a second: more is better."""
    return Reading(table, row, measure, "/s", Better.HIGHER, value)


def milliseconds(table: str, row: str, measure: str, value: float | None) -> Reading:
    """A time: less is better."""
    return Reading(table, row, measure, "ms", Better.LOWER, value)


def megabytes(table: str, row: str, measure: str, size: float) -> Reading:
    """A size in bytes, shown in units of 1,000,000: less is better."""
    return Reading(table, row, measure, "MB", Better.LOWER, size / 1e6)
