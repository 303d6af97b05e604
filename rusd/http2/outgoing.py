"""What goes out: frames in a list, content that waits for windows, streams that come to their end.

Frames are collected in a list that ``data_to_send`` joins.  DATA that the windows don't
allow waits in its stream, trailers behind it; streams waiting for the connection's window take
turns, one frame each.  What a caller may ask for is :mod:`rusd.http2.sending`, on top of this.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from rusd.http2 import frames
from rusd.http2.errors import StreamStateError
from rusd.http2.events import Events, Limits, Role
from rusd.http2.floods import Floods, no_time
from rusd.http2.hpack import DEFAULT_TABLE_SIZE, TABLE_SIZE_ZERO
from rusd.http2.settings import RFC_DEFAULTS, Settings
from rusd.http2.streams import NEXT, Input, RecentlyClosed, State, Stream
from rusd.http2.windows import DEFAULT_WINDOW, FlowControl

# Module-level names for what is looked up on each call: an enum member costs two look-ups.
_SEND_HEADERS: Final = int(Input.SEND_HEADERS)
_SEND_DATA: Final = int(Input.SEND_DATA)
_CLOSED: Final = State.CLOSED
_pack_head: Final = frames.HEAD.pack

_UNLIMITED: Final = 1 << 62


class Outgoing:
    """Streams and everything that leaves.  Use :class:`~rusd.http2.connection.Connection`."""

    def __init__(
        self,
        role: Role,
        events: Events,
        settings: Settings,
        *,
        limits: Limits,
        low_water_mark: int,
        output_limit: int | None,
        now: Callable[[], float] = no_time,
    ) -> None:
        self.closed = False
        self.peer_settings = RFC_DEFAULTS
        self.low_water_mark = low_water_mark
        self._client = role is Role.CLIENT
        self._events = events
        self._settings = settings
        self._limits = limits
        self._streams: dict[int, Stream] = {}
        self._recent = RecentlyClosed()
        self._flow = FlowControl(DEFAULT_WINDOW, DEFAULT_WINDOW)
        # Until our SETTINGS are acknowledged the peer may go by the RFC's window (§6.9.2).
        self._initial_receive_window = max(DEFAULT_WINDOW, settings.initial_window_size)
        self._out: list[bytes | memoryview] = []
        self._output_limit = output_limit or _UNLIMITED
        self._room = self._output_limit  # DATA bytes that may join _out before it is taken
        self._waiting: dict[int, Stream] = {}  # streams to be served next, in order of turn
        self._relieved: list[int] = []  # streams for which on_window is due
        self._block_prefix = b""  # goes before the next header block
        self._table_in_use = True  # as far as the peer knows, our encoder might use its table
        self._next_stream_id = 1
        self._last_peer_stream_id = 0
        self._highest_accepted = frames.MAX_STREAM_ID  # lowered by our GOAWAY
        self._peer_going_away = False
        self._unsent_answers = 0
        self._floods = Floods(limits, now)
        self._blocks_sent = 0
        self._send_window_given = DEFAULT_WINDOW  # all the peer ever gave to the connection
        self.queued_bytes = 0  # of all streams together

    # -- the queue -------------------------------------------------------------

    def _enqueue(self, stream: Stream, is_block: bool, payload: bytes, end_stream: bool) -> None:
        if stream.queue is None:
            stream.queue = deque()
        elif stream.queue and stream.queue[-1][2]:
            raise StreamStateError(f"frames for stream {stream.id} after its END_STREAM")
        stream.queue.append((is_block, payload, end_stream))
        if not is_block:
            stream.queued += len(payload)
            self.queued_bytes += len(payload)

    def _pump(self) -> None:
        """Let waiting streams send, one frame each in turn, until a window or the output is full.

        A stream whose own window is used up leaves; its next WINDOW_UPDATE brings it back.
        """
        waiting = self._waiting
        while waiting and self._flow.send_window > 0 and self._room > 0:
            stream = waiting.pop(next(iter(waiting)))
            if stream.send_window <= 0:
                continue
            self._send_queued_frame(stream)
            if stream.queue:
                waiting[stream.id] = stream
            if stream.congested and stream.queued < self.low_water_mark:
                stream.congested = False
                self._relieved.append(stream.id)

    def _send_queued_frame(self, stream: Stream) -> None:
        """Send one DATA frame, and the trailers or bare END_STREAM that may follow the last one."""
        queue = stream.queue
        assert queue  # only streams with a queue are waiting
        _, payload, end_stream = queue.popleft()
        size = min(
            len(payload),
            stream.send_window,
            self._flow.send_window,
            self._room,
            self.peer_settings.max_frame_size,
        )
        if size < len(payload):
            view = memoryview(payload)
            queue.appendleft((False, view[size:], end_stream))
            payload, end_stream = view[:size], False
        stream.queued -= size
        self.queued_bytes -= size
        self._emit_data(stream, payload, end_stream)
        while queue and not (queue[0][1] and not queue[0][0]):  # needs no window
            is_block, payload, end_stream = queue.popleft()
            if is_block:
                self._emit_block(stream, bytes(payload), end_stream)
            else:
                self._emit_data(stream, b"", end_stream)

    def _emit_data(self, stream: Stream, payload: bytes | memoryview, end_stream: bool) -> None:
        after = NEXT[stream.state][_SEND_DATA + end_stream]
        if after is None:
            raise StreamStateError(f"DATA on stream {stream.id} after its END_STREAM")
        length = len(payload)
        stream.send_window -= length
        self._flow.send_window -= length
        self._room -= length
        self._out += (_pack_head(length << 8, end_stream, stream.id), payload)
        stream.state = after
        if after is _CLOSED:
            self._finish(stream)

    def _emit_block(self, stream: Stream, block: bytes, end_stream: bool) -> None:
        after = NEXT[stream.state][_SEND_HEADERS + end_stream]
        if after is None:
            raise StreamStateError(f"HEADERS on stream {stream.id} after its END_STREAM")
        if self._block_prefix:
            block = self._block_prefix + block
            self._block_prefix = b""
        length = len(block)
        if length <= self.peer_settings.max_frame_size:
            flags = frames.FLAG_END_HEADERS | end_stream
            self._out += (_pack_head(length << 8 | frames.HEADERS, flags, stream.id), block)
        else:
            self._emit_long_block(stream.id, block, end_stream)
        stream.answered = True
        self._blocks_sent += 1
        stream.state = after
        if after is _CLOSED:
            self._finish(stream)

    def _emit_long_block(self, stream_id: int, block: bytes, end_stream: bool) -> None:
        """HEADERS and CONTINUATION frames (§6.10)."""
        size = self.peer_settings.max_frame_size
        self._out.append(frames.frame(frames.HEADERS, int(end_stream), stream_id, block[:size]))
        for start in range(size, len(block), size):
            flags = frames.FLAG_END_HEADERS if start + size >= len(block) else 0
            part = block[start : start + size]
            self._out.append(frames.frame(frames.CONTINUATION, flags, stream_id, part))

    def _report_relieved(self) -> None:
        # Not from inside _pump: the callback sends, and would be called again from within itself.
        # Streams are relieved only by frames that join _out, so there is always a data_to_send to come.
        relieved = self._relieved
        while relieved:
            self._events.on_window(relieved.pop())

    # -- shared with the receiving half --------------------------------------

    def _finish(self, stream: Stream) -> None:
        """Both sides have ended ``stream``."""
        stream_id = stream.id
        del self._streams[stream_id]
        self._recent.finished.append(stream_id)
        if stream.delivered:
            self._give_back(stream.delivered)
        if self._floods.spoilt:
            self._floods.spoilt -= 1

    def _forget(self, stream: Stream, reset: Input) -> None:
        """Drop a stream that one side has reset."""
        after = NEXT[stream.state][reset]
        assert after is not None  # every stream in the table may be reset
        stream.state = after
        del self._streams[stream.id]
        self._waiting.pop(stream.id, None)
        self.queued_bytes -= stream.queued
        if stream.delivered:
            self._give_back(stream.delivered)

    def _announce(self, stream: Stream, increment: int) -> None:
        """Tell the peer of a wider window, if there is one and it may still send on that stream."""
        if increment and NEXT[stream.state][Input.RECEIVE_DATA] is not None:
            self._out.append(frames.window_update(stream.id, increment))

    def _give_back(self, length: int) -> None:
        """Return ``length`` received bytes to the connection's window; announce them in batches."""
        flow = self._flow
        increment = flow.consume(length)
        if increment and not self.closed:
            self._out.append(frames.window_update(0, increment))

    def _note_peer_table_size(self, size: int) -> None:
        """A peer that shrinks the table waits for us to say that we did (RFC 7541 §4.2)."""
        if self._table_in_use and size < DEFAULT_TABLE_SIZE:
            self._table_in_use = False
            self._block_prefix = TABLE_SIZE_ZERO

    def _close(self) -> None:
        self.closed = True
        self._streams.clear()
        self._waiting.clear()
        self._relieved.clear()
        self.queued_bytes = 0
