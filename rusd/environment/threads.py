"""Worker threads: where calls go that may block for long, above all syncs of files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

import trio

T = TypeVar("T")

_MOST_THREADS = 16


class Threads(Protocol):
    """Runs blocking calls beside the event loop."""

    async def run(self, function: Callable[..., T], *arguments: object) -> T:
        """Call ``function(*arguments)``, and return or raise what it does.

        A call that has begun always ends: cancellation waits for it.
        """


class WorkerThreads:
    """Trio's threads, in a number that others can't use up."""

    def __init__(self) -> None:
        self._limiter = trio.CapacityLimiter(_MOST_THREADS)

    async def run(self, function: Callable[..., T], *arguments: object) -> T:
        return await trio.to_thread.run_sync(function, *arguments, limiter=self._limiter)
