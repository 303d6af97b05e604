"""Long answers, driven by hand and without Trio: a step at a time, between which anything may happen."""

from __future__ import annotations

import types
from collections.abc import Awaitable, Callable, Generator, MutableSet
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

import trio

from rusd import longwork
from rusd.grpc import LongAnswer, StatusError
from rusd.longwork import LongWork
from rusd.steps import Steps, Turn

T = TypeVar("T")


@types.coroutine
def pause() -> Generator[None, None, None]:
    """Give way to whoever drives the coroutine."""
    yield


class HandWork(LongWork):
    """The place for long work where there are no tasks: each wait is a :func:`pause`."""

    def turn(self) -> AbstractAsyncContextManager[None]:
        return _Place()

    async def run(self, steps: Steps[T], turn: Turn) -> T:
        try:
            while True:
                await pause()
                turn.left = longwork.TURN_RECORDS
                try:
                    next(steps)
                except StopIteration as stop:
                    return stop.value  # type: ignore[no-any-return]
        finally:
            steps.close()

    def discard(self, collection: list[Any] | dict[Any, Any] | MutableSet[Any]) -> None:
        collection.clear()  # at once: whoever still uses it is found out


class _Place(AbstractAsyncContextManager[None]):
    async def __aenter__(self) -> None:
        await pause()

    async def __aexit__(self, *_exception: object) -> None:
        pass


class Parts:
    """Takes the parts of an answer; ``wait`` is what a send waits for."""

    def __init__(self, wait: Callable[[], Awaitable[None]]) -> None:
        self._wait = wait
        self.size: int | None = None
        self.data = b""

    def begin(self, size: int) -> None:
        assert self.size is None, "begun twice"
        self.size = size

    async def send(self, part: bytes) -> None:
        assert self.size is not None, "a part before the beginning"
        self.data += part
        assert len(self.data) <= self.size, "more than was announced"
        await self._wait()

    def whole(self) -> bytes:
        """All of it, once the answer says that it is."""
        assert self.size == len(self.data), "less than was announced"
        return self.data


class LongJob:
    """A long answer under way.  ``done`` gets its bytes, or ``failed`` its error."""

    def __init__(
        self, answer: LongAnswer, done: Callable[[bytes], object], failed: Callable[[StatusError], object]
    ) -> None:
        self._parts = Parts(pause)
        self._coroutine: Any = answer.send(self._parts)
        self._done = done
        self._failed = failed

    def step(self) -> bool:
        """Go on to the next pause; whether that was all."""
        try:
            self._coroutine.send(None)
        except StopIteration:
            self._done(self._parts.whole())
        except StatusError as error:
            assert self._parts.size is None, "failed although it had begun"
            self._failed(error)
        else:
            return False
        return True

    def cancel(self) -> None:
        """Nobody waits for it any more."""
        self._coroutine.close()


async def send_whole(answer: LongAnswer) -> bytes:
    """The same in Trio, in one go."""
    parts = Parts(trio.lowlevel.checkpoint)
    await answer.send(parts)
    return parts.whole()
