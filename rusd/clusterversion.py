"""The cluster version: what all members can speak, which the leader finds out and puts into the log.

It is the oldest member's major and minor version; 3.0.0 until all could be
asked.  By itself it only rises.  While a downgrade is enabled it is that one's target, and
once all members run that version the downgrade is over.  Source:
``server/etcdserver/version/monitor.go``, release 3.6.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import trio

from etcdpb import rpc_pb2, rusd_pb2
from rusd.raft import Role
from rusd.replica import ReplicaError
from rusd.replica.peers import PeerError
from rusd.signal import Signal
from rusd.state import Kind
from rusd.version import ETCD_VERSION, MINIMUM_CLUSTER_VERSION, downgrade_target, parse_version, short

if TYPE_CHECKING:
    from rusd.bootstrap import Strangers
    from rusd.environment import Clock
    from rusd.logs import Logger
    from rusd.replica import Replica
    from rusd.state import Member, StateMachine

INTERVAL_SECONDS = 4.0
"""How often a leader looks."""


class InvalidTargetError(ValueError):
    """A downgrade is enabled that can't be made, as things are now."""


def decide(current: str, servers: Iterable[str | None], target: str = "") -> str | None:
    """The cluster version to set when it is ``current`` ("" for none); None to leave it.

    ``servers`` are the members' own versions, None for one that could not be asked.  ``target`` is that
    of the downgrade that is enabled, if one is.  Raises :class:`InvalidTargetError`.
    """
    versions = [parse_version(server) if server else None for server in servers]
    known = [version for version in versions if version is not None]
    lowest = min(known) if len(known) == len(versions) else None
    if lowest is None:
        return None if current else MINIMUM_CLUSTER_VERSION
    version = f"{lowest[0]}.{lowest[1]}.0"
    now = parse_version(current)
    if now is None:
        return version
    if target:
        return _downgraded(current, version, target)
    return version if now < (lowest[0], lowest[1], 0) else None


def _downgraded(current: str, lowest: str, target: str) -> str | None:
    """The same while a downgrade is enabled and the oldest member's version is ``lowest``."""
    if target == current:
        return None
    if target != downgrade_target(current):
        raise InvalidTargetError("Cannot downgrade from cluster-version to downgrade-target")
    if target != downgrade_target(lowest):
        raise InvalidTargetError("Cannot downgrade from minimal-server-version to downgrade-target")
    return target


def all_run(target: str, servers: Iterable[str | None]) -> bool:
    """Whether all of ``servers`` are of the major and minor version of ``target``."""
    wanted = parse_version(target)
    versions = (parse_version(server) if server else None for server in servers)
    return wanted is not None and all(
        version is not None and version[:2] == wanted[:2] for version in versions
    )


class VersionMonitor:
    """Keeps the cluster version right while this member leads.

    ``request_timeout`` is in seconds, and so is ``downgrade_interval``: how often is looked whether a
    downgrade is done, 0 for never.
    """

    def __init__(
        self,
        replica: Replica,
        machine: StateMachine,
        strangers: Strangers,
        clock: Clock,
        log: Logger,
        *,
        own_id: int,
        request_timeout: float,
        downgrade_interval: float,
    ) -> None:
        self._replica = replica
        self._machine = machine
        self._strangers = strangers
        self._clock = clock
        self._log = log
        self._own_id = own_id
        self._request_timeout = request_timeout
        self._downgrade_interval = downgrade_interval
        self._due = Signal()

    def elected(self) -> None:
        """This member has come to lead: look at once."""
        self._due.set()

    async def run(self) -> None:
        """Look now and then.  Runs until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._remind)
            if self._downgrade_interval:
                nursery.start_soon(self._end_downgrades)
            while True:
                await self._due.wait()
                if self._replica.core.node.role is Role.LEADER:
                    await self.update()

    async def _remind(self) -> None:
        while True:
            await self._clock.sleep_until(self._clock.monotonic() + INTERVAL_SECONDS)
            self._due.set()

    async def update(self) -> None:
        """Ask all members, and set the version if it should be another.  This member leads."""
        term, current = self._replica.term, self._machine.cluster_version
        servers = await self._server_versions()
        try:
            version = decide(current, servers, self._machine.downgrade_target)
        except InvalidTargetError as error:
            self._log.error(
                "Failed to monitor cluster version",
                error=error,
                cluster_version=current,
                downgrade_target=self._machine.downgrade_target,
            )
            return
        if version is None:
            return
        to = short(version)
        if current:
            self._log.info("updating cluster version using v3 API", **{"from": short(current), "to": to})
        else:
            self._log.info("setting up initial cluster version using v3 API", cluster_version=to)
        request = rusd_pb2.ClusterVersion(version=version)
        try:
            await self._replica.propose_and_wait(Kind.CLUSTER_VERSION, request, term=term)
        except ReplicaError as error:
            self._log.warn("failed to update cluster version", error=error)
        else:
            self._log.info("cluster version is updated", cluster_version=to)

    async def _end_downgrades(self) -> None:
        while True:
            await self._clock.sleep_until(self._clock.monotonic() + self._downgrade_interval)
            if self._machine.downgrade_target and self._replica.core.node.role is Role.LEADER:
                await self._end_downgrade_if_done()

    async def _end_downgrade_if_done(self) -> None:
        term, target = self._replica.term, self._machine.downgrade_target
        servers = await self._server_versions()
        if not all_run(target, servers):
            self._log.warn(
                "remotes server has mismatching etcd version",
                server_versions=[server or "unknown" for server in servers],
                target_version=target,
            )
            return
        self._log.info("the cluster has been downgraded", cluster_version=target)
        try:
            await self._replica.propose_and_wait(Kind.DOWNGRADE, rpc_pb2.DowngradeInfo(), term=term)
        except ReplicaError as error:
            self._log.warn("failed to cancel downgrade", error=error)

    async def _server_versions(self) -> list[str | None]:
        return [await self._version_of(member) for member in self._machine.members.all()]

    async def _version_of(self, member: Member) -> str | None:
        if member.id == self._own_id:
            return ETCD_VERSION
        problem: object = "it has no peer URL"
        for url in member.peer_urls:
            try:
                server, _ = await self._strangers.fetch_version(url, self._request_timeout)
            except PeerError as error:
                problem = error
            else:
                return server
        self._log.warn("failed to get version", remote_member_id=f"{member.id:x}", error=problem)
        return None
