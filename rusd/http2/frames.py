"""The frame layer of RFC 9113 §4 and §6: constants, and the few frames built here.

A frame is nine octets (length 24, type 8, flags 8, reserved bit and stream id 32) and
a payload.  The first four octets are read and written as one number,
``length << 8 | type``, which makes a frame head one ``struct`` call.  There is no
frame object: :mod:`rusd.http2.connection` works on the payload at once.
"""

from __future__ import annotations

import struct
from typing import Final

from rusd.http2.errors import ConnectionViolationError, ErrorCode

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD: Final = struct.Struct(">IBI")
HEAD_LENGTH: Final = 9
U32: Final = struct.Struct(">I")
STREAM_ID_MASK: Final = 0x7FFF_FFFF
MAX_STREAM_ID: Final = 0x7FFF_FFFF

DATA: Final = 0x0
HEADERS: Final = 0x1
PRIORITY: Final = 0x2
RST_STREAM: Final = 0x3
SETTINGS: Final = 0x4
PUSH_PROMISE: Final = 0x5
PING: Final = 0x6
GOAWAY: Final = 0x7
WINDOW_UPDATE: Final = 0x8
CONTINUATION: Final = 0x9

FLAG_END_STREAM: Final = 0x1
FLAG_ACK: Final = 0x1
FLAG_END_HEADERS: Final = 0x4
FLAG_PADDED: Final = 0x8
FLAG_PRIORITY: Final = 0x20

MIN_FRAME_SIZE_LIMIT: Final = 1 << 14
MAX_FRAME_SIZE_LIMIT: Final = (1 << 24) - 1

_RST_STREAM_WORD: Final = 4 << 8 | RST_STREAM
_WINDOW_UPDATE_WORD: Final = 4 << 8 | WINDOW_UPDATE
_HEAD_AND_U32: Final = struct.Struct(">IBII")
_PRIORITY_LENGTH: Final = 5


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """One whole frame."""
    return HEAD.pack(len(payload) << 8 | kind, flags, stream_id) + payload


def rst_stream(stream_id: int, error_code: int) -> bytes:
    """A RST_STREAM frame (§6.4)."""
    return _HEAD_AND_U32.pack(_RST_STREAM_WORD, 0, stream_id, error_code)


def window_update(stream_id: int, increment: int) -> bytes:
    """A WINDOW_UPDATE frame (§6.9); stream 0 is the connection."""
    return _HEAD_AND_U32.pack(_WINDOW_UPDATE_WORD, 0, stream_id, increment)


def goaway(last_stream_id: int, error_code: int, debug: bytes) -> bytes:
    """A GOAWAY frame (§6.8)."""
    return frame(GOAWAY, 0, 0, U32.pack(last_stream_id) + U32.pack(error_code) + debug)


def strip_padding(payload: bytes) -> bytes:
    """The payload of a PADDED frame without its pad length and padding (§6.1)."""
    if not payload:
        raise ConnectionViolationError(ErrorCode.FRAME_SIZE_ERROR, "padded frame without a pad length")
    stop = len(payload) - payload[0]
    if stop < 1:
        raise ConnectionViolationError(ErrorCode.PROTOCOL_ERROR, "padding longer than its frame")
    return payload[1:stop]


def strip_priority(payload: bytes) -> bytes:
    """The payload of a HEADERS frame without its (deprecated, ignored) priority (§5.3.2)."""
    if len(payload) < _PRIORITY_LENGTH:
        raise ConnectionViolationError(ErrorCode.FRAME_SIZE_ERROR, "HEADERS too short for its priority")
    return payload[_PRIORITY_LENGTH:]
