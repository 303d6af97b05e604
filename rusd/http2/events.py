"""What a connection is told to be, and whom it tells what it hears."""

from __future__ import annotations

from enum import Enum
from typing import Final, Protocol

import attrs

Headers = list[tuple[bytes, bytes]]


class Role(Enum):
    """Which side of the connection this is."""

    CLIENT = "client"
    SERVER = "server"


class Events(Protocol):
    """Called by :class:`~rusd.http2.connection.Connection` while it parses; no event objects are made.

    Calls come only from inside ``advance`` (``on_window`` also from ``data_to_send``).  They
    may send, reset and acknowledge, but must not call ``advance`` or ``receive`` themselves.
    """

    def on_headers(self, stream_id: int, headers: Headers, end_stream: bool) -> None:
        """A valid request or (also informational) response, or its trailers, has arrived."""

    def on_data(self, stream_id: int, data: bytes, end_stream: bool) -> None:
        """Content has arrived; give its length back with ``acknowledge`` once it is consumed."""

    def on_reset(self, stream_id: int, error_code: int) -> None:
        """The stream is over: the peer's RST_STREAM, or a stream error found here (RST_STREAM queued).

        A client also gets it, as REFUSED_STREAM, for streams that a GOAWAY left unprocessed.
        """

    def on_window(self, stream_id: int) -> None:
        """The stream's queued bytes have fallen below the low-water mark again."""

    def on_ping(self) -> None:
        """The peer has pinged; its answer is queued."""

    def on_ping_ack(self, payload: bytes) -> None:
        """The peer has answered a ping."""

    def on_goaway(self, last_stream_id: int, error_code: int, debug: bytes) -> None:
        """The peer takes no new streams; those up to ``last_stream_id`` go on."""

    def on_closed(self, error_code: int, reason: str) -> None:
        """A connection error was found here: GOAWAY is queued, nothing more is parsed or sent."""


class _Nobody:
    """Listens to nothing."""

    def on_headers(self, stream_id: int, headers: Headers, end_stream: bool) -> None: ...
    def on_data(self, stream_id: int, data: bytes, end_stream: bool) -> None: ...
    def on_reset(self, stream_id: int, error_code: int) -> None: ...
    def on_window(self, stream_id: int) -> None: ...
    def on_ping(self) -> None: ...
    def on_ping_ack(self, payload: bytes) -> None: ...
    def on_goaway(self, last_stream_id: int, error_code: int, debug: bytes) -> None: ...
    def on_closed(self, error_code: int, reason: str) -> None: ...


NOBODY: Final[Events] = _Nobody()


@attrs.frozen
class Limits:
    """Guards against a peer that makes work for nothing.  Passing one is ENHANCE_YOUR_CALM."""

    continuations: int = 32  # CONTINUATION frames of one header block
    unsent_answers: int = 1024  # SETTINGS and PING answers waiting for data_to_send
    spoilt_streams: int = 1000  # in a period: streams reset unanswered or broken, less those that ended well
    idle_frames: int = 2000  # in a period: frames that bring nothing, beyond those that what we sent explains
    period_seconds: float = 10.0


DEFAULT_LIMITS: Final = Limits()
