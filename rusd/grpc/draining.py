"""The way a server's connection ends in peace (RFC 9113 section 6.8).

In two steps, since requests may be on their way: a warning, and once its ping
has come back, the real last stream.  A client that does not answer the ping is
taken at its silence after a while, as grpc-go does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from rusd.grpc.deadlines import Deadline, Deadlines
from rusd.grpc.lingering import Lingering
from rusd.http2 import Connection, ErrorCode

PING_SECONDS: Final = 5.0

_LAST_POSSIBLE_STREAM: Final = 2**31 - 1
_PING: Final = b"rusd-bye"


class Draining:
    """One connection's goodbye.  ``wrote`` is called when there is something to send."""

    def __init__(
        self, http2: Connection, lingering: Lingering, deadlines: Deadlines, wrote: Callable[[], None]
    ) -> None:
        self._http2 = http2
        self._lingering = lingering
        self._deadlines = deadlines
        self._wrote = wrote
        self._started = False
        self._unanswered: Deadline | None = None
        self.refusing = False
        """Whether the client has been told the last stream that counts."""

    def start(self, now: float) -> None:
        """Warn the client at ``now``; nothing if it was warned before."""
        if self._started:
            return
        self._started = True
        self._http2.goaway(ErrorCode.NO_ERROR, last_stream_id=_LAST_POSSIBLE_STREAM)
        self._http2.ping(_PING)
        self._unanswered = self._deadlines.add(now + PING_SECONDS, self._refuse_new)
        self._wrote()

    def on_ping_ack(self, payload: bytes) -> None:
        """The client has answered a ping; maybe this one."""
        if payload == _PING and self._started:
            self._refuse_new()

    def stop(self) -> None:
        """The connection is gone."""
        if self._unanswered is not None:
            self._deadlines.cancel(self._unanswered)
            self._unanswered = None

    def _refuse_new(self) -> None:
        if self.refusing:
            return
        self.refusing = True
        self.stop()
        self._http2.goaway(ErrorCode.NO_ERROR)
        self._lingering.stop_all()
        self._wrote()
