"""The life of a stream: RFC 9113 §5.1 as a table (state, input) -> state.

Server push is never enabled, so the two *reserved* states can't occur.  What the
table doesn't list is illegal; what follows from that depends on the input and is
said where the table is asked.
"""

from __future__ import annotations

from collections import deque
from enum import Enum, IntEnum
from typing import Final

from rusd.http2.windows import FlowControl


class State(IntEnum):
    """Where a stream stands.  *Local* and *remote* name the side that has ended sending."""

    IDLE = 0
    OPEN = 1
    HALF_CLOSED_LOCAL = 2
    HALF_CLOSED_REMOTE = 3
    CLOSED = 4


class Input(IntEnum):
    """What happens to a stream.

    An input with END_STREAM is the number after the one without, so that a frame's
    END_STREAM flag (1) can be added.
    """

    RECEIVE_HEADERS = 0
    RECEIVE_HEADERS_END = 1
    RECEIVE_DATA = 2
    RECEIVE_DATA_END = 3
    SEND_HEADERS = 4
    SEND_HEADERS_END = 5
    SEND_DATA = 6
    SEND_DATA_END = 7
    RECEIVE_RESET = 8
    SEND_RESET = 9


TRANSITIONS: Final[dict[tuple[State, Input], State]] = {
    # A first HEADERS frame opens the stream.
    (State.IDLE, Input.RECEIVE_HEADERS): State.OPEN,
    (State.IDLE, Input.RECEIVE_HEADERS_END): State.HALF_CLOSED_REMOTE,
    (State.IDLE, Input.SEND_HEADERS): State.OPEN,
    (State.IDLE, Input.SEND_HEADERS_END): State.HALF_CLOSED_LOCAL,
    # Open: both sides may send, and end sending.
    (State.OPEN, Input.RECEIVE_HEADERS): State.OPEN,
    (State.OPEN, Input.RECEIVE_HEADERS_END): State.HALF_CLOSED_REMOTE,
    (State.OPEN, Input.RECEIVE_DATA): State.OPEN,
    (State.OPEN, Input.RECEIVE_DATA_END): State.HALF_CLOSED_REMOTE,
    (State.OPEN, Input.SEND_HEADERS): State.OPEN,
    (State.OPEN, Input.SEND_HEADERS_END): State.HALF_CLOSED_LOCAL,
    (State.OPEN, Input.SEND_DATA): State.OPEN,
    (State.OPEN, Input.SEND_DATA_END): State.HALF_CLOSED_LOCAL,
    (State.OPEN, Input.RECEIVE_RESET): State.CLOSED,
    (State.OPEN, Input.SEND_RESET): State.CLOSED,
    # We have ended sending, the peer has not.
    (State.HALF_CLOSED_LOCAL, Input.RECEIVE_HEADERS): State.HALF_CLOSED_LOCAL,
    (State.HALF_CLOSED_LOCAL, Input.RECEIVE_HEADERS_END): State.CLOSED,
    (State.HALF_CLOSED_LOCAL, Input.RECEIVE_DATA): State.HALF_CLOSED_LOCAL,
    (State.HALF_CLOSED_LOCAL, Input.RECEIVE_DATA_END): State.CLOSED,
    (State.HALF_CLOSED_LOCAL, Input.RECEIVE_RESET): State.CLOSED,
    (State.HALF_CLOSED_LOCAL, Input.SEND_RESET): State.CLOSED,
    # The peer has ended sending, we have not.
    (State.HALF_CLOSED_REMOTE, Input.SEND_HEADERS): State.HALF_CLOSED_REMOTE,
    (State.HALF_CLOSED_REMOTE, Input.SEND_HEADERS_END): State.CLOSED,
    (State.HALF_CLOSED_REMOTE, Input.SEND_DATA): State.HALF_CLOSED_REMOTE,
    (State.HALF_CLOSED_REMOTE, Input.SEND_DATA_END): State.CLOSED,
    (State.HALF_CLOSED_REMOTE, Input.RECEIVE_RESET): State.CLOSED,
    (State.HALF_CLOSED_REMOTE, Input.SEND_RESET): State.CLOSED,
}

NEXT: Final[tuple[tuple[State | None, ...], ...]] = tuple(
    tuple(TRANSITIONS.get((state, event)) for event in Input) for state in State
)
"""The same table as ``NEXT[state][input]``, None where illegal: it is asked on every frame."""

Queued = tuple[bool, bytes | memoryview, bool]
"""What waits for window: (is a header block, payload, END_STREAM)."""


class Stream(FlowControl):
    """One stream that is not yet closed."""

    __slots__ = (
        "announced_length",
        "answered",
        "congested",
        "got_headers",
        "id",
        "queue",
        "queued",
        "state",
    )

    def __init__(self, stream_id: int, state: State, send_window: int, receive_window: int) -> None:
        # FlowControl.__init__ written out: this runs once per request, a super() call is 0.1 µs.
        self.send_window = send_window
        self.receive_window = self.receive_limit = receive_window
        self.delivered = self.returned = 0
        self.id = stream_id
        self.state = state
        self.got_headers = False  # the peer's request, or final response, has arrived
        self.answered = False  # we have sent HEADERS
        self.announced_length = -1  # bytes of content-length still to come; -1: not announced
        self.queue: deque[Queued] | None = None  # if not empty, begins with a DATA payload that isn't empty
        self.queued = 0  # DATA bytes in the queue
        self.congested = False  # the caller was told, by `queued`, to wait for on_window


class Ending(Enum):
    """How a stream came to be closed: it decides what a late frame on it means (§5.1, closed)."""

    FINISHED = "finished"  # END_STREAM in both directions
    RESET_HERE = "reset here"  # the peer's frames may have crossed our RST_STREAM
    RESET_THERE = "reset there"
    FORGOTTEN = "forgotten"  # long ago, or never used


class RecentlyClosed:
    """The last few closed streams, and how they ended.  Bounded; asked only for late frames."""

    __slots__ = ("finished", "reset_here", "reset_there")

    def __init__(self, limit: int = 256) -> None:
        self.finished: deque[int] = deque(maxlen=limit)
        self.reset_there: deque[int] = deque(maxlen=limit)
        self.reset_here: deque[int] = deque(maxlen=4 * limit)

    def ending(self, stream_id: int) -> Ending:
        """How ``stream_id`` ended.  O(limit), which is why closing a stream is only an append."""
        if stream_id in self.reset_here:
            return Ending.RESET_HERE
        if stream_id in self.reset_there:
            return Ending.RESET_THERE
        if stream_id in self.finished:
            return Ending.FINISHED
        return Ending.FORGOTTEN
