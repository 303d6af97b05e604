"""A wake-up for a loop: set as often as you like, taken once."""

from __future__ import annotations

import trio


class Signal:
    """A flag that one task waits for and clears.

    Unlike :class:`trio.Event` it can be used again, and a :meth:`set` between
    two waits is never lost.
    """

    __slots__ = ("_lot", "_set")

    def __init__(self) -> None:
        self._set = False
        self._lot = trio.lowlevel.ParkingLot()

    def set(self) -> None:
        """Wake the waiting task, or the next one that waits."""
        self._set = True
        if self._lot:
            self._lot.unpark()

    async def wait(self) -> None:
        """Return once the flag is set, and clear it.  Always a checkpoint."""
        if self._set:
            await trio.lowlevel.checkpoint()
        while not self._set:
            await self._lot.park()
        self._set = False
