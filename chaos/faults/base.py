"""What a fault is, and what it can reach."""

from __future__ import annotations

import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

import attrs
import trio

from chaos.client import Client, opened
from chaos.cluster import Cluster
from chaos.history import Recorder, Status
from chaos.model import Compact
from chaos.session import Session
from chaos.syscalls import DiskGate
from chaos.watching import Watcher
from rusd.environment import Environment

FIRST_PROCESS = 1000
"""Clients of faults are numbered from here on, those of workloads from 1."""


@attrs.frozen
class Plan:
    """One entry of a schedule: everything about a fault that chance decides, decided.

    ``members`` are those it is for, in order of preference; with ``leader`` the leader of that moment comes
    first. ``amount`` is whatever the fault measures.
    """

    at: float
    seconds: float
    fault: str
    members: tuple[int, ...]
    leader: bool = False
    shape: str = ""
    amount: float = 0.0


@attrs.define(eq=False)
class Stage:
    """What a fault can reach: the cluster, its own connections to it, and what was observed."""

    cluster: Cluster
    recorder: Recorder
    environment: Environment
    recorders: Sequence[Watcher] = ()
    gates: dict[int, DiskGate] = attrs.Factory(dict)
    """The members' disks, where they are in our hands."""
    processes: Iterator[int] = attrs.field(factory=lambda: itertools.count(FIRST_PROCESS))
    statuses: dict[int, Status] = attrs.Factory(dict)
    compacted: int = 1

    def leader(self) -> int | None:
        """Who the member with the newest term takes for the leader; None if that isn't known."""
        known = [status for status in self.statuses.values() if status.leader >= 0]
        return max(known, key=lambda status: (status.term, status.at)).leader if known else None

    def aim(self, plan: Plan) -> tuple[int, ...]:
        """The members that ``plan`` is for at this moment."""
        leader = self.leader()
        if not plan.leader or leader is None:
            return plan.members
        return (leader, *(member for member in plan.members if member != leader))[: len(plan.members)]

    def others(self, members: Sequence[int]) -> list[int]:
        """All members but these."""
        return [index for index in range(self.cluster.size) if index not in members]

    def told(self) -> int:
        """The revision up to which some watcher of everything has been told everything."""
        return max((watcher.next - 1 for watcher in self.recorders), default=1)

    def client(self, member: int) -> AbstractAsyncContextManager[Client]:
        """A connection of its own to ``member``."""
        return opened(self.cluster.addresses, member, self.environment)

    @asynccontextmanager
    async def session(self, name: str, member: int) -> AsyncIterator[Session]:
        """A client whose requests are part of the history: for whatever changes keys."""
        async with self.client(member) as client:
            yield Session(next(self.processes), name, client, self.recorder, lambda: 0.0)

    async def compact(self, behind: int) -> bool:
        """Compact to ``behind`` revisions before the newest that is safely in the history."""
        revision = self.told() - behind
        if revision <= self.compacted:
            return False
        async with self.session("compact", self.leader() or 0) as session:
            done = await session.do(Compact(revision)) is not None
        self.compacted = max(self.compacted, revision)
        return done


class Fault(Protocol):
    """One kind of fault."""

    @property
    def name(self) -> str: ...

    @property
    def summary(self) -> str: ...

    @property
    def nodes(self) -> int:
        """How many members it takes at least."""

    @property
    def alone(self) -> bool:
        """Whether nothing else may go on at the same time."""

    @property
    def flags(self) -> Sequence[str]:
        """Flags that every member needs for it."""

    def plan(self, chance: random.Random, nodes: int, at: float, seconds: float) -> Plan:
        """Decide all that chance decides."""

    async def play(self, stage: Stage, plan: Plan) -> str:
        """Do it, keep it up for ``plan.seconds``, undo it; returns what was done, for the report.

        Whatever was begun is undone even if this is cancelled.
        """


async def again_and_again(seconds: float, pause: float, act: Callable[[], Awaitable[int]]) -> int:
    """Do ``act`` for so many seconds, with a pause after each time; returns the sum of what it returned."""
    total = 0
    with trio.move_on_after(seconds):
        while True:
            total += await act()
            await trio.sleep(pause)
    return total
