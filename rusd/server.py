"""One server: opens its member, puts its parts together (:mod:`rusd.life`), and supervises them.

::

    serve()
    ├─ replica: driver · log writer · apply loop · ticks          (WalFailedError ends everything)
    ├─ network: a task per peer; peer listeners
    ├─ lease keeper · compactor · auto-compactor · snapshotter · corruption check · cluster version
    ├─ watch progress · leader watch · removal                    (RemovedError ends everything)
    └─ client listeners ─ a task per connection ─ a task per long-lived stream

Nothing here is global: several servers run in one process and one event loop.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import trio

from rusd.addresses import Addresses
from rusd.bootstrap import PeerPorts, Strangers, begin
from rusd.config import Config, UsageError, validate
from rusd.environment import Clock, Environment, MemoryDisk, real_environment
from rusd.life import Life, RemovedError
from rusd.listeners import StartError, bind
from rusd.logs import Logger, make_logger
from rusd.member import OpenMember, has_member, open_member
from rusd.observer import ServerObserver
from rusd.state import StateMachine
from rusd.storage import StorageError
from rusd.version import ETCD_VERSION

__all__ = ["RemovedError", "Server", "StartError", "serve"]


class Server:
    """A running server, as :func:`serve` hands it out.

    ``client_urls`` and ``peer_urls`` are where it listens, with real ports;
    ``advertised_client_urls`` and ``advertised_peer_urls`` are what it tells others.
    ``request_timeout`` is how long it works on one request, in seconds.
    """

    def __init__(self, config: Config, member: OpenMember, clock: Clock, life: Life) -> None:
        self.name = config.name
        self.member_id = member.member_id
        self.cluster_id = member.cluster_id
        self.client_urls = [str(url) for url in config.listen_client_urls]
        self.peer_urls = [str(url) for url in config.listen_peer_urls]
        self.advertised_client_urls = [str(url) for url in config.advertise_client_urls]
        self.advertised_peer_urls = [str(url) for url in config.initial_advertise_peer_urls]
        self.request_timeout = life.request_timeout
        self._clock = clock
        self._parts = life

    async def drain(self, grace: float | None = None) -> None:
        """Stop accepting, let open calls finish for ``grace`` seconds, then cut off what is left.

        ``grace`` is ``request_timeout`` unless given.  Watches never finish by themselves.  After
        the clients have gone, leadership is handed to another member.
        """
        deadline = self._clock.monotonic() + (self.request_timeout if grace is None else grace)
        async with trio.open_nursery() as nursery:
            for server in self._parts.client_servers:
                nursery.start_soon(server.drain, deadline)
        await self._parts.hand_over()


@asynccontextmanager
async def serve(
    config: Config, environment: Environment | None = None, *, log: Logger | None = None
) -> AsyncIterator[Server]:
    """Run a server for the length of the ``async with`` block.

    Inside the block it answers clients.  At its end all connections are closed at
    once (use :meth:`Server.drain` before for a goodbye), and the data is safe.

    Inside a cluster of several members that takes as long as it takes to have a leader.

    Raises :class:`StartError` if it can't start, with nothing left behind, and (in an exception
    group, as nurseries do) :class:`~rusd.storage.WalFailedError` if its log can't be written any
    more, :class:`RemovedError` once this member does not belong to its cluster any longer.
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
        strangers = PeerPorts(environment)
        member = await _open(config, environment, observer, log, strangers)
        stack.callback(member.close)
        life = Life(config, environment, member, observer, log, strangers=strangers)
        async with trio.open_nursery() as nursery:
            try:
                await life.start(nursery, listeners)
                yield Server(config, member, environment.clock, life)
            finally:
                log.info("closing etcd server", name=config.name, data_dir=config.directory)
                life.replica.stop()
                nursery.cancel_scope.cancel()
        log.info("closed etcd server", name=config.name, data_dir=config.directory)


# -- before anything runs -----------------------------------------------------------------


async def _open(
    config: Config,
    environment: Environment,
    observer: ServerObserver,
    log: Logger,
    strangers: Strangers,
) -> OpenMember:
    machine = StateMachine(observer, max_learners=config.max_learners)
    try:
        is_new = not has_member(config, environment)
        log.info(
            "Initialize and start etcd server" if is_new else "server has already been initialized",
            data_dir=config.directory,
        )
        addresses = Addresses(environment.resolver, environment.clock, log)
        beginning = await begin(config, strangers, addresses, log) if is_new else None
        return open_member(config, environment, machine, log, beginning)
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
