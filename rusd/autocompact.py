"""Automatic compaction: history older than a period, or than a number of revisions, is given up.

Only a leader decides on it, and the decision goes through the log like a
client's.  Source: etcd's two modes, ``--auto-compaction-mode`` periodic and
revision; times and rates are theirs.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

from etcdpb import rpc_pb2
from rusd.mvcc import CompactedError, MvccError
from rusd.raft import Role
from rusd.replica import ReplicaError
from rusd.state import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from rusd.config import Retention
    from rusd.environment import Clock
    from rusd.logs import Logger
    from rusd.replica import Replica

SAMPLES_PER_INTERVAL = 10
LONGEST_INTERVAL_SECONDS = 3600.0
"""Longer periods still compact this often, to the revision of one period ago."""

REVISION_INTERVAL_SECONDS = 300.0


class Schedule(Protocol):
    """When to look, and which revision to compact to."""

    interval: float
    mode: str

    def sample(self, revision: int) -> None:
        """An interval begins, and the store is at ``revision``."""

    def due(self, now: float, revision: int) -> int:
        """At ``now`` the store is at ``revision``: the revision to compact to, or 0."""

    def done(self, now: float, revision: int) -> None:
        """History before ``revision`` is gone."""


class PeriodicSchedule:
    """Keeps the history of one ``period``, in seconds.

    Samples the revision at the beginning of each tenth of an interval, and keeps one
    sample more than a period has; the first compaction comes after one whole period,
    to where the store was when it began.
    """

    mode = "periodic"

    def __init__(self, period: float, now: float) -> None:
        self._compaction_interval = min(period, LONGEST_INTERVAL_SECONDS)
        self.interval = self._compaction_interval / SAMPLES_PER_INTERVAL
        self._samples: deque[int] = deque(maxlen=int(period / self.interval + 1e-6) + 1)
        self._next = now + period
        self._last_revision = 0

    def sample(self, revision: int) -> None:
        self._samples.append(revision)

    def due(self, now: float, revision: int) -> int:
        oldest = self._samples[0]
        # The clock is asked at about the wanted moments; a hair too early is in time.
        early = now + self.interval / 2 < self._next
        return 0 if early or oldest == self._last_revision else oldest

    def done(self, now: float, revision: int) -> None:
        self._last_revision = revision
        self._next = now + self._compaction_interval


class RevisionSchedule:
    """Keeps the last ``retention`` revisions."""

    interval = REVISION_INTERVAL_SECONDS
    mode = "revision"

    def __init__(self, retention: int) -> None:
        self._retention = retention
        self._last_revision = 0

    def sample(self, revision: int) -> None:
        """What counts is only where the store is in the end."""

    def due(self, now: float, revision: int) -> int:
        target = revision - self._retention
        return 0 if target <= 0 or target == self._last_revision else target

    def done(self, now: float, revision: int) -> None:
        self._last_revision = revision


def make_schedule(mode: str, retention: Retention, now: float) -> Schedule | None:
    """The schedule that the configuration asks for; None if automatic compaction is off."""
    if mode == "revision":
        return RevisionSchedule(retention.revisions) if retention.revisions else None
    return PeriodicSchedule(retention.seconds, now) if retention.seconds else None


class AutoCompactor:
    """Compacts by a schedule while this member leads.  ``revision`` tells the store's current one."""

    def __init__(
        self, replica: Replica, clock: Clock, log: Logger, schedule: Schedule, revision: Callable[[], int]
    ) -> None:
        self._replica = replica
        self._clock = clock
        self._log = log
        self._schedule = schedule
        self._revision = revision

    async def run(self) -> None:
        """Look and compact.  Runs until cancelled."""
        schedule = self._schedule
        while True:
            schedule.sample(self._revision())
            await self._clock.sleep_until(self._clock.monotonic() + schedule.interval)
            target = schedule.due(self._clock.monotonic(), self._revision())
            if target and self._replica.core.node.role is Role.LEADER:
                await self._compact(target)

    async def _compact(self, target: int) -> None:
        mode = self._schedule.mode
        self._log.info(f"starting auto {mode} compaction", revision=target)
        start = self._clock.monotonic()
        request = rpc_pb2.CompactionRequest(revision=target)
        try:
            await self._replica.propose_and_wait(Kind.COMPACT, request, term=self._replica.term)
        except CompactedError:
            pass  # somebody was faster; the history is gone all the same
        except (MvccError, ReplicaError) as error:
            self._log.warn(f"failed auto {mode} compaction", revision=target, error=error)
            return
        now = self._clock.monotonic()
        self._schedule.done(now, target)
        self._log.info(f"completed auto {mode} compaction", revision=target, took=f"{now - start:.6f}s")
