"""How much work for nothing a peer may make (RFC 9113 §10.5), judged by a clock that is lent.

Two kinds of nuisance are counted: *idle frames*, which bring neither content nor a request, and
*spoilt streams*, which the peer broke off or made us break off before they were answered.  Both
happen in honest traffic too, so a count is judged only together with the time it took: passing a limit
within :attr:`~rusd.http2.events.Limits.period_seconds` is a flood.

An honest peer's idle frames (window updates, mostly) go with what it is sent, so what was sent since
the count began is set against them.  The clock is read only when a limit is reached, which in honest
traffic is next to never: a frame costs one addition.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from rusd.http2.errors import ConnectionViolationError, ErrorCode
from rusd.http2.events import Limits

SENT_PER_IDLE_FRAME: Final = 16
"""Octets of content that pay for one idle frame of the one who reads them; see ``Sending.sent``."""


STREAMS_PER_IDLE_FRAME: Final = 64
"""Streams whose windows a SETTINGS frame moves that are as much work as one idle frame more."""

OVERSIZED_WEIGHT: Final = 10
"""A header list over the limit is as much work as so many streams that are reset."""


class Floods:
    """The counts of one connection.  Its methods raise :class:`ConnectionViolationError`."""

    __slots__ = ("_idle_since", "_limits", "_now", "_sent_before", "_spoilt_since", "idle", "spoilt")

    def __init__(self, limits: Limits, now: Callable[[], float]) -> None:
        self._limits = limits
        self._now = now
        self._idle_since = self._spoilt_since = now()
        self._sent_before = 0
        self.idle = 0
        """Idle frames, since they were last judged harmless."""
        self.spoilt = 0
        """Spoilt streams, likewise; each stream that ends well takes one off."""

    def count_idle(self, sent: int, weight: int = 1) -> None:
        """The peer has sent an idle frame, worth ``weight``; ``sent`` is what it was sent so far."""
        self.idle += weight
        if self.idle <= self._limits.idle_frames:
            return
        now = self._now()
        if now - self._idle_since >= self._limits.period_seconds:
            self._idle_since = now
            self._sent_before = sent
            self.idle = 0
        elif self.idle > self._limits.idle_frames + (sent - self._sent_before) // SENT_PER_IDLE_FRAME:
            raise ConnectionViolationError(ErrorCode.ENHANCE_YOUR_CALM, "too many frames that bring nothing")

    def count_spoilt(self, weight: int = 1) -> None:
        """A stream came to nothing through the peer's doing (rapid reset and its kin)."""
        self.spoilt += weight
        if self.spoilt <= self._limits.spoilt_streams:
            return
        now = self._now()
        if now - self._spoilt_since < self._limits.period_seconds:
            raise ConnectionViolationError(ErrorCode.ENHANCE_YOUR_CALM, "too many streams reset")
        self._spoilt_since = now
        self.spoilt = 0


def no_time() -> float:
    """A clock that stands still: limits then hold for a connection's whole life."""
    return 0.0
