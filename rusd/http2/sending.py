"""The sending half of a connection: what a caller may have it send.

Not here: how frames wait and leave, which is :mod:`rusd.http2.outgoing` below, and anything about what
is received, which is :mod:`rusd.http2.connection` on top of this.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from rusd.http2 import frames
from rusd.http2.errors import ErrorCode, NoNewStreamsError, StreamStateError
from rusd.http2.events import NOBODY
from rusd.http2.hpack import encode_static
from rusd.http2.outgoing import Outgoing
from rusd.http2.streams import NEXT, Input, State, Stream

# Module-level names for what is looked up on each call: an enum member costs two look-ups.
_SEND_HEADERS_END: Final = int(Input.SEND_HEADERS_END)
_SEND_DATA: Final = int(Input.SEND_DATA)
_BLOCK_HEAD: Final = frames.FLAG_END_HEADERS
_LAST_BLOCK_HEAD: Final = frames.FLAG_END_HEADERS | frames.FLAG_END_STREAM
_CLOSED: Final = State.CLOSED
_pack_head: Final = frames.HEAD.pack

DEFAULT_LOW_WATER_MARK: Final = 64 * 1024


class Sending(Outgoing):
    """What the caller asks for.  Use :class:`~rusd.http2.connection.Connection`."""

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
