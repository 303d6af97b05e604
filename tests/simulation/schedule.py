"""What is done to a cluster, and when: a list of decisions, drawn from a seed.

The list is all there is to a run, beside the seed of the small delays; so it can
be run again, cut down, and read.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import attrs

Arguments = tuple[object, ...]


@attrs.frozen
class Decision:
    """At ``at`` milliseconds do ``what``, a method of :class:`tests.simulation.faults.Faults`."""

    at: int
    what: str
    arguments: Arguments = ()

    def __str__(self) -> str:
        return f"{self.at:>6} ms  {self.what}({', '.join(map(repr, self.arguments))})"


@attrs.frozen(kw_only=True)
class Profile:
    """How much of what: how often each thing happens in a second of simulated time."""

    requests: float = 24.0
    crashes: float = 0.4
    everybody: float = 0.03
    partitions: float = 0.5
    rotations: float = 0.0
    ambushes: float = 0.0
    cuts: float = 0.3
    storms: float = 0.25
    pauses: float = 0.2
    skews: float = 0.2
    slow_disks: float = 0.3
    snapshots: float = 0.15
    transfers: float = 0.12
    changes: float = 0.0
    removals: float = 0.0
    watchers: int = 4
    seconds: int = 12


ROUGH = Profile()
"""A bit of everything."""

CHANGING = Profile(changes=0.8, crashes=0.15, transfers=0.2, partitions=0.2, rotations=0.3)
"""Members come and go."""

SHRINKING = Profile(
    removals=0.7, crashes=0.2, everybody=0.02, partitions=0.3, cuts=0.2, pauses=0.1, transfers=0.25
)
"""Members go, one after the other, leaders by their own doing, until one is left."""

TURNING = Profile(
    requests=8.0,
    crashes=0.25,
    partitions=0.0,
    rotations=1.0,
    cuts=0.1,
    storms=0.6,
    slow_disks=1.0,
    skews=0.3,
    pauses=0.1,
    watchers=2,
    seconds=20,
)
"""One partition after the other, each with an old leader on the wrong side: logs diverge."""

AMBUSHING = Profile(
    requests=6.0,
    crashes=0.0,
    everybody=0.03,
    partitions=0.0,
    ambushes=1.5,
    cuts=0.0,
    storms=0.0,
    slow_disks=0.0,
    skews=0.2,
    pauses=0.0,
    watchers=0,
    seconds=20,
)
"""New leaders are cut off just after their election, again and again, as in figure 8."""

CALM = Profile(
    requests=60.0,
    crashes=0.0,
    everybody=0.0,
    partitions=0.0,
    cuts=0.0,
    storms=0.0,
    pauses=0.0,
    skews=0.0,
    slow_disks=0.05,
    snapshots=0.3,
)
"""Nothing goes wrong but that the network is slow and a disk is, now and then."""

PROFILES = {
    "calm": CALM,
    "rough": ROUGH,
    "changing": CHANGING,
    "shrinking": SHRINKING,
    "turning": TURNING,
    "ambushing": AMBUSHING,
}

REQUESTS = {
    "put": 40,
    "swap": 14,
    "delete": 8,
    "read": 20,
    "look": 6,
    "compact": 4,
    "grant": 4,
    "renew": 4,
    "revoke": 1,
}


def draw(seed: int, size: int, profile: Profile) -> list[Decision]:
    """The schedule of ``seed`` for ``size`` servers, in order of time."""
    decisions = _Drawing(random.Random(f"{seed}/schedule"), size, profile).decisions()
    return sorted(decisions, key=lambda decision: decision.at)


class _Drawing:
    def __init__(self, chance: random.Random, size: int, profile: Profile) -> None:
        self._chance = chance
        self._size = size
        self._profile = profile

    def decisions(self) -> list[Decision]:
        profile = self._profile
        found = self._requests() + self._watchers()
        for what, rate in (
            ("crash", profile.crashes),
            ("crash_everybody", profile.everybody),
            ("partition", profile.partitions),
            ("rotate", profile.rotations),
            ("ambush", profile.ambushes),
            ("cut", profile.cuts),
            ("storm", profile.storms),
            ("pause", profile.pauses),
            ("skew", profile.skews),
            ("slow_disk", profile.slow_disks),
            ("snapshot", profile.snapshots),
            ("transfer", profile.transfers),
            ("change", profile.changes),
            ("remove", profile.removals),
        ):
            for at in self._times(rate):
                arguments: Arguments = getattr(self, f"_{what}")()
                found.append(Decision(at, what, arguments))
        return found

    def _times(self, rate: float) -> list[int]:
        """Instants at about ``rate`` in a second; the first second is for the first election."""
        end = self._profile.seconds * 1000
        times: list[int] = []
        at = 600.0
        while rate and (at := at + self._chance.expovariate(rate) * 1000) < end:
            times.append(int(at))
        return times

    def _host(self) -> int:
        """A server, or 0 for whichever leads then."""
        return 0 if self._chance.random() < 0.4 else self._chance.randint(1, self._size)

    def _milliseconds(self, low: int, high: int) -> int:
        return self._chance.randint(low, high)

    def _requests(self) -> list[Decision]:
        """Mostly a trickle, sometimes a burst."""
        names, weights = list(REQUESTS), list(REQUESTS.values())
        found: list[Decision] = []
        for at in self._times(self._profile.requests / 3):
            host = self._host()
            for _ in range(self._chance.choice((1, 1, 1, 3, 9))):
                (what,) = self._chance.choices(names, weights)
                arguments = (what, host, self._chance.getrandbits(30))
                found.append(Decision(at + self._chance.randint(0, 30), "ask", arguments))
        return found

    def _watchers(self) -> list[Decision]:
        return [
            Decision(
                self._milliseconds(600, self._profile.seconds * 700),
                "watch",
                (number, self._chance.choice((0, 0, 2, 5, 60)), self._chance.choice((60, 200, 2000))),
            )
            for number in range(self._profile.watchers)
        ]

    # -- faults: the arguments of each ------------------------------------------------

    def _crash(self) -> Arguments:
        """Whom; whether a disk operation or an effect is the last, and which; how torn; what survives."""
        survival = self._chance.choice((None, 0.0, 0.0, 0.3, 0.7, 1.0))
        by_disk = self._chance.random() < 0.5
        last = self._chance.choice((1, 1, 2, 3, 5, 9, 20))
        recovery = self._chance.choice((0, 0, 0, 1, 2, 4))
        written = self._milliseconds(0, 1500)
        return self._host(), survival, self._milliseconds(50, 2500), recovery, by_disk, last, written

    def _crash_everybody(self) -> Arguments:
        return self._chance.choice((0.0, 0.0, 0.5)), self._milliseconds(50, 1000)

    def _partition(self) -> Arguments:
        """A minority, often with the leader in it, is cut off."""
        side = self._chance.sample(range(1, self._size + 1), self._chance.randint(0, max(1, self._size // 2)))
        if not side or (len(side) < self._size // 2 and self._chance.random() < 0.5):
            side.append(0)
        return tuple(sorted(side)), self._milliseconds(300, 4000)

    def _rotate(self) -> Arguments:
        """A new partition in place of all others: a leader and perhaps somebody else against the rest."""
        side = [0] if self._chance.random() < 0.7 else []
        side += self._chance.sample(range(1, self._size + 1), self._chance.randint(0, self._size // 2))
        return (tuple(sorted(set(side))), self._milliseconds(0, 12))

    def _ambush(self) -> Arguments:
        """Who is cut off with the next leader, how long after its election, and with how much work."""
        companions = self._chance.randint(0, self._size // 2 - 1) if self._size > 3 else 0
        side = self._chance.sample(range(1, self._size + 1), companions)
        return tuple(sorted({0, *side})), self._chance.choice((0, 3, 15, 25, 40)), self._milliseconds(0, 3)

    def _cut(self) -> Arguments:
        """One direction of one link."""
        return self._host(), self._host(), self._milliseconds(300, 3000)

    def _storm(self) -> Arguments:
        drop, duplicate, slow = (self._chance.choice((0.0, 0.1, 0.3)) for _ in range(3))
        return drop, duplicate, slow, self._milliseconds(20, 900), self._milliseconds(300, 4000)

    def _pause(self) -> Arguments:
        return self._host(), self._milliseconds(100, 3500)

    def _skew(self) -> Arguments:
        return self._host(), self._chance.choice((25, 50, 70, 160)), self._milliseconds(1000, 5000)

    def _slow_disk(self) -> Arguments:
        return self._host(), self._milliseconds(20, 700), self._milliseconds(500, 4000)

    def _snapshot(self) -> Arguments:
        return (self._host(),)

    def _transfer(self) -> Arguments:
        return (self._host(),)

    def _change(self) -> Arguments:
        return self._chance.choice(("add", "learn", "promote", "remove", "remove")), self._chance.getrandbits(
            20
        )

    def _remove(self) -> Arguments:
        """Whether the leader goes, and who else."""
        return self._chance.random() < 0.4, self._chance.getrandbits(20)


def describe(decisions: Sequence[Decision]) -> str:
    """One line for each decision."""
    return "\n".join(map(str, decisions))
