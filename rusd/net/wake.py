"""A bell for one task: anybody rings it, the task comes as soon as it can.

Like an event that resets itself.  What Trio offers for this costs an object a
wait; connections and streams wait all the time.
"""

from __future__ import annotations

import trio


class Wake:
    """One task waits; a ring while nobody waits is remembered.

    The waiting task must look for itself what has changed: rings melt into one,
    and one may have been meant for something it has seen already.
    """

    __slots__ = ("_rung", "_task")

    def __init__(self) -> None:
        self._rung = False
        self._task: trio.lowlevel.Task | None = None

    def ring(self) -> None:
        """Wake the task."""
        if self._task is None:
            self._rung = True
            return
        task, self._task = self._task, None
        trio.lowlevel.reschedule(task)

    async def wait(self) -> None:
        """Return once rung; a checkpoint."""
        if self._rung:
            await trio.lowlevel.checkpoint()
            self._rung = False
            return
        if self._task is not None:
            raise trio.BusyResourceError("another task is waiting already")
        self._task = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._forget)

    def _forget(self, _: object) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED
