"""A whole cluster in one process: hosts, network, clients, watchers, and all that is known about them."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from etcdpb import rusd_pb2
from rusd.raft import Entry, HardState, InvariantViolation, Limits, Node, bootstrap
from rusd.raft.errors import ContractError
from rusd.replica import Core
from rusd.storage import StorageError
from rusd.watch import WatchHub
from tests.simulation import properties
from tests.simulation.clients import Clients
from tests.simulation.coverage import Coverage
from tests.simulation.faults import Faults
from tests.simulation.host import Host
from tests.simulation.liveness import Liveness
from tests.simulation.model import Model
from tests.simulation.network import Network
from tests.simulation.process import Process
from tests.simulation.properties import Violation
from tests.simulation.safety import Safety
from tests.simulation.schedule import ROUGH, Decision, Profile, draw
from tests.simulation.scheduler import Chance, Scheduler
from tests.simulation.trace import Silence, Trace
from tests.simulation.watchers import Watcher


@attrs.frozen(kw_only=True)
class Settings:
    """A cluster: ``size`` servers of which the first ``voters`` found it, and what they run."""

    size: int = 3
    voters: int = 3
    node_class: type[Node] = Node
    core_class: type[Core] = Core
    process_class: type[Process] = Process
    hub_class: type[WatchHub] = WatchHub
    pre_vote: bool = True
    check_quorum: bool = True
    election_ticks: int = 6
    tick_milliseconds: int = 100
    log_limit: int = 20
    snapshot_count: int = 30
    watch_deliveries: int = 30

    @property
    def is_quiet(self) -> bool:
        """Whether healthy leaders are promised to stay: that takes both of the thesis' additions."""
        return self.pre_vote and self.check_quorum

    @property
    def election_seconds(self) -> float:
        """The shortest election timeout."""
        return self.election_ticks * self.tick_milliseconds / 1000


class World:
    """One run of one schedule."""

    def __init__(self, seed: int, settings: Settings, *, traced: bool = False) -> None:
        self.settings = settings
        self.scheduler = Scheduler()
        self.trace = (Trace if traced else Silence)(lambda: self.scheduler.now)
        self.chance = Chance(seed)
        self.coverage = Coverage()
        # From one entry in an append to many.
        append_bytes = self.chance.stream("limits").choice((1, 100, 600, 5000))
        self.limits = Limits(
            append_bytes=append_bytes, inflight_messages=6, inflight_bytes=4000, uncommitted_bytes=20_000
        )
        self.model = Model()
        self.safety = Safety(self.model, self.coverage)
        self.network = Network(self.scheduler, self.chance, self.coverage, self._deliver)
        self.clients = Clients(self)
        self.watchers: list[Watcher] = []
        self.safety.on_revoked = self._revoked
        self.hosts = {me: Host(self, me) for me in range(1, settings.size + 1)}

    def run(self, decisions: Sequence[Decision], *, seconds: int) -> None:
        """Carry out ``decisions``, let faults stop, and see whether all is well.

        Raises :class:`Violation`.
        """
        faults = Faults(self)
        try:
            for host in self.hosts.values():
                host.start()
            for decision in decisions:
                self.scheduler.after(decision.at, lambda decision=decision: faults.do(decision))  # type: ignore[misc]
            self.scheduler.run_until(seconds * 1000)
            faults.end()
            Liveness(self).check()
        except Violation:
            raise
        except (AssertionError, InvariantViolation, ContractError) as error:
            raise Violation(properties.INVARIANTS, f"{type(error).__name__}: {error}") from error
        except (StorageError, FileNotFoundError) as error:
            raise Violation(properties.DURABILITY, f"{type(error).__name__}: {error}") from error

    # -- looking ----------------------------------------------------------------------

    def processes(self) -> list[Process]:
        """Those that live."""
        return [host.process for host in self.hosts.values() if host.process is not None]

    def leaders(self) -> list[Process]:
        """All that believe to lead, the newest first."""
        leaders = [process for process in self.processes() if process.leads]
        return sorted(leaders, key=lambda process: -process.node.term)

    # -- what hosts ask -----------------------------------------------------------------

    def founding(self, me: int) -> tuple[HardState, list[Entry]]:
        """What a new server's log begins with: the founders', or nothing for one that joins later."""
        if me > self.settings.voters:
            return HardState(), []
        members = [
            (
                member,
                rusd_pb2.ConfigurationChange(
                    type=rusd_pb2.ConfigurationChange.ADD_MEMBER, member=rusd_pb2.Member(id=member)
                ).SerializeToString(),
            )
            for member in range(1, self.settings.voters + 1)
        ]
        return bootstrap(members)

    def sync_delay(self, host: int) -> int:
        """How long a sync takes on ``host``, in milliseconds."""
        return self.chance.stream(f"disk {host}").randint(1, 12) + self.hosts[host].slow_disk_by

    def apply_delay(self, host: int) -> int:
        """How far the apply loop lags behind."""
        return self.chance.stream(f"apply {host}").choice((0, 0, 0, 1, 3, 25))

    # -- happenings -----------------------------------------------------------------------

    def _deliver(self, to: int, thing: object) -> None:
        process = self.hosts[to].process
        if process is not None:
            process.do(lambda: self._receive(process, thing))

    def _receive(self, process: Process, thing: object) -> None:
        self.trace.arrived(process, thing)
        process.receive(thing)

    def _revoked(self, lease: int, expired: bool) -> None:
        if expired:
            self.clients.expired(lease)
        else:
            self.clients.revoked(lease)


def spare_hosts(profile: Profile) -> int:
    """How many servers there should be that may join."""
    return 3 if profile.changes else 0


def simulate(
    seed: int,
    settings: Settings | None = None,
    profile: Profile = ROUGH,
    decisions: Sequence[Decision] | None = None,
) -> World:
    """Run the schedule of ``seed``, or ``decisions`` with the small delays of ``seed``.

    Raises :class:`Violation`, with the world as it was then in ``world``.
    """
    settings = settings or Settings()
    world = World(seed, settings)
    if decisions is None:
        decisions = draw(seed, settings.size, profile)
    world.run(decisions, seconds=profile.seconds)
    return world
