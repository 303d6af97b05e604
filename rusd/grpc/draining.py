"""The way a server's connection ends in peace (RFC 9113 section 6.8).

In two steps, since requests may be on their way: a warning, and once its ping
has come back, the real last stream.  A client that does not answer the ping is
taken at its silence after a while, as grpc-go does.

Who closes a connection on which something has yet to be read, or is yet to come, may take the end of an
answer back (a TCP reset overtakes it).  So after the last answer another ping is sent, and waited for.
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
        self._sent = 0  # before the last ping
        self._read = -1  # how much of that the client has read, as far as we know
        self.refusing = False
        """Whether the client has been told the last stream that counts."""

    def start(self, now: float) -> None:
        """Warn the client at ``now``; nothing if it was warned before."""
        if self._started:
            return
        self._started = True
        self._http2.goaway(ErrorCode.NO_ERROR, last_stream_id=_LAST_POSSIBLE_STREAM)
        self._ask(now)

    def on_ping_ack(self, payload: bytes) -> None:
        """The client has answered a ping; maybe this one."""
        if payload == _PING and self._unanswered is not None:
            self._on_answer()

    def has_been_read(self, now: float) -> bool:
        """Whether the client has read all that it was sent; asks it, at ``now``, if that is not known."""
        if self._read == self._http2.sent:
            return True
        if self._unanswered is None:
            self._ask(now)
        return False

    def stop(self) -> None:
        """The connection is gone."""
        if self._unanswered is not None:
            self._deadlines.cancel(self._unanswered)
            self._unanswered = None

    def _ask(self, now: float) -> None:
        self._sent = self._http2.sent
        self._http2.ping(_PING)
        self._unanswered = self._deadlines.add(now + PING_SECONDS, self._on_answer)
        self._wrote()

    def _on_answer(self) -> None:
        """The client has read what was sent before the ping, or says nothing."""
        self.stop()
        self._read = self._sent
        if not self.refusing:
            self.refusing = True
            self._http2.goaway(ErrorCode.NO_ERROR)
            self._lingering.stop_all()
        self._wrote()
