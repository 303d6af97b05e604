"""A wake-up for one task: set as often as you like, taken once.

Like an event that resets itself.  What Trio offers for this costs an object a
wait; connections, streams and the replica's loops wait all the time.
"""

from __future__ import annotations

import trio


class Signal:
    """A flag that one task waits for and clears; a :meth:`set` between two waits is never lost.

    The waiting task must look for itself what has changed: what is set before the
    task runs melts into one, and may have been meant for something it has seen already.
    """

    __slots__ = ("_set", "_task")

    def __init__(self) -> None:
        self._set = False
        self._task: trio.lowlevel.Task | None = None

    def set(self) -> None:
        """Wake the waiting task, or the next one that waits."""
        self._set = True
        if self._task is not None:
            task, self._task = self._task, None
            trio.lowlevel.reschedule(task)

    async def wait(self) -> None:
        """Return once the flag is set, and clear it.  Always a checkpoint.

        Raises :class:`trio.BusyResourceError` if another task is waiting.
        """
        if self._set:
            await trio.lowlevel.checkpoint()
        else:
            if self._task is not None:
                raise trio.BusyResourceError("another task is waiting already")
            self._task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._forget)
        self._set = False

    def _forget(self, _: object) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED
