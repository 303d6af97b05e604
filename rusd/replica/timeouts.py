"""Why a proposal was not applied in time: what etcd tells its caller beside the fact.

A time-out is put down to the *previous leader* if the call came in during the election
that made this member the leader; to a *lost connection* if the one this member depends
on broke since: to its leader, or the leader's to a majority.
"""

from __future__ import annotations

from rusd.raft import Node, Role, has_majority
from rusd.replica.errors import ConnectionLostError, LeaderFailedError, RequestTimeoutError


class Causes:
    """What is known of elections and connections.

    Times are in seconds of the monotonic clock, ``election_timeout`` too.
    """

    def __init__(self, node: Node, election_timeout: float) -> None:
        self._node = node
        self._election_timeout = election_timeout
        self._led_term = 0
        self._elected_at = float("-inf")
        self._last_tick = float("-inf")
        self._lost_at: dict[int, float] = {}

    def tick(self, now: float) -> None:
        """Note it if this member has come to lead."""
        node = self._node
        if node.role is Role.LEADER and node.term != self._led_term:
            # Since the tick before.  Taken for its time: what was asked of this leader is not of the former.
            self._led_term, self._elected_at = node.term, self._last_tick
        self._last_tick = now

    def unreachable(self, peer: int, now: float) -> None:
        """The connection to ``peer`` is broken now."""
        self._lost_at[peer] = now

    def error(self, since: float) -> RequestTimeoutError:
        """For the caller of a proposal made at ``since``."""
        if self._elected_at - 2 * self._election_timeout < since < self._elected_at:
            return LeaderFailedError()
        if not self._connected_since(since):
            return ConnectionLostError()
        return RequestTimeoutError()

    def _connected_since(self, since: float) -> bool:
        node = self._node
        if node.role is not Role.LEADER:
            return node.leader_id == 0 or self._is_whole(node.leader_id, since)
        voters = node.configuration.voters
        connected = {voter for voter in voters if voter == node.id or self._is_whole(voter, since)}
        return has_majority(voters, connected)

    def _is_whole(self, peer: int, since: float) -> bool:
        return self._lost_at.get(peer, float("-inf")) < since
