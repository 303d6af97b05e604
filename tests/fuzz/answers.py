"""The gRPC client engine against a server that sends anything: a second mode of :mod:`tests.fuzz.calls`.

Asserted: nothing comes out of it; each call ends once, with a status; a call that has ended leaves no stream
and no deadline behind.
"""

from __future__ import annotations

import gzip
import struct
from typing import Final

from rusd.grpc import Code, Deadlines, StatusError
from rusd.grpc.client import ClientCall, ClientConnection
from rusd.http2 import Settings
from tests.fuzz.encoder import Encoder
from tests.fuzz.peer_view import (
    DATA,
    END_HEADERS,
    GOAWAY,
    HEADERS,
    RST_STREAM,
    SETTINGS,
    Fields,
    PeerView,
    frame,
)
from tests.fuzz.source import Source

MAX_RECEIVE: Final = 1000
WINDOW: Final = 65_535

HEADERS_OF_ANSWERS: Final[tuple[Fields, ...]] = (
    [(b":status", b"200"), (b"content-type", b"application/grpc")],
    [(b"grpc-status", b"0"), (b"grpc-message", b"")],
    [(b":status", b"200"), (b"content-type", b"application/grpc"), (b"grpc-encoding", b"gzip")],
    [(b"grpc-status", b"5"), (b"grpc-message", b"a%20b%zz"), (b"x-bin", b"AAEC")],
    [(b":status", b"200"), (b"content-type", b"application/grpc"), (b"grpc-status", b"0")],
    [(b":status", b"103")],
    [(b":status", b"200"), (b"content-type", b"application/grpc"), (b"grpc-encoding", b"br")],
    [(b":status", b"503"), (b"content-type", b"text/html")],
    [(b":status", b"200")],
    [(b":status", b"999"), (b"content-type", b"x\xff")],
    [(b"grpc-status", b"99")],
    [(b"grpc-status", b"\xb2")],
    [(b"x-bin", b"####"), (b"grpc-status", b"0")],
    [(b"x", b"y")],
    [(b":status", b"200"), (b"content-type", b"application/grpc"), (b"x-bin", b"!")],
)


class Client:
    """The engine, its calls, and a server that writes frames."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.now = 100.0
        self.deadlines = Deadlines()
        self.calls: list[ClientCall] = []
        self._gone = False
        self.engine = ClientConnection(
            self,
            self.deadlines,
            authority="localhost:2379",
            max_receive_bytes=MAX_RECEIVE,
            settings=Settings(),
            connection_window=WINDOW,
        )
        self._view = PeerView(client=True, window=WINDOW, stream_window=WINDOW)
        self._encoder = Encoder()
        self._turn = [frame(SETTINGS, 0, 0)]
        self.engine.http2.initiate()

    def monotonic(self) -> float:
        return self.now

    def wrote(self) -> None:
        pass

    def send(self, *parts: bytes) -> None:
        self._turn += parts

    def turn(self) -> None:
        data, self._turn = b"".join(self._turn), []
        if not self.engine.http2.closed:
            self._view.sent(data)
        self.engine.begin_turn()
        self.engine.http2.receive(data)
        while self.engine.http2.advance():
            pass
        self.engine.end_turn()
        self.engine.http2.check()
        self.deadlines.check()
        self._view.received(self.engine.http2.data_to_send())
        for call in self.calls:
            if call.ended:
                assert call.entry is None, "a deadline outlives its call"
                streams = self.engine.http2._streams
                assert self._gone or call.stream_id not in streams, "a stream without a call"

    def start(self, choice: int) -> None:
        try:
            metadata = [("x-bin", b"\0\xff"), ("te", b"dropped"), (":path", b"dropped")]
            call = self.engine.start("/t.T/Echo", metadata, 5.0 if choice & 1 else None)
        except StatusError as error:
            judge(error)
            return
        call.on_progress = self._progress
        self.calls.append(call)
        if choice & 2:
            call.send_last(b"\n\1x")
        elif choice & 4:
            call.send(bytes(70_000))

    def _progress(self) -> None:
        """What wakes who waits for an answer."""

    def pick(self) -> ClientCall | None:
        return self.calls[-1 - self._source.byte() % len(self.calls)] if self.calls else None

    def take(self, call: ClientCall) -> None:
        try:
            payload = call.take()
        except StatusError as error:
            judge(error)
            assert call.ended
        else:
            assert payload is None or len(payload) <= MAX_RECEIVE

    def answer(self, op: int) -> None:
        source, stream_id = self._source, 1 + 2 * (self._source.byte() & 7)
        end = op >> 4 & 1
        match op & 3:
            case 0:
                choice = source.byte()
                fields = HEADERS_OF_ANSWERS[(choice & 0x0F) % len(HEADERS_OF_ANSWERS)]
                if choice & 0x80:
                    name = source.pick((b"grpc-status", b"grpc-message", b"z-bin"))
                    fields = [*fields, (name, source.chunk())]
                self.send(frame(HEADERS, END_HEADERS | end, stream_id, self._encoder.encode(fields)))
            case 1:
                payload = source.chunk()
                if op & 0x20:
                    payload = gzip.compress(payload, mtime=0)
                message = struct.pack(">BI", op >> 5 & 1, len(payload) + (op >> 7)) + payload
                self.send(frame(DATA, end, stream_id, message))
            case 2:
                self.send(frame(DATA, end, stream_id, source.chunk()))
            case 3:
                self.send(frame(RST_STREAM, 0, stream_id, struct.pack(">I", source.byte())))

    def step(self, op: int) -> None:
        match op & 0x0F:
            case 0 | 1:
                self.turn()
                self.start(op >> 4)
            case 2 | 3 | 4 | 5 | 6 | 7:
                self.answer(op)
            case 8 | 9:
                self.turn()
                if (call := self.pick()) is not None:
                    self.take(call)
            case 10:
                if (call := self.pick()) is not None:
                    (call.cancel, call.end)[op >> 4 & 1]()
            case 11:
                self.turn()
                self.now += op >> 4
                self.deadlines.expire(self.now)
            case 12:
                last = struct.pack(">II", 1 + 2 * (op >> 4 & 3), op >> 6)
                self.send(frame(GOAWAY, 0, 0, last))
            case 13:
                if (call := self.pick()) is not None and not call._half_closed:
                    call.send(b"more")
            case 14:
                self.send(self._source.chunk())
            case 15:
                self.turn()

    def finish(self) -> None:
        self.turn()
        self._gone = True
        self.engine.lost()
        self.turn()
        assert self.engine.open_calls == 0
        assert len(self.deadlines) == 0
        for call in self.calls:
            assert call.ended
            if call.error is not None:
                judge(call.error)
            for _ in range(3):
                self.take(call)
            call.cancel()
            call.send(b"late")
            call.end()


def judge(error: StatusError) -> None:
    """An error that callers can be told."""
    assert error.code in Code
    assert error.code is not Code.OK
    str(error).encode()


def run_client(source: Source) -> None:
    """Carry out the instructions that are left in ``source``."""
    client = Client(source)
    client.start(0)
    steps = 0
    while source.more and steps < 300:
        steps += 1
        client.step(source.byte())
    client.finish()
