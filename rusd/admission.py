"""Members that were added and have caught up get their vote.

A new member begins with an empty log.  With a vote from the start it would count
for the quorum while it can't help to reach it: a cluster of one that adds a second
would stand still until that one is started, and could not even commit the change
that lets it start (Raft thesis, sections 4.1 and 4.2.1).  So to Raft it is a learner
first, and the leader admits it once it is there.  Clients see a member like any other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from etcdpb import rusd_pb2
from rusd.raft import Flow, Role
from rusd.replica import ReplicaError
from rusd.services.reconfiguration import READY_FRACTION, fraction_in_sync
from rusd.state import MemberError

if TYPE_CHECKING:
    from rusd.services.context import Context

POLL_SECONDS = 0.1
"""How often a leader looks whether a new member has caught up."""


class Admission:
    """Admits new members while this member leads."""

    def __init__(self, context: Context) -> None:
        self._replica = context.replica
        self._machine = context.machine
        self._clock = context.clock
        self._log = context.log

    async def run(self) -> None:
        """Look now and then.  Runs until cancelled."""
        while True:
            await self._clock.sleep_until(self._clock.monotonic() + POLL_SECONDS)
            candidate = self._ready_candidate()
            if candidate:
                await self._admit(candidate)

    def _ready_candidate(self) -> int:
        """A member without a vote that is to have one and has most of the log, or 0."""
        node = self._replica.core.node
        if node.role is not Role.LEADER or self._replica.core.change_under_way:
            return 0
        members = self._machine.members
        for candidate in sorted(node.configuration.learners):
            progress = node.progress[candidate]
            if members.get(candidate) is None or members.is_learner(candidate):
                continue
            is_there = progress.active and progress.flow is Flow.REPLICATE
            if is_there and fraction_in_sync(node, candidate) >= READY_FRACTION:
                return candidate
        return 0

    async def _admit(self, candidate: int) -> None:
        change = rusd_pb2.ConfigurationChange(
            type=rusd_pb2.ConfigurationChange.ADMIT_CANDIDATE, member=rusd_pb2.Member(id=candidate)
        )
        try:
            await self._replica.change_configuration(change)
        except (ReplicaError, MemberError) as error:  # another change came first; it is looked at again
            self._log.warn("failed to admit a member", member_id=f"{candidate:x}", error=error)
        else:
            self._log.info("admitted a member that has caught up", member_id=f"{candidate:x}")
