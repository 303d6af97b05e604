"""A server's engine with a client's HTTP/2 connection at its other end, no network between."""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Callable, Sequence

import pytest
from google.protobuf.wrappers_pb2 import StringValue

from rusd.grpc import Deadlines, Gate, LongAnswer, Registry
from rusd.grpc.pings import PingPolicy
from rusd.grpc.server import ServerConnection
from rusd.grpc.server_call import ServerCall
from rusd.http2 import Connection, ErrorCode, Role, Settings

REQUEST = (
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/test.Test/Echo"),
    (b":authority", b"localhost"),
    (b"content-type", b"application/grpc"),
    (b"te", b"trailers"),
)


class Stream:
    """What the client has seen of one stream."""

    def __init__(self) -> None:
        self.headers: list[list[tuple[bytes, bytes]]] = []
        self.data = b""
        self.ended = False
        self.reset: int | None = None

    @property
    def fields(self) -> dict[bytes, bytes]:
        """All header fields, those of the trailers last."""
        return dict(field for section in self.headers for field in section)

    @property
    def status(self) -> tuple[int, str]:
        return int(self.fields[b"grpc-status"]), self.fields[b"grpc-message"].decode()

    @property
    def payloads(self) -> list[bytes]:
        found, rest = [], self.data
        while rest:
            _, length = struct.unpack_from(">BI", rest)
            found.append(rest[5 : 5 + length])
            rest = rest[5 + length :]
        return found

    @property
    def values(self) -> list[str]:
        return [StringValue.FromString(payload).value for payload in self.payloads]


class Pair:
    """An engine, a client, and the host between them, which is this."""

    def __init__(self, registry: Registry, max_receive_bytes: int, client_settings: Settings) -> None:
        self.now = 100.0
        self.deadlines = Deadlines()
        self.server = ServerConnection(
            registry,
            self,
            self.deadlines,
            peer="10.0.0.1:4711",
            max_receive_bytes=max_receive_bytes,
            ping_policy=PingPolicy(5.0),
            gate=Gate(lambda: self.has_leader),
        )
        self.has_leader = True
        self.client = Connection(Role.CLIENT, self, client_settings)
        self.streams: defaultdict[int, Stream] = defaultdict(Stream)
        self.started: list[ServerCall] = []
        self.long: list[tuple[ServerCall, LongAnswer]] = []
        self.crashes: list[Exception] = []
        self.marks = 0
        self.growths = 0
        self.last_growth: int | None = None
        self.goaways: list[tuple[int, int]] = []
        self.goodbyes: list[bytes] = []
        self.acknowledging = True
        self.client.initiate()
        self.server.http2.initiate()
        self.exchange()

    # the client's side

    def request(
        self,
        body: bytes | None = None,
        *,
        end: bool = True,
        drop: Sequence[bytes] = (),
        **fields: bytes,
    ) -> int:
        """Open a stream; keyword names stand for headers, ``path`` and ``method`` for the pseudo ones."""
        names = {"path": b":path", "method": b":method"}
        given = {names.get(name, name.replace("_", "-").encode()): value for name, value in fields.items()}
        headers = [(name, given.pop(name, value)) for name, value in REQUEST if name not in drop]
        headers += given.items()
        stream_id = self.client.open_stream(headers, end_stream=end and body is None)
        if body is not None:
            self.client.send_data(stream_id, body, end_stream=end)
        self.exchange()
        return stream_id

    def send(self, stream_id: int, data: bytes, *, end: bool = False) -> None:
        self.client.send_data(stream_id, data, end_stream=end)
        self.exchange()

    def exchange(self) -> None:
        """Carry bytes both ways until there are none."""
        while True:
            up, down = self.client.data_to_send(), self.server.http2.data_to_send()
            if not up and not down:
                break
            self.server.begin_turn()
            self.server.http2.receive(up)
            while self.server.http2.advance():
                pass
            self.server.end_turn()
            self.client.receive(down)
            while self.client.advance():
                pass
            self.server.check()

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.deadlines.expire(self.now)
        self.exchange()

    def on_headers(self, stream_id: int, headers: list[tuple[bytes, bytes]], end_stream: bool) -> None:
        stream = self.streams[stream_id]
        stream.headers.append(headers)
        stream.ended |= end_stream

    def on_data(self, stream_id: int, data: bytes, end_stream: bool) -> None:
        stream = self.streams[stream_id]
        stream.data += data
        stream.ended |= end_stream
        if self.acknowledging:
            self.client.acknowledge(stream_id, len(data))

    def on_reset(self, stream_id: int, error_code: int) -> None:
        self.streams[stream_id].reset = error_code

    def on_window(self, stream_id: int) -> None:
        pass

    def on_ping(self) -> None:
        pass

    def on_ping_ack(self, payload: bytes) -> None:
        pass

    def on_goaway(self, last_stream_id: int, error_code: int, debug: bytes) -> None:
        self.goaways.append((last_stream_id, error_code))
        self.goodbyes.append(debug)

    def on_closed(self, error_code: int, reason: str) -> None:
        raise AssertionError(f"the server broke the protocol: {reason}")

    # the host's side

    def monotonic(self) -> float:
        return self.now

    def start(self, call: ServerCall) -> None:
        self.started.append(call)

    def start_long(self, call: ServerCall, answer: LongAnswer) -> None:
        self.long.append((call, answer))

    def wrote(self) -> None:
        self.marks += 1

    def grew(self) -> None:
        self.growths += 1
        self.server.held.weigh()
        if self.growths == self.last_growth:  # the server as a whole holds too much
            self.end(ErrorCode.ENHANCE_YOUR_CALM, "too much is held")

    def end(self, code: ErrorCode, reason: str) -> None:
        self.server.http2.goaway(code, reason.encode())
        self.server.lost()

    def crashed(self, call: ServerCall, error: Exception) -> None:
        self.crashes.append(error)


def message(value: str | bytes, flag: int = 0) -> bytes:
    """A message on the wire: a StringValue, or raw bytes."""
    payload = StringValue(value=value).SerializeToString() if isinstance(value, str) else value
    return struct.pack(">BI", flag, len(payload)) + payload


@pytest.fixture
def registry() -> Registry:
    """``/test.Test/Echo`` answers with its request; ``Stream`` and ``Down`` are streams."""

    async def never(*_: object) -> None:
        raise AssertionError("this host starts nothing")

    registry = Registry()
    registry.inline("/test.Test/Echo", StringValue, lambda _, request: request.SerializeToString())
    registry.task("/test.Test/Task", StringValue, never)  # type: ignore[arg-type]
    registry.stream("/test.Test/Stream", StringValue, never)
    registry.stream("/test.Test/Down", StringValue, never, single_request=True)
    return registry


@pytest.fixture
def make_pair(registry: Registry) -> Callable[..., Pair]:
    def make(max_receive_bytes: int = 2097152, client_settings: Settings | None = None) -> Pair:
        return Pair(registry, max_receive_bytes, client_settings or Settings())

    return make


@pytest.fixture
def pair(make_pair: Callable[..., Pair]) -> Pair:
    return make_pair()


@pytest.fixture(name="message")
def message_fixture() -> Callable[..., bytes]:
    return message
