"""Frames made of decisions: what a peer of :mod:`tests.fuzz.frames` sends, mostly in order.

Besides, the instructions let the host at the other end of the API act between two frames.
"""

from __future__ import annotations

import contextlib
import struct
from typing import TYPE_CHECKING, Final

from rusd.http2 import NoNewStreamsError
from tests.fuzz.encoder import Encoder
from tests.fuzz.host import REQUEST, RESPONSE, TRAILERS, HostBrokeError
from tests.fuzz.peer_view import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Fields,
    frame,
)
from tests.fuzz.source import Source

if TYPE_CHECKING:
    from tests.fuzz.frames import Harness

PEER_FIELDS: Final[tuple[Fields, ...]] = (
    REQUEST,
    RESPONSE,
    TRAILERS,
    [*REQUEST, (b"content-length", b"5")],
    [*REQUEST, (b"grpc-timeout", b"10S"), (b"x-long", b"v" * 1500)],
    [*RESPONSE, (b"content-length", b"0")],
    [(b":status", b"100")],
    [(b":status", b"1x")],
    [(b":method", b"CONNECT"), (b":authority", b"x")],
    [*REQUEST, (b"Upper", b"case")],
    [*REQUEST, (b"connection", b"close")],
    [*REQUEST, (b":path", b"/again")],
    [*TRAILERS, (b"te", b"gzip")],
    [(b"x", b" y")],
    [],
    [(b"x-huge", b"h" * 5000)],
)
SETTINGS_ENTRIES: Final = (
    (1, 0),
    (1, 100),
    (1, 4096),
    (2, 0),
    (2, 1),
    (3, 0),
    (3, 1),
    (3, 100),
    (4, 0),
    (4, 1),
    (4, 1500),
    (4, 65_535),
    (4, 0x7FFF_FFFF),
    (4, 0x8000_0000),
    (5, 16_384),
    (5, 16_777_215),
    (5, 1),
    (6, 10),
    (9, 9),
)
INCREMENTS: Final = (1, 10, 1000, 65_535, 0x7FFF_FFFF, 0, 0x8000_0001, 0x4000_0000)
SIZES: Final = (0, 1, 5, 100, 1000, 16_384, 16_385, 40_000, 70_000, 200_000)


