"""What is left of connections that came and went, in whatever state: nothing.

The server process looks for garbage among young objects only (:mod:`rusd.garbage`), and a connection
gets old.  So what belongs to it must be free of cycles in the end; here no collector runs at all.
"""

from __future__ import annotations

import gc
import os
import struct
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import trio

import rusd
from etcdpb import rpc_pb2, v3lock_pb2
from rusd.environment import RealClock
from rusd.grpc.client import ClientCall
from rusd.grpc.server_call import ServerCall
from rusd.net.grpc_connection import GrpcConnection
from rusd.net.http1 import HttpConnection
from rusd.testing import ListSink, local_config, make_environment
from tests.http2.conftest import FrameFactory
from tests.support.embedded import connected

FRAMES = FrameFactory()
KEPT = (GrpcConnection, HttpConnection, ServerCall, ClientCall, trio.lowlevel.Task, trio.Nursery)
CONNECTIONS = 4
GIVE_UP_SECONDS = 30

Send = Callable[[bytes], Awaitable[None]]
Receive = Callable[[], Awaitable[bytes]]


def call(
    stream_id: int, path: str, request: Any = b"", *extra: tuple[bytes, bytes], end: bool = True
) -> bytes:
    """The frames of a call with one message."""
    payload = request if isinstance(request, bytes) else request.SerializeToString()
    fields = [(name, path.encode() if name == b":path" else value) for name, value in FRAMES.request]
    message = struct.pack(">BI", 0, len(payload)) + payload
    return FRAMES.headers(stream_id, [*fields, *extra]) + FRAMES.data(stream_id, message, end=end)


def opening(*settings: tuple[int, int]) -> bytes:
    return FRAMES.preface + FRAMES.settings(*settings) + FRAMES.settings_ack()


WATCH = "/etcdserverpb.Watch/Watch", rpc_pb2.WatchRequest(create_request=rpc_pb2.WatchCreateRequest(key=b"w"))
PUT = "/etcdserverpb.KV/Put", rpc_pb2.PutRequest(key=b"w", value=bytes(5000))
ALL = "/etcdserverpb.KV/Range", rpc_pb2.RangeRequest(key=b"l", range_end=b"m")
COMPACT = "/etcdserverpb.KV/Compact", rpc_pb2.CompactionRequest(revision=1000)
LOCK = "/v3lockpb.Lock/Lock", v3lock_pb2.LockRequest(name=b"l", lease=12345)

STATES: dict[str, tuple[bytes, bytes]] = {
    # What the client says, and what it waits for before it goes.
    "idle": (opening(), FRAMES.settings_ack()),
    "in the middle of a request": (opening() + call(1, *PUT, end=False)[:4000], FRAMES.settings_ack()),
    "before its answer": (opening() + call(1, *PUT), b""),
    "with a watch": (opening() + call(1, *WATCH, end=False), b"\x18\x01"),
    "with a watch past its deadline": (
        opening() + call(1, *WATCH, (b"grpc-timeout", b"1m"), end=False),
        b"context deadline exceeded",
    ),
    "with a watch it has reset": (
        opening() + call(1, *WATCH, end=False) + FRAMES.rst_stream(1) + FRAMES.ping(),
        b"12345678",
    ),
    "with a keep-alive": (
        opening() + call(1, "/etcdserverpb.Lease/LeaseKeepAlive", b"\x08\x05", end=False),
        b"application/grpc",
    ),
    "before a window that is closed to a long answer": (
        opening((4, 0)) + call(1, *ALL) + call(3, *ALL),
        b"application/grpc",
    ),
    "in the middle of a snapshot": (
        opening((4, 100)) + call(1, "/etcdserverpb.Maintenance/Snapshot"),
        b"application/grpc",
    ),
    "with a lock that failed": (opening() + call(1, *LOCK), b"lease not found"),
    "with a compaction that failed": (opening() + call(1, *COMPACT), b"future revision"),
    "after a breach of protocol": (opening() + FRAMES.data(1, b"x"), b"idle stream"),
    "in HTTP/1.1": (b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n", b"health"),
    "in the middle of HTTP/1.1": (
        b"POST /v3/kv/put HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nabc",
        b"",
    ),
    "in bad HTTP/1.1": (b"nonsense\r\n\r\n", b"400"),
    "without a word": (b"", b""),
}


@pytest.fixture(autouse=True)
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def left() -> Counter[str]:
    """How many there are of what must not stay."""
    found = Counter(type(kept).__name__ for kept in gc.get_objects() if isinstance(kept, KEPT))
    found["descriptors"] = len(os.listdir("/proc/self/fd"))
    return found


async def come_and_go(port: int, said: bytes, awaited: bytes, *, rudely: bool) -> None:
    sock = trio.socket.socket()
    await sock.connect(("127.0.0.1", port))
    stream = trio.SocketStream(sock)
    await stream.send_all(said)
    heard = b""
    while awaited not in heard:
        part = await stream.receive_some(65536)
        assert part, f"{awaited!r} is not in {heard!r}"
        heard += part
    if rudely:
        sock.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="no /proc here")
@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("rudely", [False, True], ids=["closed", "reset"])
async def test_nothing_is_left_of_a_connection_that_goes(state: str, rudely: bool) -> None:
    environment = make_environment(clock=RealClock(), log_sink=ListSink())
    async with rusd.serve(local_config(), environment) as server, connected(server, environment) as etcd:
        for number in range(20):
            await etcd.put(b"l%d" % number, bytes(100_000))
        port = int(server.client_urls[0].rpartition(":")[2])
        net: Any = server._parts.client_servers[-1]  # type: ignore[attr-defined]

        async def rounds() -> Counter[str]:
            async with trio.open_nursery() as nursery:
                for _ in range(CONNECTIONS):
                    nursery.start_soon(lambda: come_and_go(port, *STATES[state], rudely=rudely))
            while net.connections > 1:
                await trio.lowlevel.checkpoint()
            await trio.testing.wait_all_tasks_blocked()
            await etcd.put(b"w", b"")  # whoever was to be woken has been
            return left()

        with trio.fail_after(GIVE_UP_SECONDS):
            before = await rounds()
            after = await rounds()
        assert after == before
        assert list(net.budget._reported) in ([], [next(iter(net._connections))])
        net.budget.check()
        assert len(net._poller._attended) <= 1
        assert len(net._timer.deadlines) <= 2  # of the client that stays
