"""The sending half of a connection: streams, windows, and what goes out.

Frames are collected in a list that :meth:`Sending.data_to_send` joins.  DATA that the windows
don't allow waits in its stream, trailers behind it; streams waiting for the connection's
window take turns, one frame each.  Not here: anything about what is received, which is
:mod:`rusd.http2.connection` on top of this.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from rusd.http2 import frames
from rusd.http2.errors import ErrorCode, NoNewStreamsError, StreamStateError
from rusd.http2.events import NOBODY, Events, Limits, Role
from rusd.http2.floods import Floods, no_time
from rusd.http2.hpack import DEFAULT_TABLE_SIZE, TABLE_SIZE_ZERO, encode_static
from rusd.http2.settings import RFC_DEFAULTS, Settings
from rusd.http2.streams import NEXT, Input, RecentlyClosed, State, Stream
from rusd.http2.windows import DEFAULT_WINDOW, FlowControl

# Module-level names for what is looked up on each call: an enum member costs two look-ups.
_SEND_HEADERS: Final = int(Input.SEND_HEADERS)
_SEND_HEADERS_END: Final = int(Input.SEND_HEADERS_END)
_SEND_DATA: Final = int(Input.SEND_DATA)
_BLOCK_HEAD: Final = frames.FLAG_END_HEADERS
_LAST_BLOCK_HEAD: Final = frames.FLAG_END_HEADERS | frames.FLAG_END_STREAM
_CLOSED: Final = State.CLOSED
_pack_head: Final = frames.HEAD.pack

DEFAULT_LOW_WATER_MARK: Final = 64 * 1024
_UNLIMITED: Final = 1 << 62


class Sending:
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

    # -- for the caller ------------------------------------------------------

    @property
    def open_streams(self) -> int:
        """How many streams are not closed yet; one with queued data is not."""
        return len(self._streams)

    @property
    def sent(self) -> int:
        """How much has been sent: octets of DATA (what the peer's window lost), and 64 a header block."""
        return self._send_window_given - self._flow.send_window + 64 * self._blocks_sent

    def data_to_send(self) -> bytes:
        """Everything that is ready to go out; ``b""`` if nothing is.

        With an ``output_limit`` that is at most so many DATA bytes: call again once they are gone.
        """
        out = self._out
        if not out and self._waiting:  # what the output limit held back last time
            self._pump()
        if not out:
            return b""
        data = b"".join(out)
        out.clear()
        self._room = self._output_limit
        self._unsent_answers = 0
        if self._relieved:  # whoever pumped: what send_data of another stream sent is reported here too
            self._report_relieved()
        return data

    def open_stream(self, headers: Iterable[tuple[bytes, bytes]], *, end_stream: bool = False) -> int:
        """Send a request's headers; returns the id of the new stream.  For the client role.

        Raises :class:`NoNewStreamsError`.
        """
        if not self._client:
            raise NoNewStreamsError("a server opens no streams")
        if self.closed or self._peer_going_away:
            raise NoNewStreamsError("the connection is closing")
        limit = self.peer_settings.max_concurrent_streams
        if limit is not None and len(self._streams) >= limit:
            raise NoNewStreamsError(f"the peer allows {limit} concurrent streams")
        stream_id = self._next_stream_id
        if stream_id > frames.MAX_STREAM_ID:
            raise NoNewStreamsError("stream ids are used up")
        block = encode_static(headers)
        self._next_stream_id += 2
        stream = Stream(
            stream_id, State.IDLE, self.peer_settings.initial_window_size, self._initial_receive_window
        )
        self._streams[stream_id] = stream
        self._emit_block(stream, block, end_stream)
        return stream_id

    def send_headers(
        self, stream_id: int, headers: Iterable[tuple[bytes, bytes]], *, end_stream: bool = False
    ) -> None:
        """Send a response's headers, or trailers.  Raises :class:`StreamStateError` after END_STREAM."""
        self.send_encoded_headers(stream_id, encode_static(headers), end_stream=end_stream)

    def send_encoded_headers(self, stream_id: int, block: bytes, *, end_stream: bool = False) -> None:
        """Send a block made by :func:`~rusd.http2.hpack.encode_static`, behind data that is queued.

        Nothing happens if the stream is closed.  Raises :class:`StreamStateError` after END_STREAM.
        """
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        if not stream.queue:
            self._emit_block(stream, block, end_stream)
            return
        self._enqueue(stream, True, block, end_stream)

    def send_data(self, stream_id: int, data: bytes, *, end_stream: bool = False) -> None:
        """Send content of any size; what the windows don't allow waits, in order.

        Nothing happens if the stream is closed.  Raises :class:`StreamStateError` after END_STREAM.
        """
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        length = len(data)
        if not length and not end_stream:
            return
        flow = self._flow
        if (
            length <= stream.send_window
            and length <= flow.send_window
            and length <= self._room
            and length <= self.peer_settings.max_frame_size
            and not stream.queue
        ):  # the whole of it may go at once: nearly always
            after = NEXT[stream.state][_SEND_DATA + end_stream]
            if after is None:
                raise StreamStateError(f"DATA on stream {stream_id} after its END_STREAM")
            stream.send_window -= length
            flow.send_window -= length
            self._room -= length
            self._out += (_pack_head(length << 8, end_stream, stream_id), data)
            stream.state = after
            if after is _CLOSED:
                self._finish(stream)
            return
        if not stream.queue and NEXT[stream.state][_SEND_DATA] is None:
            raise StreamStateError(f"DATA on stream {stream_id} after its END_STREAM")
        if not length and not stream.queue:  # END_STREAM alone needs no window (§6.9.1)
            self._emit_data(stream, b"", True)
            return
        self._enqueue(stream, False, data, end_stream)
        self._waiting[stream_id] = stream
        self._pump()
        if stream.queued >= self.low_water_mark:
            stream.congested = True

    def send_message(self, stream_id: int, headers: bytes, data: bytes, trailers: bytes) -> int:
        """Send a whole answer: blocks made by :func:`~rusd.http2.hpack.encode_static` and what is between.

        Like the three calls it stands for; returns how many bytes are left waiting for window.
        """
        stream = self._streams.get(stream_id)
        if stream is None:
            return 0
        length = len(data)
        flow = self._flow
        if (
            0 < length <= stream.send_window
            and length <= flow.send_window
            and length <= self._room
            and length + len(headers) + len(trailers) <= self.peer_settings.max_frame_size
            and not stream.queue
            and not self._block_prefix
        ):  # it may all go at once: nearly always
            after = NEXT[stream.state][_SEND_HEADERS_END]
            if after is None:
                raise StreamStateError(f"HEADERS on stream {stream_id} after its END_STREAM")
            stream.send_window -= length
            flow.send_window -= length
            self._room -= length
            self._out += (
                _pack_head(len(headers) << 8 | frames.HEADERS, _BLOCK_HEAD, stream_id),
                headers,
                _pack_head(length << 8, 0, stream_id),
                data,
                _pack_head(len(trailers) << 8 | frames.HEADERS, _LAST_BLOCK_HEAD, stream_id),
                trailers,
            )
            stream.answered = True
            self._blocks_sent += 2
            stream.state = after
            if after is _CLOSED:
                self._finish(stream)
            return 0
        self.send_encoded_headers(stream_id, headers)
        self.send_data(stream_id, data)
        self.send_encoded_headers(stream_id, trailers, end_stream=True)
        return stream.queued

    def queued(self, stream_id: int) -> int:
        """Bytes of that stream waiting for window (0 for a closed stream)."""
        stream = self._streams.get(stream_id)
        return stream.queued if stream is not None else 0

    def reset_stream(self, stream_id: int, error_code: int) -> None:
        """End a stream at once (§6.4); what it had queued is dropped.  Nothing if it is closed."""
        stream = self._streams.get(stream_id)
        if stream is not None:
            self._forget(stream, Input.SEND_RESET)
            self._recent.reset_here.append(stream_id)
            self._out.append(frames.rst_stream(stream_id, error_code))

    def acknowledge(self, stream_id: int, length: int) -> None:
        """``length`` bytes of DATA were consumed: the peer may send as many again.

        What a stream has not acknowledged when it closes is given back then, and this does nothing.
        Raises :class:`ValueError` if it is more than was delivered.
        """
        stream = self._streams.get(stream_id)
        if stream is None or not length:
            return
        self._announce(stream, stream.consume(length))
        self._give_back(length)

    def ping(self, payload: bytes) -> None:
        """Send a PING of exactly eight octets.  Raises :class:`ValueError`."""
        if len(payload) != 8:
            raise ValueError("a ping carries eight octets")
        if not self.closed:
            self._out.append(frames.frame(frames.PING, 0, 0, payload))

    def goaway(self, error_code: int, debug: bytes = b"", last_stream_id: int | None = None) -> None:
        """Announce the end (§6.8): the peer's streams above ``last_stream_id`` are ignored from now on.

        ``None`` means the highest one seen.  With NO_ERROR the other streams go on; with any other
        code the connection is closed: nothing more is parsed or sent, and ``on_closed`` is not called.
        """
        if self.closed:
            return
        if last_stream_id is None:
            last_stream_id = self._last_peer_stream_id
        self._highest_accepted = min(self._highest_accepted, last_stream_id)  # it must not grow
        self._out.append(frames.goaway(self._highest_accepted, error_code, debug))
        if error_code != ErrorCode.NO_ERROR:
            self._close()

    def abandon(self) -> None:
        """The transport is gone: forget everything and call nobody any more.

        Also cuts the reference to ``events``, which mostly refers back to this connection: without
        the cycle, it is freed at once.
        """
        self._close()
        self._out.clear()
        self._events = NOBODY

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
