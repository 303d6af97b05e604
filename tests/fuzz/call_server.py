"""The server engine of :mod:`tests.fuzz.calls`: methods of every kind, handlers, a client of frames."""

from __future__ import annotations

import gzip
import struct
from typing import Any, Final

from google.protobuf.wrappers_pb2 import StringValue

from rusd.grpc import (
    AnswerParts,
    Call,
    Code,
    Deadlines,
    EndOfRequests,
    Gate,
    LongAnswer,
    Pending,
    Registry,
    StatusError,
)
from rusd.grpc.metadata import from_headers, to_headers
from rusd.grpc.pings import PingPolicy
from rusd.grpc.server import ServerConnection
from rusd.grpc.server_call import ServerCall, StreamCall
from rusd.http2 import Settings
from tests.fuzz.call_host import HandlerError, Host
from tests.fuzz.encoder import Encoder
from tests.fuzz.headers import is_sound
from tests.fuzz.long import pause
from tests.fuzz.peer_view import (
    END_HEADERS,
    HEADERS,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    Fields,
    PeerView,
    SeenStream,
    frame,
)
from tests.fuzz.source import Source

MAX_RECEIVE: Final = 1000
WINDOW: Final = 1 << 20

PATHS: Final = (
    b"/t.T/Echo",
    b"/t.T/Later",
    b"/t.T/Stream",
    b"/t.T/Task",
    b"/t.T/Down",
    b"/t.T/Settled",
    b"/t.T/Refuse",
    b"/t.T/Crash",
    b"/t.T/Odd",
    b"/t.T/None",
    b"/nobody/Home",
    b"/",
    b"x",
    b"//",
    b"/t.T/Long",
    b"/t.T/LaterLong",
)
LONG: Final = (b"/t.T/Long", b"/t.T/LaterLong")
UNARY: Final = (b"/t.T/Echo", b"/t.T/Later", b"/t.T/Task", b"/t.T/Settled", *LONG)
EXTRA: Final[tuple[Fields, ...]] = (
    [],
    [(b"grpc-timeout", b"10S")],
    [(b"grpc-encoding", b"gzip")],
    [(b"grpc-timeout", b"1n")],
    [(b"x-bin", b"AAEC")],
    [(b"x-bin", b"AA=="), (b"x-bin", b"####")],
    [(b"grpc-encoding", b"snappy")],
    [(b"grpc-encoding", b"identity")],
    [(b"grpc-timeout", b"0m")],
    [(b"grpc-timeout", b"99999999H")],
    [(b"host", b"a"), (b"host", b"b")],
    [(b"x", b"1"), (b"x", b"2"), (b"grpc-status", b"3")],
    [(b"content-length", b"7")],
    [(b"token", b"t"), (b"hasleader", b"true"), (b"client-api-version", b"\xff")],
    [(b"-bin", b"")],
)
CONTENT_TYPES: Final = (
    b"application/grpc",
    b"application/grpc+proto",
    b"application/grpc;x",
    b"application/grpc+",
    b"application/grpcx",
    b"text/html",
    b"",
)


