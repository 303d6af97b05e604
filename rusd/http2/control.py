"""Frames that carry no message: SETTINGS, PING, GOAWAY, WINDOW_UPDATE, RST_STREAM, PRIORITY; and messages
that come too late, for streams that are closed.

One method a frame type, called with the frame's flags, stream id and whole payload.
What a bad frame leads to is RFC 9113 §6.3 to §6.9.
"""

from __future__ import annotations

from collections.abc import Callable

from rusd.http2 import frames
from rusd.http2.errors import ConnectionViolationError, ErrorCode
from rusd.http2.events import Events, Headers, Limits, Role
from rusd.http2.floods import STREAMS_PER_IDLE_FRAME
from rusd.http2.hpack import FIELD_OVERHEAD, Decoder
from rusd.http2.sending import Sending
from rusd.http2.settings import Settings, apply_settings
from rusd.http2.streams import Ending, Input, Stream
from rusd.http2.windows import MAX_WINDOW

_NO_LIST_LIMIT = 1 << 24
"""Decoding stays bounded even where the settings announce no limit."""


class ControlFrames(Sending):
    """Handlers of everything but DATA, HEADERS and CONTINUATION."""

    def __init__(
        self,
        role: Role,
        events: Events,
        settings: Settings,
        *,
        limits: Limits,
        low_water_mark: int,
        output_limit: int | None,
        now: Callable[[], float],
    ) -> None:
        super().__init__(
            role,
            events,
            settings,
            limits=limits,
            low_water_mark=low_water_mark,
            output_limit=output_limit,
            now=now,
        )
        list_limit = settings.max_header_list_size
        self._decoder = Decoder(_NO_LIST_LIMIT if list_limit is None else list_limit)
        self._settings_unacknowledged = 0

    def _on_settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise _protocol_error("SETTINGS on a stream")
        if flags & frames.FLAG_ACK:
            self._on_settings_ack(payload)
            return
        before = self.peer_settings
        after = apply_settings(before, payload, from_server=self._client)
        self.peer_settings = after
        delta = after.initial_window_size - before.initial_window_size
        moved = len(self._streams) if delta else 0
        self._floods.count_idle(self.sent, 1 + moved // STREAMS_PER_IDLE_FRAME)
        if delta:
            self._move_send_windows(delta)
        self._note_peer_table_size(after.header_table_size)
        self._answer(frames.frame(frames.SETTINGS, frames.FLAG_ACK, 0))
        if delta > 0:
            self._wake(list(self._streams.values()))

    def _on_settings_ack(self, payload: bytes) -> None:
        """The peer goes by our settings from here on (§6.5.3)."""
        if payload:
            raise _frame_size_error("SETTINGS acknowledgement with a payload")
        if not self._settings_unacknowledged:
            self._floods.count_idle(self.sent)
            return
        self._settings_unacknowledged -= 1
        self._decoder.set_limit(self._settings.header_table_size)
        limit = self._settings.initial_window_size
        if limit != self._initial_receive_window:
            self._initial_receive_window = limit
            for stream in self._streams.values():
                stream.resize_receive_window(limit)
                # What was returned but not announced may be all of a smaller window.
                self._announce(stream, stream.consume(0))

    def _move_send_windows(self, delta: int) -> None:
        """§6.9.2: a new INITIAL_WINDOW_SIZE moves every stream's window, maybe below zero."""
        for stream in self._streams.values():
            if not stream.widen_send_window(delta):
                raise ConnectionViolationError(ErrorCode.FLOW_CONTROL_ERROR, "send window beyond 2**31 - 1")

    def _on_ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise _protocol_error("PING on a stream")
        if len(payload) != 8:
            raise _frame_size_error("PING without eight octets")
        self._floods.count_idle(self.sent)
        if flags & frames.FLAG_ACK:
            self._events.on_ping_ack(payload)
            return
        self._answer(frames.frame(frames.PING, frames.FLAG_ACK, 0, payload))
        self._events.on_ping()

    def _answer(self, answer: bytes) -> None:
        """Queue an answer that the peer can ask for without end."""
        self._unsent_answers += 1
        if self._unsent_answers > self._limits.unsent_answers:
            raise ConnectionViolationError(ErrorCode.ENHANCE_YOUR_CALM, "too many unread answers")
        self._out.append(answer)

    def _on_goaway(self, _flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise _protocol_error("GOAWAY on a stream")
        if len(payload) < 8:
            raise _frame_size_error("GOAWAY shorter than eight octets")
        self._floods.count_idle(self.sent)
        last = frames.U32.unpack_from(payload)[0] & frames.STREAM_ID_MASK
        code = frames.U32.unpack_from(payload, 4)[0]
        self._peer_going_away = True
        if self._client:  # what the server has not seen may be tried elsewhere (§6.8)
            for refused in [stream_id for stream_id in self._streams if stream_id > last]:
                stream = self._streams.get(refused)
                if stream is None:  # reset from within the call for one before it
                    continue
                self._forget(stream, Input.RECEIVE_RESET)
                self._recent.reset_there.append(refused)
                self._events.on_reset(refused, ErrorCode.REFUSED_STREAM)
        self._events.on_goaway(last, code, payload[8:])

    def _on_window_update(self, _flags: int, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise _frame_size_error("WINDOW_UPDATE without four octets")
        increment = frames.U32.unpack(payload)[0] & MAX_WINDOW
        self._floods.count_idle(self.sent)
        if not stream_id:
            if not increment:
                raise _protocol_error("WINDOW_UPDATE of 0")
            if not self._flow.widen_send_window(increment):
                raise ConnectionViolationError(ErrorCode.FLOW_CONTROL_ERROR, "send window beyond 2**31 - 1")
            self._send_window_given += increment
            self._wake([])
            return
        stream = self._streams.get(stream_id)
        if stream is None:
            self._refuse_idle(stream_id, "WINDOW_UPDATE")
        elif not increment:
            self._stream_error(stream, ErrorCode.PROTOCOL_ERROR)
        elif not stream.widen_send_window(increment):
            self._stream_error(stream, ErrorCode.FLOW_CONTROL_ERROR)
        else:
            self._wake([stream])

    def _wake(self, streams: list[Stream]) -> None:
        """Windows have grown: ``streams`` with a queue line up again, and all that wait may send."""
        for stream in streams:
            if stream.queue:
                self._waiting[stream.id] = stream
        if self._waiting:
            self._pump()
            self._report_relieved()

    def _on_rst_stream(self, _flags: int, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise _frame_size_error("RST_STREAM without four octets")
        stream = self._streams.get(stream_id)
        if stream is None:
            self._refuse_idle(stream_id, "RST_STREAM")
            self._floods.count_idle(self.sent)
            return
        self._forget(stream, Input.RECEIVE_RESET)
        self._recent.reset_there.append(stream_id)
        self._events.on_reset(stream_id, frames.U32.unpack(payload)[0])
        if not stream.answered:
            self._floods.count_spoilt()

    def _on_priority(self, _flags: int, stream_id: int, payload: bytes) -> None:
        """Deprecated; only its form is looked at (§6.3)."""
        if not stream_id:
            raise _protocol_error("PRIORITY without a stream")
        self._floods.count_idle(self.sent)
        if len(payload) == 5:
            return
        stream = self._streams.get(stream_id)
        if stream is None:  # there is no stream to reset: an idle one must not be
            raise _frame_size_error("PRIORITY without five octets")
        self._stream_error(stream, ErrorCode.FRAME_SIZE_ERROR)

    def _on_push_promise(self, _flags: int, _stream_id: int, _payload: bytes) -> None:
        raise _protocol_error("PUSH_PROMISE, which was never enabled")

    def _stream_error(self, stream: Stream, code: ErrorCode) -> None:
        """The peer broke a rule that ends one stream (§5.4.2)."""
        self.reset_stream(stream.id, code)
        self._events.on_reset(stream.id, code)
        self._floods.count_spoilt()

    def _on_late_headers(self, stream_id: int) -> None:
        """HEADERS for a stream that is closed, or that the peer may not open (§5.1, §5.1.1)."""
        if self._is_idle(stream_id):
            raise ConnectionViolationError(ErrorCode.PROTOCOL_ERROR, "HEADERS on a stream that can't be")
        ending = self._recent.ending(stream_id)
        if ending is Ending.RESET_HERE:
            self._floods.count_idle(self.sent)
            return
        if ending is Ending.FINISHED:
            raise ConnectionViolationError(ErrorCode.STREAM_CLOSED, "HEADERS on a finished stream")
        if ending is Ending.FORGOTTEN and not self._client:
            raise ConnectionViolationError(ErrorCode.PROTOCOL_ERROR, "stream ids must increase")
        self._refuse(stream_id, ErrorCode.STREAM_CLOSED)

    def _on_late_data(self, stream_id: int, size: int) -> None:
        """DATA for a stream that is closed, or was never opened (§5.1)."""
        if self._is_idle(stream_id):
            raise ConnectionViolationError(ErrorCode.PROTOCOL_ERROR, "DATA on an idle stream")
        if size:
            self._give_back(size)
        ending = self._recent.ending(stream_id)
        if ending is Ending.RESET_HERE:
            self._floods.count_idle(self.sent)
            return
        if ending is Ending.FINISHED:
            raise ConnectionViolationError(ErrorCode.STREAM_CLOSED, "DATA on a finished stream")
        self._refuse(stream_id, ErrorCode.STREAM_CLOSED)

    def _refuse(self, stream_id: int, code: ErrorCode, *, blame: bool = True) -> None:
        """Reset a stream that the caller never heard of."""
        self._recent.reset_here.append(stream_id)
        self._out.append(frames.rst_stream(stream_id, code))
        if blame:
            self._floods.count_spoilt()

    def _refuse_idle(self, stream_id: int, what: str) -> None:
        """A stream we don't hold: fine if it is closed, an error if it was never opened (§5.1)."""
        if self._is_idle(stream_id):
            raise _protocol_error(f"{what} on an idle stream")

    def _is_idle(self, stream_id: int) -> bool:
        """Whether the stream was never opened; "stream 0" counts as such."""
        if not stream_id:
            return True
        if stream_id & 1 == 0:  # only a server may open these, and only by a push
            return True
        if self._client:
            return stream_id >= self._next_stream_id
        return stream_id > self._last_peer_stream_id

    @property
    def settings_acknowledged(self) -> bool:
        """Whether the peer has taken over all our settings (§6.5.3)."""
        return not self._settings_unacknowledged

    def would_take(self, headers: Headers) -> bool:
        """Whether the peer's MAX_HEADER_LIST_SIZE, which is advice, has room for ``headers`` (§6.5.2)."""
        limit = self.peer_settings.max_header_list_size
        if limit is None:
            return True
        return sum(len(name) + len(value) + FIELD_OVERHEAD for name, value in headers) <= limit

    def largest_queue(self) -> int:
        """The part of ``queued_bytes`` that is one stream's.  Looks at all streams."""
        return max((stream.queued for stream in self._streams.values()), default=0)

    def check(self) -> None:
        """Verify the invariants of the whole connection."""
        if self.closed:
            assert not self._streams
            return
        self._decoder.check()
        outstanding = queued = 0
        for stream_id, stream in self._streams.items():
            _check_stream(stream_id, stream)
            outstanding += stream.delivered
            queued += stream.queued
        assert set(self._waiting) <= set(self._streams)
        assert self._out or not self._relieved, "relieved, and nobody was told"
        assert self._flow.delivered == outstanding
        assert self.queued_bytes == queued
        self._flow.check()


def _check_stream(stream_id: int, stream: Stream) -> None:
    assert stream.id == stream_id
    queue = stream.queue or ()
    assert stream.queued == sum(len(payload) for is_block, payload, _ in queue if not is_block)
    if queue:
        assert queue[0][1]  # else it could have gone at once
        assert not queue[0][0]
        assert not any(end_stream for _, _, end_stream in list(queue)[:-1])
    stream.check()


def _protocol_error(reason: str) -> ConnectionViolationError:
    return ConnectionViolationError(ErrorCode.PROTOCOL_ERROR, reason)


def _frame_size_error(reason: str) -> ConnectionViolationError:
    return ConnectionViolationError(ErrorCode.FRAME_SIZE_ERROR, reason)
