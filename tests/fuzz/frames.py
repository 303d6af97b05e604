"""Target: an HTTP/2 connection, either role, fed any bytes.

The first octets choose the role, settings and limits.  Then the input is either what the peer sends, cut
into pieces, or a list of instructions that build frames which are mostly in order, so that deep states are
reached.  The other end of the API is a host that behaves like the gRPC engine: it answers, resets,
acknowledges late or not at all, and now and then fails.

Asserted: no exception but the host's own comes out; events keep their order; the output is judged by
:class:`~tests.fuzz.peer_view.PeerView`; what is buffered stays within bounds; ``check()`` holds all along.
"""

from __future__ import annotations

import contextlib
import struct
from typing import Final

import hpack

from rusd.http2 import Connection, Limits, NoNewStreamsError, Role, Settings
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
    PeerView,
    frame,
)
from tests.fuzz.source import Source

REQUEST: Final = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/etcdserverpb.KV/Put"),
    (b":authority", b"localhost:2379"),
    (b"content-type", b"application/grpc"),
    (b"te", b"trailers"),
]
RESPONSE: Final = [(b":status", b"200"), (b"content-type", b"application/grpc")]
TRAILERS: Final = [(b"grpc-status", b"0"), (b"grpc-message", b"")]

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


class HostBrokeError(Exception):
    """What the host raises on purpose: it must come through, and do no harm."""


