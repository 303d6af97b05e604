"""One send for each connection that something was written to outside its own turn.

The replica settles many calls at once, of many connections; a watch stream's
task writes when there is news.  Each connection written to is marked, and is
sent from once, when whoever wrote says :meth:`Flusher.flush`.  A writer that
never says so is covered too: a task in :meth:`Flusher.run` is woken by the
first mark and flushes what is left when its turn comes, in the same pass of the
scheduler or the next; one that ends with marks left hands them to another.  So
no mark is forgotten while such a task runs, except by one who says
:meth:`Flusher.expect` and breaks its promise: those wait for the next flush.
"""

from __future__ import annotations

from typing import Protocol

import trio


class Dirty(Protocol):
    """Something with bytes to send."""

    def flush(self) -> None:
        """Send what can be sent.  Deals with its own errors."""


class Flusher:
    """The set of marked connections; one for all listeners of a server."""

    def __init__(self) -> None:
        self._dirty: dict[Dirty, None] = {}
        self._parked: list[trio.lowlevel.Task] = []
        self._expected = False

    def expect(self) -> None:
        """The caller writes much now and calls :meth:`flush` in the same turn: nobody need be woken.

        From here until that flush, no mark wakes anybody.
        """
        self._expected = True

    def mark(self, connection: Dirty) -> None:
        """``connection`` has something to send."""
        if not self._dirty and self._parked and not self._expected:
            trio.lowlevel.reschedule(self._parked.pop())
        self._dirty[connection] = None

    def flush(self) -> None:
        """Send what all marked connections have, one send each."""
        self._expected = False
        while self._dirty:  # sending may wake streams that write more
            dirty, self._dirty = self._dirty, {}
            for connection in dirty:
                connection.flush()

    async def run(self) -> None:
        """Flush what others forget to; never returns.

        Each server runs one of these, and any of them serves all.
        """
        try:
            while True:
                if self._dirty:
                    await trio.lowlevel.checkpoint()
                else:
                    await self._park()
                self.flush()
        finally:
            if self._dirty and self._parked:  # cancelled before its turn: another one's turn then
                trio.lowlevel.reschedule(self._parked.pop())

    async def _park(self) -> None:
        """Wait to be woken by a mark."""
        task = trio.lowlevel.current_task()
        self._parked.append(task)

        def abort(_: object) -> trio.lowlevel.Abort:
            self._parked.remove(task)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)
