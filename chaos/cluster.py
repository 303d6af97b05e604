"""A cluster of real processes: folders, ports, logs, and every way to end one.

All methods may be called in any state of a member: faults overlap, and a member that one fault has killed
is not there for the next to pause.  Nothing outlives the ``async with``.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio

from chaos.client import Address
from chaos.links import Network
from chaos.proxy import Directory, Proxy, open_listeners
from chaos.server import Part, Server, flags, founding_id
from chaos.syscalls import DiskGate

START_SECONDS = 60.0
STOP_SECONDS = 15.0
POLL_SECONDS = 0.02
PORTS = (11_000, 30_000)
_PR_SET_PDEATHSIG = 1


class ClusterError(Exception):
    """A member did not start or stop; carries the end of its log."""


@attrs.define(eq=False)
class Member:
    """One member and its process."""

    index: int
    client_port: int
    peer_port: int
    proxy_port: int
    folder: Path
    name: str
    id: int = 0
    generation: int = 0
    process: subprocess.Popen[bytes] | None = None
    paused: bool = False
    wanted: bool = False
    """Whether it should be running: a process that is gone though wanted has died by itself."""
    belongs: bool = True
    """Whether it is one of the cluster's members, as far as those are told that are started now."""

    @property
    def peer_url(self) -> str:
        """What other members are told."""
        return f"http://127.0.0.1:{self.proxy_port}"

    @property
    def running(self) -> bool:
        """Whether the process is there, stopped or not."""
        return self.process is not None and self.process.poll() is None

    @property
    def log_path(self) -> Path:
        return self.folder / "server.log"

    def log_tail(self, lines: int = 15) -> str:
        """The end of its log."""
        if not self.log_path.exists():
            return "(no log)"
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])