class Peer:
    """Builds what the peer sends, from instructions."""

    def __init__(self, harness: Harness, source: Source) -> None:
        self._harness = harness
        self._source = source
        self._encoder = Encoder()
        self._next_id = 1
        self._pending: list[bytes] = []

    def run(self) -> None:
        source, harness = self._source, self._harness
        opening = source.byte()
        if not opening & 1:
            self._pending.append(b"" if harness.is_client else PREFACE)
            self._pending.append(frame(SETTINGS, 0, 0, self._entries(opening >> 1 & 3)))
        steps = 0
        while source.more and steps < 400:
            steps += 1
            self._step(source.byte())
        self._flush()

    def _flush(self) -> None:
        data, self._pending = b"".join(self._pending), []
        self._harness.feed(data)

    def _send(self, *parts: bytes) -> None:
        self._pending += parts

    def _stream(self) -> int:
        choice = self._source.byte()
        if choice & 0x80:
            return choice & 0x7F
        known = self._harness.host.known or [1]
        return known[-1 - choice % len(known)]

    def _entries(self, count: int) -> bytes:
        return b"".join(struct.pack(">HI", *self._source.pick(SETTINGS_ENTRIES)) for _ in range(count))

    def _block(self) -> bytes:
        choice = self._source.byte()
        if choice & 0x80:
            return self._source.chunk()
        fields = PEER_FIELDS[choice & 0x0F]
        return self._encoder.encode(fields, huffman=bool(choice & 0x40))

    def _step(self, op: int) -> None:
        source, harness = self._source, self._harness
        match op & 0x1F:
            case 0 | 1:
                block = self._encoder.encode([*REQUEST, (b"n", b"%d" % (op >> 6))])
                self._send(frame(HEADERS, END_HEADERS | (op >> 5 & 1), self._next_id, block))
                self._next_id += 2
            case 2:
                flags = source.byte()
                priority = bytes(5) if flags & 0x20 else b""
                self._send(
                    frame(HEADERS, END_HEADERS | flags & 0x21, self._stream(), priority + self._block())
                )
            case 3:
                flags = source.byte()
                padding = source.byte() if flags & PADDED else 0
                body = bytes(source.pick(SIZES))
                payload = bytes((padding,)) + body + bytes(padding) if flags & PADDED else body
                self._send(frame(DATA, flags & (END_STREAM | PADDED), self._stream(), payload[:20_000]))
            case 4:
                self._send(frame(DATA, op >> 5 & 1, self._stream(), source.chunk()))
            case 5:
                stream_id = 0 if op & 0x20 else self._stream()
                self._send(frame(WINDOW_UPDATE, 0, stream_id, struct.pack(">I", source.pick(INCREMENTS))))
            case 6:
                self._send(frame(SETTINGS, 0, 0, self._entries(op >> 5)))
            case 7:
                self._send(frame(SETTINGS, ACK, 0))
                # A peer that goes by the rules shrinks its table now, if it has to.
                self._encoder.resize(harness.settings.header_table_size)
            case 8:
                self._send(frame(PING, op >> 5 & 1, 0, source.take(8).ljust(8, b"p")))
            case 9:
                self._send(frame(RST_STREAM, 0, self._stream(), struct.pack(">I", source.byte())))
            case 10:
                self._send(frame(GOAWAY, 0, 0, struct.pack(">II", source.byte(), source.byte()) + b"bye"))
            case 11:
                self._send(frame(PRIORITY, 0, self._stream(), bytes(5 if op & 0x20 else source.byte())))
            case 12:
                self._split_block(op)
            case 13:
                kind, flags, stream_id = source.byte(), source.byte(), source.byte()
                self._send(frame(kind & 0x0F, flags, stream_id, source.chunk()))
            case 14:
                self._send(source.chunk())
            case 15:
                self._flush()
                harness.drain()
            case 16 | 17 | 18:
                self._flush()
                self._let_host_act()
            case 19:
                self._flush()
                self._let_host_speak(op >> 5)
            case 20:
                self._flush()
                if harness.is_client:
                    self._open()
            case 21:
                self._send(frame(HEADERS, END_HEADERS | (op >> 5 & 1), self._stream(), self._block()))
            case _:
                self._flush()

    def _split_block(self, op: int) -> None:
        stream_id, block = self._stream(), self._block()
        if op & 0x20:
            stream_id, self._next_id = self._next_id, self._next_id + 2
        parts = self._source.byte() % 5
        cut = max(1, len(block) // (parts + 1))
        pieces = [block[at : at + cut] for at in range(0, len(block), cut)] or [b""]
        for number, piece in enumerate(pieces):
            done = END_HEADERS if number == len(pieces) - 1 and not op & 0x40 else 0
            kind = HEADERS if number == 0 else CONTINUATION
            self._send(frame(kind, done | (op >> 7 if number == 0 else 0), stream_id, piece))

    def _let_host_act(self) -> None:
        with contextlib.suppress(HostBrokeError):
            self._harness.host.act(self._stream(), self._source.byte())
        self._harness.check()

    def _let_host_speak(self, choice: int) -> None:
        connection = self._harness.connection
        match choice:
            case 0:
                connection.ping(b"12345678")
            case 1:
                connection.goaway(0, b"", last_stream_id=self._source.byte())
            case 2:
                connection.goaway(0)
            case 3:
                connection.goaway(11, b"calm")
            case 4:
                self._harness.abandon()
            case _:
                self._harness.drain()

    def _open(self) -> None:
        harness, end = self._harness, self._source.flag()
        try:
            stream_id = harness.connection.open_stream(REQUEST, end_stream=end)
        except NoNewStreamsError:
            return
        limit = harness.connection.peer_settings.max_concurrent_streams
        assert limit is None or harness.connection.open_streams <= limit
        harness.host.opened(stream_id, end)
