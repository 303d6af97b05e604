"""One server: puts the parts together, and supervises them.

::

    serve()
    ├─ replica: driver · log writer · apply loop · ticks          (WalFailedError ends everything)
    ├─ lease keeper · compactor · auto-compactor · snapshotter · watch progress
    ├─ client listeners ─ a task per connection ─ a task per long-lived stream
    └─ peer listeners

Nothing here is global: several servers run in one process and one event loop.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import attrs
import trio

from etcdpb import rusd_pb2
from rusd.autocompact import AutoCompactor, make_schedule
from rusd.background import Compactor, LeaseKeeper
from rusd.config import Config, UsageError, validate
from rusd.environment import Clock, Environment, MemoryDisk, join_address, real_environment
from rusd.gateway import Health, PeerRoutes, Routes
from rusd.grpc import Budget, Registry
from rusd.lease import Lessor, minimum_ttl
from rusd.listeners import Listeners, StartError, bind, connection_limit
from rusd.logs import Logger, make_logger
from rusd.longwork import LongWork
from rusd.member import OpenMember, open_member
from rusd.net import Flusher
from rusd.net import Limits as NetLimits
from rusd.net import Server as NetServer
from rusd.observer import ServerObserver
from rusd.replica import Core, Replica, RequestTimeoutError, Snapshotter
from rusd.services import Context, HeaderWriter, Limits, Quota, Services
from rusd.state import Kind, Observer, StateMachine
from rusd.state import snapshot as state_snapshot
from rusd.storage import StorageError
from rusd.version import CLUSTER_VERSION, ETCD_VERSION
from rusd.watch import WatchHub

REQUEST_BASE_TIMEOUT_SECONDS = 5.0
"""A proposal is given up after this and two election timeouts, as in etcd."""


class Server:
    """A running server, as :func:`serve` hands it out.

    ``client_urls`` and ``peer_urls`` are where it listens, with real ports;
    ``advertised_client_urls`` and ``advertised_peer_urls`` are what it tells others.
    ``request_timeout`` is how long it works on one request, in seconds.
    """

    def __init__(
        self, config: Config, member: OpenMember, clock: Clock, servers: Sequence[NetServer]
    ) -> None:
        self.name = config.name
        self.member_id = member.member_id
        self.cluster_id = member.cluster_id
        self.client_urls = [str(url) for url in config.listen_client_urls]
        self.peer_urls = [str(url) for url in config.listen_peer_urls]
        self.advertised_client_urls = [str(url) for url in config.advertise_client_urls]
        self.advertised_peer_urls = [str(url) for url in config.initial_advertise_peer_urls]
        self.request_timeout = REQUEST_BASE_TIMEOUT_SECONDS + 2 * config.election_timeout / 1000
        self._clock = clock
        self._servers = servers

    async def drain(self, grace: float | None = None) -> None:
        """Stop accepting, let open calls finish for ``grace`` seconds, then cut off what is left.

        ``grace`` is ``request_timeout`` unless given.  Watches never finish by themselves.
        """
        deadline = self._clock.monotonic() + (self.request_timeout if grace is None else grace)
        async with trio.open_nursery() as nursery:
            for server in self._servers:
                nursery.start_soon(server.drain, deadline)


@asynccontextmanager
async def serve(
    config: Config, environment: Environment | None = None, *, log: Logger | None = None
) -> AsyncIterator[Server]:
    """Run a server for the length of the ``async with`` block.

    Inside the block it answers clients.  At its end all connections are closed at
    once (use :meth:`Server.drain` before for a goodbye), and the data is safe.

    Raises :class:`StartError` if it can't start, with nothing left behind, and
    :class:`~rusd.storage.WalFailedError` (in an exception group, as nurseries do)
    if its log can't be written any more.
    """
    try:
        config = validate(config, [])
    except UsageError as error:
        raise StartError(error.message) from error
    environment = environment or real_environment(fsync=not config.unsafe_no_fsync)
    if config.in_memory:
        environment = attrs.evolve(environment, disk=MemoryDisk())
    log = log or make_logger(
        environment.log_sink, environment.clock, level=config.log_level, format=config.log_format
    )
    async with contextlib.AsyncExitStack() as stack:
        listeners = await bind(config, environment, log)
        stack.callback(listeners.close)
        config = listeners.config
        _log_start(config, log)
        observer = ServerObserver(environment, log)
        member = _open(config, environment, observer, log)
        stack.callback(member.close)
        parts = _Parts(config, environment, member, observer, log)
        async with trio.open_nursery() as nursery:
            try:
                await parts.start(nursery)
                await parts.listen(nursery, listeners)
                yield parts.handle
            finally:
                log.info("closing etcd server", name=config.name, data_dir=config.directory)
                parts.replica.stop()
                nursery.cancel_scope.cancel()
        log.info("closed etcd server", name=config.name, data_dir=config.directory)


# -- before anything runs -----------------------------------------------------------------


def _open(config: Config, environment: Environment, observer: Observer, log: Logger) -> OpenMember:
    try:
        return open_member(config, environment, StateMachine(observer), log)
    except UsageError as error:
        raise StartError(error.message) from error
    except OSError as error:
        raise StartError(f"cannot use data directory {config.directory}: {error}") from error
    except StorageError as error:
        raise StartError(str(error)) from error


def _log_start(config: Config, log: Logger) -> None:
    log.info(
        "starting an etcd server",
        etcd_version=ETCD_VERSION,
        name=config.name,
        data_dir=config.directory,
        snapshot_count=config.snapshot_count,
        snapshot_catchup_entries=config.snapshot_catchup_entries,
        heartbeat_interval=f"{config.heartbeat_interval}ms",
        election_timeout=f"{config.election_timeout}ms",
        initial_advertise_peer_urls=[str(url) for url in config.initial_advertise_peer_urls],
        listen_peer_urls=[str(url) for url in config.listen_peer_urls],
        advertise_client_urls=[str(url) for url in config.advertise_client_urls],
        listen_client_urls=[str(url) for url in config.listen_client_urls],
        initial_cluster=config.initial_cluster,
        initial_cluster_token=config.initial_cluster_token,
        quota_backend_bytes=config.quota_backend_bytes,
        auto_compaction_mode=config.auto_compaction_mode,
        auto_compaction_retention=config.auto_compaction_retention,
    )


# -- the parts ----------------------------------------------------------------------------------


class _Parts:
    """Everything a running server consists of."""

    def __init__(
        self,
        config: Config,
        environment: Environment,
        member: OpenMember,
        observer: ServerObserver,
        log: Logger,
    ) -> None:
        self._config = config
        self._environment = environment
        self._log = log
        self._member = member
        clock, machine = environment.clock, member.machine
        self._machine = machine
        self._servers: list[NetServer] = []
        self.handle = Server(config, member, clock, self._servers)
        self._flusher = Flusher()
        self._work = LongWork(environment.after_slice)
        self.core = Core(
            member.node, machine, member=member.member_id, boot=environment.random.getrandbits(32)
        )
        self.replica = Replica(
            self.core,
            member.wal,
            environment,
            log,
            tick_interval=config.heartbeat_interval / 1000,
            request_timeout=self.handle.request_timeout,
            before_answers=self._flusher.expect,
            after_apply=self._after_apply,
            disk_is_shared=lambda: self._snapshotter.active,
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
        )
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
            self.replica, observer.lessor, clock, extension=config.election_timeout / 1000
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
        )
        self._services = Services(
            self._context,
            progress_interval=config.watch_progress_notify_interval,
            minimum_ttl=minimum_ttl(config.election_ticks, config.heartbeat_interval),
        )

    def _make_auto_compactor(self) -> AutoCompactor | None:
        config, clock, machine = self._config, self._environment.clock, self._machine
        schedule = make_schedule(config.auto_compaction_mode, config.compaction_retention, clock.monotonic())
        if schedule is None:
            return None
        return AutoCompactor(self.replica, clock, self._log, schedule, lambda: machine.store.current_revision)

    async def start(self, nursery: trio.Nursery) -> None:
        """Recover, become leader and tell the cluster about this member; then clients may come."""
        await nursery.start(self.replica.run)
        # A cluster of one: nobody else can lead, so there is no time-out to wait for.
        await self.replica.campaign()
        self._lease_keeper.follow_leadership()
        nursery.start_soon(self._work.clean_up)
        nursery.start_soon(self._lease_keeper.run)
        nursery.start_soon(self._compactor.run)
        nursery.start_soon(self._snapshotter.run)
        if self._auto_compactor is not None:
            nursery.start_soon(self._auto_compactor.run)
        nursery.start_soon(self._services.watch.report_progress)
        nursery.start_soon(self._services.watch.pump_late)
        await self._publish()

    async def _publish(self) -> None:
        """Tell name and client URLs through the log, and agree on a version."""
        member = self._member
        while True:
            try:
                await self._propose_own_part()
            except RequestTimeoutError as error:  # a slow disk; said twice does no harm
                self._log.warn("failed to publish local member to cluster through raft", error=error)
            else:
                break
        urls = " ".join(self.handle.advertised_client_urls)
        self._log.info(
            "published local member to cluster through raft",
            local_member_id=f"{member.member_id:x}",
            local_member_attributes=f"{{Name:{self._config.name} ClientURLs:[{urls}]}}",
            cluster_id=f"{member.cluster_id:x}",
        )

    async def _propose_own_part(self) -> None:
        if self._machine.cluster_version != CLUSTER_VERSION:
            version = rusd_pb2.ClusterVersion(version=CLUSTER_VERSION)
            await self.replica.propose_and_wait(Kind.CLUSTER_VERSION, version, term=self.replica.term)
        attributes = rusd_pb2.MemberAttributes(
            id=self._member.member_id,
            name=self._config.name,
            client_urls=self.handle.advertised_client_urls,
        )
        await self.replica.propose_and_wait(Kind.MEMBER_ATTRIBUTES, attributes)

    async def listen(self, nursery: trio.Nursery, listeners: Listeners) -> None:
        """Serve peers and clients."""
        config, log = self._config, self._log
        registry = Registry()
        self._services.register(registry)
        routes = Routes(Health(self.replica, self._machine), lambda: self._machine.cluster_version)
        peer_routes = PeerRoutes(self._machine, self._member.cluster_id)
        limits = NetLimits(
            max_request_bytes=config.max_request_bytes,
            max_concurrent_streams=config.max_concurrent_streams,
            max_connections=connection_limit(),
            keepalive_min_time=config.grpc_keepalive_min_time,
            keepalive_interval=config.grpc_keepalive_interval,
            keepalive_timeout=config.grpc_keepalive_timeout,
        )
        environment, flusher = self._environment, self._flusher
        budget = Budget(limits.buffered_bytes)
        for listener in listeners.peer:
            server = NetServer(None, peer_routes, environment, log, limits, flusher)
            self._servers.append(server)
            await nursery.start(server.serve, listener)
            log.info("serving peer traffic", address=join_address(*listener.address))
        log.info(
            "now serving peer/client/metrics",
            local_member_id=f"{self._member.member_id:x}",
            initial_advertise_peer_urls=self.handle.advertised_peer_urls,
            listen_peer_urls=self.handle.peer_urls,
            advertise_client_urls=self.handle.advertised_client_urls,
            listen_client_urls=self.handle.client_urls,
        )
        for listener in listeners.client:
            server = NetServer(
                registry,
                routes,
                environment,
                log,
                limits,
                flusher,
                around=self.replica,
                budget=budget,
                has_leader=lambda: self.replica.leader_id != 0,
            )
            self._servers.append(server)
            log.info("ready to serve client requests")
            await nursery.start(server.serve, listener)
            log.info(
                "serving client traffic insecurely; this is strongly discouraged!",
                traffic="grpc+http",
                address=join_address(*listener.address),
            )

    def _after_apply(self) -> None:
        """A slice of entries was applied: events and answers leave together."""
        self._services.watch.pump()
        self._flusher.flush()
        self._snapshotter.entries_applied()

    def _cut(self, index: int, term: int) -> state_snapshot.Cut:
        configuration = self.core.node.configuration_at(index)
        return state_snapshot.cut(self._machine, index, term, configuration.voters, configuration.learners)
