"""The host of :mod:`tests.fuzz.frames`: takes the events of a connection and answers as gRPC would."""

from __future__ import annotations

from typing import Final

from rusd.http2 import Connection
from tests.fuzz.peer_view import Fields
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

    def on_ping(self) -> None:
        assert not self.connection.closed

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
