"""One task that reads for all idle connections of a listener.

A task per connection that waits for its socket costs a system call to register it and a task
switch for each request.  Here sockets stay registered, level-triggered, in an epoll of our own; a single
task waits for that epoll through Trio's (an epoll is itself readable when something in it is) and calls
each ready connection's turn.  The connection's task sleeps meanwhile, and takes over for whatever
is not simply "read, parse, answer".

A client that is alone and sends one request after the other is waited for a little while, awake: falling
asleep and being woken costs as much as the request.  That is given up, for longer and longer, where
nothing comes.

Measured with 16 and with 64 clients of one stream each, the one task gives a fifth to a third more
requests per second; staying awake gives a lone client half as many again.  Only where the system has
epoll, and only for channels whose descriptor tells all: others are waited for by their own task.
"""

from __future__ import annotations

import select
from collections import deque
from collections.abc import Callable
from typing import Protocol

import trio

from rusd.environment import Channel
from rusd.http2.floods import no_time

Turn = Callable[[], bool]
"""Reads and answers without waiting; False if the connection's own task must go on."""


class Around(Protocol):
    """Who wants to know of the turns: what they ask for can be done for all of them together."""

    def begin_turns(self) -> None:
        """Turns are about to be called."""

    def end_turns(self) -> None:
        """Those turns are over.  Must not raise."""


class _Nobody:
    def begin_turns(self) -> None: ...

    def end_turns(self) -> None: ...


_MOST_TURNS = 128
"""Turns between two checkpoints: others, the log's writer first of all, want theirs as well."""

_LONGEST_SECONDS = 0.005
"""After so long no further turn is begun before the next checkpoint."""

_FEW_TURNS = 2
"""After a pass of so few it is worth while to stay awake; of more clients one is always ready."""

_MOST_WAITS = 4
"""Waits awake between two checkpoints."""

_POLLS = 100
"""A wait awake, in looks at the epoll: about 150 microseconds."""

_MOST_FAILURES = 8
"""After so many waits in vain, 2 ** 8 passes go by before the next one."""


class Poller:
    """Registers channels and calls their turns; :meth:`run` must be running."""

    def __init__(self, around: Around | None = None, now: Callable[[], float] = no_time) -> None:
        self._around = around or _Nobody()
        self._now = now
        self._ready: deque[int] = deque()  # descriptors that can be read, in order of turn
        self._attended: dict[int, _Attended] = {}
        self._failures = 0  # waits in vain, one after the other
        self._passes_to_skip = 0  # before the next wait
        self._epoll: select.epoll | None = select.epoll() if hasattr(select, "epoll") else None

    async def run(self) -> None:
        """Call the turns of channels that can be read.  Never returns."""
        epoll = self._epoll
        if epoll is None:
            await trio.sleep_forever()
        try:
            while True:
                await trio.lowlevel.wait_readable(epoll.fileno())
                waits = 0
                while self._call_turns(epoll) and self._wait_awake(epoll):
                    waits += 1
                    if waits % _MOST_WAITS == 0:  # costs half of going to sleep for what is there already
                        await trio.lowlevel.checkpoint()
        finally:
            self._close(epoll)

    def _wait_awake(self, epoll: select.epoll) -> bool:
        """Whether something can be read soon."""
        if self._passes_to_skip:
            self._passes_to_skip -= 1
            return False
        for _ in range(_POLLS):
            if events := epoll.poll(0, _MOST_TURNS):
                self._ready.extend([descriptor for descriptor, _ in events])
                self._failures = 0
                return True
        self._failures = min(self._failures + 1, _MOST_FAILURES)
        self._passes_to_skip = (1 << self._failures) - 1
        return False

    def _call_turns(self, epoll: select.epoll) -> bool:
        """Call the turns of all that can be read; whether so few that one may stay awake."""
        attended, ready, now = self._attended, self._ready, self._now
        turns = 0
        self._around.begin_turns()
        end = now() + _LONGEST_SECONDS
        while turns < _MOST_TURNS and (not turns or now() < end):
            if not ready:
                # Again and again, for what has come meanwhile: the more there is, the less a sync costs
                # each.  What is left over goes first next time; the epoll would begin anew.
                ready.extend([descriptor for descriptor, _ in epoll.poll(0, _MOST_TURNS)])
                if not ready:
                    break
            turns += 1
            descriptor = ready.popleft()
            # Not there: somebody has closed it meanwhile.  One opened since under the same number has
            # nothing to read, or has, and does no wrong in looking.
            entry = attended.get(descriptor)
            if entry is not None and not entry.turn() and attended.get(descriptor) is entry:
                self._dismiss(descriptor)
        idle = turns <= _FEW_TURNS and now() < end
        self._around.end_turns()
        return idle

    async def attend(self, channel: Channel, turn: Turn) -> bool:
        """Call ``turn`` whenever ``channel`` can be read, until it says False.

        Returns whether this was possible: if not, ``turn`` has not been called, and the caller
        must wait by itself.  :meth:`forget` the channel before it is closed.
        """
        descriptor = channel.fileno()
        if self._epoll is None or self._epoll.closed or descriptor < 0:
            return False
        self._epoll.register(descriptor, select.EPOLLIN)
        self._attended[descriptor] = _Attended(turn, trio.lowlevel.current_task())

        def abort(_: object) -> trio.lowlevel.Abort:
            self._remove(descriptor)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)
        return True

    def forget(self, channel: Channel) -> None:
        """``channel`` is about to be closed: its task goes on at once.  Harmless if it is not attended."""
        if channel.fileno() in self._attended:
            self._dismiss(channel.fileno())

    def _dismiss(self, descriptor: int) -> None:
        trio.lowlevel.reschedule(self._remove(descriptor).task)

    def _remove(self, descriptor: int) -> _Attended:
        if self._epoll is not None:
            self._epoll.unregister(descriptor)
        return self._attended.pop(descriptor)

    def _close(self, epoll: select.epoll) -> None:
        """From now on every channel is waited for by its own task."""
        for descriptor in list(self._attended):
            self._dismiss(descriptor)
        trio.lowlevel.notify_closing(epoll.fileno())
        epoll.close()


class _Attended:
    """A registered channel."""

    __slots__ = ("task", "turn")

    def __init__(self, turn: Turn, task: trio.lowlevel.Task) -> None:
        self.turn = turn
        self.task = task
