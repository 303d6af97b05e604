"""How often a client may ping: gRPC's keepalive enforcement, as grpc-go's server has it.

The rules are those of gRPC's proposal A8 and of grpc-go's transport, whose clients are tuned to them: a
ping that comes too early is a strike, more than two strikes end the connection, and whatever of a
message is sent to the client wipes them out.  No clock here: the caller says what time it is.
"""

from __future__ import annotations

import math
from typing import Final

TOO_MANY_PINGS: Final = "too_many_pings"
"""GOAWAY's debug data: by it, a gRPC client knows that it must ping less often."""

MAX_STRIKES: Final = 2
DEFAULT_MIN_TIME: Final = 300.0
"""Seconds; holds where etcd is given none (a min-time of 0)."""

WITHOUT_STREAMS_SECONDS: Final = 7200.0
"""A client without open calls has no business to ping more often than TCP itself would."""


class PingPolicy:
    """Judges the pings of one client.  ``min_time`` (seconds) is etcd's ``grpc-keepalive-min-time``."""

    __slots__ = ("_last_at", "_min_time", "_sent", "_strikes")

    def __init__(self, min_time: float) -> None:
        self._min_time = min_time if min_time > 0 else DEFAULT_MIN_TIME
        self._last_at = -math.inf
        self._sent = 0
        self._strikes = 0

    def is_one_too_many(self, now: float, open_streams: int, sent: int) -> bool:
        """The client pings at ``now``; ``sent`` grows with all that is sent to it of messages."""
        last_at, self._last_at = self._last_at, now
        if sent != self._sent:
            self._sent = sent
            self._strikes = 0
            return False
        shortest = self._min_time if open_streams else WITHOUT_STREAMS_SECONDS
        if now - last_at < shortest:
            self._strikes += 1
        return self._strikes > MAX_STRIKES
