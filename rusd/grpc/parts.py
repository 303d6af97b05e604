"""Answers of unary calls that are sent in parts, as their clients take them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from rusd.grpc.framing import prefix

if TYPE_CHECKING:
    from rusd.grpc.server_call import ServerCall
    from rusd.http2 import Connection


class Parts:
    """The answers of one connection that have begun and not ended."""

    __slots__ = ("_http2", "_on_room")

    def __init__(self, http2: Connection) -> None:
        self._http2 = http2
        self._on_room: dict[int, Callable[[], None]] = {}

    def __contains__(self, stream_id: int) -> bool:
        return stream_id in self._on_room

    def begin(self, call: ServerCall, size: int, on_room: Callable[[], None]) -> None:
        """Begin a good answer of ``size`` bytes; ``on_room`` is called when more parts are welcome."""
        if not call.open:
            return
        self._on_room[call.stream_id] = on_room
        self._http2.send_encoded_headers(call.stream_id, call.block)
        self._http2.send_data(call.stream_id, prefix(size))
        call.connection.wrote()

    def send(self, call: ServerCall, part: bytes) -> bool:
        """Send the next bytes of an answer that was begun.  Whether there is room for more."""
        if not call.open:
            return True
        self._http2.send_data(call.stream_id, part)
        call.connection.held.queued()
        call.connection.wrote()
        return call.writable

    def relieved(self, stream_id: int) -> None:
        """The stream has room again."""
        on_room = self._on_room.get(stream_id)
        if on_room is not None:
            on_room()

    def ended(self, stream_id: int) -> None:
        """The call is over, however it went."""
        on_room = self._on_room.pop(stream_id, None) if self._on_room else None
        if on_room is not None:
            on_room()
