"""Members in one event loop, on a network in memory whose links a test can cut, hold and spoil."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio

from rusd.environment import Channel, Environment
from rusd.grpc import Registry
from rusd.logs import make_logger
from rusd.net import Flusher, HttpHandler, Server
from rusd.peers import Identity, PeerTransport, Timing, peer_limits
from rusd.raft import Entry, Message, MessageType
from rusd.replica.forwarding import Forward
from rusd.testing import ListSink, MemoryDisk, MemoryTransport

CLUSTER = 0xC1


class TrioClock:
    """Trio's own time, so that Trio's mock clock rules it."""

    def monotonic(self) -> float:
        return trio.current_time()

    def time(self) -> float:
        return 1_700_000_000 + trio.current_time()

    async def sleep_until(self, deadline: float) -> None:
        await trio.sleep_until(deadline)


class Wire:
    """One direction's end of a connection, as the network lets it through."""

    def __init__(self, inner: Channel, network: Network, here: str, there: str) -> None:
        self._inner = inner
        self._network = network
        self._way = (there, here)
        self._passes = 0

    @property
    def peer(self) -> str:
        return self._inner.peer

    def fileno(self) -> int:
        return -1

    def try_receive(self, limit: int) -> bytes | None:
        if self._network.holds(self._way):
            if not self._passes:
                return None
            self._passes -= 1
        return self._inner.try_receive(limit)

    def let_pass(self, times: int) -> None:
        """Held or not, let something be received so many times."""
        self._passes = times

    def try_send(self, data: bytes) -> int:
        return self._inner.try_send(data)

    async def wait_readable(self) -> None:
        while True:
            await self._inner.wait_readable()
            if self._passes or not self._network.holds(self._way):
                return
            await self._network.changed.park()

    async def wait_writable(self) -> None:
        await self._inner.wait_writable()

    def close(self) -> None:
        self._network.wires.discard(self)
        self._inner.close()
        self._network.changed.unpark_all()

    def reset(self) -> None:
        self._inner.reset()  # type: ignore[attr-defined]
        self._network.changed.unpark_all()

    def goes(self, source: str, target: str) -> bool:
        return self._way == (source, target)

    def joins(self, one: str, other: str) -> bool:
        return set(self._way) == {one, other}


class Network:
    """The network between members, each of which has a name on it and sees a transport of its own.

    ``hold(a, b)`` lets nothing more through from a to b, without a word; ``cut`` refuses new connections.
    """

    def __init__(self, **options: Any) -> None:
        self.memory = MemoryTransport(**options)
        self.changed = trio.lowlevel.ParkingLot()
        self.wires: set[Wire] = set()
        self.connections = 0
        self.attempts: list[tuple[float, str, int]] = []
        self._held: set[tuple[str, str]] = set()
        self._cut: set[tuple[str, int]] = set()
        self._dead: set[tuple[str, int]] = set()
        self.owners: dict[int, str] = {}
        self.dialled: dict[int, str] = {}

    def wire(self, channel: Any, here: str, there: str) -> Wire:
        wire = Wire(channel, self, here, there)
        self.wires.add(wire)
        return wire

    def holds(self, way: tuple[str, str]) -> bool:
        return way in self._held

    def hold(self, source: str, target: str) -> None:
        self._held.add((source, target))

    def partition(self, one: str, other: str) -> None:
        self.hold(one, other)
        self.hold(other, one)

    def heal(self) -> None:
        self._held.clear()
        self._cut.clear()
        self._dead.clear()
        self.changed.unpark_all()

    def let_pass(self, source: str, target: str, times: int) -> int:
        """Let a little through a way that is held; over how many connections."""
        wires = [wire for wire in self.wires if wire.goes(source, target)]
        for wire in wires:
            wire.let_pass(times)
        self.changed.unpark_all()
        return len(wires)

    def blackhole(self, source: str, port: int) -> None:
        """New connections get no answer; those begun meanwhile never will."""
        self._dead.add((source, port))

    def swallows(self, source: str, port: int) -> bool:
        return (source, port) in self._dead

    def cut(self, source: str, port: int) -> None:
        self._cut.add((source, port))

    def is_cut(self, source: str, port: int) -> bool:
        return (source, port) in self._cut

    def reset(self, one: str, other: str) -> None:
        for wire in list(self.wires):
            if wire.joins(one, other):
                wire.reset()

    def seen_from(self, name: str) -> Any:
        return _SeenFrom(self, name)


class _SeenFrom:
    def __init__(self, network: Network, name: str) -> None:
        self._network = network
        self._name = name

    async def listen(self, host: str, port: int) -> Any:
        listener = await self._network.memory.listen(host, port)
        self._network.owners[listener.address[1]] = self._name
        return _Listener(listener, self._network, self._name)

    async def connect(self, host: str, port: int) -> Any:
        network = self._network
        network.attempts.append((trio.current_time(), self._name, port))
        there = network.owners.get(port, "?")
        if network.swallows(self._name, port):
            await trio.sleep_forever()
        if network.is_cut(self._name, port):
            raise ConnectionRefusedError("cut")
        while network.holds((self._name, there)) or network.holds((there, self._name)):
            await network.changed.park()
        channel = await network.memory.connect(host, port)
        network.dialled[id(channel._outgoing)] = self._name
        network.connections += 1
        return network.wire(channel, self._name, there)


