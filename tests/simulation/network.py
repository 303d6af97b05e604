"""The network between the hosts: it loses, delays, repeats, reorders and parts.

Harsher than TCP, on which messages arrive in order and once, or the connection
breaks.  One promise is kept, since a transport has to: a forwarded proposal
arrives at most once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

import attrs

from rusd.raft import Entry, Message
from rusd.replica.forwarding import Forward

if TYPE_CHECKING:
    from tests.simulation.coverage import Coverage
    from tests.simulation.scheduler import Chance, Scheduler

MIN_DELAY, MAX_DELAY = 1, 8
"""Milliseconds, in good weather."""


@attrs.frozen
class Weather:
    """Chances between 0 and 1, and a delay in milliseconds that a slow message has on top."""

    drop: float = 0.0
    duplicate: float = 0.0
    slow: float = 0.0
    slow_by: int = 0


CALM = Weather()


class Network:
    """Carries things from host to host; ``deliver(to, thing)`` is what happens at the other end."""

    def __init__(
        self, scheduler: Scheduler, chance: Chance, coverage: Coverage, deliver: Callable[[int, object], None]
    ) -> None:
        self._scheduler = scheduler
        self._chance = chance
        self._coverage = coverage
        self._deliver = deliver
        self.weather = CALM
        self._cuts: dict[int, frozenset[tuple[int, int]]] = {}  # one entry for each partition in force
        self._cut: frozenset[tuple[int, int]] = frozenset()
        self._cut_number = 0

    # -- faults -------------------------------------------------------------------

    def part(self, links: Collection[tuple[int, int]]) -> int:
        """Cut ``links``, as (from, to); returns a number to mend them by."""
        self._cut_number += 1
        self._cuts[self._cut_number] = frozenset(links)
        self._cut = frozenset().union(*self._cuts.values())
        return self._cut_number

    def mend(self, number: int) -> None:
        """Undo one :meth:`part`; harmless if it is undone already."""
        self._cuts.pop(number, None)
        self._cut = frozenset().union(*self._cuts.values())

    def mend_all_cuts(self) -> None:
        """Every link is whole."""
        self._cuts.clear()
        self._cut = frozenset()

    def mend_all(self) -> None:
        """Good weather, and every link whole."""
        self.mend_all_cuts()
        self.weather = CALM

    def is_cut(self, from_: int, to: int) -> bool:
        """Whether nothing gets from one to the other now."""
        return (from_, to) in self._cut

    # -- traffic --------------------------------------------------------------------

    def send(self, message: Message) -> None:
        """Send a copy: what the sender does to its log later must not reach the receiver."""
        entries = [Entry(entry.term, entry.index, entry.type, entry.data) for entry in message.entries]
        message = attrs.evolve(message, entries=entries)
        random = self._chance.stream(f"link {message.from_} {message.to}")
        if random.random() < self.weather.duplicate:
            self._coverage["messages duplicated"] += 1
            self._carry(message.from_, message.to, message)
        self._carry(message.from_, message.to, message)

    def forward(self, forward: Forward) -> None:
        """Send a forwarded proposal, at most once."""
        self._carry(forward.from_, forward.to, forward)

    def carry(self, from_: int, to: int, thing: object, delay: int) -> None:
        """Send what is large, and takes ``delay`` milliseconds more; it may come twice."""
        if self._chance.stream(f"link {from_} {to}").random() < self.weather.duplicate:
            self._carry(from_, to, thing, delay)
        self._carry(from_, to, thing, delay)

    def _carry(self, from_: int, to: int, thing: object, extra_delay: int = 0) -> None:
        random = self._chance.stream(f"link {from_} {to}")
        delay = random.randint(MIN_DELAY, MAX_DELAY) + extra_delay
        lost, slow = random.random() < self.weather.drop, random.random() < self.weather.slow
        if self.is_cut(from_, to) or lost:
            self._coverage["messages lost"] += 1
            return
        if slow:
            self._coverage["messages delayed"] += 1
            delay += random.randint(1, self.weather.slow_by)
        self._scheduler.after(delay, lambda: self._arrive(from_, to, thing))

    def _arrive(self, from_: int, to: int, thing: object) -> None:
        if self.is_cut(from_, to):
            self._coverage["messages lost"] += 1
            return
        self._deliver(to, thing)
