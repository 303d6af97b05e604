"""Time: two readings and one way to wait."""

from __future__ import annotations

import time
from typing import Protocol

import trio


class Clock(Protocol):
    """Two readings and one way to wait.  All in seconds."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary start; never goes back."""

    def time(self) -> float:
        """Seconds since the Unix epoch; for log lines and ids, never for deadlines."""

    async def sleep_until(self, deadline: float) -> None:
        """Return once :meth:`monotonic` has reached ``deadline``; always a checkpoint."""


class RealClock:
    """The machine's clock, waited for through Trio."""

    def monotonic(self) -> float:
        return time.monotonic()

    def time(self) -> float:
        return time.time()

    async def sleep_until(self, deadline: float) -> None:
        # Trio keeps its own time base; only the difference carries over.
        await trio.sleep(max(0.0, deadline - time.monotonic()))