class Server:
    """The engine with a registry of every kind of method, and a client that writes frames."""

    def __init__(self, source: Source) -> None:
        choices, limits = source.byte(), source.byte()
        self._source = source
        self.host = Host((1 << 40, 3000, 500)[(limits & 3) % 3])
        self.deadlines = Deadlines()
        self.pendings: list[Pending] = []
        self.later: list[tuple[Pending, LongAnswer]] = []
        self._calls: set[tuple[int, int]] = set()
        self.engine = ServerConnection(
            self._registry(),
            self.host,
            self.deadlines,
            peer="10.0.0.1:4711",
            max_receive_bytes=MAX_RECEIVE,
            settings=Settings(
                max_concurrent_streams=None if choices & 1 else 10,
                initial_window_size=65_535 if choices & 2 else 600,
            ),
            connection_window=WINDOW,
            output_limit=500 if choices & 4 else None,
            ping_policy=PingPolicy(5.0) if limits & 4 else None,
            gate=Gate(lambda: not limits & 8),
        )
        self.host.engine = self.engine
        if limits & 0x10:
            self.engine.http2.low_water_mark = 300
        self.view = PeerView(client=False, window=WINDOW, stream_window=65_535)
        self._encoder = Encoder()
        self._next_id = 1
        self.paths: dict[int, bytes] = {}
        self._expected: dict[int, bytes] = {}  # answers, if they are good
        self._turn: list[bytes] = []
        self.engine.http2.initiate()
        window = (65_535, 0, 10)[choices >> 3 & 1] if choices & 0x10 else 65_535
        self._turn += (PREFACE, frame(SETTINGS, 0, 0, struct.pack(">HI", 4, window)))

    # -- methods --------------------------------------------------------------------------------

    def _registry(self) -> Registry:
        async def never(*_: object) -> None:
            raise AssertionError("this host starts nothing")

        registry = Registry()
        registry.inline("/t.T/Echo", StringValue, self._echo)
        registry.inline("/t.T/Later", StringValue, self._later)
        registry.inline("/t.T/Settled", StringValue, self._settled)
        registry.inline("/t.T/Refuse", StringValue, self._refuse)
        registry.inline("/t.T/Crash", StringValue, self._crash)
        registry.inline("/t.T/Odd", StringValue, lambda _call, request: request.value)
        registry.inline("/t.T/None", StringValue, lambda _call, _request: None)  # type: ignore[arg-type,return-value]
        registry.inline("/t.T/Long", StringValue, self._long)
        registry.inline("/t.T/LaterLong", StringValue, self._later_long)
        registry.task("/t.T/Task", StringValue, never)  # type: ignore[arg-type]
        registry.stream("/t.T/Stream", StringValue, never)
        registry.stream("/t.T/Down", StringValue, never, single_request=True)
        return registry

    def _seen(self, call: Call) -> None:
        """Every inline handler is called once a call; metadata can always be had, and sent on."""
        assert isinstance(call, ServerCall)
        assert call.open, "a call that is over is handled"
        key = (id(self), call.stream_id)
        assert key not in self._calls, "handled twice"
        self._calls.add(key)
        metadata = call.metadata
        pairs = [(name, value) for name, value in metadata.pairs() if not name.startswith(":")]
        again = from_headers(to_headers(pairs))
        assert list(again.pairs()) == pairs, "metadata changes on the way"

    def _echo(self, call: Call, request: Any) -> bytes:
        self._seen(call)
        return self._promise(call, request.SerializeToString())

    def _promise(self, call: Call, payload: bytes) -> bytes:
        """If the call ends well, it is with this answer."""
        assert isinstance(call, ServerCall)
        self._expected[call.stream_id] = payload
        return payload

    def _later(self, call: Call, _request: Any) -> Pending:
        self._seen(call)
        pending = Pending()
        self.pendings.append(pending)
        return pending

    def _settled(self, call: Call, request: Any) -> Pending:
        self._seen(call)
        pending = Pending()
        if request.value:
            pending.settle(self._promise(call, request.SerializeToString()))
        else:
            pending.fail(StatusError(Code.NOT_FOUND, "nothing"))
        return pending

    def _long(self, call: Call, request: Any) -> LongAnswer:
        """Many times what was asked.  The first letter says how it goes, the second how large parts are."""
        self._seen(call)
        text = request.value
        payload = self._promise(call, StringValue(value=text * 30).SerializeToString())
        size = 1 + ord(text[1]) * 4 if len(text) > 1 else 100

        async def send(out: AnswerParts) -> None:
            if text.startswith("!"):
                raise StatusError(Code.OUT_OF_RANGE, text)
            await pause()
            out.begin(len(payload))
            for start in range(0, len(payload), size):
                await out.send(payload[start : start + size])
                if text.startswith("?"):
                    raise HandlerError(text)

        return LongAnswer(send)

    def _later_long(self, call: Call, request: Any) -> Pending:
        answer = self._long(call, request)
        pending = Pending()
        self.later.append((pending, answer))
        return pending

    def _refuse(self, call: Call, request: Any) -> bytes:
        self._seen(call)
        raise StatusError(Code.ABORTED, request.value, [("x-bin", b"\0\xff"), ("why", b"because")])

    def _crash(self, call: Call, request: Any) -> bytes:
        self._seen(call)
        raise HandlerError(request.value)

    # -- the client -----------------------------------------------------------------------------

    def send(self, *parts: bytes) -> None:
        self._turn += parts

    def turn(self) -> None:
        """Everything sent so far arrives in one turn."""
        data, self._turn = b"".join(self._turn), []
        engine = self.engine
        if not engine.http2.closed:
            self.view.sent(data)
        engine.begin_turn()
        engine.http2.receive(data)
        while engine.http2.advance():
            pass
        engine.end_turn()
        self.check()

    def drain(self) -> None:
        for _ in range(100):
            data = self.engine.http2.data_to_send()
            self.view.received(data)
            if not data:
                break

    def check(self) -> None:
        for sender in self.host.senders:
            sender.check()
        self.engine.check()
        self.engine.http2.check()
        self.deadlines.check()

    def open(self, end: bool) -> None:
        source = self._source
        choice = source.byte()
        path = PATHS[choice % len(PATHS)]
        content_type = (
            CONTENT_TYPES[(choice >> 4) % len(CONTENT_TYPES)] if choice & 0x80 else CONTENT_TYPES[0]
        )
        headers = [
            (b":method", b"GET" if choice == 0xFF else b"POST"),
            (b":scheme", b"http"),
            (b":path", path),
            (b"content-type", content_type),
            (b"te", b"trailers"),
        ]
        extra = source.byte()
        headers += EXTRA[extra % 16 % len(EXTRA)]
        for _ in range(extra >> 6):
            name = (b"grpc-timeout", b"y-bin", b"any", b"grpc-encoding")[extra >> 4 & 3]
            headers.append((name, source.chunk()))
        stream_id, self._next_id = self._next_id, self._next_id + 2
        self.paths[stream_id] = path
        block = self._encoder.encode(headers, huffman=bool(extra & 0x20))
        self.send(frame(HEADERS, END_HEADERS | end, stream_id, block))

    def stream(self) -> int:
        return max(1, self._next_id - 2 - 2 * (self._source.byte() & 0x0F))

    def message(self) -> bytes:
        """A message, mostly a whole one."""
        source = self._source
        choice = source.byte()
        payload = source.chunk()
        match choice & 7:
            case 0 | 1:
                text = payload.decode("utf-8", "replace")
                payload = StringValue(value=text).SerializeToString()
            case 2:
                payload = gzip.compress(StringValue(value="z" * len(payload)).SerializeToString(), mtime=0)
            case 3:
                payload = gzip.compress(bytes(20_000), mtime=0)
            case 4:
                payload = gzip.compress(payload, mtime=0)[: source.byte()] + payload[:10]
            case 5:
                payload = bytes(MAX_RECEIVE + 1)
        flag = (choice & 7 in (2, 3, 4)) if choice < 0xE0 else choice & 3
        lie = (0, 1, -1, 100_000)[choice >> 3 & 3] if choice & 0x80 else 0
        return struct.pack(">BI", flag, max(0, len(payload) + lie)) + payload

    # -- the handlers' side -----------------------------------------------------------------------

    def handler_step(self) -> None:
        """Some started handler gets on."""
        source, started = self._source, self.host.started
        if not started:
            return
        call = started[-1 - source.byte() % len(started)]
        choice = source.byte()
        was_open = call.open
        if isinstance(call, StreamCall):
            self._stream_step(call, choice)
        else:
            self._task_step(call, choice)
        lost = call.cancelled and self.engine.http2.closed  # by what the handler sent
        if was_open and not call.open and not lost:
            self.host.done.add(id(call))
        self.check()

    def _task_step(self, call: ServerCall, choice: int) -> None:
        assert call.request is not None
        match choice & 3:
            case 0 | 1:
                self.engine.answer(call, call.request.SerializeToString())
            case 2:
                self.engine.fail(call, StatusError(Code.DATA_LOSS, call.request.value))  # type: ignore[attr-defined]
            case 3:
                self.engine.crash(call, HandlerError("task"))
        assert not call.open

    def _stream_step(self, call: StreamCall, choice: int) -> None:
        match choice & 7:
            case 0 | 1 | 2:
                self._take(call)
            case 3:
                call.send(b"s" * (choice >> 3) * 40)
            case 4:
                self.engine.finish(call)
            case 5:
                self.engine.fail(call, StatusError(Code.UNAVAILABLE, "gone \u2603\n"))
            case 6:
                call.on_writable(lambda: None)
                assert call.writable or call.open
            case 7:
                call.on_request = self._nudge
                self.engine.crash(call, HandlerError("stream"))

    def _nudge(self) -> None:
        """What wakes a waiting handler."""

    def _take(self, call: StreamCall) -> None:
        try:
            request = call.take()
        except EndOfRequests:
            self.engine.finish(call)
        except StatusError as error:
            self.engine.fail(call, error)
        else:
            if request is not None:
                call.send(request.SerializeToString())

    def send_parts(self, steps: int) -> None:
        """Long answers get on, in turns."""
        senders = [sender for sender in self.host.senders if not sender.over]
        for step in range(steps if senders else 0):
            senders[step % len(senders)].step()
        self.check()

    def settle(self) -> None:
        if self.later:
            pending, answer = self.later.pop(0)
            pending.settle(answer)
        if self.pendings:
            pending = self.pendings.pop(self._source.byte() % len(self.pendings))
            if self._source.flag():
                pending.settle(b"\n\1p")
            else:
                pending.fail(StatusError(Code.OUT_OF_RANGE, "too late \x00 %"))
            assert pending.on_settled is None or not self.engine.http2.closed
        self.check()

    def pass_time(self) -> None:
        self.host.now += (0.0, 0.001, 5.0, 1e9)[self._source.byte() & 3]
        self.deadlines.expire(self.host.now)
        self.check()

    # -- the end ----------------------------------------------------------------------------------

    def finish(self) -> None:
        """The client resets what is left and goes; nothing may remain."""
        self.turn()
        self.send_parts(300)
        self.drain()
        self._judge()
        unfinished = self.view.unfinished  # the last frame has no end: what follows will not be heard
        for stream_id in range(1, self._next_id, 2):
            self.send(frame(RST_STREAM, 0, stream_id, struct.pack(">I", 8)))
        self.turn()
        self.drain()
        if unfinished:
            self.engine.lost()
            self.engine.http2.abandon()
        elif not self.engine.http2.closed:
            self.view.settled()
        assert self.engine.open_calls == 0, "a call outlives its stream"
        assert self.engine.http2.open_streams == 0
        goodbyes = self.engine._goodbye._unanswered is not None
        assert len(self.deadlines) == goodbyes, "a deadline outlives its call"
        for pending in self.pendings:
            assert pending.on_settled is None, "an answer is still waited for"
            pending.settle(b"")
        for pending, _ in self.later:
            assert pending.on_settled is None, "a long answer is still waited for"
        for sender in self.host.senders:
            assert not sender.call.open
            sender.step()
            assert sender.over, "an answer is sent to nobody"
        for call in self.host.started:
            assert not call.open
            ended_by_others = id(call) not in self.host.done
            assert call.cancelled == bool(self.host.cancelled[id(call)]) == ended_by_others, "nobody was told"
            self.engine.answer(call, b"late")
            self.engine.fail(call, StatusError(Code.UNKNOWN, "late"))
            if isinstance(call, StreamCall):
                call.send(b"late")
                self.engine.finish(call)
        self.engine.lost()
        assert len(self.deadlines) == 0, "a goodbye outlives its connection"
        assert not self.engine._lingering._streams, "a stream lingers after the end"
        assert not self.engine.parts._on_room, "an answer in parts after the end"
        assert self.host.weigh() == 0, "something is held for nobody"
        self.engine.http2.abandon()
        self.check()

    def _judge(self) -> None:
        for stream_id, stream in self.view.streams.items():
            for section in stream.sections:
                assert all(is_sound(*field) for field in section), "a field that is none"
            if stream.ended:
                expected = self._expected.get(stream_id)
                judge(stream, self.paths.get(stream_id, b""), expected)


