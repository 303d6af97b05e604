"""Everything a running server consists of, and the order in which it comes to life.

First the replica and the way to its peers, which need no clients; then the
member tells the cluster its name and addresses, for which there must be a leader;
only then are clients served.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import trio

from etcdpb import rusd_pb2
from rusd.admission import Admission
from rusd.autocompact import AutoCompactor, make_schedule
from rusd.background import Compactor, LeaderWatch, LeaseKeeper
from rusd.clusterversion import VersionMonitor
from rusd.corruption import CorruptionChecker, InconsistentError
from rusd.environment import join_address
from rusd.gateway import Health, PeerRoutes, Routes
from rusd.grpc import Budget, Gate, Registry
from rusd.lease import Lessor, minimum_ttl
from rusd.listeners import StartError, connection_limit
from rusd.longwork import LongWork
from rusd.net import Flusher
from rusd.net import Limits as NetLimits
from rusd.net import Server as NetServer
from rusd.net.poller import Poller
from rusd.peers import Identity, PeerTransport, peer_limits
from rusd.raft import Role
from rusd.replica import Core, Replica, ReplicaError, Snapshotter, Transfers
from rusd.services import Context, HeaderWriter, Limits, Quota, Services
from rusd.services import errors as answers
from rusd.services.reconfiguration import quorum
from rusd.services.remote import Leader
from rusd.state import Kind
from rusd.state import snapshot as state_snapshot
from rusd.timeouts import finish_by
from rusd.watch import WatchHub

if TYPE_CHECKING:
    from rusd.bootstrap import Strangers
    from rusd.config import Config
    from rusd.environment import Environment, Listener
    from rusd.listeners import Listeners
    from rusd.logs import Logger
    from rusd.member import OpenMember
    from rusd.observer import ServerObserver

REQUEST_BASE_TIMEOUT_SECONDS = 5.0
"""A proposal is given up after this and two election timeouts, as in etcd."""

REMOVAL_DELAY_SECONDS = 1.0
"""From the removal of this member to its end, so that the answer to whoever asked for it gets out."""

PEERS_WAIT_SECONDS = 5.0
PEERS_POLL_SECONDS = 0.05
"""How long, and how often, a starting member looks whether its peers are there."""

LEARNER_PATHS = frozenset({b"/etcdserverpb.KV/Range", b"/etcdserverpb.Maintenance/Status"})
"""What a learner serves; of ranges the serializable ones."""


class RemovedError(Exception):
    """This member was removed from its cluster, for good."""

    def __init__(self) -> None:
        super().__init__("the member has been permanently removed from the cluster")


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

    # -- coming to life -------------------------------------------------------------------

    async def start(self, nursery: trio.Nursery, listeners: Listeners) -> None:
        """Run everything and return once clients are served.

        Raises :class:`StartError` if this member's history is not that of the others.
        """
        await nursery.start(self.replica.run)
        await self._meet_peers(nursery, listeners)
        self._work_by_itself(nursery)
        nursery.start_soon(self._end_if_removed)
        if "InitialCorruptCheck" in self._config.enabled_features and not self._member.is_new:
            await self._check_history()
        await self.replica.campaign()
        self._after_leader_change()
        if self.core.node.is_sole_leader:
            await self._versions.update()
        nursery.start_soon(self._versions.run)
        await self._publish()
        await self._serve_clients(nursery, listeners)

    async def _meet_peers(self, nursery: trio.Nursery, listeners: Listeners) -> None:
        registry = Registry()
        self._network.register(registry, self._services.peer_methods())
        nursery.start_soon(self._poller.run)
        await nursery.start(self._network.run, self.replica)
        routes = PeerRoutes(self._machine, self._member.cluster_id)
        for listener in listeners.peer:
            server = NetServer(
                registry,
                routes,
                self._environment,
                self._log,
                self._peer_limits,
                self._flusher,
                poller=self._poller,
            )
            await nursery.start(server.serve, listener)
            self._log.info("serving peer traffic", address=_address(listener))
        config = self._config
        self._log.info(
            "now serving peer/client/metrics",
            local_member_id=f"{self._member.member_id:x}",
            initial_advertise_peer_urls=[str(url) for url in config.initial_advertise_peer_urls],
            listen_peer_urls=[str(url) for url in config.listen_peer_urls],
            advertise_client_urls=[str(url) for url in config.advertise_client_urls],
            listen_client_urls=[str(url) for url in config.listen_client_urls],
        )
        if len(self.core.node.configuration.members) > 1:
            nursery.start_soon(self._hurry_first_election)

    def _work_by_itself(self, nursery: trio.Nursery) -> None:
        """Start what a server does without being asked."""
        config = self._config
        nursery.start_soon(self._work.clean_up)
        nursery.start_soon(self._lease_keeper.run)
        nursery.start_soon(self._compactor.run)
        nursery.start_soon(self._snapshotter.run)
        nursery.start_soon(self._leader_watch.run)
        nursery.start_soon(self._admission.run)
        if self._auto_compactor is not None:
            nursery.start_soon(self._auto_compactor.run)
        if config.corrupt_check_time:
            nursery.start_soon(self._corruption.run, config.corrupt_check_time)
        if "CompactHashCheck" in config.enabled_features:
            nursery.start_soon(self._corruption.run_of_compactions, config.compact_hash_check_time)
        nursery.start_soon(self._services.watch.report_progress)
        nursery.start_soon(self._services.watch.pump_late)

    async def _hurry_first_election(self) -> None:
        """With a quorum connected there is little to wait for: shorten the wait for the first leader."""
        log, node, clock = self._log, self.core.node, self._environment.clock
        ticks = self._config.election_ticks
        if not self._config.initial_election_tick_advance:
            log.info("skipping initial election tick advance", election_ticks=ticks)
            return
        log.info("starting initial election tick advance", election_ticks=ticks)
        deadline = clock.monotonic() + PEERS_WAIT_SECONDS
        while clock.monotonic() < deadline:
            await clock.sleep_until(clock.monotonic() + PEERS_POLL_SECONDS)
            if self.replica.leader_id:
                return
            voters = node.configuration.voters
            active = sum(self._network.active_since(voter) is not None for voter in voters - {node.id})
            if active + 1 >= quorum(len(voters)):
                log.info(
                    "initialized peer connections; fast-forwarding election ticks",
                    local_member_id=f"{node.id:x}",
                    forward_ticks=ticks - 2,
                    election_ticks=ticks,
                    active_remote_members=active,
                )
                for _ in range(ticks - 2):
                    node.tick()
                return

    async def _check_history(self) -> None:
        try:
            await self._corruption.check_at_start()
        except InconsistentError as error:
            self._log.error("checkInitialHashKV failed", error=error)
            raise StartError(str(error)) from error

    async def _publish(self) -> None:
        """Tell name and client URLs through the log, however long it takes until there is a leader."""
        config, member, clock = self._config, self._member, self._environment.clock
        urls = [str(url) for url in config.advertise_client_urls]
        own = {
            "local_member_id": f"{member.member_id:x}",
            "local_member_attributes": f"{{Name:{config.name} ClientURLs:[{' '.join(urls)}]}}",
        }
        timeout = f"{self.request_timeout:g}s"
        complaint = clock.monotonic() + self.request_timeout
        problem = answers.TIMEOUT()
        while True:
            # Said twice does no harm, so a try that may have been lost on its way is not waited for in full.
            deadline = clock.monotonic() + 2 * self.election_timeout
            try:
                await finish_by(clock, deadline, self._propose_attributes)
                break
            except trio.TooSlowError:
                pass
            except ReplicaError as error:
                problem = answers.from_state(error)
                await clock.sleep_until(deadline)
            if clock.monotonic() >= complaint:
                complaint += self.request_timeout
                self._log.warn(
                    "failed to publish local member to cluster through raft",
                    **own,
                    publish_timeout=timeout,
                    error=problem.message,
                )
        self._log.info(
            "published local member to cluster through raft",
            **own,
            cluster_id=f"{member.cluster_id:x}",
            publish_timeout=timeout,
        )

    async def _propose_attributes(self) -> None:
        config = self._config
        attributes = rusd_pb2.MemberAttributes(
            id=self._member.member_id,
            name=config.name,
            client_urls=[str(url) for url in config.advertise_client_urls],
        )
        await self.replica.propose_and_wait(Kind.MEMBER_ATTRIBUTES, attributes)

    async def _serve_clients(self, nursery: trio.Nursery, listeners: Listeners) -> None:
        registry = Registry()
        self._services.register(registry)
        health = Health(self.replica, self._machine, self._member.member_id)
        routes = Routes(health, lambda: self._machine.cluster_version)
        limits = self._net_limits()
        budget = Budget(limits.buffered_bytes)
        for listener in listeners.client:
            server = NetServer(
                registry,
                routes,
                self._environment,
                self._log,
                limits,
                self._flusher,
                poller=self._poller,
                budget=budget,
                gate=self._gate,
            )
            self.client_servers.append(server)
            self._log.info("ready to serve client requests")
            await nursery.start(server.serve, listener)
            self._log.info(
                "serving client traffic insecurely; this is strongly discouraged!",
                traffic="grpc+http",
                address=_address(listener),
            )

    def _net_limits(self) -> NetLimits:
        config = self._config
        return NetLimits(
            max_request_bytes=config.max_request_bytes,
            max_concurrent_streams=config.max_concurrent_streams,
            max_connections=connection_limit(),
            keepalive_min_time=config.grpc_keepalive_min_time,
            keepalive_interval=config.grpc_keepalive_interval,
            keepalive_timeout=config.grpc_keepalive_timeout,
        )

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

    # -- the end ------------------------------------------------------------------------------

    async def _end_if_removed(self) -> None:
        """Wait until this member is removed.  Raises :class:`RemovedError`."""
        if not self._machine.members.is_removed(self._member.member_id):
            await _first_of(self.replica.removed.wait, self.expelled.wait)
            clock = self._environment.clock
            await clock.sleep_until(clock.monotonic() + REMOVAL_DELAY_SECONDS)
        error = RemovedError()
        self._log.warn("server error", error=error)
        self._log.warn("data-dir used by this member must be removed")
        raise error

    async def hand_over(self) -> None:
        """Before the end, let another member lead if this one does; that takes a request's time at most."""
        own, node = f"{self._member.member_id:x}", self.core.node
        leader = f"{node.leader_id:x}"
        if node.role is not Role.LEADER:
            reason = "skipped leadership transfer; local server is not leader"
            self._log.info(reason, local_member_id=own, current_leader_member_id=leader)
        elif len(node.configuration.voters) == 1:
            reason = "skipped leadership transfer for single voting member cluster"
            self._log.info(reason, local_member_id=own, current_leader_member_id=leader)
        elif await self.replica.hand_over(self.request_timeout):
            self._log.info(
                "leadership transfer finished",
                local_member_id=own,
                old_leader_member_id=own,
                new_leader_member_id=f"{node.leader_id:x}",
            )
        else:
            self._log.warn("leadership transfer failed", local_member_id=own)


async def _first_of(*waits: Callable[[], Awaitable[object]]) -> None:
    """Return when one of ``waits`` does."""
    async with trio.open_nursery() as nursery:

        async def wait(one: Callable[[], Awaitable[object]]) -> None:
            await one()
            nursery.cancel_scope.cancel()

        for one in waits:
            nursery.start_soon(wait, one)


def _address(listener: Listener) -> str:
    return join_address(*listener.address)
