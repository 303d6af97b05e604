"""After the faults: a leader within bounds, few terms, work goes on, everybody catches up, and calm.

Everything here is counted in ticks, the cluster's own time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rusd.raft import Configuration
from tests.simulation import properties
from tests.simulation.properties import Violation

if TYPE_CHECKING:
    from tests.simulation.process import Process
    from tests.simulation.world import World

SETTLING_TIMEOUTS = 2.5
"""Election timeouts until what is still on its way from bad times has arrived."""

LEADER_TIMEOUTS = 12
"""Election timeouts within which everybody follows one leader."""

MOST_TERMS = 5
"""Terms that may pass until then."""

TERMS_OF_A_STRANGER = 2
"""Terms that, without PreVote, a server may add that was removed and does not know it (thesis 4.2.3)."""

CATCH_UP_TIMEOUTS = 12
"""Election timeouts within which everybody has applied everything."""


class Liveness:
    """The second half of a run, once the faults are over."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._timeout = world.settings.election_ticks * world.settings.tick_milliseconds

    def check(self) -> None:
        """Look; raises :class:`Violation`."""
        for watcher in self._world.watchers:
            watcher.hurry()
        self._pass(SETTLING_TIMEOUTS)
        leader = self._find_leader()
        self._catch_up(leader)
        if self._world.settings.is_quiet:
            self._stay_calm(leader, "although nothing happens")
            if len(leader.node.configuration.voters) > 2:
                self._come_back(leader)
                self._step_down(leader)
        self._compare_states()

    def _pass(self, timeouts: float) -> None:
        self._world.scheduler.run_until(self._world.scheduler.now + int(timeouts * self._timeout))

    def _members(self, leader: Process) -> list[Process | None]:
        return [self._world.hosts[member].process for member in sorted(leader.node.configuration.members)]

    def _find_leader(self) -> Process:
        world = self._world
        before = max(process.node.term for process in world.processes())
        for _ in range(LEADER_TIMEOUTS * world.settings.election_ticks):
            self._pass(1 / world.settings.election_ticks)
            for leader in world.leaders()[:1]:
                if leader.node.id not in leader.node.configuration.voters:
                    continue  # it leads until its own removal is committed (thesis 4.2.2)
                members = self._members(leader)
                if all(member is not None and member.node.leader_id == leader.node.id for member in members):
                    self._require_few_terms(leader, before)
                    self._send_clients_to_members(leader)
                    return leader
        states = [
            f"{p}: {p.node.role.value} term {p.node.term} of {p.node.leader_id}" for p in world.processes()
        ]
        raise Violation(
            properties.LEADER_FOUND, f"not after {LEADER_TIMEOUTS} election timeouts: {'; '.join(states)}"
        )

    def _send_clients_to_members(self, leader: Process) -> None:
        """Servers that were removed go on running, perhaps without knowing, but nobody asks them any more."""
        for process in self._world.processes():
            if process.host.id not in leader.node.configuration.members:
                process.retired = True
                process.serving = False

    def _require_few_terms(self, leader: Process, before: int) -> None:
        world, terms = self._world, leader.node.term - before
        world.coverage["terms to recover"] += terms
        most = MOST_TERMS
        if not world.settings.pre_vote:
            most += TERMS_OF_A_STRANGER * len([p for p in world.processes() if _is_stranger(p, leader)])
        if terms > most:
            raise Violation(properties.TERMS_STAY, f"{terms} terms passed until there was a leader")

    def _catch_up(self, leader: Process) -> None:
        """Everybody applies what there is, and what is asked for now; watchers hear of it."""
        world, clients = self._world, self._world.clients
        answered = clients.answered
        for number in range(CATCH_UP_TIMEOUTS):
            clients.ask("put", leader.host, number)
            clients.ask("read", leader.host, 2)
            self._pass(1)
            done = clients.answered >= answered + 2 and self._all_caught_up(leader)
            if done and all(watcher.is_up_to_date for watcher in world.watchers):
                return
        if clients.answered < answered + 2:
            raise Violation(properties.PROGRESS, f"{leader} answers nothing")
        if not self._all_caught_up(leader):
            states = [f"{p}: {p.core.applied_index}" for p in world.processes()]
            raise Violation(properties.CAUGHT_UP, f"of {world.model.index}, applied are {', '.join(states)}")
        late = [watcher.next for watcher in world.watchers if not watcher.is_up_to_date]
        raise Violation(properties.PROGRESS, f"watchers stand at {late}, the store at {world.model.revision}")

    def _all_caught_up(self, leader: Process) -> bool:
        applied = self._world.model.index
        return all(
            member is not None and member.core.applied_index >= applied for member in self._members(leader)
        )

    def _stay_calm(self, leader: Process, why: str) -> None:
        term = leader.node.term
        self._pass(3)
        if not leader.leads or leader.node.term != term:
            now = next(iter(self._world.leaders()), None)
            text = f"{leader} led term {term}, now {now} leads {now.node.term if now else 0}, {why}"
            raise Violation(properties.LEADER_STAYS, text)

    def _come_back(self, leader: Process) -> None:
        """A follower is cut off for a while; neither that nor its return disturbs anybody."""
        hosts, me = self._world.hosts, leader.host.id
        voter = min(leader.node.configuration.voters - {me})
        links = [(voter, other) for other in hosts] + [(other, voter) for other in hosts]
        self._stay_calm_without(links, leader, f"{voter} came back")
        self._stay_calm_without([(me, voter)], leader, f"{voter} could not hear it")

    def _stay_calm_without(self, links: list[tuple[int, int]], leader: Process, why: str) -> None:
        number = self._world.network.part(links)
        self._pass(4)
        self._world.network.mend(number)
        self._stay_calm(leader, why)

    def _step_down(self, leader: Process) -> None:
        """The leader is cut off: it notices, and the others find a new one."""
        world, me = self._world, leader.host.id
        links = [(me, other) for other in world.hosts] + [(other, me) for other in world.hosts]
        number = world.network.part(links)
        self._pass(2.5)
        if leader.leads:
            raise Violation(
                properties.STEPS_DOWN, f"{leader} still leads, {2.5} election timeouts after the cut"
            )
        world.network.mend(number)
        self._catch_up(self._find_leader())

    def _compare_states(self) -> None:
        """All who applied as much are in the same state, and every structure is sound."""
        states: dict[int, tuple[object, Process]] = {}
        for process in self._world.processes():
            _finish_entry(process)
            process.core.check()
            process.machine.check()
            process.hub.check()
            process.wal.check()
            state = _state_of(process)
            known, other = states.setdefault(process.core.applied_index, (state, process))
            if known != state:
                raise Violation(properties.CAUGHT_UP, f"{process} has {state}, {other} has {known}")


def _is_stranger(process: Process, leader: Process) -> bool:
    """Whether it counts itself among the voters, and nobody else does."""
    return process.host.id in process.node.configuration.voters - leader.node.configuration.members


def _finish_entry(process: Process) -> None:
    """An entry applied in steps shows before it counts as applied: let it be done."""
    while not process.core.between_entries:
        process.do(process.apply)


def _state_of(process: Process) -> object:
    """Keys as HashKV sums them up, leases, members; the latter are those that Raft counts."""
    machine = process.machine
    job = machine.store.hash_kv(0)
    while not job.step(1000):
        pass
    leases = sorted((lease, machine.leases.ttl(lease)) for lease in machine.leases.ids())
    members = machine.members.all()
    counted = process.node.configuration_at(process.core.applied_index)
    voters = frozenset(member.id for member in members if not member.is_learner)
    learners = frozenset(member.id for member in members if member.is_learner)
    if Configuration(voters, learners) != counted:
        text = f"{process} has members {members}, Raft counts {counted}"
        raise Violation(properties.CAUGHT_UP, text)
    return machine.store.current_revision, job.result, leases, members, machine.members.removed()
