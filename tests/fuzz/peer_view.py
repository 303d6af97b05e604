"""What the peer of an HTTP/2 connection sees, and whether the connection keeps to the peer's rules.

A reader of its own, from RFC 9113: it shares no code with what it judges.  Header blocks are decoded by the
``hpack`` library.  Feed it everything that goes to the connection (:meth:`PeerView.sent`) and everything
that comes out (:meth:`PeerView.received`); it raises :class:`AssertionError` for

* frames beyond the peer's SETTINGS_MAX_FRAME_SIZE, DATA beyond its windows, header blocks beyond its table;
* frames on a stream after END_STREAM or RST_STREAM, a broken header block, anything after a fatal GOAWAY;
* pings and settings left unanswered, and windows opened further than was ever configured.

The peer's settings count from our acknowledgement on (section 6.5.3), which makes all of that exact.
"""

from __future__ import annotations

import struct
from collections import defaultdict, deque
from collections.abc import Mapping

import hpack

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    range(10)
)
END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8

_HEADER_TABLE_SIZE, _INITIAL_WINDOW_SIZE, _MAX_FRAME_SIZE = 1, 4, 5

Fields = list[tuple[bytes, bytes]]


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """A frame, however wrong."""
    return (
        len(payload).to_bytes(3, "big") + struct.pack(">BBI", kind & 0xFF, flags & 0xFF, stream_id) + payload
    )


class Split:
    """Cuts a byte stream into frames."""

    def __init__(self, preface: bool) -> None:
        self._buffer = bytearray()
        self._preface = preface

    def feed(self, data: bytes) -> list[tuple[int, int, int, bytes]]:
        """The frames (type, flags, stream id, payload) that are complete now."""
        buffer = self._buffer
        buffer += data
        if self._preface:
            if len(buffer) < len(PREFACE):
                return []
            del buffer[: len(PREFACE)]
            self._preface = False
        found = []
        at = 0
        while len(buffer) - at >= 9:
            length = int.from_bytes(buffer[at : at + 3], "big")
            if len(buffer) - at < 9 + length:
                break
            kind, flags, stream_id = struct.unpack_from(">BBI", buffer, at + 3)
            found.append((kind, flags, stream_id & 0x7FFF_FFFF, bytes(buffer[at + 9 : at + 9 + length])))
            at += 9 + length
        del buffer[:at]
        return found

    @property
    def rest(self) -> int:
        return len(self._buffer)


class SeenStream:
    """One stream as far as the connection under test has sent on it."""

    def __init__(self) -> None:
        self.sections: list[Fields] = []
        self.data = b""
        self.ended = False
        self.reset: int | None = None


