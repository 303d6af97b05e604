"""Target: the HTTP/1.1 side of the client port, on a channel in memory.

Asserted: nothing comes out but the end of the connection, whatever is sent and however it is cut; the handler
gets whole requests only.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Final

import trio
import trio.testing

from rusd.grpc import Deadlines
from rusd.logs import make_logger
from rusd.net.http import HttpRequest, HttpResponse
from rusd.net.http1 import HttpConnection
from rusd.net.limits import Limits
from rusd.net.sniff import Protocol, sniff
from rusd.testing import ListSink, ManualClock
from rusd.testing.transport import MemoryChannel, channel_pair
from tests.fuzz.source import Source

PIECES: Final = (
    b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n",
    b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc",
    b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"GET /parts HTTP/1.1\r\nhost: x\r\n\r\n",
    b"HEAD /parts HTTP/1.0\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
    b"CONNECT x:1 HTTP/1.1\r\nhost: x\r\n\r\n",
    b"POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\nab",
    b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 99999\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET /crash HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    b"G",
    b"\r\n",
    b"x: y\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01",
    b"GET / HTTP/9.9\r\n\r\n",
    b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nfffffffff\r\n",
)


async def handler(request: HttpRequest) -> HttpResponse:
    assert request.method
    assert len(request.body) <= 1000
    if request.target == "/crash":
        raise RuntimeError("a handler's own")
    if request.target == "/parts":
        return HttpResponse(200, (), parts())
    return HttpResponse(200, [(b"x-kind", b"echo")], request.body)


async def parts() -> AsyncGenerator[bytes, None]:
    for part in (b"one", b"", b"two"):
        yield part


async def serve(channel: MemoryChannel, deadlines: Deadlines) -> None:
    """As the listener does it; only HTTP/1.1 is answered here."""
    protocol, first = await sniff(channel)
    if protocol is not Protocol.HTTP1:
        channel.close()
        return
    clock, sink = ManualClock(), ListSink()
    connection = HttpConnection(
        channel,
        handler,
        clock=clock,
        deadlines=deadlines,
        limits=Limits(max_body_bytes=1000),
        log=make_logger(sink, clock),
    )
    await connection.run(first)
    failures = [event for event in sink.events() if "handler's own" not in str(event)]
    assert not failures, failures


async def converse(source: Source) -> None:
    deadlines = Deadlines()
    ours, theirs = channel_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve, ours, deadlines)
        try:
            while source.more:
                op = source.byte()
                data = source.pick(PIECES) if op & 1 else source.chunk()
                theirs.try_send(data)
                if op & 2:
                    await trio.testing.wait_all_tasks_blocked()
                    theirs.try_receive(1 << 16)
            await trio.testing.wait_all_tasks_blocked()
            theirs.try_receive(1 << 16)
        except OSError:
            pass  # the server has closed
        finally:
            theirs.close()
    deadlines.check()
    assert len(deadlines) == 0


def target(data: bytes) -> None:
    """Raises whatever should not have come out of a connection, and :class:`AssertionError`."""
    trio.run(converse, Source(data))
