"""One HTTP/2 connection (RFC 9113), either role: bytes in, calls of Events, bytes out.

    connection.receive(bytes from the peer)
    while connection.advance(): ...        # parses, calling Events
    send(connection.data_to_send())

No I/O, no clock, no task, and on the hot path no object per frame: a frame is its type, flags,
stream id and payload, as arguments.  This module has the frame loop and the frames of a message (HEADERS,
CONTINUATION, DATA); :mod:`~rusd.http2.control` the others, :mod:`~rusd.http2.sending` what
goes out.

Whatever the peer sends, nothing is raised to the caller.  A connection error (§5.4.1)
queues GOAWAY, sets ``closed`` and calls ``on_closed``; a stream error (§5.4.2) queues RST_STREAM and,
if the stream was announced before, calls ``on_reset``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NoReturn

from rusd.http2 import frames
from rusd.http2.control import ControlFrames
from rusd.http2.errors import ConnectionViolationError, ErrorCode, MalformedMessageError
from rusd.http2.events import DEFAULT_LIMITS, Events, Headers, Limits, Role
from rusd.http2.fields import check_request, check_response, check_trailers
from rusd.http2.floods import OVERSIZED_WEIGHT, no_time
from rusd.http2.sending import DEFAULT_LOW_WATER_MARK
from rusd.http2.settings import DEFAULT_SETTINGS, Settings, encode_settings
from rusd.http2.streams import NEXT, Input, State, Stream
from rusd.http2.windows import DEFAULT_WINDOW

# Module-level names for what is looked up on each frame.
_unpack_head: Final = frames.HEAD.unpack_from
_HEAD_LENGTH: Final = frames.HEAD_LENGTH
_RECEIVE_HEADERS: Final = int(Input.RECEIVE_HEADERS)
_RECEIVE_DATA: Final = int(Input.RECEIVE_DATA)
_CLOSED: Final = State.CLOSED
_OPEN: Final = State.OPEN
_HALF_CLOSED_REMOTE: Final = State.HALF_CLOSED_REMOTE

DEFAULT_CONNECTION_WINDOW: Final = 1 << 20
_DEBUG_LIMIT: Final = 256


class Connection(ControlFrames):
    """A connection and its streams.

    ``connection_window`` (bytes, at least 65,535) is what all streams together may have unconsumed.
    ``low_water_mark`` (bytes) is for ``on_window``.  ``output_limit``, if given, bounds the DATA bytes of
    one ``data_to_send``; the rest stays queued in its stream until the next call.  ``now`` (seconds) is
    asked only when one of ``limits`` is reached that hold for a time; see :mod:`rusd.http2.floods`.
    """

    def __init__(
        self,
        role: Role,
        events: Events,
        settings: Settings = DEFAULT_SETTINGS,
        connection_window: int = DEFAULT_CONNECTION_WINDOW,
        *,
        low_water_mark: int = DEFAULT_LOW_WATER_MARK,
        output_limit: int | None = None,
        limits: Limits = DEFAULT_LIMITS,
        now: Callable[[], float] = no_time,
    ) -> None:
        if connection_window < DEFAULT_WINDOW:
            raise ValueError("the connection's window can't be less than 65,535 bytes (RFC 9113 §6.9.2)")
        super().__init__(
            role,
            events,
            settings,
            limits=limits,
            low_water_mark=low_water_mark,
            output_limit=output_limit,
            now=now,
        )
        self._connection_window = connection_window
        self._chunks: list[bytes] = []  # received, not parsed
        self._available = 0  # bytes in them
        self._needed = 1  # parsing makes no progress with less
        self._preface_expected = role is Role.SERVER
        self._settings_expected = True  # the first frame must be SETTINGS (§3.4)
        self._block_stream = 0  # the stream whose header block is unfinished, or 0
        self._block_end_stream = 0
        self._block_parts: list[bytes] = []
        self._block_size = 0
        self._progress = 1  # turns in which something was parsed, for `unfinished`

    def initiate(self) -> None:
        """Queue what a connection begins with (§3.4).  Call once, first."""
        if self._client:
            self._out.append(frames.PREFACE)
        payload = encode_settings(self._settings, client=self._client)
        self._out.append(frames.frame(frames.SETTINGS, 0, 0, payload))
        self._settings_unacknowledged += 1
        if self._connection_window > DEFAULT_WINDOW:
            self._out.append(frames.window_update(0, self._connection_window - DEFAULT_WINDOW))
        self._flow.resize_receive_window(self._connection_window)

    @property
    def opened(self) -> bool:
        """Whether the peer's first SETTINGS frame has arrived."""
        return not self._settings_expected

    @property
    def unfinished(self) -> int:
        """A number for the frame or header block of which only a part has arrived; 0 if there is none.

        It stays the same until that one is complete, so that the owner can see how long that takes.
        """
        if self._block_stream:
            return -self._block_stream
        return self._progress if self._available else 0

    def receive(self, data: bytes) -> None:
        """Take bytes from the peer; :meth:`advance` parses them."""
        if data and not self.closed:
            self._chunks.append(data)
            self._available += len(data)

    def advance(self, budget: int = 256) -> bool:
        """Parse up to ``budget`` frames; returns whether complete frames are left.

        What an Events method raises passes through; the frame it was called for counts as parsed.
        """
        if self._available < self._needed:
            return False
        chunks = self._chunks
        buffer = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        position = 0
        end = len(buffer)
        max_frame_size = self._settings.max_frame_size
        handlers = _HANDLERS
        try:
            if self._preface_expected:
                position = self._parse_preface(buffer)
            while budget and end - position >= _HEAD_LENGTH and not self._preface_expected:
                word, flags, stream_id = _unpack_head(buffer, position)
                start = position + _HEAD_LENGTH
                stop = start + (word >> 8)
                if stop - start > max_frame_size:  # refused by its head, before it is buffered
                    _refuse_large_frame()
                if stop > end:
                    break
                position = stop
                budget -= 1
                kind = word & 0xFF
                stream_id &= 0x7FFF_FFFF
                if self._block_stream or self._settings_expected:
                    self._check_order(kind, flags, stream_id)
                if kind < len(handlers):
                    handlers[kind](self, flags, stream_id, buffer[start:stop])
                    if self.closed:
                        break
                else:  # unknown types are ignored (§4.1)
                    self._floods.count_idle(self.sent)
        except ConnectionViolationError as violation:
            self._fail(violation)
        finally:
            self._keep(buffer, position)
        return self._available >= self._needed

    def _keep(self, buffer: bytes, position: int) -> None:
        """Keep what is not parsed, and work out how much there must be to go on."""
        if self.closed:
            return
        left = len(buffer) - position
        if position:
            self._progress += 1
        self._available = left
        self._chunks = [buffer[position:]] if left else []
        if self._preface_expected:
            self._needed = left + 1  # each octet of the preface is judged as it comes
            return
        self._needed = _HEAD_LENGTH
        if left >= _HEAD_LENGTH:
            length = _unpack_head(buffer, position)[0] >> 8
            if length <= self._settings.max_frame_size:  # else the next turn refuses it
                self._needed = _HEAD_LENGTH + length

    def _parse_preface(self, buffer: bytes) -> int:
        """Returns where frames begin; 0 if the preface is not complete."""
        preface = frames.PREFACE
        if buffer.startswith(preface):
            self._preface_expected = False
            return len(preface)
        if not preface.startswith(buffer):
            raise ConnectionViolationError(ErrorCode.PROTOCOL_ERROR, "no HTTP/2 preface")
        return 0

    def _check_order(self, kind: int, flags: int, stream_id: int) -> None:
        """Two places where not every frame may stand (§3.4, §6.10)."""
        if self._block_stream:
            if kind != frames.CONTINUATION or stream_id != self._block_stream:
                raise ConnectionViolationError(ErrorCode.PROTOCOL_ERROR, "header block interrupted")
        elif kind != frames.SETTINGS or flags & frames.FLAG_ACK:
            raise ConnectionViolationError(ErrorCode.PROTOCOL_ERROR, "the first frame is not SETTINGS")
        self._settings_expected = False

    def _fail(self, violation: ConnectionViolationError) -> None:
        self.goaway(violation.code, violation.reason.encode()[:_DEBUG_LIMIT])
        self._events.on_closed(violation.code, violation.reason)

    def _close(self) -> None:
        super()._close()
        self._chunks = []
        self._available = 0
        self._needed = 1
        self._block_parts = []

    # -- header blocks ----------------------------------------------------------

    def _on_headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        if flags & (frames.FLAG_PADDED | frames.FLAG_PRIORITY):
            if flags & frames.FLAG_PADDED:
                payload = frames.strip_padding(payload)
            if flags & frames.FLAG_PRIORITY:
                payload = frames.strip_priority(payload)
        if flags & frames.FLAG_END_HEADERS:
            self._on_header_block(stream_id, payload, flags & frames.FLAG_END_STREAM)
            return
        if not stream_id:
            raise ConnectionViolationError(ErrorCode.PROTOCOL_ERROR, "HEADERS on stream 0")
        self._block_stream = stream_id
        self._block_end_stream = flags & frames.FLAG_END_STREAM
        self._block_parts = [payload]
        self._block_size = len(payload)

    def _on_continuation(self, flags: int, stream_id: int, payload: bytes) -> None:
        if not self._block_stream:
            raise ConnectionViolationError(ErrorCode.PROTOCOL_ERROR, "CONTINUATION without HEADERS")
        parts = self._block_parts
        parts.append(payload)
        self._block_size += len(payload)
        # Coding makes fields smaller, so a block is no larger than its list.  One that is a little too
        # large is still read, and costs its stream only; see also the decoder.
        if len(parts) > self._limits.continuations + 1 or self._block_size > 2 * self._decoder.max_list_size:
            raise ConnectionViolationError(ErrorCode.ENHANCE_YOUR_CALM, "header block too large")
        if flags & frames.FLAG_END_HEADERS:
            self._block_stream = 0
            self._block_parts = []
            self._on_header_block(stream_id, b"".join(parts), self._block_end_stream)

    def _on_header_block(self, stream_id: int, block: bytes, end: int) -> None:
        # Decoded whatever becomes of it: the dynamic table must stay in step (RFC 7541 §2.2).
        headers = self._decoder.decode(block)
        stream = self._streams.get(stream_id)
        if stream is not None:
            self._on_more_headers(stream, headers, end)
        elif self._client or stream_id <= self._last_peer_stream_id or not stream_id & 1:
            self._on_late_headers(stream_id)
        else:
            self._on_request(stream_id, headers, end)

    def _on_request(self, stream_id: int, headers: Headers, end: int) -> None:
        """A new stream (§5.1.1)."""
        self._last_peer_stream_id = stream_id
        if stream_id > self._highest_accepted:  # it crossed our GOAWAY; the client tries elsewhere
            self._recent.reset_here.append(stream_id)
            self._floods.count_idle(self.sent)
            return
        limit = self._settings.max_concurrent_streams
        if limit is not None and len(self._streams) >= limit:
            # Until our settings are acknowledged, the client can't know better.
            self._refuse(stream_id, ErrorCode.REFUSED_STREAM, blame=not self._settings_unacknowledged)
            return
        decoder = self._decoder
        if decoder.oversized:
            self._floods.count_spoilt(OVERSIZED_WEIGHT - 1)
        if decoder.unsound or decoder.oversized:
            self._refuse(
                stream_id, ErrorCode.FRAME_SIZE_ERROR if decoder.oversized else ErrorCode.PROTOCOL_ERROR
            )
            return
        try:
            announced = check_request(headers)
            if end and announced > 0:
                raise MalformedMessageError("content-length without content")
        except MalformedMessageError:
            self._refuse(stream_id, ErrorCode.PROTOCOL_ERROR)
            return
        stream = Stream(
            stream_id,
            _HALF_CLOSED_REMOTE if end else _OPEN,  # as NEXT[IDLE] has it
            self.peer_settings.initial_window_size,
            self._initial_receive_window,
        )
        stream.got_headers = True
        stream.announced_length = announced
        self._streams[stream_id] = stream
        self._events.on_headers(stream_id, headers, end == 1)

    def _on_more_headers(self, stream: Stream, headers: Headers, end: int) -> None:
        """Trailers, or the response to our request."""
        after = NEXT[stream.state][_RECEIVE_HEADERS + end]
        if after is None:
            self._stream_error(stream, ErrorCode.STREAM_CLOSED)
            return
        decoder = self._decoder
        if decoder.oversized:
            self._stream_error(stream, ErrorCode.FRAME_SIZE_ERROR)
            return
        try:
            if decoder.unsound:
                raise MalformedMessageError("malformed field")
            self._check_more_headers(stream, headers, end)
        except MalformedMessageError:
            self._stream_error(stream, ErrorCode.PROTOCOL_ERROR)
            return
        stream.state = after
        if after is _CLOSED:
            self._finish(stream)
        self._events.on_headers(stream.id, headers, end == 1)

    def _check_more_headers(self, stream: Stream, headers: Headers, end: int) -> None:
        if stream.got_headers:
            check_trailers(headers)
            if not end:
                raise MalformedMessageError("trailers without END_STREAM")
            if stream.announced_length > 0:
                raise MalformedMessageError("less content than its content-length")
            return
        informational, announced = check_response(headers)
        if not informational:
            stream.got_headers = True
            # Without content, the length may be that of what a GET would have given.
            stream.announced_length = -1 if end else announced
        elif end:
            raise MalformedMessageError("an informational response can't be the last")

    # -- content -------------------------------------------------------------------

    def _on_data(self, flags: int, stream_id: int, payload: bytes) -> None:
        size = len(payload)  # padding counts for flow control (§6.1)
        flow = self._flow
        if size > flow.receive_window:
            raise ConnectionViolationError(ErrorCode.FLOW_CONTROL_ERROR, "connection window exceeded")
        flow.receive_window -= size
        flow.delivered += size
        stream = self._streams.get(stream_id)
        if stream is None:
            self._on_late_data(stream_id, size)
            return
        if flags & frames.FLAG_PADDED:
            payload = frames.strip_padding(payload)
        length = len(payload)
        end = flags & frames.FLAG_END_STREAM
        after = NEXT[stream.state][_RECEIVE_DATA + end]
        if after is None or size > stream.receive_window or not stream.got_headers:
            self._give_back(size)
            self._stream_error(stream, _data_fault(stream, after))
            return
        stream.receive_window -= size
        stream.delivered += size
        if stream.announced_length >= 0:
            stream.announced_length -= length
            if stream.announced_length < 0 or (end and stream.announced_length):
                self._stream_error(stream, ErrorCode.PROTOCOL_ERROR)
                return
        if size != length:
            self.acknowledge(stream_id, size - length)
        if not length and not end:
            self._floods.count_idle(self.sent)
        stream.state = after
        if after is _CLOSED:
            self._finish(stream)
        self._events.on_data(stream_id, payload, end == 1)


def _refuse_large_frame() -> NoReturn:
    raise ConnectionViolationError(ErrorCode.FRAME_SIZE_ERROR, "frame too large")


def _data_fault(stream: Stream, after: State | None) -> ErrorCode:
    """Why a stream may not get this DATA."""
    if after is None:
        return ErrorCode.STREAM_CLOSED
    return ErrorCode.FLOW_CONTROL_ERROR if stream.got_headers else ErrorCode.PROTOCOL_ERROR


# Plain functions, not bound methods: those would tie each connection into a reference cycle.
_HANDLERS: Final[tuple[Callable[[Connection, int, int, bytes], None], ...]] = (
    Connection._on_data,
    Connection._on_headers,
    Connection._on_priority,
    Connection._on_rst_stream,
    Connection._on_settings,
    Connection._on_push_promise,
    Connection._on_ping,
    Connection._on_goaway,
    Connection._on_window_update,
    Connection._on_continuation,
)
