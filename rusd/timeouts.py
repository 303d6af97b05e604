"""Waiting no longer than until a moment of the environment's clock, which may not be Trio's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import trio

if TYPE_CHECKING:
    from rusd.environment import Clock

T = TypeVar("T")


async def finish_by(clock: Clock, deadline: float, work: Callable[[], Awaitable[T]]) -> T:
    """The result of ``await work()``.  Raises :class:`trio.TooSlowError` if ``deadline`` comes first.

    ``deadline`` is in seconds of ``clock.monotonic()``.  What ``work`` raises comes through as it is.
    """
    outcome: list[T] = []
    failure: list[Exception] = []

    async def run() -> None:
        try:
            outcome.append(await work())
        except Exception as error:
            failure.append(error)
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await clock.sleep_until(deadline)
        nursery.cancel_scope.cancel()
    if failure:
        raise failure[0]
    if not outcome:
        raise trio.TooSlowError
    return outcome[0]
