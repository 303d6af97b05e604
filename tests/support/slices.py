"""Running work in steps by hand: how often it pauses, and what can be seen meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rusd.steps import Steps, Turn


class Sliced:
    """``make(turn)`` gives a generator of steps; :meth:`step` runs it to its next pause.

    ``result`` is there once ``done``; ``pauses`` counts.
    """

    def __init__(self, make: Callable[[Turn], Steps[Any]]) -> None:
        self._turn = Turn(0)
        self._steps = make(self._turn)
        self.result: Any = None
        self.done = False
        self.pauses = 0

    def step(self, budget: float = 1) -> bool:
        """Go on; whether the result is there."""
        if self.done:
            return True
        self._turn.left = budget
        try:
            next(self._steps)
        except StopIteration as stop:
            self.result, self.done = stop.value, True
        else:
            self.pauses += 1
        return self.done

    def close(self) -> None:
        """Abandon it."""
        self._steps.close()


def run_sliced(
    make: Callable[[Turn], Steps[Any]], at_pause: Callable[[], object] = lambda: None, budget: float = 1
) -> Any:
    """Run to the end in turns of ``budget``, calling ``at_pause`` between them; the result."""
    job = Sliced(make)
    while not job.step(budget):
        at_pause()
    return job.result
