"""Who is out of time: the leader's timers over the leases of the log.

Only the leader lets leases expire, and only by proposing their revocation; whatever
happens here, a lease ends when that proposal applies.  A follower keeps no time: to it,
leases last forever.  A new leader can't know when the old one renewed a lease last, so
it gives every lease its full time again, and an election timeout on top: leases get
longer by a change of leaders, never shorter.

Sans-IO: ``now`` comes in as seconds of a monotonic clock; :meth:`Lessor.next_deadline`
says when to come back.  etcd looks every 500 ms instead.  Semantics and rates: etcd 3.6,
``server/lease/lessor.go``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from heapq import heappop, heappush, heapreplace

from rusd.lease.errors import LeaseExpiredError, LeaseNotFoundError, NotPrimaryError
from rusd.lease.store import LeaseStore
from rusd.sorting import sort_steps
from rusd.steps import Steps, Turn

EXPIRED_LIMIT = 500
"""Leases given out for revocation at a time (etcd: 1000 a second, asked twice a second)."""

RETRY_INTERVAL_S = 3.0
"""After this an expired lease that still exists is given out again: its revocation was lost."""

SPREAD_FROM_LEASES = 1000
"""With fewer leases than this a new leader does not spread their expiries."""

SPREAD_PER_SECOND = 3 * SPREAD_FROM_LEASES // 4
"""How many leases a new leader lets run out in one second."""

CHECKPOINT_INTERVAL_S = 300
"""How often what is left of a long lease is recorded; leases with less left are not worth it."""

CHECKPOINT_LIMIT = 1000
"""Leases in one proposal of checkpoints."""


def minimum_ttl(election_ticks: int, heartbeat_ms: int) -> int:
    """The shortest lease in seconds: one and a half election timeouts, rounded up.

    ``election_ticks`` is the election timeout in heartbeats of ``heartbeat_ms``.  A shorter lease
    could run out while the cluster is without a leader.
    """
    return -(-(3 * election_ticks // 2) * heartbeat_ms // 1000)


class _Timer:
    """When one lease runs out.

    ``due`` is when to look at it next: at ``expiry``, or later if it was given out already.
    ``queued`` is the time of its valid entry in the heap, never after ``due``: a renewal only
    moves ``due``, and the entry follows when it comes to the front.
    """

    __slots__ = ("checkpoint_at", "due", "expiry", "lease_id", "queued")

    def __init__(self, lease_id: int, expiry: float) -> None:
        self.lease_id = lease_id
        self.expiry = expiry
        self.due = expiry
        self.queued = math.inf
        self.checkpoint_at = math.inf


_Entry = tuple[float, int, _Timer]


class Lessor:
    """The timers.  Useless until :meth:`promote`, and again after :meth:`demote`.

    ``checkpoints`` is etcd's feature gate LeaseCheckpoint.
    """

    def __init__(self, leases: LeaseStore, *, checkpoints: bool = False) -> None:
        self._leases = leases
        self._checkpoints_on = checkpoints
        self._primary = False
        self._timers: dict[int, _Timer] = {}
        self._expiries: list[_Entry] = []
        self._checkpoints: list[_Entry] = []
        self._sequence = 0  # keeps heap entries of one time in order of entry
        self._waiters: dict[int, list[Callable[[bool], None]]] = {}

    @property
    def primary(self) -> bool:
        """Whether this is the leader's lessor."""
        return self._primary

    # -- leadership -----------------------------------------------------------

    def promote(self, now: float, extend: float) -> None:
        """This member leads.  Every lease gets what is left of it, at most its TTL, and ``extend`` seconds.

        From a thousand leases on, those that would run out together are spread out.  Promoted anew,
        for another term, it shortens none; who waits for a revocation is told ``False``, to ask again.
        """
        former = self._timers
        self.demote()
        self._primary = True
        for lease_id in self._leases.ids():
            expiry = now + self._full_time(lease_id) + extend
            if lease_id in former:
                expiry = max(expiry, former[lease_id].expiry)
            self._timers[lease_id] = _Timer(lease_id, expiry)
        if len(self._timers) >= SPREAD_FROM_LEASES:
            self._spread(now, extend)
        for timer in self._timers.values():
            self._schedule(timer)
            self._schedule_checkpoint(timer, now)

    def _full_time(self, lease_id: int) -> int:
        """Seconds that a lease certainly has: its checkpoint's, or all of its TTL."""
        return self._leases.remaining(lease_id) or self._leases.ttl(lease_id)

    def _spread(self, now: float, extend: float) -> None:
        """Delay leases so that not many more than SPREAD_PER_SECOND run out in any second.

        Each window begins with the first lease that does not fall into the one before.  Beyond the
        rate, a lease is put off by its rank, less the time by which it comes after the window's begin.
        """
        timers = sorted(self._timers.values(), key=lambda timer: (timer.expiry, timer.lease_id))
        window_start = timers[0].expiry
        window_end = window_start + 1.0
        in_window = 0
        for timer in timers:
            if timer.expiry > window_end:
                window_start = timer.expiry
                window_end = window_start + 1.0
                in_window = 1
                continue
            in_window += 1
            if in_window <= SPREAD_PER_SECOND:
                continue
            delay = in_window / SPREAD_PER_SECOND - (timer.expiry - window_start)
            window_end = window_start + delay
            expiry = now + self._full_time(timer.lease_id) + extend + delay
            timer.expiry = timer.due = max(timer.expiry, expiry)

    def demote(self) -> None:
        """This member leads no more: all timers stop, and who waits for a revocation is told ``False``."""
        self._primary = False
        self._timers = {}
        self._expiries = []
        self._checkpoints = []
        waiters, self._waiters = self._waiters, {}
        for settles in waiters.values():
            for settle in settles:
                settle(False)

    # -- what the log does ------------------------------------------------------

    def on_granted(self, lease_id: int, now: float) -> None:
        """A grant was applied."""
        if not self._primary:
            return
        timer = self._timers[lease_id] = _Timer(lease_id, now + self._full_time(lease_id))
        self._schedule(timer)
        self._schedule_checkpoint(timer, now)

    def on_revoked(self, lease_id: int) -> None:
        """A revocation was applied; who waits for it is told ``True``."""
        timer = self._timers.pop(lease_id, None)
        if timer is not None:
            timer.queued = timer.checkpoint_at = math.nan  # no entry of any heap is its any more
        for settle in self._waiters.pop(lease_id, ()):
            settle(True)

    def on_checkpointed(self, lease_id: int, now: float) -> None:
        """A checkpoint was applied; the next one is due an interval later."""
        timer = self._timers.get(lease_id)
        if timer is not None:
            self._schedule_checkpoint(timer, now)

    # -- what clients ask ---------------------------------------------------------

    def renew(self, lease_id: int, now: float) -> int:
        """Give a lease its full TTL again.  Returns the TTL in seconds, 0 if there is no such lease.

        If :meth:`has_checkpoint` is true, a checkpoint of 0 must be applied before, or a new leader
        would give the lease only what was left then.  Raises :class:`NotPrimaryError`, and
        :class:`LeaseExpiredError` if it is too late: the caller then waits (:meth:`when_revoked`).
        """
        timer = self._find(lease_id)
        if timer is None:
            return 0
        if timer.expiry <= now:
            raise LeaseExpiredError(lease_id)
        ttl = self._leases.ttl(lease_id)
        timer.expiry = timer.due = now + ttl
        self._schedule(timer)
        return ttl

    def has_checkpoint(self, lease_id: int) -> bool:
        """Whether a checkpoint says that less than the full TTL is left."""
        return self._leases.exists(lease_id) and self._leases.remaining(lease_id) > 0

    def when_revoked(self, lease_id: int, settle: Callable[[bool], None]) -> None:
        """Call ``settle(True)`` once the lease is revoked, or ``settle(False)`` if that can't be told
        here any more because leadership is lost.  At once if either is so already.
        """
        if not self._primary:
            settle(False)
        elif lease_id not in self._timers:
            settle(True)
        else:
            self._waiters.setdefault(lease_id, []).append(settle)

    def remaining(self, lease_id: int, now: float) -> int:
        """Whole seconds left, truncated; 0 or less if it expired and is not revoked yet.

        Raises :class:`NotPrimaryError` and :class:`LeaseNotFoundError`.
        """
        timer = self._find(lease_id)
        if timer is None:
            raise LeaseNotFoundError(lease_id)
        return int(timer.expiry - now)

    def by_expiry(self) -> list[int]:
        """All leases, the one that runs out first in front; on a follower in no particular order."""
        if not self._primary:
            return list(self._leases.ids())
        timers = sorted(self._timers.values(), key=lambda timer: timer.expiry)
        return [timer.lease_id for timer in timers]

    def by_expiry_steps(self, turn: Turn) -> Steps[list[int]]:
        """:meth:`by_expiry` in steps; what changes on the way may or may not show."""
        if not self._primary:
            return list(self._leases.ids())
        timers = [(timer.expiry, timer.lease_id) for timer in self._timers.values()]
        ordered = yield from sort_steps(timers, turn)
        return [lease_id for _, lease_id in ordered]

    # -- what time does -------------------------------------------------------------

    def expired(self, now: float, limit: int = EXPIRED_LIMIT) -> list[int]:
        """Up to ``limit`` leases to propose the revocation of, the longest expired in front.

        One that still exists RETRY_INTERVAL_S later is given out again.
        """
        found: list[int] = []
        while len(found) < limit:
            timer = self._first_expiry()
            if timer is None or timer.due > now:
                break
            timer.due = now + RETRY_INTERVAL_S
            found.append(timer.lease_id)
        return found

    def due_checkpoints(self, now: float, limit: int = CHECKPOINT_LIMIT) -> list[tuple[int, int]]:
        """Up to ``limit`` pairs (lease, seconds left, rounded up) to propose a checkpoint of."""
        due: list[tuple[int, int]] = []
        while len(due) < limit:
            timer = self._first_checkpoint()
            if timer is None or timer.checkpoint_at > now:
                break
            timer.checkpoint_at = math.inf  # scheduled again when the checkpoint has applied
            left = math.ceil(timer.expiry - now)
            # Nothing to say of a lease that is out of time, or has all of it.
            if 0 < left < self._leases.ttl(timer.lease_id):
                due.append((timer.lease_id, left))
        return due

    def next_deadline(self) -> float | None:
        """When :meth:`expired` or :meth:`due_checkpoints` will have something; None for never."""
        expiry, checkpoint = self._first_expiry(), self._first_checkpoint()
        deadlines = [timer.due for timer in (expiry,) if timer is not None]
        deadlines += [timer.checkpoint_at for timer in (checkpoint,) if timer is not None]
        return min(deadlines, default=None)

    # -- the heaps --------------------------------------------------------------------

    def _find(self, lease_id: int) -> _Timer | None:
        if not self._primary:
            raise NotPrimaryError(lease_id)
        return self._timers.get(lease_id)

    def _schedule(self, timer: _Timer) -> None:
        if timer.due < timer.queued:
            timer.queued = timer.due
            heappush(self._expiries, (timer.due, self._next_sequence(), timer))

    def _first_expiry(self) -> _Timer | None:
        """The timer that is due first, after bringing entries up to date that have fallen behind."""
        heap = self._expiries
        while heap:
            queued, _, timer = heap[0]
            if timer.queued != queued:
                heappop(heap)
            elif timer.due > queued:
                timer.queued = timer.due
                heapreplace(heap, (timer.due, self._next_sequence(), timer))
            else:
                return timer
        return None

    def _schedule_checkpoint(self, timer: _Timer, now: float) -> None:
        if self._checkpoints_on and self._full_time(timer.lease_id) > CHECKPOINT_INTERVAL_S:
            timer.checkpoint_at = now + CHECKPOINT_INTERVAL_S
            heappush(self._checkpoints, (timer.checkpoint_at, self._next_sequence(), timer))

    def _first_checkpoint(self) -> _Timer | None:
        heap = self._checkpoints
        while heap:
            at, _, timer = heap[0]
            if timer.checkpoint_at == at:
                return timer
            heappop(heap)
        return None

    def _next_sequence(self) -> int:
        self._sequence += 1
        return self._sequence

    def check(self) -> None:
        """Verify the invariants; raises :class:`AssertionError`."""
        if not self._primary:
            kept = (self._timers, self._expiries, self._checkpoints, self._waiters)
            assert not any(kept), "a follower keeps time"
            return
        assert set(self._timers) == set(self._leases.ids()), "leases and timers differ"
        assert set(self._waiters) <= set(self._timers), "waiting for a lease that is gone"
        entries = {(timer.lease_id, queued) for queued, _, timer in self._expiries}
        for timer in self._timers.values():
            assert timer.expiry <= timer.due, "looked at before it expires"
            assert timer.queued <= timer.due, "looked at too late"
            assert (timer.lease_id, timer.queued) in entries, "never looked at"
