"""Streams that are answered, but not over: their client still sends, or does not read.

Both may be harmless, and neither may go on without bound.

Resetting a stream at once when its client has not half-closed, which the RFC
allows (RFC 9113 section 8.1), breaks clients that half-close in a frame of its
own; so we listen a while, and ignore.
"""

from __future__ import annotations

from rusd.http2 import Connection, ErrorCode

MAX_STREAMS = 128  # answered streams whose client may still send
MAX_STREAM_BYTES = 64 * 1024  # what such a client may send before it is told to stop

MAX_UNREAD_BYTES = 256 * 1024 * 1024  # answers waiting for a client's flow-control windows


class Lingering:
    """The answered streams of one connection whose client has not half-closed."""

    __slots__ = ("_http2", "_streams")

    def __init__(self, http2: Connection) -> None:
        self._http2 = http2
        self._streams: dict[int, int] = {}  # → bytes sent since the answer; oldest first

    def __contains__(self, stream_id: object) -> bool:
        return stream_id in self._streams

    def add(self, stream_id: int) -> None:
        """``stream_id`` is answered."""
        self._streams[stream_id] = 0
        if len(self._streams) > MAX_STREAMS:
            self.stop(next(iter(self._streams)))

    def receive(self, stream_id: int, length: int, end_stream: bool) -> None:
        """The client has sent ``length`` bytes more."""
        self._http2.acknowledge(stream_id, length)
        sent = self._streams.get(stream_id)
        if sent is None:
            return
        if end_stream:
            del self._streams[stream_id]
        elif sent + length > MAX_STREAM_BYTES:
            self.stop(stream_id)
        else:
            self._streams[stream_id] = sent + length

    def discard(self, stream_id: int) -> None:
        """The stream is over, or never was one of these."""
        self._streams.pop(stream_id, None)

    def stop(self, stream_id: int) -> None:
        """Ask the client to send no more on ``stream_id``, which was added before."""
        del self._streams[stream_id]
        if not self._http2.queued(stream_id):  # a reset would take a waiting answer with it
            self._http2.reset_stream(stream_id, ErrorCode.NO_ERROR)

    def stop_all(self) -> None:
        """Ask all of them to stop."""
        for stream_id in list(self._streams):
            self.stop(stream_id)

    def clear(self) -> None:
        """The connection is gone."""
        self._streams.clear()

    def check(self) -> None:
        """Verify the bound."""
        assert len(self._streams) <= MAX_STREAMS, "too many lingering streams"


def too_much_unread(http2: Connection) -> bool:
    """Whether the answers given to a client wait for its windows beyond all bounds.

    The largest one is not counted: a client may take its time with one answer of any size.
    """
    return http2.queued_bytes > MAX_UNREAD_BYTES and (
        http2.queued_bytes - http2.largest_queue() > MAX_UNREAD_BYTES
    )
