"""The network side of :mod:`tests.fuzz.call_server`: notes what it is asked for, sends long answers."""

from __future__ import annotations

from typing import Any

from rusd.grpc import LongAnswer, StatusError
from rusd.grpc.budget import Budget
from rusd.grpc.server import ServerConnection
from rusd.grpc.server_call import ServerCall, StreamCall
from rusd.http2 import ErrorCode
from tests.fuzz.long import pause


class Host:
    """What the network side would be: notes what it is asked for.  ``budget`` is in bytes."""

    engine: ServerConnection

    def __init__(self, budget: int) -> None:
        self.now = 100.0
        self.started: list[ServerCall] = []
        self.senders: list[Sender] = []
        self.crashed_calls = 0
        self.wrote_count = 0
        self.ended: ErrorCode | None = None
        self.cancelled: dict[int, int] = {}
        self.done: set[int] = set()  # calls that their handler has ended itself
        self._budget = Budget(budget)
        self._budget.report(_Neighbour(), 1)

    def monotonic(self) -> float:
        return self.now

    def start(self, call: ServerCall) -> None:
        assert call not in self.started, "started twice"
        assert call.open
        assert isinstance(call, StreamCall) or call.request is not None
        self.started.append(call)
        self.cancelled[id(call)] = 0

        def on_cancelled() -> None:
            self.cancelled[id(call)] += 1
            assert self.cancelled[id(call)] == 1, "cancelled twice"
            assert not call.open

        call.on_cancelled = on_cancelled

    def start_long(self, call: ServerCall, answer: LongAnswer) -> None:
        assert all(sender.call is not call for sender in self.senders), "answered twice"
        self.senders.append(Sender(call, answer))

    def wrote(self) -> None:
        self.wrote_count += 1

    def grew(self) -> None:
        self._budget.report(self, self.weigh())
        self._budget.check()

    def weigh(self) -> int:
        weight = self.engine.held.weigh()
        assert weight >= 0, "less than nothing is held"
        return weight

    def largest(self) -> int:
        return self.engine.http2.largest_queue()

    def evict(self) -> None:
        self.end(ErrorCode.ENHANCE_YOUR_CALM, "too much is held")

    def end(self, code: ErrorCode, reason: str) -> None:
        self.ended = code
        self.engine.http2.goaway(code, reason.encode())
        self.engine.lost()
        self.wrote()

    def crashed(self, call: ServerCall, error: Exception) -> None:
        assert isinstance(error, (HandlerError, TypeError)), repr(error)
        self.crashed_calls += 1


class _Neighbour:
    """Another connection, which holds next to nothing: who is alone may have one answer of any size."""

    def weigh(self) -> int:
        return 1

    def largest(self) -> int:
        return 0

    def evict(self) -> None:
        raise AssertionError("the wrong one is sent away")


class Sender:
    """The task that sends a long answer, as the network side has it, driven by hand."""

    def __init__(self, call: ServerCall, answer: LongAnswer) -> None:
        self.call = call
        self.over = False
        self._answer = answer
        self._coroutine: Any = None
        self._waits = False
        self._room = False
        self._steps = False  # at this moment

    def step(self) -> None:
        """Go on, if there is something to go on with."""
        call, engine = self.call, self.call.connection
        if self._coroutine is None and not self.over:
            if call.cancelled:
                self.over = True
                return
            call.on_cancelled = self._cancel
            self._coroutine = self._answer.send(self)
        if self.over:
            return
        try:
            self._steps = True
            self._coroutine.send(None)
            self._steps = False
            if call.cancelled:  # by what it did itself: as in Trio, that comes at the next wait
                self._coroutine.close()
        except StopIteration:
            self.over = True
            engine.finish(call)
        except StatusError as error:
            self.over = True
            engine.fail(call, error)
        except HandlerError as error:
            self.over = True
            engine.crash(call, error)

    def check(self) -> None:
        """Who waits for room is told of it."""
        if self._waits and not self.over:
            assert self._room or not self.call.writable, "nobody was told of room"

    def begin(self, size: int) -> None:
        self.call.connection.parts.begin(self.call, size, self._on_room)

    async def send(self, part: bytes) -> None:
        engine = self.call.connection
        if engine.parts.send(self.call, part):
            await pause()
            return
        self._waits = True
        while not self.call.writable:
            while not self._room:
                await pause()
            self._room = False
        self._waits = False

    def _on_room(self) -> None:
        self._room = True

    def _cancel(self) -> None:
        assert not self.over, "cancelled after its end"
        self.over = True
        if not self._steps:
            self._coroutine.close()


class HandlerError(Exception):
    """What a handler raises by mistake."""
