"""Time-outs of one HTTP/2 connection: what a peer must do by when, and whether it is still there.

=====================  =====================================================================
opening                its first SETTINGS frame, within ``opening_timeout``
settings               its acknowledgement of ours, within ``settings_timeout`` (RFC 9113 §6.5.3)
unfinished frames      a frame or header block, once begun, complete within ``frame_timeout``
keepalive              some byte every ``keepalive_interval``, or the answer to a ping that then
                       goes out, within ``keepalive_timeout``; as grpc-go's server does it
=====================  =====================================================================

A connection costs one entry among the server's deadlines, and one addition a turn: how long a peer has
been quiet is seen by looking at a counter now and then, so it is known to a quarter of the interval.
Time during which this process itself stood still is not held against the peer.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

from rusd.environment import Clock
from rusd.grpc.deadlines import Deadline, Deadlines
from rusd.http2 import Connection, ErrorCode
from rusd.net.limits import Limits

_PING = b"rusd-kal"
_LOOKS_PER_INTERVAL = 4
_LOOKS_PER_FRAME = 2
_LATE_SECONDS = 1.0
"""A deadline that fires later than this says that nothing ran for a while, reading neither."""


class Traffic(Protocol):
    """What is asked of the link."""

    @property
    def turns(self) -> int:
        """How many times something was read from the peer."""

    @property
    def paused(self) -> bool:
        """Whether nothing is read at the moment, because the peer takes no answers."""


class Watchdog:
    """Watches one connection from :meth:`start` to :meth:`stop`.

    ``wrote`` is called when there is something to send.  ``end(code, reason)`` says goodbye and closes,
    ``give_up(reason)`` closes at once, where nobody is there to hear a goodbye.
    """

    def __init__(
        self,
        http2: Connection,
        traffic: Traffic,
        *,
        clock: Clock,
        deadlines: Deadlines,
        limits: Limits,
        wrote: Callable[[], None],
        end: Callable[[ErrorCode, str], None],
        give_up: Callable[[str], None],
    ) -> None:
        self._http2 = http2
        self._traffic = traffic
        self._clock = clock
        self._deadlines = deadlines
        self._limits = limits
        self._wrote = wrote
        self._end = end
        self._give_up = give_up
        self._entries: dict[str, Deadline] = {}
        self._unfinished = 0  # the frame that was incomplete at the last look
        self._looks_unfinished = 0
        self._turns = 0  # at the last look
        self._turns_before_ping = 0
        self._quiet_since = 0.0
        interval, timeout = limits.keepalive_interval, limits.keepalive_timeout
        self._pinging = interval > 0 and timeout > 0
        self._pause = limits.frame_timeout / _LOOKS_PER_FRAME
        if self._pinging:
            self._pause = min(self._pause, interval / _LOOKS_PER_INTERVAL)
        self._looks_per_frame = math.ceil(limits.frame_timeout / self._pause)

    def start(self) -> None:
        """The connection begins."""
        self._quiet_since = self._clock.monotonic()
        self._schedule("opening", self._limits.opening_timeout, self._check_opening)
        self._schedule("look", self._pause, self._look)

    def stop(self) -> None:
        """The connection is over: nothing is called any more."""
        for entry in self._entries.values():
            self._deadlines.cancel(entry)
        self._entries.clear()

    def _schedule(self, name: str, seconds: float, action: Callable[[], None]) -> None:
        self._entries[name] = self._deadlines.add(self._clock.monotonic() + seconds, action)

    # -- the beginning ------------------------------------------------------------------

    def _check_opening(self) -> None:
        if not self._http2.opened:
            self._end(ErrorCode.SETTINGS_TIMEOUT, "no SETTINGS frame in time")
            return
        self._schedule("opening", self._limits.settings_timeout, self._check_settings)

    def _check_settings(self) -> None:
        if self._http2.settings_acknowledged:
            return
        if self._traffic.paused:  # it may be there, unread
            self._schedule("opening", self._limits.settings_timeout, self._check_settings)
        else:
            self._end(ErrorCode.SETTINGS_TIMEOUT, "SETTINGS not acknowledged in time")

    # -- looking now and then ---------------------------------------------------------------

    def _look(self) -> None:
        if self._http2.closed:
            return
        if self._is_stuck():
            self._end(ErrorCode.ENHANCE_YOUR_CALM, "frame not complete in time")
            return
        if self._pinging:
            self._look_for_life()
        self._schedule("look", self._pause, self._look)

    def _is_stuck(self) -> bool:
        """Whether one frame has been incomplete for as long as it may; looks, not seconds, are counted."""
        unfinished = self._http2.unfinished
        if not unfinished or unfinished != self._unfinished or self._traffic.paused:
            self._unfinished = unfinished
            self._looks_unfinished = 0
            return False
        self._looks_unfinished += 1
        return self._looks_unfinished >= self._looks_per_frame

    def _look_for_life(self) -> None:
        now = self._clock.monotonic()
        if self._traffic.turns != self._turns:
            self._turns = self._traffic.turns
            self._quiet_since = now
        elif now - self._quiet_since >= self._limits.keepalive_interval and "ping" not in self._entries:
            self._turns_before_ping = self._turns
            self._http2.ping(_PING)
            self._wrote()
            self._await_answer()

    def _await_answer(self) -> None:
        self._schedule("ping", self._limits.keepalive_timeout, self._check_answer)

    def _check_answer(self) -> None:
        entry = self._entries.pop("ping")
        if self._traffic.turns != self._turns_before_ping:
            return
        if self._traffic.paused or self._clock.monotonic() - entry.at > _LATE_SECONDS:
            self._await_answer()  # it may be there, unread
            return
        self._give_up(f"keepalive ping not acked within timeout {self._limits.keepalive_timeout:g}s")