class Cluster:
    """Members, by index.  Made by :func:`running`."""

    def __init__(
        self, server: Server, members: Sequence[Member], proxy: Proxy, token: str, more: Sequence[str]
    ) -> None:
        self.server = server
        self.members = list(members)
        self.proxy = proxy
        self.network = proxy.network
        self._token = token
        self._more = list(more)
        self.detours: dict[int, Address] = {}
        """Where clients are sent instead of to a member."""
        self.gates: dict[int, DiskGate] = {}
        """The members' disks, if they are in our hands."""
        self._gate_nursery: trio.Nursery | None = None
        for member in members:
            self._know(member, founding_id(member.peer_url, token))
        proxy.directory.pids = self.pids

    @property
    def size(self) -> int:
        return len(self.members)

    @property
    def addresses(self) -> list[Address]:
        """Where the members listen for clients."""
        return [
            self.detours.get(member.index, Address("127.0.0.1", member.client_port))
            for member in self.members
        ]

    def pids(self) -> dict[int, int]:
        """The processes that are there, by member."""
        return {
            member.index: member.process.pid
            for member in self.members
            if member.process is not None and member.running
        }

    # -- life and death -----------------------------------------------------------------

    def launch(self, index: int) -> None:
        """Start a member that isn't running, without waiting for it to serve."""
        member = self.members[index]
        member.wanted = True
        if member.running:
            return
        part = Part(
            name=member.name,
            folder=member.folder,
            client_port=member.client_port,
            peer_port=member.peer_port,
            advertised_peer_url=member.peer_url,
            initial_cluster=[f"{one.name}={one.peer_url}" for one in self.members if one.belongs],
            token=self._token,
            existing=member.generation > 0,
        )
        member.folder.mkdir(parents=True, exist_ok=True)
        member.paused = False
        gate = DiskGate() if self._gate_nursery is not None else None
        prepare = None if gate is None else gate.prepare()
        with member.log_path.open("ab") as log:
            member.process = subprocess.Popen(
                [*self.server.command, *flags(part, self._more)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(self.server.environment),
                preexec_fn=lambda: _in_child(prepare),  # noqa: PLW1509 - no thread of ours holds a lock that it needs
            )
        if gate is not None and self._gate_nursery is not None:
            self.gates[index] = gate
            self._gate_nursery.start_soon(gate.serve)

    def hold_gates(self, nursery: trio.Nursery) -> None:
        """From now on start members with their syncs in our hands."""
        self._gate_nursery = nursery

    async def kill(self, index: int) -> None:
        """SIGKILL, and wait until the process is gone."""
        await self._end(index, signal.SIGKILL)

    async def terminate(self, index: int) -> None:
        """SIGTERM, and wait until the process is gone; one that doesn't go is killed."""
        await self._end(index, signal.SIGTERM)

    async def _end(self, index: int, number: signal.Signals) -> None:
        member = self.members[index]
        member.wanted = False
        process = member.process
        if process is None or not member.running:
            return
        process.send_signal(number)
        if member.paused:
            process.send_signal(signal.SIGCONT)
            member.paused = False
        if not await _ends(process, STOP_SECONDS):
            process.kill()
            process.wait()

    def let_end(self, index: int) -> None:
        """From now until it is launched again the member may end by itself."""
        self.members[index].wanted = False

    async def ends(self, index: int, seconds: float) -> bool:
        """Whether the process that the member is now ends by itself within ``seconds``."""
        process = self.members[index].process
        return process is None or await _ends(process, seconds)

    def pause(self, index: int) -> None:
        """SIGSTOP."""
        member = self.members[index]
        if member.running and member.process is not None:
            member.process.send_signal(signal.SIGSTOP)
            member.paused = True

    def resume(self, index: int) -> None:
        """SIGCONT."""
        member = self.members[index]
        member.paused = False
        if member.running and member.process is not None:
            member.process.send_signal(signal.SIGCONT)

    def died(self) -> list[Member]:
        """Members that ended though nobody ended them."""
        return [member for member in self.members if member.wanted and not member.running]

    def id_of(self, index: int) -> int:
        """The member's id in the cluster."""
        return self.members[index].id

    def renew(self, index: int, member_id: int) -> None:
        """The member was removed and is added again as ``member_id``: a new name and an empty folder."""
        member = self.members[index]
        member.generation += 1
        member.name = f"n{index}.{member.generation}"
        member.folder = member.folder.parent / member.name
        self._know(member, member_id)

    def prepare(self) -> Member:
        """A place for one more member, to be added to the cluster by its ``peer_url``; see :meth:`joins`.

        It is reached directly, so faults of the network pass it by.
        """
        index = self.size
        client_port, peer_port = free_ports(2)
        folder = self.members[0].folder.parent / f"n{index}"
        member = Member(index, client_port, peer_port, peer_port, folder, folder.name, generation=1)
        member.belongs = False
        self.members.append(member)
        return member

    def joins(self, index: int, member_id: int) -> None:
        """The member was added as ``member_id``: launch it."""
        self.members[index].belongs = True
        self._know(self.members[index], member_id)
        self.launch(index)

    async def leaves(self, index: int) -> None:
        """The member was removed for good."""
        self.members[index].belongs = False
        await self.kill(index)

    def _know(self, member: Member, member_id: int) -> None:
        member.id = member_id
        self.proxy.directory.ids[f"{member_id:x}"] = member.index

    def stop_all(self) -> None:
        """SIGKILL to all, at once."""
        for member in self.members:
            member.wanted = False
            if member.process is not None and member.running:
                member.process.kill()
        for member in self.members:
            if member.process is not None:
                member.process.wait(STOP_SECONDS)


@asynccontextmanager
async def running(
    server: Server,
    size: int,
    folder: Path,
    *,
    token: str = "chaos",
    more: Sequence[str] = (),
    gated: bool = False,
    proxied: bool = True,
) -> AsyncIterator[Cluster]:
    """A new cluster, launched but perhaps not serving yet; data and logs are under ``folder``.

    With ``gated`` the members' syncs are in our hands: see :mod:`chaos.syscalls`.  Without ``proxied``
    the members reach each other directly: nothing can be done to their network, nor does it cost anything.
    """
    listeners = await open_listeners(size) if proxied else []
    ports = free_ports(2 * size)
    told = [port for _, port in listeners] or ports[1::2]
    members = [
        Member(index, ports[2 * index], ports[2 * index + 1], told[index], folder / f"n{index}", f"n{index}")
        for index in range(size)
    ]
    proxy = Proxy(Network(), Directory())
    cluster = Cluster(server, members, proxy, token, more)
    async with trio.open_nursery() as nursery:
        for member, (listener, _) in zip(members, listeners, strict=False):  # there may be none
            await nursery.start(proxy.serve, member.index, listener, member.peer_port)
        if gated:
            cluster.hold_gates(nursery)
        try:
            for member in members:
                cluster.launch(member.index)
            yield cluster
        finally:
            cluster.stop_all()
            nursery.cancel_scope.cancel()


def free_ports(count: int, chance: random.Random | None = None) -> list[int]:
    """TCP ports of the loopback interface that were free a moment ago.

    A member has to come back on its own port after it was killed.  So these are from below the range that the
    system gives to connections: nothing takes them while the member is down.
    """
    chance = chance or random.SystemRandom()
    found: set[int] = set()
    while len(found) < count:
        port = chance.randrange(*PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.add(port)
    return list(found)


async def _ends(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait for the end of ``process``; whether it came in time."""
    with trio.move_on_after(seconds):
        while process.poll() is None:
            await trio.sleep(POLL_SECONDS)
    return process.poll() is not None


def _in_child(prepare: Callable[[], None] | None) -> None:
    """Runs in the new process: it must not outlive this one, nor get its terminal's Ctrl-C."""
    os.setsid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if prepare is not None:
        prepare()