def judge(stream: SeenStream, path: bytes, expected: bytes | None = None) -> None:
    """A stream that was ended by the server: is its answer gRPC's, and the ``expected`` one?"""
    first, last = dict(stream.sections[0]), stream.sections[-1]
    assert len(stream.sections) <= 2
    assert first[b":status"].isdigit()
    assert first[b"content-type"].startswith(b"application/grpc")
    [status] = [value for name, value in last if name == b"grpc-status"]
    [message] = [value for name, value in last if name == b"grpc-message"]
    assert status.isdigit() and int(status) <= 16
    assert all(0x20 <= octet < 0x7F for octet in message)
    payloads = []
    rest = stream.data
    while rest:
        if path in LONG and status != b"0":
            break  # it failed on the way; the client sees that from its status
        flag, length = struct.unpack_from(">BI", rest)
        assert len(rest) >= 5 + length, "half a message"
        payload, rest = rest[5 : 5 + length], rest[5 + length :]
        assert flag == 0 or first.get(b"grpc-encoding") == b"gzip", "compressed, and nobody was told"
        payloads.append(gzip.decompress(payload) if flag else payload)
    if path in UNARY:
        assert len(payloads) == (status == b"0"), "an OK has one message, a failure none"
        assert expected is None or not payloads or payloads[0] == expected, "another answer"