class _Listener:
    """Wraps what it accepts: whose connection it is, is known from the pipe it shares with the other end."""

    def __init__(self, inner: Any, network: Network, name: str) -> None:
        self._inner = inner
        self._network = network
        self._name = name

    @property
    def address(self) -> tuple[str, int]:
        return self._inner.address  # type: ignore[no-any-return]

    async def accept(self) -> Any:
        channel = await self._inner.accept()
        there = self._network.dialled.pop(id(channel._incoming), "?")
        return self._network.wire(channel, self._name, there)

    def close(self) -> None:
        self._inner.close()


class Inbox:
    """A replica that writes down what reaches it."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.forwards: list[Forward] = []
        self.lost: list[int] = []
        self.snapshots: list[tuple[Message, bytes, list[bytes]]] = []
        self.changed = trio.lowlevel.ParkingLot()
        self.on_messages: Callable[[Sequence[Message]], None] = lambda _: None
        self.take_snapshot: Callable[..., Any] | None = None

    def receive(self, messages: Sequence[Message]) -> None:
        self.messages += messages
        self.on_messages(messages)
        self.changed.unpark_all()

    def receive_forward(self, forward: Forward) -> None:
        self.forwards.append(forward)
        self.changed.unpark_all()

    def unreachable(self, peer: int) -> None:
        self.lost.append(peer)
        self.changed.unpark_all()

    async def receive_snapshot(self, message: Message, header: bytes, chunks: AsyncIterator[bytes]) -> None:
        if self.take_snapshot is not None:
            await self.take_snapshot(message, header, chunks)
            return
        taken = [chunk async for chunk in chunks]
        self.snapshots.append((message, header, taken))

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self.changed.park()


@attrs.define
class Node:
    """A running member."""

    name: str
    id: int
    inbox: Inbox
    transport: PeerTransport
    server: Server
    sink: ListSink
    environment: Environment
    port: int
    scope: trio.CancelScope
    removed: set[int]
    told_removed: list[None]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        self.scope.cancel()

    def logged(self, message: str) -> int:
        return len(self.sink.events(message))

    async def until_active(self, *others: Node) -> None:
        """Wait until ``others`` have let this one in."""
        while any(self.transport.active_since(other.id) is None for other in others):
            await trio.sleep(0.001)


class Cluster:
    """Makes members; they end with the ``async with``."""

    def __init__(self, network: Network, nursery: trio.Nursery) -> None:
        self.network = network
        self._nursery = nursery

    async def start(
        self,
        number: int,
        *,
        cluster: int = CLUSTER,
        port: int = 0,
        urls: Sequence[str] | None = None,
        http: HttpHandler | None = None,
        calls: Any = None,
        timing: Timing = Timing(),  # noqa: B008
        limits: Any = None,
    ) -> Node:
        name = f"n{number}"
        sink = ListSink()
        clock = TrioClock()
        environment = Environment(
            clock=clock,
            disk=MemoryDisk(),
            transport=self.network.seen_from(name),
            random=random.Random(number),
            log_sink=sink,
        )
        log = make_logger(sink, clock, level="debug")
        listener = await environment.transport.listen("127.0.0.1", port)
        port = listener.address[1]
        removed: set[int] = set()
        told: list[None] = []
        limits = limits or peer_limits(1572864, timing)
        transport = PeerTransport(
            environment,
            log,
            Identity(number, cluster, tuple(urls if urls is not None else [f"http://127.0.0.1:{port}"])),
            is_removed=removed.__contains__,
            on_removed=lambda: told.append(None),
            timing=timing,
            limits=limits,
        )
        registry = Registry()
        transport.register(registry, calls)
        server = Server(registry, http, environment, log, limits, Flusher())
        inbox = Inbox()
        scope = trio.CancelScope()

        async def run(task_status: trio.TaskStatus[None]) -> None:
            with scope:
                async with trio.open_nursery() as nursery:
                    await nursery.start(server.serve, listener)
                    await nursery.start(transport.run, inbox)
                    task_status.started()

        await self._nursery.start(run)
        return Node(name, number, inbox, transport, server, sink, environment, port, scope, removed, told)

    async def join(self, *numbers: int, **options: Any) -> list[Node]:
        """Start these members and let them know each other."""
        nodes = [await self.start(number, **options) for number in numbers]
        introduce(*nodes)
        for node in nodes:
            await node.until_active(*[other for other in nodes if other is not node])
        return nodes


def introduce(*nodes: Node) -> None:
    """Tell all of each other."""
    for node in nodes:
        node.transport.set_members({other.id: [other.url] for other in nodes})


@asynccontextmanager
async def running(**options: Any) -> AsyncIterator[Cluster]:
    with trio.fail_after(1000):
        async with trio.open_nursery() as nursery:
            yield Cluster(Network(**options), nursery)
            nursery.cancel_scope.cancel()


def heartbeat(from_: int, to: int, index: int = 0, **fields: Any) -> Message:
    return Message(type=MessageType.HEARTBEAT, from_=from_, to=to, term=1, index=index, **fields)


def append(from_: int, to: int, index: int = 0, data: bytes = b"x", count: int = 1) -> Message:
    entries = [Entry(1, index + place, data=data) for place in range(1, count + 1)]
    return Message(
        type=MessageType.APPEND_ENTRIES,
        from_=from_,
        to=to,
        term=1,
        index=index,
        log_term=1,
        entries=entries,
        commit=0,
    )


class Kit:
    """What tests of this package use, by name: test modules don't import each other."""

    running = staticmethod(running)
    introduce = staticmethod(introduce)
    heartbeat = staticmethod(heartbeat)
    append = staticmethod(append)


@pytest.fixture
def kit() -> Kit:
    return Kit()
