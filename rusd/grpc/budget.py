"""What all connections of a server together may keep in memory for their clients.

A connection's *weight* is what it holds: answers waiting for windows, requests that have come in part,
and a lump sum for each open stream.  Connections report when they have grown by a good piece, so the sum
is known about; when it passes the limit everybody is weighed again, and the heaviest goes, until the
rest fits.  So one client, or many, can't take the server's memory, and whoever keeps little is safe.
Only a single answer may be of any size, where nobody else holds much.
"""

from __future__ import annotations

from typing import Final, Protocol

STREAM_BYTES: Final = 8 * 1024
"""What an open stream weighs besides its bytes: its state, its handler's task.

One that is answered and not read, or not half-closed, has no task, but its state is kept all the same.
"""

GRAIN_BYTES: Final = 256 * 1024
"""A connection reports when it has grown by that much."""


class Holder(Protocol):
    """A connection."""

    def weigh(self) -> int:
        """Bytes held now; growth is reported from here on."""

    def largest(self) -> int:
        """The part of the weight that is one answer."""

    def evict(self) -> None:
        """Too much is held: let go of everything and end the connection."""


class Budget:
    """The sum of all weights and its ``limit``, in bytes."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.evicted = 0
        """How many connections had to go, ever."""
        self._reported: dict[Holder, int] = {}
        self._sum = 0

    @property
    def total(self) -> int:
        """Bytes held by all, as reported."""
        return self._sum

    def report(self, holder: Holder, weight: int) -> None:
        """``holder`` weighs ``weight`` now.  May evict it, or others."""
        self._sum += weight - self._reported.get(holder, 0)
        self._reported[holder] = weight
        if self._sum > self.limit:
            self._make_room()

    def forget(self, holder: Holder) -> None:
        """``holder`` is gone."""
        self._sum -= self._reported.pop(holder, 0)

    def _make_room(self) -> None:
        for holder in self._reported:
            self._reported[holder] = holder.weigh()
        self._sum = sum(self._reported.values())
        while self._sum > self.limit:
            heaviest = max(self._reported, key=self._reported.__getitem__)
            if len(self._reported) == 1 and self._sum - heaviest.largest() <= self.limit:
                return
            self.forget(heaviest)
            self.evicted += 1
            heaviest.evict()

    def check(self) -> None:
        """Verify the sum."""
        assert self._sum == sum(self._reported.values())
