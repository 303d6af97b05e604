"""A peer for the tests: builds frames, feeds them to a connection, reads what comes back.

The builders are written out again here, from RFC 9113, so that a mistake in rusd's own isn't
tested against itself.  Fixtures have session scope because they keep no state (and so that
hypothesis may use them).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pytest

from rusd.http2 import PREFACE, Connection, Role, Settings, encode_static
from rusd.http2.settings import DEFAULT_SETTINGS

REQUEST = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/etcdserverpb.KV/Put"),
    (b":authority", b"localhost:2379"),
    (b"content-type", b"application/grpc"),
    (b"te", b"trailers"),
]
RESPONSE = [(b":status", b"200"), (b"content-type", b"application/grpc")]
TRAILERS = [(b"grpc-status", b"0")]

Pairs = Sequence[tuple[bytes, bytes]]


class Frame(NamedTuple):
    """A frame as read from the output."""

    kind: str
    flags: int
    stream_id: int
    payload: bytes

    @property
    def code(self) -> int:
        """The error code of RST_STREAM or GOAWAY."""
        offset = 4 if self.kind == "GOAWAY" else 0
        return int.from_bytes(self.payload[offset : offset + 4], "big")

    @property
    def number(self) -> int:
        """The first four octets: an increment, or the last stream of a GOAWAY."""
        return int.from_bytes(self.payload[:4], "big")


KINDS = (
    "DATA",
    "HEADERS",
    "PRIORITY",
    "RST_STREAM",
    "SETTINGS",
    "PUSH_PROMISE",
    "PING",
    "GOAWAY",
    "WINDOW_UPDATE",
    "CONTINUATION",
)


class FrameFactory:
    """Builds frames; ``end`` is END_STREAM, ``done`` END_HEADERS."""

    request, response, trailer = REQUEST, RESPONSE, TRAILERS
    preface = PREFACE

    def frame(self, kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
        return len(payload).to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream_id) + payload

    def data(self, stream_id: int, data: bytes = b"", *, end: bool = False, pad: int | None = None) -> bytes:
        if pad is not None:
            return self.frame(0, end | 8, stream_id, bytes((pad,)) + data + bytes(pad))
        return self.frame(0, end, stream_id, data)

    def headers(
        self, stream_id: int, fields: Pairs = REQUEST, *, end: bool = False, done: bool = True, extra: int = 0
    ) -> bytes:
        return self.frame(1, end | 4 * done | extra, stream_id, encode_static(fields))

    def block(self, stream_id: int, block: bytes, *, end: bool = False, done: bool = True) -> bytes:
        return self.frame(1, end | 4 * done, stream_id, block)

    def continuation(self, stream_id: int, block: bytes, *, done: bool = True) -> bytes:
        return self.frame(9, 4 * done, stream_id, block)

    def trailers(self, stream_id: int, fields: Pairs = TRAILERS) -> bytes:
        return self.headers(stream_id, fields, end=True)

    def priority(self, stream_id: int, payload: bytes = bytes(5)) -> bytes:
        return self.frame(2, 0, stream_id, payload)

    def rst_stream(self, stream_id: int, code: int = 8) -> bytes:
        return self.frame(3, 0, stream_id, struct.pack(">I", code))

    def settings(self, *entries: tuple[int, int]) -> bytes:
        return self.frame(4, 0, 0, b"".join(struct.pack(">HI", *entry) for entry in entries))

    def settings_ack(self) -> bytes:
        return self.frame(4, 1, 0)

    def ping(self, payload: bytes = b"12345678", *, ack: bool = False) -> bytes:
        return self.frame(6, ack, 0, payload)

    def goaway(self, last: int, code: int = 0, debug: bytes = b"") -> bytes:
        return self.frame(7, 0, 0, struct.pack(">II", last, code) + debug)

    def window_update(self, stream_id: int, increment: int) -> bytes:
        return self.frame(8, 0, stream_id, struct.pack(">I", increment))

    def parse(self, data: bytes) -> list[Frame]:
        """Output of a connection as frames (a client's preface is skipped)."""
        position = len(PREFACE) if data.startswith(PREFACE) else 0
        found = []
        while position < len(data):
            length = int.from_bytes(data[position : position + 3], "big")
            kind, flags, stream_id = struct.unpack_from(">BBI", data, position + 3)
            payload = data[position + 9 : position + 9 + length]
            assert len(payload) == length
            found.append(Frame(KINDS[kind], flags, stream_id, payload))
            position += 9 + length
        return found


class Endpoint:
    """A connection under test and what it has reported, as tuples ``(event, ...)``."""

    def __init__(self, role: Role, settings: Settings, **options: Any) -> None:
        self.events: list[tuple[Any, ...]] = []
        self.reactions: dict[str, Callable[..., None]] = {}
        self.connection = Connection(role, self, settings, **options)

    def _note(self, name: str, *arguments: Any) -> None:
        self.events.append((name, *arguments))
        if name in self.reactions:
            self.reactions[name](*arguments)

    def on_headers(self, stream_id: int, headers: list[tuple[bytes, bytes]], end_stream: bool) -> None:
        self._note("headers", stream_id, headers, end_stream)

    def on_data(self, stream_id: int, data: bytes, end_stream: bool) -> None:
        self._note("data", stream_id, data, end_stream)

    def on_reset(self, stream_id: int, error_code: int) -> None:
        self._note("reset", stream_id, error_code)

    def on_window(self, stream_id: int) -> None:
        self._note("window", stream_id)

    def on_ping(self) -> None:
        self._note("ping")

    def on_ping_ack(self, payload: bytes) -> None:
        self._note("ping_ack", payload)

    def on_goaway(self, last_stream_id: int, error_code: int, debug: bytes) -> None:
        self._note("goaway", last_stream_id, error_code, debug)

    def on_closed(self, error_code: int, reason: str) -> None:
        self._note("closed", error_code, reason)

    def feed(self, *parts: bytes) -> list[Frame]:
        """Give bytes, parse all, verify the invariants; returns the frames that came out."""
        self.connection.receive(b"".join(parts))
        while self.connection.advance():
            pass
        self.connection.check()
        return self.output()

    def output(self) -> list[Frame]:
        return FrameFactory().parse(self.connection.data_to_send())

    def take(self) -> list[tuple[Any, ...]]:
        """The events since the last call."""
        events, self.events[:] = list(self.events), []
        return events

    @property
    def close_code(self) -> int | None:
        """The code of the connection error found, if any."""
        codes = [event[1] for event in self.events if event[0] == "closed"]
        assert len(codes) <= 1
        assert not codes or self.connection.closed
        return codes[0] if codes else None


Maker = Callable[..., Endpoint]


@pytest.fixture(scope="session")
def frames() -> FrameFactory:
    return FrameFactory()


@pytest.fixture(scope="session")
def make_server() -> Maker:
    """A server that has exchanged settings with its client (``peer``: the client's)."""

    def make(
        settings: Settings = DEFAULT_SETTINGS, *, peer: Sequence[tuple[int, int]] = (), **options: Any
    ) -> Endpoint:
        factory = FrameFactory()
        endpoint = Endpoint(Role.SERVER, settings, **options)
        endpoint.connection.initiate()
        endpoint.feed(PREFACE, factory.settings(*peer), factory.settings_ack())
        return endpoint

    return make


@pytest.fixture(scope="session")
def make_client() -> Maker:
    """A client that has exchanged settings with its server (``peer``: the server's)."""

    def make(
        settings: Settings = DEFAULT_SETTINGS, *, peer: Sequence[tuple[int, int]] = (), **options: Any
    ) -> Endpoint:
        factory = FrameFactory()
        endpoint = Endpoint(Role.CLIENT, settings, **options)
        endpoint.connection.initiate()
        endpoint.feed(factory.settings(*peer), factory.settings_ack())
        return endpoint

    return make


@pytest.fixture(scope="session")
def make_endpoint() -> Maker:
    """A connection before anything was exchanged."""
    return Endpoint
