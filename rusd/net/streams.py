"""The async face of a stream, and of an answer in parts: what their tasks wait on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import trio
from google.protobuf.message import DecodeError

from rusd.grpc.framing import Payload
from rusd.grpc.server_call import ServerCall, StreamCall
from rusd.signal import Signal

OFFERED_AT_ONCE = 100
"""Messages of one stream that are dealt with in one turn: about a millisecond."""


class StreamRequests:
    """:class:`rusd.grpc.call.Requests` of one call, for one receiving task."""

    __slots__ = ("_call", "_error", "_left", "_take", "_wake")

    def __init__(self, call: StreamCall) -> None:
        self._call = call
        self._wake = Signal()
        self._take: Callable[[Any], bool] | None = None  # of a receive_rest that is waiting
        self._left: Any = None  # the message that it did not take
        self._error: Exception | None = None
        call.on_request = self._came

    async def receive(self) -> Any:
        # Cancelled here, no message is lost; below, one that was taken is handed over in any case.
        await trio.lowlevel.checkpoint_if_cancelled()
        message = self._next()
        if message is not None:
            await trio.lowlevel.cancel_shielded_checkpoint()
            return message
        while message is None:
            await self._wake.wait()
            message = self._next()
        return message

    async def receive_rest(self, take: Callable[[Any], bool]) -> Any:
        await trio.lowlevel.checkpoint_if_cancelled()
        self._take = take
        if self._call.open:
            self._call.on_message = self._came_whole
        try:
            while True:
                if not self._offer():  # one is left, or there are so many that others go first
                    self._wake.set()
                await self._wake.wait()
                if self._decided:
                    return self._next()
        finally:
            self._take = None

    def _next(self) -> Any:
        """The next message, if there is one."""
        if self._error is not None:
            raise self._error
        if self._left is None:
            return self._call.take()
        message, self._left = self._left, None
        return message

    def _came(self) -> None:
        """There may be a message, in a turn of the connection."""
        if self._take is None or not self._offer():
            self._wake.set()

    def _came_whole(self, payload: bytes) -> bool:
        """Offer a message that nothing waits before; whether it was taken."""
        if self._take is None or self._decided:
            return False
        try:
            return self._take(self._call.method.decode(payload))
        except DecodeError:
            return False  # StreamCall.take knows what to say of it
        except Exception as error:
            self._error = error
            return False

    @property
    def _decided(self) -> bool:
        return self._left is not None or self._error is not None

    def _offer(self) -> bool:
        """Offer what has come; whether all of it was taken."""
        if self._decided:
            return False
        assert self._take is not None
        try:
            for _ in range(OFFERED_AT_ONCE):
                message = self._call.take()
                if message is None:
                    return True
                if not self._take(message):
                    self._left = message
                    return False
        except Exception as error:  # for the task: others have their turns after this one
            self._error = error
        return False


class StreamResponses:
    """:class:`rusd.grpc.call.Responses` of one call, for one waiting task."""

    __slots__ = ("_call", "_wake")

    def __init__(self, call: StreamCall) -> None:
        self._call = call
        self._wake: Signal | None = None  # made by the first send that has to wait

    @property
    def writable(self) -> bool:
        return self._call.writable

    def send_nowait(self, payload: bytes) -> None:
        self._call.send(payload)

    def send_many_nowait(self, payloads: Sequence[Payload]) -> None:
        self._call.send_many(payloads)

    def on_writable(self, callback: Callable[[], None]) -> None:
        self._call.on_writable(callback)

    async def send(self, payload: bytes) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        self._call.send(payload)
        if self._call.writable:
            await trio.lowlevel.cancel_shielded_checkpoint()
            return
        if self._wake is None:
            self._wake = Signal()
            self._call.on_writable(self._wake.set)
        while not self._call.writable:
            await self._wake.wait()


class AnswerParts:
    """:class:`rusd.grpc.call.AnswerParts` of one call, for one task."""

    __slots__ = ("_call", "_room")

    def __init__(self, call: ServerCall) -> None:
        self._call = call
        self._room = Signal()

    def begin(self, size: int) -> None:
        self._call.connection.parts.begin(self._call, size, self._room.set)

    async def send(self, part: bytes) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        call = self._call
        if call.connection.parts.send(call, part):
            await trio.lowlevel.cancel_shielded_checkpoint()
            return
        while not call.writable:
            await self._room.wait()
