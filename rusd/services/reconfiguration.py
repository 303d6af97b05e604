"""Which changes of the members ``--strict-reconfig-check`` refuses, and when a learner may be promoted.

Raft itself would make them.  But a cluster of which too many members were never
started, or can't be reached, would lose its quorum by such a change, and with it
every way to take the change back.  Rules, words and the time for which a
connection must have lasted are etcd's (``server/etcdserver/server.go`` and
``api/membership/cluster.go``, release 3.6).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rusd.services import errors

if TYPE_CHECKING:
    from rusd.environment import Clock
    from rusd.logs import Logger
    from rusd.raft import Node
    from rusd.state import Member, Membership

HEALTHY_SECONDS = 5.0
"""For so long without a break a member must have been heard of to count as connected."""

READY_FRACTION = 0.9
"""Of the leader's log a learner must have before it may vote."""


def quorum(members: int) -> int:
    """How many of that many are a majority."""
    return members // 2 + 1


class StrictCheck:
    """Refuses what endangers the quorum, by a :class:`~rusd.grpc.StatusError`; nothing if not ``strict``.

    ``active_since(member)`` tells since when a member has been heard of, in seconds of the monotonic clock.
    """

    def __init__(
        self,
        own_id: int,
        active_since: Callable[[int], float | None],
        clock: Clock,
        log: Logger,
        *,
        strict: bool,
    ) -> None:
        self._own_id = own_id
        self._active_since = active_since
        self._clock = clock
        self._log = log
        self._strict = strict

    def may_add(self, members: Membership, *, learner: bool) -> None:
        """Raise an error if another member would endanger the quorum; it counts as unavailable."""
        if not self._strict:
            return
        voters = members.voters()
        started = _started(voters)
        # The exception is how a cluster grows that was restored from one member's data.
        only_one = started == 1 and len(voters) == 1
        if not learner and not only_one and started < quorum(len(voters) + 1):
            self._reject("add", started, len(voters) + 1)
            raise errors.NOT_ENOUGH_STARTED()
        if len(voters) > 1 and self._connected(voters) < quorum(len(voters) + 1):
            self._log.warn(
                "rejecting member add request; local member has not been connected to majority peers, "
                "reconfigure breaks active quorum",
                local_member_id=f"{self._own_id:x}",
            )
            raise errors.UNHEALTHY()

    def may_remove(self, members: Membership, identity: int) -> None:
        """Raise an error if the cluster would lose its quorum without that member."""
        if not self._strict or members.is_learner(identity):
            return
        voters = members.voters()
        others = [voter for voter in voters if voter.id != identity]
        if _started(others) < quorum(len(others)):
            self._reject("remove", _started(others), len(others))
            raise errors.NOT_ENOUGH_STARTED()
        if identity != self._own_id and self._active_since(identity) is None:
            return  # it is down: the quorum does without it already
        active = self._connected(voters)
        if active - 1 < 1 + (len(voters) - 1) // 2:
            self._log.warn(
                "rejecting member remove request; local member has not been connected to all peers, "
                "reconfigure breaks active quorum",
                local_member_id=f"{self._own_id:x}",
                requested_member_remove=f"{identity:x}",
                active_peers=active,
            )
            raise errors.UNHEALTHY()

    def may_promote(self, members: Membership) -> None:
        """Raise an error if another vote would endanger the quorum; the learner counts as started."""
        voters = members.voters()
        if self._strict and _started(voters) + 1 < quorum(len(voters) + 1):
            self._reject("promote", _started(voters) + 1, len(voters) + 1)
            raise errors.NOT_ENOUGH_STARTED()

    def _connected(self, voters: Sequence[Member]) -> int:
        """How many of ``voters`` have been connected for long enough, this member among them."""
        since = self._clock.monotonic() - HEALTHY_SECONDS
        times = (self._active_since(voter.id) for voter in voters if voter.id != self._own_id)
        connected = sum(time is not None and time < since for time in times)
        return connected + any(voter.id == self._own_id for voter in voters)

    def _reject(self, what: str, started: int, members: int) -> None:
        self._log.warn(
            f"rejecting member {what}; started member will be less than quorum",
            number_of_started_member=started,
            quorum=quorum(members),
            local_member_id=f"{self._own_id:x}",
        )


def check_in_sync(node: Node, member: int, log: Logger) -> None:
    """Raise an error unless ``member`` has most of the log; ``node`` leads.

    A voter passes: that it is no learner is found out later.
    """
    if member == node.id:
        return
    if member not in node.progress:
        raise errors.MEMBER_NOT_FOUND()
    fraction = fraction_in_sync(node, member)
    if fraction < READY_FRACTION:
        log.error(
            "rejecting promote learner: learner is not ready",
            learner_ready_percent=fraction,
            ready_percent_threshold=READY_FRACTION,
        )
        raise errors.LEARNER_NOT_READY()


def fraction_in_sync(node: Node, member: int) -> float:
    """How much of the leader's log ``member`` is known to have; ``node`` leads and sends to it."""
    return node.progress[member].match / node.log.persisted_index


def _started(members: Sequence[Member]) -> int:
    return sum(member.has_started for member in members)
