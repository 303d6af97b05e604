"""Being the leader, and knowing it; handing the office over.

A process may be stopped for long: by SIGSTOP, by a slow disk, by a machine that
sleeps.  When it goes on, its clock has jumped and somebody else may lead.
Writes can't go wrong by that, and reads ask a quorum anyway.  But leases are
renewed and expired by the leader's own clock: after a late tick it does neither before a
quorum has confirmed it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from rusd.raft import ChangeRefused, NotLeader, Role
from rusd.replica.errors import BadTransfereeError, NotLeaderError, ReplicaError, TransferTimeoutError
from rusd.replica.outcome import Outcome

if TYPE_CHECKING:
    from rusd.environment import Clock
    from rusd.replica.core import Core

LATE_TICKS = 3
"""Ticks without one from which on the process counts as having been stopped (etcd: 3)."""


class Leadership:
    """One replica's view of its own office.  ``wake`` has carried out what the core is asked for.

    Times are in seconds.
    """

    def __init__(
        self,
        core: Core,
        clock: Clock,
        wake: Callable[[], None],
        *,
        tick_interval: float,
        request_timeout: float,
    ) -> None:
        self._core = core
        self._node = core.node
        self._clock = clock
        self._wake = wake
        self._tick_interval = tick_interval
        self._request_timeout = request_timeout
        self._last_tick = clock.monotonic()
        self._doubted_term = 0
        self._asking = False

    def ticked(self, now: float) -> None:
        """A tick has come.  After a late one, ask a quorum who leads."""
        if self._is_late(now):
            self._doubted_term = self._node.term
        self._last_tick = now
        if self._is_doubted() and not self._asking:
            self._ask()

    def is_certain(self) -> bool:
        """Whether this member leads, and has been awake since that was last confirmed."""
        node = self._node
        if node.role is not Role.LEADER:
            return False
        if node.is_sole_leader:
            return True
        return not self._is_late(self._clock.monotonic()) and not self._is_doubted()

    async def confirm(self) -> bool:
        """Whether this member leads, asking a quorum if there is doubt.  In time, or False."""
        term = self._node.term
        if self._node.role is not Role.LEADER:
            return False
        if self.is_certain():
            return True
        outcome = Outcome()
        try:
            if not self._core.read_index(outcome.settle):
                self._wake()
                await outcome.wait()
        except ReplicaError:
            return False
        return self._leads_in(term)

    async def transfer(self, target: int, timeout: float | None = None) -> None:
        """Hand leadership to ``target`` and return once it leads.

        Raises :class:`NotLeaderError`, :class:`BadTransfereeError`, and
        :class:`TransferTimeoutError` after ``timeout`` seconds, a request's if not given.
        """
        node, clock = self._node, self._clock
        try:
            node.transfer_leadership(target)
        except NotLeader as error:
            raise NotLeaderError from error
        except ChangeRefused as error:
            raise BadTransfereeError from error
        self._wake()
        deadline = clock.monotonic() + (self._request_timeout if timeout is None else timeout)
        while node.leader_id != target:
            now = clock.monotonic()
            if now >= deadline:
                raise TransferTimeoutError
            await clock.sleep_until(min(deadline, now + self._tick_interval))

    def heir(self) -> int:
        """The voter who could take over soonest: present, and with the longest log; 0 if there is none."""
        node = self._node
        voters = node.configuration.voters
        heirs = [
            (peer.active, peer.lately, peer.match, id_)
            for id_, peer in node.progress.items()
            if (peer.active or peer.lately) and id_ in voters
        ]
        return max(heirs)[-1] if heirs else 0

    def _ask(self) -> None:
        term = self._doubted_term
        self._asking = True

        def settle(_result: object, error: Exception | None) -> None:
            self._asking = False
            if error is None and self._doubted_term == term and self._leads_in(term):
                self._doubted_term = 0

        if self._core.read_index(settle):
            settle(None, None)

    def _leads_in(self, term: int) -> bool:
        return self._node.role is Role.LEADER and self._node.term == term

    def _is_late(self, now: float) -> bool:
        return now - self._last_tick >= LATE_TICKS * self._tick_interval

    def _is_doubted(self) -> bool:
        return self._doubted_term == self._node.term and self._node.role is Role.LEADER
