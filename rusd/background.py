"""What a server does by itself: expire leases, compact, carry compactions out.

Each is a small loop that a nursery of the server runs.  What changes state goes
through the log like everything else, marked with the term it was decided in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from etcdpb import rpc_pb2
from rusd.raft import Role
from rusd.replica import ReplicaError
from rusd.signal import Signal
from rusd.state import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from rusd.environment import Clock
    from rusd.lease import Lessor
    from rusd.logs import Logger
    from rusd.longwork import LongWork
    from rusd.mvcc import Compaction
    from rusd.replica import Replica

LEASE_INTERVAL_SECONDS = 0.5
"""How long the lease loop sleeps at most: a lease may be granted, leadership gained, meanwhile."""

MAX_REVOKES_IN_FLIGHT = 16

PATIENCE_ELECTIONS = 3
"""Election time-outs without a leader before open calls end: to begin one anew is dear (etcd's figure)."""

STEP_RECORDS = 256
"""Records that a compaction looks at in one turn: it looks four times at each."""


class LeaseKeeper:
    """Lets leases expire while this member leads.

    ``extension`` is what a new leader gives every lease on top, in seconds.
    """

    def __init__(self, replica: Replica, lessor: Lessor, clock: Clock, *, extension: float) -> None:
        self._replica = replica
        self._lessor = lessor
        self._clock = clock
        self._extension = extension
        self._promoted_in_term = 0
        self._in_flight = 0

    def follow_leadership(self) -> bool:
        """Start the timers when this member has come to lead, stop them when it leads no more.

        Called often, so it is cheap.  Returns whether it has just come to lead.
        """
        node = self._replica.core.node
        if node.role is not Role.LEADER:
            if self._promoted_in_term:
                self._promoted_in_term = 0
                self._lessor.demote()
            return False
        if node.term == self._promoted_in_term:
            return False
        self._promoted_in_term = node.term
        self._lessor.promote(self._clock.monotonic(), self._extension)
        return True

    async def run(self) -> None:
        """Revoke what has expired.  Runs until cancelled."""
        while True:
            now = self._clock.monotonic()
            wake = now + LEASE_INTERVAL_SECONDS
            deadline = self._lessor.next_deadline()
            if deadline is not None and self._in_flight < MAX_REVOKES_IN_FLIGHT:
                wake = min(wake, deadline)
            await self._clock.sleep_until(wake)
            self.follow_leadership()
            if self._promoted_in_term:
                self._revoke_expired()
                self._propose_checkpoints()

    def _revoke_expired(self) -> None:
        if not self._replica.leadership.is_certain():
            return  # after a sleep of the whole process somebody else may lead, and have renewed them
        room = MAX_REVOKES_IN_FLIGHT - self._in_flight
        for lease_id in self._lessor.expired(self._clock.monotonic(), room):
            self._propose(Kind.LEASE_REVOKE, rpc_pb2.LeaseRevokeRequest(ID=lease_id))

    def _propose_checkpoints(self) -> None:
        due = self._lessor.due_checkpoints(self._clock.monotonic())
        if not due:
            return
        checkpoints = [rpc_pb2.LeaseCheckpoint(ID=lease_id, remaining_TTL=left) for lease_id, left in due]
        self._propose(Kind.LEASE_CHECKPOINT, rpc_pb2.LeaseCheckpointRequest(checkpoints=checkpoints))

    def _propose(
        self, kind: Kind, request: rpc_pb2.LeaseRevokeRequest | rpc_pb2.LeaseCheckpointRequest
    ) -> None:
        try:
            self._replica.propose(kind, request, self._done, term=self._promoted_in_term)
        except ReplicaError:
            return  # the lessor hands it out again after a while
        self._in_flight += 1

    def _done(self, _result: object, error: Exception | None) -> None:
        """Somebody else may have revoked it first; either way it is gone, and the next one may go."""
        self._in_flight -= 1
        if self._promoted_in_term and not isinstance(error, ReplicaError):
            self._revoke_expired()


class LeaderWatch:
    """Ends calls that want a leader once there has been none for long.

    ``end_calls`` ends them; ``election_timeout`` is in seconds.
    """

    def __init__(
        self, replica: Replica, clock: Clock, end_calls: Callable[[], None], *, election_timeout: float
    ) -> None:
        self._replica = replica
        self._clock = clock
        self._end_calls = end_calls
        self._election_timeout = election_timeout

    async def run(self) -> None:
        """Look once each election time-out.  Runs until cancelled."""
        without = 0
        while True:
            await self._clock.sleep_until(self._clock.monotonic() + self._election_timeout)
            without = 0 if self._replica.leader_id else without + 1
            if without >= PATIENCE_ELECTIONS:
                self._end_calls()


class Compactor:
    """Carries compactions out, some records at a time, with a pause in between.

    ``batch`` is the number of records looked at in one go, ``pause`` in seconds.
    """

    def __init__(self, clock: Clock, log: Logger, work: LongWork, *, batch: int, pause: float) -> None:
        self._clock = clock
        self._log = log
        self._work = work
        self._batch = batch
        self._pause = pause
        self._jobs: list[Compaction] = []
        self._added = Signal()

    def add(self, job: Compaction) -> None:
        """Take over a compaction that was just decided."""
        self._jobs.append(job)
        self._added.set()

    async def run(self) -> None:
        """Work on compactions, one after the other.  Runs until cancelled."""
        while True:
            await self._added.wait()
            while self._jobs:
                job = self._jobs[0]
                start = self._clock.monotonic()
                while not await self._step(job):
                    await self._clock.sleep_until(self._clock.monotonic() + self._pause)
                self._jobs.pop(0)
                took = self._clock.monotonic() - start
                self._log.info(
                    "finished scheduled compaction", compact_revision=job.revision, took=f"{took:.6f}s"
                )
                await trio.lowlevel.checkpoint()

    async def _step(self, job: Compaction) -> bool:
        """A batch, cut into turns if it is a large one; whether the job is done."""
        for start in range(0, self._batch, STEP_RECORDS):
            async with self._work.turn():
                if job.step(min(STEP_RECORDS, self._batch - start)):
                    return True
        return False
