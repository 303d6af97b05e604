"""A clock that stands still until a test moves it."""

from __future__ import annotations

import trio


class ManualClock:
    """A :class:`~rusd.environment.Clock` whose time is what :meth:`advance` made it.

    Several servers may share one.  Unlike Trio's ``MockClock`` it rules only the
    server's own timers, so it works with real sockets, threads and clients.
    """

    def __init__(self, *, start: float = 1000.0, epoch: float = 1_700_000_000.0) -> None:
        self._now = start
        self._epoch = epoch - start
        self._sleepers = trio.lowlevel.ParkingLot()

    def monotonic(self) -> float:
        return self._now

    def time(self) -> float:
        return self._epoch + self._now

    async def sleep_until(self, deadline: float) -> None:
        await trio.lowlevel.checkpoint()
        while self._now < deadline:
            await self._sleepers.park()

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass at once; whoever slept until then wakes."""
        if seconds < 0:
            raise ValueError("a monotonic clock does not go back")
        self._now += seconds
        self._sleepers.unpark_all()


class TrioClock:
    """A :class:`~rusd.environment.Clock` that shows Trio's own time.

    Under Trio's ``MockClock(autojump_threshold=0)`` whole servers live through minutes in a moment, as
    long as nothing waits for anything but time: disks and network in memory, no threads.
    """

    def __init__(self, *, epoch: float = 1_700_000_000.0) -> None:
        self._epoch = epoch

    def monotonic(self) -> float:
        return trio.current_time()

    def time(self) -> float:
        return self._epoch + trio.current_time()

    async def sleep_until(self, deadline: float) -> None:
        if deadline == float("inf"):
            await trio.sleep_forever()
        await trio.sleep_until(deadline)