class Host:
    """Takes the events and answers them, as ``script`` says.  Knows what may still be sent, as gRPC does."""

    def __init__(self, script: Source) -> None:
        self.connection: Connection
        self._script = script
        self.unacknowledged: dict[int, int] = {}
        self.heard_end: set[int] = set()
        self.dead: set[int] = set()
        self.answered: set[int] = set()
        self.said_end: set[int] = set()
        self.known: list[int] = []
        self.closed: list[int] = []

    # -- events ---------------------------------------------------------------------------------

    def on_headers(self, stream_id: int, headers: Fields, end_stream: bool) -> None:
        self._heard(stream_id)
        assert all(type(name) is bytes and type(value) is bytes for name, value in headers)
        if stream_id not in self.known:
            self.known.append(stream_id)
            self.unacknowledged[stream_id] = 0
        if end_stream:
            self.heard_end.add(stream_id)
        self.act(stream_id, self._script.byte())

    def on_data(self, stream_id: int, data: bytes, end_stream: bool) -> None:
        self._heard(stream_id)
        assert stream_id in self.known, "DATA before HEADERS"
        self.unacknowledged[stream_id] += len(data)
        if end_stream:
            self.heard_end.add(stream_id)
        choice = self._script.byte()
        if choice < 0x80:
            self.acknowledge(stream_id, self.unacknowledged[stream_id])
        self.act(stream_id, choice)

    def on_reset(self, stream_id: int, error_code: int) -> None:
        assert stream_id in self.known, "a reset of a stream nobody knows"
        assert stream_id not in self.dead, "reset twice"
        assert 0 <= error_code < 1 << 32
        self.dead.add(stream_id)

    def on_window(self, stream_id: int) -> None:
        assert stream_id in self.known
        assert self.connection.queued(stream_id) < self.connection.low_water_mark
        self.act(stream_id, 3)

    def on_ping_ack(self, payload: bytes) -> None:
        assert len(payload) == 8

    def on_goaway(self, last_stream_id: int, error_code: int, debug: bytes) -> None:
        assert 0 <= last_stream_id < 1 << 31

    def on_closed(self, error_code: int, reason: str) -> None:
        assert not self.closed, "closed twice"
        assert error_code and reason
        assert self.connection.closed
        self.closed.append(error_code)

    def _heard(self, stream_id: int) -> None:
        assert not self.connection.closed, "an event of a closed connection"
        assert stream_id not in self.heard_end, "an event after END_STREAM"
        assert stream_id not in self.dead, "an event of a stream that was reset"

    # -- answers --------------------------------------------------------------------------------

    def act(self, stream_id: int, choice: int) -> None:
        """Do one thing with a stream."""
        connection = self.connection
        match choice % 12:
            case 0 | 1 if stream_id in self.heard_end:
                self.headers(stream_id, RESPONSE)
                self.data(stream_id, b"\0\0\0\0\3abc")
                self.headers(stream_id, TRAILERS, end=True)
            case 2:
                self.headers(stream_id, RESPONSE)
            case 3:
                self.data(stream_id, b"d" * 1000)
            case 4:
                self.headers(stream_id, RESPONSE)
                self.data(stream_id, bytes(70_000))
            case 5:
                self.headers(stream_id, TRAILERS, end=True)
            case 6 if stream_id in self.known:
                connection.reset_stream(stream_id, 8)
                self.dead.add(stream_id)
            case 7:
                self.acknowledge(stream_id, self.unacknowledged.get(stream_id, 0) // 2)
            case 8:
                self.data(stream_id, b"e", end=True)
            case 9:
                self.headers(stream_id, [*RESPONSE, (b"x-long", b"l" * 20_000)])
            case 10 if choice >= 0xC0:
                raise HostBrokeError

    def headers(self, stream_id: int, fields: Fields, *, end: bool = False) -> None:
        if self._may_say(stream_id, end) and (end or stream_id not in self.answered):
            self.answered.add(stream_id)
            self.connection.send_headers(stream_id, fields, end_stream=end)

    def data(self, stream_id: int, data: bytes, *, end: bool = False) -> None:
        if stream_id in self.answered and self._may_say(stream_id, end):
            self.connection.send_data(stream_id, data, end_stream=end)

    def acknowledge(self, stream_id: int, length: int) -> None:
        if stream_id in self.unacknowledged:
            self.unacknowledged[stream_id] -= length
            self.connection.acknowledge(stream_id, length)

    def opened(self, stream_id: int, end: bool) -> None:
        """A client's own stream."""
        self.known.append(stream_id)
        self.unacknowledged[stream_id] = 0
        self.answered.add(stream_id)
        if end:
            self.said_end.add(stream_id)

    def _may_say(self, stream_id: int, end: bool) -> bool:
        if stream_id not in self.known or stream_id in self.said_end:
            return False
        if end:
            self.said_end.add(stream_id)
        return True


class Harness:
    """A connection, its host and its peer."""

    def __init__(self, source: Source) -> None:
        choices = source.byte()
        self.is_client = bool(choices & 1)
        self.structured = bool(choices & 2)
        dribble = choices & 4
        self._budget = 1 if dribble else 256
        variety = source.byte()
        self.settings = Settings(
            header_table_size=(4096, 0, 100, 8192)[variety & 3],
            max_concurrent_streams=(None, 3)[choices >> 3 & 1],
            initial_window_size=(65_535, 0, 100, 1 << 20)[variety >> 2 & 3],
            max_frame_size=(16_384, 20_000)[variety >> 4 & 1],
            max_header_list_size=(2000, 65_536)[variety >> 5 & 1],
        )
        window = (65_535, 1 << 20)[variety >> 6 & 1]
        limits = Limits(continuations=3, unsent_answers=20, spoilt_streams=5) if variety & 0x80 else Limits()
        self.host = Host(Source(source.take(8 + (choices >> 6) * 8)))
        self.connection = self.host.connection = Connection(
            Role.CLIENT if self.is_client else Role.SERVER,
            self.host,
            self.settings,
            window,
            low_water_mark=100 if choices & 0x20 else 64 * 1024,
            output_limit=1000 if choices & 0x10 else None,
            limits=limits,
        )
        self.view = PeerView(
            client=self.is_client, window=window, stream_window=self.settings.initial_window_size
        )
        self._window = window
        self._abandoned = False
        self.connection.initiate()

    def feed(self, data: bytes) -> None:
        """Give ``data`` to the connection and parse it."""
        if not self.connection.closed:
            self.view.sent(data)
        self.connection.receive(data)
        while True:
            try:
                if not self.connection.advance(self._budget):
                    break
            except HostBrokeError:
                continue
        self.check()

    def drain(self) -> None:
        """Take the output and judge it."""
        for _ in range(1000):  # with an output limit: not everything, or a test with 200 kB would take long
            try:
                data = self.connection.data_to_send()
            except HostBrokeError:
                continue
            if self._abandoned:
                assert not data, "output after the end"
            self.view.received(data)
            if not data:
                break
        if self.connection.closed:
            return
        self.view.settled()

    def check(self) -> None:
        connection = self.connection
        connection.check()
        assert connection._available <= self.settings.max_frame_size + 9 or connection.closed
        list_limit = self.settings.max_header_list_size or 0
        assert connection._block_size <= 2 * list_limit + self.settings.max_frame_size
        if self.settings.max_concurrent_streams is not None and not self.is_client:
            assert connection.open_streams <= self.settings.max_concurrent_streams
        alive = self.host.unacknowledged.items()
        held = sum(length for stream_id, length in alive if stream_id in connection._streams)
        assert held <= self._window, "more is held than the window allows"

    def end(self) -> None:
        """The last look."""
        self.check()
        self.drain()
        if not self._abandoned and self.host.closed:
            assert self.connection.closed
            assert self.view.goaway == self.host.closed[0], "closed, and the peer was not told why"
        if self.connection.closed:
            assert self.connection.open_streams == 0
        self.connection.abandon()
        assert self.connection.data_to_send() == b""

    def abandon(self) -> None:
        self.connection.abandon()
        self._abandoned = True


class Peer:
    """Builds what the peer sends, from instructions."""

    def __init__(self, harness: Harness, source: Source) -> None:
        self._harness = harness
        self._source = source
        self._encoder = hpack.Encoder()
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
        return bytes(self._encoder.encode(fields, huffman=bool(choice & 0x40)))

    def _step(self, op: int) -> None:
        source, harness = self._source, self._harness
        match op & 0x1F:
            case 0 | 1:
                block = bytes(self._encoder.encode([*REQUEST, (b"n", b"%d" % (op >> 6))]))
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
                self._encoder.header_table_size = min(4096, harness.settings.header_table_size)
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


def target(data: bytes) -> None:
    """Raises whatever should not have come out of the connection, and :class:`AssertionError`."""
    source = Source(data)
    harness = Harness(source)
    if harness.structured:
        if harness.is_client:
            for _ in range(2):
                harness.host.opened(harness.connection.open_stream(REQUEST), False)
        Peer(harness, source).run()
    else:
        step = source.byte() or 10_000
        if harness.is_client:
            harness.host.opened(harness.connection.open_stream(REQUEST), True)
        rest = source.rest()
        for at in range(0, len(rest), step):
            harness.feed(rest[at : at + step])
            if at & 1:
                harness.drain()
    harness.end()
