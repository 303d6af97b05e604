"""SETTINGS: values, limits, encoding (RFC 9113 §6.5)."""

from __future__ import annotations

import struct
from typing import Final

import attrs

from rusd.http2.errors import ConnectionViolationError, ErrorCode
from rusd.http2.frames import MAX_FRAME_SIZE_LIMIT, MIN_FRAME_SIZE_LIMIT
from rusd.http2.windows import DEFAULT_WINDOW, MAX_WINDOW

DEFAULT_HEADER_TABLE_SIZE: Final = 4096
DEFAULT_MAX_HEADER_LIST_SIZE: Final = 64 * 1024
"""What we accept unless told otherwise; RFC 9113 itself sets no limit."""

HEADER_TABLE_SIZE: Final = 0x1
ENABLE_PUSH: Final = 0x2
MAX_CONCURRENT_STREAMS: Final = 0x3
INITIAL_WINDOW_SIZE: Final = 0x4
MAX_FRAME_SIZE: Final = 0x5
MAX_HEADER_LIST_SIZE: Final = 0x6

_ENTRY: Final = struct.Struct(">HI")


@attrs.frozen
class Settings:
    """One side's settings.  Sizes are in bytes; ``None`` means no limit.

    Raises :class:`ValueError` for values that the RFC forbids.
    """

    header_table_size: int = DEFAULT_HEADER_TABLE_SIZE
    enable_push: bool = False
    max_concurrent_streams: int | None = None
    initial_window_size: int = DEFAULT_WINDOW
    max_frame_size: int = MIN_FRAME_SIZE_LIMIT
    max_header_list_size: int | None = DEFAULT_MAX_HEADER_LIST_SIZE

    def __attrs_post_init__(self) -> None:
        if not 0 <= self.initial_window_size <= MAX_WINDOW:
            raise ValueError(f"initial_window_size out of range: {self.initial_window_size}")
        if not MIN_FRAME_SIZE_LIMIT <= self.max_frame_size <= MAX_FRAME_SIZE_LIMIT:
            raise ValueError(f"max_frame_size out of range: {self.max_frame_size}")


DEFAULT_SETTINGS: Final = Settings()
"""Ours, unless the caller says otherwise."""

RFC_DEFAULTS: Final = Settings(enable_push=True, max_header_list_size=None)
"""What holds for a peer until its first SETTINGS frame arrives (§6.5.2)."""


def encode_settings(settings: Settings, *, client: bool) -> bytes:
    """The payload of the SETTINGS frame announcing ``settings``: what differs from RFC defaults."""
    entries: list[tuple[int, int]] = []
    if settings.header_table_size != RFC_DEFAULTS.header_table_size:
        entries.append((HEADER_TABLE_SIZE, settings.header_table_size))
    if client:  # pushes are refused; a server must not announce anything about them (§6.5.2)
        entries.append((ENABLE_PUSH, 0))
    if settings.max_concurrent_streams is not None:
        entries.append((MAX_CONCURRENT_STREAMS, settings.max_concurrent_streams))
    if settings.initial_window_size != RFC_DEFAULTS.initial_window_size:
        entries.append((INITIAL_WINDOW_SIZE, settings.initial_window_size))
    if settings.max_frame_size != RFC_DEFAULTS.max_frame_size:
        entries.append((MAX_FRAME_SIZE, settings.max_frame_size))
    if settings.max_header_list_size is not None:
        entries.append((MAX_HEADER_LIST_SIZE, settings.max_header_list_size))
    return b"".join(_ENTRY.pack(identifier, value) for identifier, value in entries)


def apply_settings(before: Settings, payload: bytes, *, from_server: bool) -> Settings:
    """``before`` changed as the peer's SETTINGS ``payload`` says; unknown identifiers are ignored.

    Raises :class:`ConnectionViolationError` for a broken payload or a forbidden value.
    """
    if len(payload) % _ENTRY.size:
        raise ConnectionViolationError(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS length is no multiple of 6")
    changes: dict[str, int | bool] = {}
    for identifier, value in _ENTRY.iter_unpack(payload):
        match identifier:
            case 0x1:  # HEADER_TABLE_SIZE
                changes["header_table_size"] = value
            case 0x2:  # ENABLE_PUSH
                if value > 1 or (value and from_server):
                    raise ConnectionViolationError(ErrorCode.PROTOCOL_ERROR, "bad ENABLE_PUSH")
                changes["enable_push"] = bool(value)
            case 0x3:  # MAX_CONCURRENT_STREAMS
                changes["max_concurrent_streams"] = value
            case 0x4:  # INITIAL_WINDOW_SIZE
                if value > MAX_WINDOW:
                    raise ConnectionViolationError(ErrorCode.FLOW_CONTROL_ERROR, "bad INITIAL_WINDOW_SIZE")
                changes["initial_window_size"] = value
            case 0x5:  # MAX_FRAME_SIZE
                if not MIN_FRAME_SIZE_LIMIT <= value <= MAX_FRAME_SIZE_LIMIT:
                    raise ConnectionViolationError(ErrorCode.PROTOCOL_ERROR, "bad MAX_FRAME_SIZE")
                changes["max_frame_size"] = value
            case 0x6:  # MAX_HEADER_LIST_SIZE
                changes["max_header_list_size"] = value
    return attrs.evolve(before, **changes)  # type: ignore[arg-type]
