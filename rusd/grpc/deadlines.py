"""Things that must happen at a time unless they are called off first.

One heap for everything a server has to remember: its calls' deadlines, its
connections' time-outs.  A call that ends early calls its entry off, which is
cheap; the dead entries leave when they reach the top, or in one sweep when
they are the larger part.  No clock here: the owner asks :meth:`Deadlines.arm` how
long to wait, and says what time it is.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable

_SWEEP_ABOVE = 1024  # dead entries that are too few to bother


class Deadline:
    """One entry: ``action`` is due at ``at``.  Made by :meth:`Deadlines.add`."""

    __slots__ = ("action", "at")

    def __init__(self, at: float, action: Callable[[], None]) -> None:
        self.at = at
        self.action: Callable[[], None] | None = action

    def __lt__(self, other: Deadline) -> bool:
        return self.at < other.at


class Deadlines:
    """A heap of deadlines.  ``on_earlier`` is called when one comes in before what :meth:`arm` answered."""

    __slots__ = ("_armed", "_dead", "_heap", "on_earlier")

    def __init__(self, on_earlier: Callable[[], None] | None = None) -> None:
        self._heap: list[Deadline] = []
        self._dead = 0
        self._armed = math.inf
        self.on_earlier = on_earlier

    def __len__(self) -> int:
        return len(self._heap) - self._dead

    def add(self, at: float, action: Callable[[], None]) -> Deadline:
        """Have ``action`` called once ``at`` is reached."""
        entry = Deadline(at, action)
        heapq.heappush(self._heap, entry)
        if at < self._armed:
            self._armed = at
            if self.on_earlier is not None:
                self.on_earlier()
        return entry

    def cancel(self, entry: Deadline) -> None:
        """Call ``entry`` off; fine if it is already past or called off."""
        if entry.action is None:
            return
        entry.action = None
        self._dead += 1
        if self._dead > _SWEEP_ABOVE and self._dead * 2 > len(self._heap):
            self._heap = [other for other in self._heap if other.action is not None]
            heapq.heapify(self._heap)
            self._dead = 0

    @property
    def next_at(self) -> float | None:
        """When something is due next; ``None`` for never."""
        heap = self._heap
        while heap and heap[0].action is None:
            heapq.heappop(heap)
            self._dead -= 1
        return heap[0].at if heap else None

    def arm(self) -> float | None:
        """Like :attr:`next_at`, and from now on ``on_earlier`` is called only for what comes before it.

        Entries that are called off don't count: waking up once for nothing is
        cheaper than setting the alarm anew for each call.
        """
        at = self.next_at
        self._armed = math.inf if at is None else at
        return at

    def expire(self, now: float) -> int:
        """Call every action due at ``now``, the earliest first; how many were called."""
        count = 0
        while (at := self.next_at) is not None and at <= now:
            entry = heapq.heappop(self._heap)
            action, entry.action = entry.action, None
            if action is not None:
                action()
                count += 1
        return count

    def check(self) -> None:
        """Verify the heap: order, and the number of dead entries."""
        heap = self._heap
        for child in range(1, len(heap)):
            assert heap[(child - 1) // 2].at <= heap[child].at, "heap order"
        assert self._dead == sum(entry.action is None for entry in heap), "dead entries"
