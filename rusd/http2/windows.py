"""Flow-control arithmetic (RFC 9113 §5.2 and §6.9), the same for a stream and the connection.

A *send window* is what the peer still lets us send; the peer's settings may make it
negative (§6.9.2).  A *receive window* is what we still let the peer send.  Bytes
that were received pass through three stages until the peer may send as many again:

    delivered      handed to the receiver, which has not consumed them
    returned       consumed, but not yet announced
    (announced)    part of the receive window again, by a WINDOW_UPDATE

WINDOW_UPDATEs are batched: one is due when half of the window has been returned.
"""

from __future__ import annotations

from typing import Final

DEFAULT_WINDOW: Final = 65_535
MAX_WINDOW: Final = 0x7FFF_FFFF


class FlowControl:
    """Both windows of a stream, or of the connection.  All figures are bytes.

    Debiting is done by the frame handlers in place: it happens on every DATA frame.
    """

    __slots__ = ("delivered", "receive_limit", "receive_window", "returned", "send_window")

    def __init__(self, send_window: int, receive_window: int) -> None:
        self.send_window = send_window
        self.receive_window = receive_window
        self.receive_limit = receive_window
        self.delivered = 0
        self.returned = 0

    def widen_send_window(self, increment: int) -> bool:
        """Take a WINDOW_UPDATE in; False if the window would pass 2**31 - 1 (§6.9.1)."""
        window = self.send_window + increment
        if window > MAX_WINDOW:
            return False
        self.send_window = window
        return True

    def consume(self, length: int) -> int:
        """``length`` delivered bytes were consumed; returns the WINDOW_UPDATE now due, or 0.

        Raises :class:`ValueError` if more is consumed than was delivered.
        """
        if not 0 <= length <= self.delivered:
            raise ValueError(f"{length} bytes consumed of {self.delivered} delivered")
        self.delivered -= length
        returned = self.returned + length
        if returned * 2 < self.receive_limit or not returned:
            self.returned = returned
            return 0
        self.returned = 0
        self.receive_window += returned
        return returned

    def resize_receive_window(self, limit: int) -> None:
        """The peer has taken over our new INITIAL_WINDOW_SIZE ``limit`` (§6.9.2)."""
        self.receive_window += limit - self.receive_limit
        self.receive_limit = limit

    def check(self) -> None:
        """Verify the invariants."""
        assert self.send_window <= MAX_WINDOW
        assert self.delivered >= 0
        assert self.returned >= 0
        assert self.receive_window + self.delivered + self.returned == self.receive_limit
