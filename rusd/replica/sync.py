"""Where a WAL sync runs: in the event loop, or in a thread.

A sync in the loop saves two thread switches, which on a fast disk cost as much
as the sync: with one client a third more writes, with sixteen a quarter more
(h2load, 256-byte puts, syncs of 0.15 ms at the median).  But it holds up
everybody, readers too.  So the loop is used only while the disk keeps showing
that no turn gets long by it.
"""

from __future__ import annotations

from collections import deque

SAMPLES = 100
FAST_SYNC_SECONDS = 0.01
"""The 99th percentile of the last :data:`SAMPLES` syncs must stay below this: no turn may be longer.

Lower bounds were tried.  Where other processes take the processors, each return from sleep costs
some milliseconds: a sync then looks slow that is not, and the way through the thread sleeps three
times as often.
"""
STALL_SECONDS = 0.02
"""One sync slower than this sends the next ones to the thread, for as long as :data:`PENALTY_FACTOR` says."""
PENALTY_FACTOR = 100
"""Times the sync's own length: so such syncs hold up the loop for a hundredth of the time at most."""


class SyncPolicy:
    """Decides from the last syncs where the next one runs.

    A new policy trusts the disk, and forgives one slow sync in :data:`SAMPLES`.
    ``allow_inline=False`` has all of them run in the thread.
    """

    def __init__(self, *, allow_inline: bool = True) -> None:
        self._allow_inline = allow_inline
        self._slow: deque[bool] = deque(maxlen=SAMPLES)
        self._slow_count = 0
        self._threaded_until = float("-inf")

    def inline(self, now: float, *, disk_is_shared: bool) -> bool:
        """Whether the next sync may run in the loop.

        ``disk_is_shared`` says that background work (a snapshot) uses the disk now.
        """
        if not self._allow_inline or disk_is_shared or now < self._threaded_until:
            return False
        return self._slow_count <= SAMPLES // 100

    def observe(self, now: float, seconds: float, *, disk_is_shared: bool) -> None:
        """A sync took ``seconds``; it ended at ``now``.

        One that shared the disk ran in the thread, and tells nothing of the disk left to itself.
        """
        if disk_is_shared:
            return
        if len(self._slow) == SAMPLES:
            self._slow_count -= self._slow[0]
        slow = seconds >= FAST_SYNC_SECONDS
        self._slow.append(slow)
        self._slow_count += slow
        if seconds > STALL_SECONDS:
            self._threaded_until = now + PENALTY_FACTOR * seconds
