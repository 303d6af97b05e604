"""What a waiter was told, for a task that waits for it."""

from __future__ import annotations

import trio


class Outcome:
    """Give :meth:`settle` as the waiter, then :meth:`wait`."""

    def __init__(self) -> None:
        self._done = trio.Event()
        self._result: object = None
        self._error: Exception | None = None

    def settle(self, result: object, error: Exception | None) -> None:
        """Be the waiter."""
        self._result, self._error = result, error
        self._done.set()

    async def wait(self) -> object:
        """The result, once it is there; raises the error if it is one."""
        await self._done.wait()
        if self._error is not None:
            try:
                raise self._error
            finally:
                self._error = None  # its traceback has this frame: a cycle
        return self._result
