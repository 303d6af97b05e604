"""The async face of a stream, and of an answer in parts: what their tasks wait on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import trio

from rusd.grpc.framing import Payload
from rusd.grpc.server_call import ServerCall, StreamCall
from rusd.signal import Signal


class StreamRequests:
    """:class:`rusd.grpc.call.Requests` of one call, for one receiving task."""

    __slots__ = ("_call", "_wake")

    def __init__(self, call: StreamCall) -> None:
        self._call = call
        self._wake = Signal()
        call.on_request = self._wake.set

    async def receive(self) -> Any:
        # Cancelled here, no message is lost; below, one that was taken is handed over in any case.
        await trio.lowlevel.checkpoint_if_cancelled()
        message = self._call.take()
        if message is not None:
            await trio.lowlevel.cancel_shielded_checkpoint()
            return message
        while message is None:
            await self._wake.wait()
            message = self._call.take()
        return message


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
