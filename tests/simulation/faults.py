"""Carrying out decisions: each method is something that a schedule can do to a cluster."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from etcdpb import rusd_pb2
from rusd.raft import ProposalDropped
from rusd.replica import ReplicaError
from rusd.state import MemberError
from tests.simulation.host import Crash
from tests.simulation.network import CALM, Weather
from tests.simulation.watchers import Watcher

if TYPE_CHECKING:
    from tests.simulation.host import Host
    from tests.simulation.process import Process
    from tests.simulation.schedule import Decision
    from tests.simulation.world import World


class Faults:
    """What can happen to ``world``; the arguments are those of :mod:`tests.simulation.schedule`."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._storms = 0
        self._is_over = False
        self._ambushes: list[tuple[tuple[int, ...], int, int]] = []
        world.safety.on_elected = self._elected

    def end(self) -> None:
        """No more of this: ambushes are called off, the network is whole, everybody is well."""
        self._is_over = True
        self._world.network.mend_all()
        for host in self._world.hosts.values():
            host.end_faults()

    def do(self, decision: Decision) -> None:
        """Carry out one decision."""
        self._world.trace.note("decision", f"{decision.what}{decision.arguments}")
        getattr(self, decision.what)(*decision.arguments)

    def _host(self, number: int) -> Host:
        """The host of that number; 0 is the newest leader's, or any if nobody leads."""
        if number:
            return self._world.hosts[number]
        leaders = self._world.leaders()
        return leaders[0].host if leaders else self._world.hosts[1]

    # -- work -------------------------------------------------------------------------

    def ask(self, what: str, host: int, choice: int) -> None:
        """A client asks ``host`` for something."""
        self._world.clients.ask(what, self._host(host), choice)

    def watch(self, number: int, start: int, patience: int) -> None:
        """A client begins to watch."""
        self._world.watchers.append(Watcher(self._world, number, start=start, patience=patience))

    def snapshot(self, host: int) -> None:
        """A server takes a snapshot, whether it is due or not."""
        process = self._host(host).process
        if process is not None:
            process.do(process.snapshots.take)

    def transfer(self, target: int) -> None:
        """Whoever leads hands over to ``target``."""
        for process in self._world.leaders():
            self._world.coverage["transfers"] += 1
            with contextlib.suppress(ProposalDropped):
                process.node.transfer_leadership(self._host(target).id)
            process.do(lambda: None)

    def change(self, what: str, choice: int) -> None:
        """Somebody, perhaps not the leader, is asked to change who belongs to the cluster."""
        serving = [process for process in self._world.processes() if process.serving]
        if not serving:
            return
        process = serving[choice % len(serving)]
        members = process.machine.members
        voters = [member.id for member in members.all() if not member.is_learner]
        learners = [member.id for member in members.all() if member.is_learner]
        strangers = [me for me in self._world.hosts if not members.get(me) and not members.is_removed(me)]
        kind, candidates = {
            "add": (rusd_pb2.ConfigurationChange.ADD_MEMBER, strangers),
            "learn": (rusd_pb2.ConfigurationChange.ADD_LEARNER, strangers),
            "promote": (rusd_pb2.ConfigurationChange.PROMOTE_LEARNER, learners),
            "remove": (rusd_pb2.ConfigurationChange.REMOVE_MEMBER, voters[2:] + learners),
        }[what]
        if not candidates:
            return
        self._propose_change(process, kind, candidates[choice // 7 % len(candidates)])

    def remove(self, leader: bool, choice: int) -> None:
        """A leader removes itself, or somebody is asked to remove anybody; the last one can't go."""
        asked = [each for each in self._world.processes() if each.leads or (each.serving and not leader)]
        if not asked:
            return
        process = asked[choice % len(asked)]
        voters = [member.id for member in process.machine.members.all() if not member.is_learner]
        if len(voters) < 2:
            return
        gone = process.host.id if leader else voters[choice // 7 % len(voters)]
        self._propose_change(process, rusd_pb2.ConfigurationChange.REMOVE_MEMBER, gone)

    def _propose_change(self, process: Process, kind: rusd_pb2.ConfigurationChange.Type, member: int) -> None:
        change = rusd_pb2.ConfigurationChange(type=kind, member=rusd_pb2.Member(id=member))

        def settled(_result: object, error: Exception | None) -> None:
            self._world.coverage["changes answered"] += error is None

        def propose() -> None:
            with contextlib.suppress(ReplicaError, MemberError):
                process.core.propose_configuration(change, settled, process.seconds)

        process.do(propose)

    # -- crashes ----------------------------------------------------------------------

    def crash(
        self,
        host: int,
        survival: float | None,
        down: int,
        recovery: int,
        by_disk: bool,
        last: int,
        written: int,
    ) -> None:
        """A process dies at one of its next effects or disk operations."""
        crash = Crash(survival, down, recovery)
        if by_disk:
            self._host(host).crash_soon(crash, disk_operations=last, written=written)
        else:
            self._host(host).crash_soon(crash, effects=last)

    def crash_everybody(self, survival: float, down: int) -> None:
        """The power fails in the whole house."""
        for host in self._world.hosts.values():
            host.crash_soon(Crash(survival, down))
            host.die()

    def pause(self, host: int, milliseconds: int) -> None:
        """A process is stopped for a while, and goes on where it was."""
        process = self._host(host).process
        if process is not None:
            self._world.coverage["pauses"] += 1
            process.pause(milliseconds)

    # -- the network --------------------------------------------------------------------

    def partition(self, side: tuple[int, ...], milliseconds: int) -> None:
        """Nothing gets from ``side`` to the others or back."""
        self._world.coverage["partitions"] += 1
        ours = {self._host(number).id for number in side}
        others = [host for host in self._world.hosts if host not in ours]
        links = [(a, b) for a in ours for b in others] + [(b, a) for a in ours for b in others]
        self._part(links, milliseconds)

    def rotate(self, side: tuple[int, ...], requests: int) -> None:
        """As :meth:`partition`, in place of all other cuts; just before, the leader gets some work."""
        for number in range(requests % 4):
            self.ask("put", 0, number)
        self._world.network.mend_all_cuts()
        self.partition(side, 3000)

    def ambush(self, side: tuple[int, ...], delay: int, requests: int) -> None:
        """As :meth:`rotate`, but with the next leader, just after its election."""
        self._ambushes.append((side, delay, requests))

    def _elected(self) -> None:
        if self._ambushes and not self._is_over:
            side, delay, requests = self._ambushes.pop()
            self._ambushes.clear()
            self._world.scheduler.after(delay, lambda: self._spring(side, requests))

    def _spring(self, side: tuple[int, ...], requests: int) -> None:
        if not self._is_over:
            self.rotate(side, requests)

    def cut(self, from_: int, to: int, milliseconds: int) -> None:
        """Nothing gets from one to the other; the way back is open."""
        self._world.coverage["one-way cuts"] += 1
        self._part([(self._host(from_).id, self._host(to).id)], milliseconds)

    def _part(self, links: list[tuple[int, int]], milliseconds: int) -> None:
        number = self._world.network.part(links)
        self._world.scheduler.after(milliseconds, lambda: self._world.network.mend(number))

    def storm(self, drop: float, duplicate: float, slow: float, slow_by: int, milliseconds: int) -> None:
        """Bad weather, until it ends or other weather comes."""
        self._world.coverage["storms"] += 1
        self._storms += 1
        storm = self._storms
        self._world.network.weather = Weather(drop, duplicate, slow, slow_by)

        def end() -> None:
            if storm == self._storms:
                self._world.network.weather = CALM

        self._world.scheduler.after(milliseconds, end)

    # -- time and disks -------------------------------------------------------------------

    def skew(self, host: int, tick_every: int, milliseconds: int) -> None:
        """One server's ticks come too fast or too slowly."""
        server = self._host(host)
        server.tick_every = tick_every
        self._world.scheduler.after(milliseconds, server.restore)

    def slow_disk(self, host: int, slow_by: int, milliseconds: int) -> None:
        """Every sync of one server takes much longer."""
        server = self._host(host)
        server.slow_disk_by = slow_by
        self._world.scheduler.after(milliseconds, server.restore)
