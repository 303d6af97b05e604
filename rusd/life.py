"""How a server comes to life, and to its end.

First the replica and the way to its peers, which need no clients; then the
member tells the cluster its name and addresses, for which there must be a leader;
only then are clients served.  It ends when it is told to, or when its member has
been removed from the cluster.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import trio

from etcdpb import rusd_pb2
from rusd.corruption import InconsistentError
from rusd.environment import join_address
from rusd.gateway import Health, PeerRoutes, Routes
from rusd.grpc import Budget, Registry
from rusd.listeners import StartError, connection_limit
from rusd.net import Limits as NetLimits
from rusd.net import Server as NetServer
from rusd.parts import Parts
from rusd.raft import Role
from rusd.replica import ReplicaError
from rusd.services import errors as answers
from rusd.services.reconfiguration import quorum
from rusd.state import Kind
from rusd.timeouts import finish_by

if TYPE_CHECKING:
    from rusd.environment import Listener
    from rusd.listeners import Listeners

REMOVAL_DELAY_SECONDS = 1.0
"""From the removal of this member to its end, so that the answer to whoever asked for it gets out."""

PEERS_WAIT_SECONDS = 5.0
PEERS_POLL_SECONDS = 0.05
"""How long, and how often, a starting member looks whether its peers are there."""


class RemovedError(Exception):
    """This member was removed from its cluster, for good."""

    def __init__(self) -> None:
        super().__init__("the member has been permanently removed from the cluster")


class Life(Parts):
    """A server's parts, alive."""

    async def start(self, nursery: trio.Nursery, listeners: Listeners) -> None:
        """Run everything and return once clients are served.

        Raises :class:`StartError` if this member's history is not that of the others.
        """
        await nursery.start(self.replica.run)
        await self._meet_peers(nursery, listeners)
        self._work_by_itself(nursery)
        nursery.start_soon(self._end_if_removed)
        await self.replica.campaign()
        self._after_leader_change()
        # Only with a leader can be applied what was committed before; etcd has its state on disk.
        if "InitialCorruptCheck" in self._config.enabled_features and not self._member.is_new:
            await self._check_history()
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
        routes = PeerRoutes(self._context, self._services)
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
        nursery.start_soon(self._services.watch.pump_rest)

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
        with contextlib.suppress(ReplicaError):  # else it is compared as far as it is known here
            await self.replica.wait_linearizable()
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
        published = trio.Event()

        async def attempt() -> None:
            nonlocal problem
            try:
                await self._propose_attributes()
            except ReplicaError as error:
                problem = answers.from_state(error)
            else:
                published.set()

        async with trio.open_nursery() as attempts:
            while not published.is_set():
                # Said twice does no harm, so nobody waits for a try alone that may have been lost on its way.
                # Each is given up after a request's time, so there are but a few of them.
                attempts.start_soon(attempt)
                with contextlib.suppress(trio.TooSlowError):
                    await finish_by(clock, clock.monotonic() + 2 * self.election_timeout, published.wait)
                if clock.monotonic() >= complaint and not published.is_set():
                    complaint += self.request_timeout
                    self._log.warn(
                        "failed to publish local member to cluster through raft",
                        **own,
                        publish_timeout=timeout,
                        error=problem.message,
                    )
            attempts.cancel_scope.cancel()
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
