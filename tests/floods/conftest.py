"""An attacker, a victim and a server: real sockets, and a clock that the test moves.

Each test lets one connection do its worst while another goes on writing and reading; it passes if
the first is ended for the right reason and the second notices nothing.
"""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
import trio

import rusd
from etcdpb import rpc_pb2
from rusd.grpc.budget import Budget
from rusd.testing import ListSink, ManualClock, local_config, make_environment
from tests.http2.conftest import FrameFactory
from tests.support.embedded import Etcd, connected

GIVE_UP_SECONDS = 60.0
FRAMES = FrameFactory()
PUT = "/etcdserverpb.KV/Put"
RANGE = "/etcdserverpb.KV/Range"
WATCH = "/etcdserverpb.Watch/Watch"


def request(path: str, *extra: tuple[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    """The header fields of a call."""
    return [(name, path.encode() if name == b":path" else value) for name, value in FRAMES.request] + [*extra]


def message(request: Any, flag: int = 0) -> bytes:
    """A message on the wire."""
    payload = request if isinstance(request, bytes) else request.SerializeToString()
    return struct.pack(">BI", flag, len(payload)) + payload


class Attacker:
    """A raw connection.  Sending stops, without error, once the server has ended it."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self.data = b""
        self.ended = False

    async def send(self, *parts: bytes) -> None:
        try:
            await self._stream.send_all(b"".join(parts))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.ended = True

    async def repeat(self, frames: Iterable[bytes], *, batch: int = 50) -> None:
        """Send ``frames``, some at a time, until they or the connection are at an end."""
        part: list[bytes] = []
        for frame in frames:
            part.append(frame)
            if len(part) == batch:
                await self.send(*part)
                part.clear()
            if self.ended:
                return
        await self.send(*part)

    async def read(self) -> None:
        """Read, and keep what the server says, until it has closed."""
        try:
            while part := await self._stream.receive_some(65536):
                self.data += part
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        self.ended = True

    async def read_until(self, enough: Callable[[bytes], bool]) -> None:
        """Read until ``enough`` of what has come."""
        while not enough(self.data):
            part = await self._stream.receive_some(65536)
            assert part, "the server has closed"
            self.data += part

    def close(self) -> None:
        self._stream.socket.close()

    @property
    def goodbye(self) -> tuple[int, str] | None:
        """Code and reason of the last GOAWAY."""
        whole, position = self.data, 0
        found = None
        while position + 9 <= len(whole):
            length = int.from_bytes(whole[position : position + 3], "big")
            payload = whole[position + 9 : position + 9 + length]
            if whole[position + 3] == 7:
                found = int.from_bytes(payload[4:8], "big"), payload[8:].decode()
            position += 9 + length
        return found


class Arena:
    """A running server and the means to attack it."""

    def __init__(self, server: rusd.Server, etcd: Etcd, clock: ManualClock, sink: ListSink) -> None:
        self.server = server
        self.etcd = etcd
        self.clock = clock
        self.sink = sink
        self.calls = 0
        self.attackers: list[Attacker] = []

    @property
    def budget(self) -> Budget:
        """What is held for clients."""
        return self._net.budget

    @property
    def connections(self) -> int:
        return self._net.connections

    @property
    def _net(self) -> Any:
        return self.server._parts.client_servers[-1]

    async def connect(self, *settings: tuple[int, int], receive_buffer: int = 0) -> Attacker:
        """A connection that has exchanged settings."""
        attacker = await self.connect_raw(receive_buffer)
        await attacker.send(FRAMES.preface, FRAMES.settings(*settings), FRAMES.settings_ack())
        return attacker

    async def connect_raw(self, receive_buffer: int = 0) -> Attacker:
        """A connection on which nothing was said; ``receive_buffer`` makes the kernel's small."""
        host, _, port = self.server.client_urls[0].removeprefix("http://").rpartition(":")
        sock = trio.socket.socket()
        if receive_buffer:
            sock.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, receive_buffer)
        await sock.connect((host, int(port)))
        self.attackers.append(Attacker(trio.SocketStream(sock)))
        return self.attackers[-1]

    async def go_on(self) -> None:
        """The victim: one write and one read after the other, each of which must succeed."""
        while True:
            key = b"key-%d" % (self.calls % 100)
            await self.etcd.put(key, b"%d" % self.calls)
            assert await self.etcd.get(key) == b"%d" % self.calls
            self.calls += 1

    async def pass_time(self, seconds: float) -> None:
        """Move the clock second by second, with time for the victim in between."""
        for _ in range(int(seconds)):
            before = self.calls
            self.clock.advance(1.0)
            while self.calls == before:
                await trio.lowlevel.checkpoint()

    async def under(self, attack: Callable[[], Awaitable[None]]) -> None:
        """Run ``attack`` beside the victim, and have the victim make some calls after it as well."""
        with trio.fail_after(GIVE_UP_SECONDS):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.go_on)
                await attack()
                after = self.calls + 5
                while self.calls < after:
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()

    async def gone(self) -> None:
        """Wait until only the victim's connection is left."""
        with trio.fail_after(GIVE_UP_SECONDS):
            while self.connections > 1:
                await trio.lowlevel.checkpoint()


MakeArena = Callable[..., AbstractAsyncContextManager[Arena]]


@asynccontextmanager
async def open_arena(**settings: Any) -> AsyncIterator[Arena]:
    clock, sink = ManualClock(), ListSink()
    environment = make_environment(clock=clock, log_sink=sink)
    async with (
        rusd.serve(local_config(**settings), environment) as server,
        connected(server, environment) as etcd,
    ):
        arena = Arena(server, etcd, clock, sink)
        await etcd.put(b"start", b"")
        try:
            yield arena
        finally:
            for attacker in arena.attackers:
                attacker.close()
    assert sink.events("connection failed") == []


@pytest.fixture
def arena() -> MakeArena:
    """``async with arena(flag=value) as arena:``"""
    return open_arena


def watch_create(key: bytes) -> bytes:
    """The first message of a watch stream."""
    create = rpc_pb2.WatchCreateRequest(key=key)
    return message(rpc_pb2.WatchRequest(create_request=create))
