"""Target: the gRPC server engine, behind real HTTP/2 frames.

The input is a list of instructions: open calls with any headers, send messages whole, in pieces or broken,
reset, let time pass, let the handlers answer, at once or in parts, fail, or fall over.  Frames are collected
into turns, as the network side does it; it may also send the connection away when it holds too much.  Two
more modes are for the parsers of single values (:mod:`tests.fuzz.values`) and for the client engine
(:mod:`tests.fuzz.answers`).

Asserted: nothing comes out of the engine; a handler is started once a call, and told once that nobody
waits; every stream that ends has a well-formed status, an OK of a unary call exactly one message; once the
client has gone nothing is left: no call, no deadline, no settled answer that is still wired up.
"""

from __future__ import annotations

import struct

from tests.fuzz.answers import run_client
from tests.fuzz.call_server import Server
from tests.fuzz.peer_view import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
)
from tests.fuzz.scale import CALL_SCALES, scaled
from tests.fuzz.source import Source
from tests.fuzz.values import parse_values


def run(server: Server, source: Source) -> None:
    """Carry out the instructions."""
    steps = 0
    while source.more and steps < 300:
        steps += 1
        op = source.byte()
        match op & 0x0F:
            case 0:
                server.open(False)
                message = server.message()
                server.send(frame(DATA, op >> 4 & 1, server._next_id - 2, message))
            case 1:
                server.open(bool(op & 0x10))
            case 2:
                server.send(frame(DATA, op >> 4 & 1, server.stream(), server.message()[:16_384]))
            case 3:  # a message in pieces
                stream_id, message, step = server.stream(), server.message(), source.byte() + 1
                for at in range(0, len(message), step):
                    server.send(frame(DATA, 0, stream_id, message[at : at + step]))
            case 4:
                server.send(frame(DATA, END_STREAM, server.stream()))
            case 5:
                server.send(frame(DATA, op >> 4 & 1, server.stream(), source.chunk()))
            case 6:
                server.send(frame(RST_STREAM, 0, server.stream(), struct.pack(">I", op >> 4)))
            case 7:
                server.turn()
                server.pass_time()
            case 8 | 9 if op & 0x80:
                server.turn()
                server.send_parts((op >> 4 & 7) + 1)
            case 8 | 9:
                server.turn()
                server.handler_step()
            case 10:
                server.turn()
                server.settle()
            case 11:
                stream_id = server.stream() if op & 0x10 else 0
                server.send(frame(WINDOW_UPDATE, 0, stream_id, struct.pack(">I", 1 << (op >> 4))))
            case 12:
                server.send(
                    frame(SETTINGS, op >> 4 & ACK, 0, b"" if op & 0x10 else b"\0\4\0\0\0" + source.take(1))
                )
            case 13:
                server.turn()
                server.drain()
            case 14:
                special(server, source, op >> 4)
            case 15:  # trailers, or nonsense
                block = b"\x0f\x00" if op & 0x80 else server._encoder.encode([(b"x", b"y")])
                server.send(frame(HEADERS, END_HEADERS | op >> 4 & 1, server.stream(), block))


def special(server: Server, source: Source, choice: int) -> None:
    """What happens rarely: draining, pings, a goodbye, any frame, the loss of the connection."""
    server.turn()
    match choice & 7:
        case 0 | 1:
            server.engine.drain()
        case 2:
            server.send(frame(PING, ACK, 0, b"rusd-bye"))
        case 3:
            server.send(frame(GOAWAY, 0, 0, bytes(8)))
        case 4:
            server.send(frame(source.byte() & 0x0F, source.byte(), server.stream(), source.chunk()))
        case 5:
            server.engine.lost()
        case 6:
            server.send(source.chunk())
        case 7:
            assert server.engine.drained in (True, False)
            server.send(frame(PING, 0, 0, b"are you?"))
    server.check()


def target(data: bytes) -> None:
    """Raises whatever should not have come out of the engine, and :class:`AssertionError`."""
    source = Source(data)
    mode = source.byte() & 7
    if mode == 7:
        parse_values(source)
        return
    if mode == 6:
        run_client(source)
        return
    with scaled(CALL_SCALES[source.byte() & 3]):
        server = Server(source)
        run(server, source)
        server.finish()
