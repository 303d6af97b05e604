"""A cluster of three servers on this machine, which know each other and reach each other directly."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import TracebackType
from typing import Self

import attrs
import trio

from benchmarks.servers import BenchmarkError, Server, Subject
from chaos.client import Silence
from chaos.cluster import free_ports
from etcdpb import rpc_pb2
from rusd.environment import real_environment
from rusd.grpc import StatusError
from rusd.logs import make_logger
from rusd.net import Client, connect

SIZE = 3
ELECTED_SECONDS = 60.0
POLL_SECONDS = 0.05
_STATUS = "/etcdserverpb.Maintenance/Status"


@attrs.frozen
class Status:
    """What a member says of itself."""

    member: int
    leader: int
    applied: int


class Cluster:
    """Three members.  A context manager: started and with a leader in it, gone after it."""

    def __init__(self, subject: Subject, folder: Path) -> None:
        # Below the range of ports that connections get, or a member that comes back may find its own taken.
        ports = free_ports(2 * SIZE)
        self.members = [
            Server(subject, folder / f"n{number}", ports[2 * number], ports[2 * number + 1], f"n{number}")
            for number in range(SIZE)
        ]
        everybody = ",".join(f"{member.name}={member.peer_url}" for member in self.members)
        for member in self.members:
            member.initial_cluster = everybody

    def __enter__(self) -> Self:
        for member in self.members:
            member.launch()
        try:
            self.leader()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for member in self.members:
            member.kill()
        for member in self.members:
            member.__exit__(kind, error, trace)

    def leader(self) -> Server:
        """Who leads, once all agree.  Raises :class:`BenchmarkError` if they don't in a minute."""
        return trio.run(self.wait_for_leader)

    def followers(self) -> list[Server]:
        """The others."""
        leader = self.leader()
        return [member for member in self.members if member is not leader]

    def through(self, member: Server) -> Through:
        """The cluster as those see it who talk to ``member``."""
        return Through(member, self)

    def cpu_seconds(self) -> float:
        """Processor time so far of all that run."""
        return sum(member.cpu_seconds() for member in self.members if member.runs)

    async def wait_for_leader(self) -> Server:
        """As :meth:`leader`, inside Trio."""
        with trio.move_on_after(ELECTED_SECONDS):
            while True:
                found = [await status(member) for member in self.members]
                leaders = {one.leader if one is not None else 0 for one in found}
                for member, one in zip(self.members, found, strict=True):
                    if one is not None and leaders == {one.member}:
                        return member
                await trio.sleep(POLL_SECONDS)
        for member in self.members:
            member.check()
        raise BenchmarkError(f"{self.members[0].subject.label}: no leader in {ELECTED_SECONDS:.0f} s")


@attrs.frozen
class Through:
    """A cluster, reached through one of its members: calls go there, and cost all of them."""

    member: Server
    cluster: Cluster

    @property
    def address(self) -> str:
        """Of the member."""
        return self.member.address

    def cpu_seconds(self) -> float:
        """Of the whole cluster."""
        return self.cluster.cpu_seconds()


def client_of(member: Server) -> AbstractAsyncContextManager[Client]:
    """A connection to a member, for the few calls that are not measured by the generator."""
    environment = real_environment()
    return connect(environment, "127.0.0.1", member.port, make_logger(Silence(), environment.clock))


async def status(member: Server, timeout: float = 1.0) -> Status | None:
    """What a member says of itself; None if it doesn't in ``timeout`` seconds."""
    request = rpc_pb2.StatusRequest().SerializeToString()
    try:
        async with client_of(member) as client:
            answer = rpc_pb2.StatusResponse.FromString(await client.unary(_STATUS, request, timeout=timeout))
    except (StatusError, OSError):
        return None
    return Status(answer.header.member_id, answer.leader, answer.raftAppliedIndex)
