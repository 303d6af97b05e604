"""Error codes and exceptions of HTTP/2 (RFC 9113 §5.4 and §7).

What the *peer* does wrong never leaves this package as an exception: it becomes
RST_STREAM or GOAWAY and a call of :class:`~rusd.http2.events.Events`.  What the
*caller* does wrong is raised: :class:`StreamStateError`, :class:`NoNewStreamsError`.
"""

from __future__ import annotations

from enum import IntEnum


class ErrorCode(IntEnum):
    """RFC 9113 §7.  A peer may send others; they are passed on as plain integers."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    SETTINGS_TIMEOUT = 0x4
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    CONNECT_ERROR = 0xA
    ENHANCE_YOUR_CALM = 0xB
    INADEQUATE_SECURITY = 0xC
    HTTP_1_1_REQUIRED = 0xD


class Http2Error(Exception):
    """Base of every exception of this package."""


class StreamStateError(Http2Error):
    """The caller sends on a stream whose sending side it has already ended."""


class NoNewStreamsError(Http2Error):
    """A client can't open a stream: limit reached, ids used up, GOAWAY received, or closed."""


class ConnectionViolationError(Http2Error):
    """The peer broke a rule that ends the connection.  Never leaves the package."""

    def __init__(self, code: ErrorCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class MalformedMessageError(Http2Error):
    """Header fields that are no valid message (RFC 9113 §8.1.1).  Never leaves the package."""
