"""The cluster version: what all members can speak, which the leader finds out and puts into the log.

It is the oldest member's major and minor version; 3.0.0 until all could be
asked.  By itself it only rises.  Source: ``server/etcdserver/version/monitor.go``,
release 3.6.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import trio

from etcdpb import rusd_pb2
from rusd.raft import Role
from rusd.replica import ReplicaError
from rusd.replica.peers import PeerError
from rusd.signal import Signal
from rusd.state import Kind
from rusd.version import ETCD_VERSION, MINIMUM_CLUSTER_VERSION, parse_version

if TYPE_CHECKING:
    from rusd.bootstrap import Strangers
    from rusd.environment import Clock
    from rusd.logs import Logger
    from rusd.replica import Replica
    from rusd.state import Member, StateMachine

INTERVAL_SECONDS = 4.0
"""How often a leader looks."""


def decide(current: str, servers: Iterable[str | None]) -> str | None:
    """The cluster version to set when it is ``current`` ("" for none); None to leave it.

    ``servers`` are the members' own versions, None for one that could not be asked.
    """
    versions = [parse_version(server) if server else None for server in servers]
    known = [version for version in versions if version is not None]
    lowest = min(known) if len(known) == len(versions) else None
    if lowest is None:
        return None if current else MINIMUM_CLUSTER_VERSION
    version = f"{lowest[0]}.{lowest[1]}.0"
    now = parse_version(current)
    return version if now is None or now < (lowest[0], lowest[1], 0) else None


class VersionMonitor:
    """Keeps the cluster version right while this member leads.  ``request_timeout`` is in seconds."""

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
    ) -> None:
        self._replica = replica
        self._machine = machine
        self._strangers = strangers
        self._clock = clock
        self._log = log
        self._own_id = own_id
        self._request_timeout = request_timeout
        self._due = Signal()

    def elected(self) -> None:
        """This member has come to lead: look at once."""
        self._due.set()

    async def run(self) -> None:
        """Look now and then.  Runs until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._remind)
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
        servers = [await self._version_of(member) for member in self._machine.members.all()]
        version = decide(current, servers)
        if version is None:
            return
        short = version.rpartition(".")[0]
        if current:
            before = current.rpartition(".")[0]
            self._log.info("updating cluster version using v3 API", **{"from": before, "to": short})
        else:
            self._log.info("setting up initial cluster version using v3 API", cluster_version=short)
        request = rusd_pb2.ClusterVersion(version=version)
        try:
            await self._replica.propose_and_wait(Kind.CLUSTER_VERSION, request, term=term)
        except ReplicaError as error:
            self._log.warn("failed to update cluster version", error=error)
        else:
            self._log.info("cluster version is updated", cluster_version=short)

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
