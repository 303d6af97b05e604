"""Everything a running server consists of, put together.

How it comes to life, and to its end, is in :mod:`rusd.life`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from rusd.admission import Admission
from rusd.autocompact import AutoCompactor, make_schedule
from rusd.background import Compactor, LeaderWatch, LeaseKeeper
from rusd.clusterversion import VersionMonitor
from rusd.corruption import CorruptionChecker
from rusd.grpc import Gate
from rusd.lease import Lessor, minimum_ttl
from rusd.longwork import LongWork
from rusd.net import Flusher
from rusd.net import Server as NetServer
from rusd.net.poller import Poller
from rusd.peers import Identity, PeerTransport, peer_limits
from rusd.replica import Core, Replica, Snapshotter, Transfers
from rusd.services import Context, HeaderWriter, Limits, Quota, Services
from rusd.services import errors as answers
from rusd.services.remote import Leader
from rusd.state import snapshot as state_snapshot
from rusd.watch import WatchHub

if TYPE_CHECKING:
    from rusd.bootstrap import Strangers
    from rusd.config import Config
    from rusd.environment import Environment
    from rusd.logs import Logger
    from rusd.member import OpenMember
    from rusd.observer import ServerObserver

REQUEST_BASE_TIMEOUT_SECONDS = 5.0
"""A proposal is given up after this and two election timeouts, as in etcd."""

LEARNER_PATHS = frozenset({b"/etcdserverpb.KV/Range", b"/etcdserverpb.Maintenance/Status"})
"""What a learner serves; of ranges the serializable ones."""


class Parts:
    """A server's parts.  ``strangers`` are peers asked by their addresses."""

    def __init__(
        self,
        config: Config,
        environment: Environment,
        member: OpenMember,
        observer: ServerObserver,
        log: Logger,
        *,
        strangers: Strangers,
    ) -> None:
        self._config = config
        self._environment = environment
        self._log = log
        self._member = member
        clock, machine = environment.clock, member.machine
        self._machine = machine
        self.client_servers: list[NetServer] = []
        self.election_timeout = config.election_timeout / 1000
        self.request_timeout = REQUEST_BASE_TIMEOUT_SECONDS + 2 * self.election_timeout
        self._flusher = Flusher()
        self._work = LongWork(environment.after_slice)
        self.expelled = trio.Event()
        """Set when another member says that this one was removed."""
        self.core = Core(
            member.node,
            machine,
            member=member.member_id,
            boot=environment.random.getrandbits(32),
            election_timeout=self.election_timeout,
        )
        self.replica = Replica(
            self.core,
            member.wal,
            environment,
            log,
            tick_interval=config.heartbeat_interval / 1000,
            request_timeout=self.request_timeout,
            before_answers=self._flusher.expect,
            after_apply=self._after_apply,
            disk_is_shared=lambda: self._snapshotter.active,
            member_urls=lambda: {member.id: member.peer_urls for member in machine.members.all()},
        )
        # All connections take their turns together: what peers say is carried out at the end of the pass.
        self._poller = Poller(self.replica, clock.monotonic)
        self._peer_limits = peer_limits(config.max_request_bytes)
        network = self._network = PeerTransport(
            environment,
            log,
            Identity(
                member.member_id,
                member.cluster_id,
                tuple(str(url) for url in config.initial_advertise_peer_urls),
            ),
            is_removed=machine.members.is_removed,
            on_removed=self.expelled.set,
            limits=self._peer_limits,
            poller=self._poller,
        )
        self._snapshotter = Snapshotter(
            self.replica,
            member.data_dir,
            clock,
            log,
            cut=self._cut,
            state_bytes=lambda: machine.store.bytes_in_use,
            work=self._work,
            snapshot_count=config.snapshot_count,
            last_index=member.snapshot_index,
            log_bytes=member.wal.bytes_after(member.snapshot_index),
            threads=environment.threads,
        )
        transfers = Transfers(
            self.replica,
            self._snapshotter,
            network,
            data_dir=member.data_dir,
            machine=machine,
            environment=environment,
            log=log,
            work=self._work,
            tick_interval=config.heartbeat_interval / 1000,
        )
        self.replica.connect(peers=network, transfers=transfers)
        observer.store = lambda: machine.store
        observer.hub = WatchHub(machine.store)
        observer.lessor = Lessor(machine.leases, checkpoints="LeaseCheckpoint" in config.enabled_features)
        observer.quota = Quota(config.quota_backend_bytes, lambda: machine.store.bytes_in_use)
        observer.compactor = Compactor(
            clock,
            log,
            self._work,
            batch=config.compaction_batch_limit,
            pause=config.compaction_sleep_interval,
        )
        self._compactor = observer.compactor
        self._auto_compactor = self._make_auto_compactor()
        self._lease_keeper = LeaseKeeper(
            self.replica, observer.lessor, clock, extension=self.election_timeout
        )
        self._gate = Gate(lambda: self.replica.leader_id != 0)
        self._gate.refusal = answers.LEARNER
        self._members_seen = -1
        self._leader_watch = LeaderWatch(
            self.replica, clock, self._end_leaderless, election_timeout=self.election_timeout
        )
        self._versions = VersionMonitor(
            self.replica,
            machine,
            strangers,
            clock,
            log,
            own_id=member.member_id,
            request_timeout=self.request_timeout,
            downgrade_interval=config.downgrade_check_time,
        )
        self._context = Context(
            replica=self.replica,
            machine=machine,
            hub=observer.hub,
            lessor=observer.lessor,
            header=HeaderWriter(
                member.cluster_id,
                member.member_id,
                revision=lambda: machine.store.current_revision,
                term=lambda: self.core.node.term,
            ),
            quota=observer.quota,
            clock=clock,
            random=environment.random,
            log=log,
            limits=Limits(max_txn_ops=config.max_txn_ops, max_request_bytes=config.max_request_bytes),
            work=self._work,
            remote=network,
            leader=Leader(
                self.replica,
                network,
                clock,
                own_id=member.member_id,
                election_timeout=self.election_timeout,
                request_timeout=self.request_timeout,
            ),
            request_timeout=self.request_timeout,
            gate=self._gate,
            expelled=self.expelled,
        )
        self._admission = Admission(self._context)
        self._corruption = CorruptionChecker(self._context)
        self._services = Services(
            self._context,
            progress_interval=config.watch_progress_notify_interval,
            minimum_ttl=minimum_ttl(config.election_ticks, config.heartbeat_interval),
            strict_reconfiguration=config.strict_reconfig_check,
        )

    def _make_auto_compactor(self) -> AutoCompactor | None:
        config, clock, machine = self._config, self._environment.clock, self._machine
        schedule = make_schedule(config.auto_compaction_mode, config.compaction_retention, clock.monotonic())
        if schedule is None:
            return None
        return AutoCompactor(self.replica, clock, self._log, schedule, lambda: machine.store.current_revision)

    # -- what follows from what is applied -----------------------------------------------------

    def _after_apply(self) -> None:
        """A slice of entries was applied: events and answers leave together."""
        self._services.watch.pump()
        self._flusher.flush()
        self._snapshotter.entries_applied()
        self._after_leader_change()
        if self._machine.members.version != self._members_seen:
            self._after_members_change()

    def _after_leader_change(self) -> None:
        if self._lease_keeper.follow_leadership():
            self._versions.elected()

    def _after_members_change(self) -> None:
        members = self._machine.members
        self._members_seen = members.version
        self._gate.only = LEARNER_PATHS if members.is_learner(self._member.member_id) else None
        self.replica.members_changed()

    def _cut(self, index: int, term: int) -> state_snapshot.Cut:
        configuration = self.core.node.configuration_at(index)
        return state_snapshot.cut(self._machine, index, term, configuration.voters, configuration.learners)

    def _end_leaderless(self) -> None:
        for server in self.client_servers:
            server.end_leaderless()
