"""Threads that are none: blocking calls made in the event loop, after a while."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import trio

T = TypeVar("T")


class InlineThreads:
    """A :class:`~rusd.environment.Threads` for mock clocks, which take a thread at work for idleness.

    ``seconds()`` says how long each call takes, in Trio's time; it happens at the end of that.  Like a
    call in a thread it can't be cancelled any more once it has begun.
    """

    def __init__(self, seconds: Callable[[], float] = lambda: 0.0) -> None:
        self._seconds = seconds

    async def run(self, function: Callable[..., T], *arguments: object) -> T:
        await trio.lowlevel.checkpoint()
        with trio.CancelScope(shield=True):
            await trio.sleep(self._seconds())
        return function(*arguments)
