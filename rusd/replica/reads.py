"""Linearizable reads that wait: for a leader to confirm itself, then for the state to get that far.

A read asks Raft for a read index (thesis, section 6.4).  The answer, once a
quorum has confirmed the leader, is an index; when everything up to it is
applied, the read may look at the state.  Questions and answers travel between
members and may get lost, so they are asked again, and given up after a while.
A new leader knows nothing of what its predecessor was asked: as in etcd, those
who wait are told of the change, and ask again themselves if they like.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterable
from struct import Struct

from rusd.raft import Node, NoLeader, ReadState, Role
from rusd.replica.errors import LeaderChangedError, RequestTimeoutError
from rusd.replica.waiting import Waiter

RETRY_TICKS = 5
"""After so many ticks a follower asks the leader again about reads it has heard nothing of (etcd: 500 ms)."""

_CONTEXT = Struct(">IQ")  # boot, number


class Reads:
    """The reads that wait on one replica.  ``boot`` tells this life of the process from others."""

    def __init__(self, node: Node, boot: int) -> None:
        self._node = node
        self._boot = boot
        self._last_number = 0
        self._waiting: dict[int, Waiter] = {}
        self._confirmed: deque[tuple[int, int]] = deque()  # (index they wait for, number)
        self._marks: deque[tuple[float, int]] = deque()  # at each tick: the reads that were there
        self._ticks_to_retry = RETRY_TICKS

    def ask(self, waiter: Waiter) -> None:
        """Have ``waiter`` called when the state is recent enough, or with an error.

        Where there is nobody to ask, it waits for a leader, and is told when there is one.
        """
        self._last_number = number = self._last_number + 1
        with contextlib.suppress(NoLeader):
            self._node.read_index(self._context(number))
        self._waiting[number] = waiter

    def confirm(self, states: Iterable[ReadState]) -> None:
        """A quorum has confirmed these."""
        for state in states:
            if len(state.context) != _CONTEXT.size:
                continue  # nothing that was asked here
            boot, number = _CONTEXT.unpack(state.context)
            if boot == self._boot:  # else an answer that was on its way while this member restarted
                self._confirmed.append((state.index, number))

    def may_answer(self, applied_index: int) -> bool:
        """Whether :meth:`answer` has something to do."""
        return bool(self._confirmed) and self._confirmed[0][0] <= applied_index

    def answer(self, applied_index: int) -> None:
        """Everything up to ``applied_index`` is applied: let the reads go that waited for it."""
        confirmed = self._confirmed
        while confirmed and confirmed[0][0] <= applied_index:
            waiter = self._waiting.pop(confirmed.popleft()[1], None)
            if waiter is not None:
                waiter(None, None)

    def tick(self, now: float, timeout: float) -> None:
        """Give up on reads older than ``timeout`` seconds, and ask again about the others."""
        self._expire(now, timeout)
        self._ask_again()

    def leader_changed(self) -> None:
        """There is another leader now, or the same one in another term: who is not confirmed is told."""
        confirmed = {number for _, number in self._confirmed}
        lost = [number for number in self._waiting if number not in confirmed]
        for number in lost:
            self._waiting.pop(number)(None, LeaderChangedError())

    def fail_all(self, error: Exception) -> None:
        """Tell all of them that they won't be answered."""
        waiting, self._waiting = self._waiting, {}
        self._confirmed.clear()
        for waiter in waiting.values():
            waiter(None, error)

    def _context(self, number: int) -> bytes:
        """What a read is known by: unlike its number, the context is not used again by a later life."""
        return _CONTEXT.pack(self._boot, number)

    def _ask_again(self) -> None:
        """Ask a leader elsewhere about unconfirmed reads again: questions and answers get lost."""
        node = self._node
        self._ticks_to_retry -= 1
        if self._ticks_to_retry > 0 or node.role is Role.LEADER:
            return
        self._ticks_to_retry = RETRY_TICKS
        confirmed = {number for _, number in self._confirmed}
        for number in self._waiting:
            if number not in confirmed:
                with contextlib.suppress(NoLeader):
                    node.read_index(self._context(number))

    def _expire(self, now: float, timeout: float) -> None:
        """Give up on reads that were there at a tick ``timeout`` seconds ago.

        Reads have no time of their own: each tick notes which ones it found.
        """
        waiting, marks = self._waiting, self._marks
        if waiting:
            marks.append((now, self._last_number))
        while marks and now - marks[0][0] >= timeout:
            newest = marks.popleft()[1]
            for number in [number for number in waiting if number <= newest]:
                waiting.pop(number)(None, RequestTimeoutError())
        if not waiting:
            marks.clear()
