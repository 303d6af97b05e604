"""Simulated time: what happens next, and when.  Nothing here waits; time is a number that jumps."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable

Action = Callable[[], None]


class Scheduler:
    """Actions in order of their time, in milliseconds; at one time, in the order they were asked for in."""

    def __init__(self) -> None:
        self.now = 0
        self.events = 0
        self._heap: list[tuple[int, int, Action]] = []
        self._sequence = 0

    def after(self, delay: int, action: Action) -> None:
        """Do ``action`` in ``delay`` milliseconds."""
        self._sequence += 1
        heapq.heappush(self._heap, (self.now + delay, self._sequence, action))

    def run_until(self, time: int) -> None:
        """Do everything that is due up to ``time``."""
        heap = self._heap
        while heap and heap[0][0] <= time:
            self.now, _, action = heapq.heappop(heap)
            self.events += 1
            action()
        self.now = time


class Chance:
    """Everything random, drawn from one seed, in a stream of its own for each purpose.

    So that with one decision less in a schedule the rest of it still meets much
    the same delays and losses: that is what makes shrinking work.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._streams: dict[str, random.Random] = {}

    def stream(self, name: str) -> random.Random:
        """The stream of that name; a text as seed is hashed the same way in every process."""
        if name not in self._streams:
            self._streams[name] = random.Random(f"{self.seed}/{name}")
        return self._streams[name]
