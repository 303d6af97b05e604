"""Long work gives way: whatever is too large for one turn of the event loop takes turns here.

A task that checks in with the scheduler between its slices is polite alone; a hundred
of them together are not, since each gets a slice in every pass.  So all of them
share one place: one slice of one job in a pass of the scheduler, the jobs in turns.
The apply loop, the log and the connections don't queue here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, MutableSet
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import trio

from rusd.signal import Signal
from rusd.steps import Steps, Turn, discard_steps

T = TypeVar("T")

TURN_RECORDS = 1024
"""A slice, in records (:mod:`rusd.steps`): one to three milliseconds."""


class LongWork:
    """The place of one server.  ``after_slice`` is the environment's."""

    def __init__(self, after_slice: Callable[[], None] = lambda: None) -> None:
        self._after_slice = after_slice
        self._place = trio.Lock()  # first come, first served
        self._garbage: deque[list[Any] | dict[Any, Any] | MutableSet[Any]] = deque()
        self._dirty = Signal()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """``async with work.turn():`` do one slice; a checkpoint."""
        async with self._place:
            yield
            self._after_slice()

    async def run(self, steps: Steps[T], turn: Turn) -> T:
        """Run ``steps``, which go by ``turn``, to their end; closes them when cancelled."""
        try:
            while True:
                async with self.turn():
                    turn.left = TURN_RECORDS
                    try:
                        next(steps)
                    except StopIteration as stop:
                        return stop.value  # type: ignore[no-any-return]
        finally:
            steps.close()

    def discard(self, collection: list[Any] | dict[Any, Any] | MutableSet[Any]) -> None:
        """Let go of a large collection that nobody else uses, bit by bit."""
        self._garbage.append(collection)
        self._dirty.set()

    async def clean_up(self) -> None:
        """Let go of what was discarded.  Runs until cancelled."""
        turn = Turn(0)
        while True:
            await self._dirty.wait()
            while self._garbage:
                await self.run(discard_steps([self._garbage.popleft()], turn), turn)