class PeerView:
    """Watches one connection.  ``client`` says that the connection under test is the client.

    ``window`` and ``stream_window`` are the largest receive windows it may ever announce.
    """

    def __init__(self, *, client: bool, window: int, stream_window: int) -> None:
        self._client = client
        self._in = Split(preface=not client)
        self._out = Split(preface=client)
        self._window_limit = window
        self._stream_window_limit = max(65_535, stream_window)
        self._decoder = hpack.Decoder()
        self._settings: deque[list[tuple[int, int]]] = deque()  # sent, and not acknowledged yet
        self._pings: deque[bytes] = deque()
        self._max_frame = 16_384
        self._initial_window = 65_535
        self._window = 65_535
        self._credit: defaultdict[int, int] = defaultdict(int)  # stream → WINDOW_UPDATEs less DATA
        self._receivable = 65_535
        self._receivable_of: defaultdict[int, int] = defaultdict(lambda: self._stream_window_limit)
        self._block: tuple[int, int, bytes] | None = None  # unfinished: stream, flags, fragment
        self._turn = 0
        self._reset_in: dict[int, int] = {}  # stream → the turn in which the peer reset it
        self._opened: set[int] = set()  # streams that the peer opened
        self._last_opened = 0
        self.streams: defaultdict[int, SeenStream] = defaultdict(SeenStream)
        self.goaway: int | None = None  # the code of the last one
        self.goaways = 0

    # -- what the peer sends ------------------------------------------------------------------

    def sent(self, data: bytes) -> None:
        """``data`` goes to the connection.  Say so before asking for its output."""
        for kind, flags, stream_id, payload in self._in.feed(data):
            if kind == SETTINGS and not flags & ACK and not len(payload) % 6:
                self._settings.append(list(struct.iter_unpack(">HI", payload)))
            elif kind == PING and not flags & ACK and len(payload) == 8:
                self._pings.append(payload)
            elif kind == WINDOW_UPDATE and len(payload) == 4:
                increment = int.from_bytes(payload, "big") & 0x7FFF_FFFF
                if stream_id:
                    self._credit[stream_id] += increment
                else:
                    self._window += increment
            elif kind == DATA:
                self._receivable -= len(payload)
                self._receivable_of[stream_id] -= len(payload)
            elif kind == RST_STREAM:
                self._reset_in.setdefault(stream_id, self._turn)
            elif kind == HEADERS:
                self._opened.add(stream_id)

    @property
    def unfinished(self) -> bool:
        """Whether what was sent stops inside a frame."""
        return self._in.rest > 0

    # -- what the connection sends --------------------------------------------------------------

    def received(self, data: bytes) -> None:
        """``data`` is all that the connection had to send; raises :class:`AssertionError`."""
        for kind, flags, stream_id, payload in self._out.feed(data):
            assert self.goaway in (None, 0), "a frame after a fatal GOAWAY"
            assert len(payload) <= self._max_frame, "a frame larger than the peer takes"
            assert (kind == CONTINUATION) == (self._block is not None), "a broken header block"
            self._frame(kind, flags, stream_id, payload)
        assert not self._out.rest, "half a frame"
        self._turn += 1

    def settled(self, queued: Mapping[int, int] | None = None) -> None:
        """The connection is open, has parsed everything, and has nothing more to send.

        So nothing may be left to answer, and what is ``queued`` (stream → bytes) must lack a window.
        """
        assert not self._settings, "SETTINGS that were not acknowledged"
        assert not self._pings, "a PING that was not answered"
        assert self._block is None
        for stream_id, length in (queued or {}).items():
            window = min(self._window, self._initial_window + self._credit[stream_id])
            assert not length or window <= 0, "held back although there is a window"

    def _frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        match kind:
            case 0x0:
                self._data(flags, stream_id, payload)
            case 0x1:
                self._begins_block(flags, stream_id)
                self._fragment(flags, stream_id, payload)
            case 0x9:
                assert self._block is not None and self._block[0] == stream_id, "another stream's block"
                self._fragment(flags, stream_id, payload)
            case 0x3:
                assert len(payload) == 4 and stream_id
                stream = self.streams[stream_id]
                assert stream.reset is None, "reset twice"
                stream.reset = int.from_bytes(payload, "big")
            case 0x4:
                assert not stream_id
                if flags & ACK:
                    assert not payload and self._settings, "an acknowledgement of nothing"
                    self._take_over(self._settings.popleft())
            case 0x6:
                assert len(payload) == 8 and not stream_id
                if flags & ACK:
                    assert self._pings and payload == self._pings.popleft(), "another ping's answer"
            case 0x7:
                assert len(payload) >= 8 and not stream_id
                self.goaway = int.from_bytes(payload[4:8], "big")
                self.goaways += 1
            case 0x8:
                self._window_update(stream_id, payload)
            case _:
                raise AssertionError(f"a frame of type {kind}")

    def _may_send(self, stream_id: int) -> SeenStream:
        stream = self.streams[stream_id]
        assert stream_id and not stream.ended, "a frame after END_STREAM"
        assert stream.reset is None, "a frame after RST_STREAM"
        assert self._reset_in.get(stream_id, self._turn) == self._turn, (
            "a frame on a stream the peer has reset"
        )
        return stream

    def _data(self, flags: int, stream_id: int, payload: bytes) -> None:
        stream = self._may_send(stream_id)
        assert stream.sections, "DATA before HEADERS"
        assert not flags & PADDED
        size = len(payload)
        if size:
            assert size <= self._window, "more than the connection's window"
            assert size <= self._initial_window + self._credit[stream_id], "more than the stream's window"
        self._window -= size
        self._credit[stream_id] -= size
        stream.data += payload
        stream.ended = bool(flags & END_STREAM)

    def _begins_block(self, flags: int, stream_id: int) -> None:
        stream = self._may_send(stream_id)
        if not stream.sections:
            if self._client:
                assert stream_id & 1 and stream_id > self._last_opened, "a stream opened out of order"
                self._last_opened = stream_id
            else:
                assert stream_id in self._opened, "an answer to a stream that nobody opened"
        stream.ended = bool(flags & END_STREAM)

    def _fragment(self, flags: int, stream_id: int, payload: bytes) -> None:
        before = self._block[2] if self._block else b""
        if not flags & END_HEADERS:
            self._block = (stream_id, flags, before + payload)
            return
        self._block = None
        fields = self._decoder.decode(before + payload, raw=True)
        self.streams[stream_id].sections.append([(bytes(name), bytes(value)) for name, value in fields])

    def _take_over(self, settings: list[tuple[int, int]]) -> None:
        for identifier, value in settings:
            if identifier == _HEADER_TABLE_SIZE:
                self._decoder.max_allowed_table_size = value
            elif identifier == _INITIAL_WINDOW_SIZE:
                self._initial_window = value
            elif identifier == _MAX_FRAME_SIZE:
                self._max_frame = value

    def _window_update(self, stream_id: int, payload: bytes) -> None:
        assert len(payload) == 4
        increment = int.from_bytes(payload, "big")
        assert 0 < increment <= 0x7FFF_FFFF
        if not stream_id:
            self._receivable += increment
            assert self._receivable <= self._window_limit, "the connection's window grew"
            return
        assert self.streams[stream_id].reset is None, "window for a stream that was reset"
        self._receivable_of[stream_id] += increment
        assert self._receivable_of[stream_id] <= self._stream_window_limit, "a stream's window grew"
