"""The task that gives :class:`rusd.grpc.deadlines.Deadlines` its time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trio

from rusd.environment import Clock
from rusd.grpc.deadlines import Deadlines
from rusd.logs import Logger


class Timer:
    """One heap of deadlines and the task that watches it."""

    def __init__(self, clock: Clock, log: Logger) -> None:
        self._clock = clock
        self._log = log
        self._sleep = trio.CancelScope()
        self.deadlines = Deadlines(self._on_earlier)

    def _on_earlier(self) -> None:
        self._sleep.cancel()

    async def run(self) -> None:
        """Call what is due, when it is due; never returns."""
        deadlines = self.deadlines
        while True:
            with trio.CancelScope() as self._sleep:
                at = deadlines.arm()
                if at is None:
                    await trio.sleep_forever()
                else:
                    await self._clock.sleep_until(at)
            self._expire()

    def _expire(self) -> None:
        """A broken action must not keep the others from their time."""
        while True:
            try:
                self.deadlines.expire(self._clock.monotonic())
            except Exception as error:
                self._log.error("deadline action failed", error=error)
            else:
                return


@contextmanager
def within(seconds: float, deadlines: Deadlines, clock: Clock) -> Iterator[None]:
    """Cancel the block after ``seconds``; raises :class:`TimeoutError` if that was needed."""
    with trio.CancelScope() as scope:
        entry = deadlines.add(clock.monotonic() + seconds, scope.cancel)
        try:
            yield
        finally:
            deadlines.cancel(entry)
    if scope.cancelled_caught:
        raise TimeoutError(f"nothing came of it in {seconds:g} s")
