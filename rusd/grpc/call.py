"""What a handler sees of a call, and how it answers.

A handler of the **inline** kind gets a :class:`Call` and the request and returns
the encoded answer, a :class:`Pending` if the answer comes later, or a
:class:`LongAnswer` if it is too large to be made or sent in one turn.  **stream**
handlers get :class:`Requests` and :class:`Responses` as well.  Nothing here
waits or sends: the network side gives these their life.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from rusd.grpc.framing import Payload
from rusd.grpc.metadata import Header, Metadata, from_headers
from rusd.grpc.status import StatusError


class Call:
    """One call, as its handler sees it.

    ``path``      ``/package.Service/Method``
    ``peer``      the client as ``host:port``
    ``deadline``  when the client gives up, on the clock that the server was given; ``None`` for never
    ``identity``  who the client is, once somebody has found out; ``None`` before
    ``cancelled`` whether nobody waits for the answer any more: client gone, call reset or past its deadline
    """

    __slots__ = ("_headers", "_metadata", "cancelled", "deadline", "identity", "path", "peer")

    def __init__(
        self,
        path: str = "",
        metadata: Metadata | None = None,
        peer: str = "",
        deadline: float | None = None,
        headers: Sequence[Header] = (),
    ) -> None:
        self.path = path
        self.peer = peer
        self.deadline = deadline
        self.identity: object | None = None
        self.cancelled = False
        self._metadata = metadata
        self._headers = headers

    @property
    def metadata(self) -> Metadata:
        """The client's metadata.  Made when first asked for: most handlers never do."""
        if self._metadata is None:
            self._metadata = from_headers(self._headers)
        return self._metadata


class AnswerParts(Protocol):
    """The way out of a long answer."""

    def begin(self, size: int) -> None:
        """The answer is going to have ``size`` bytes.  From here on the call can't fail any more."""

    async def send(self, part: bytes) -> None:
        """Send the next bytes of the answer, then wait until the client can take more; a checkpoint."""


class LongAnswer:
    """The answer of a unary call that is worked out, and sent, by a task of its own.

    ``send`` is called once.  It says how large the answer is and then sends all of it, or raises
    :class:`StatusError` before.  It is cancelled when nobody waits for the answer any more.
    """

    __slots__ = ("send",)

    def __init__(self, send: Callable[[AnswerParts], Awaitable[None]]) -> None:
        self.send = send


class Pending:
    """The answer of a unary call that comes later.  It settles once; later tries are ignored."""

    __slots__ = ("error", "on_settled", "payload")

    def __init__(self) -> None:
        self.payload: bytes | LongAnswer | None = None
        self.error: StatusError | None = None
        self.on_settled: Callable[[Pending], None] | None = None
        """Called with this once it settles; set by whoever waits, while it is not :attr:`settled`."""

    @property
    def settled(self) -> bool:
        return self.payload is not None or self.error is not None

    def settle(self, payload: bytes | LongAnswer) -> None:
        """The call ends well, with the encoded answer ``payload``."""
        if self.payload is None and self.error is None:
            self.payload = payload
            if self.on_settled is not None:
                self.on_settled(self)

    def fail(self, error: StatusError) -> None:
        """The call ends with ``error``."""
        if self.payload is None and self.error is None:
            self.error = error
            if self.on_settled is not None:
                self.on_settled(self)

    def result(self) -> bytes | LongAnswer:
        """The answer of a settled one.  Raises its :class:`StatusError` if it failed."""
        if self.error is not None:
            raise self.error.again()
        if self.payload is None:
            raise RuntimeError("not settled yet")
        return self.payload


class Feed(Protocol):
    """Where the messages of a feed go: a call whose client only sends, for as long as it lasts."""

    def receive(self, payload: bytes) -> None:
        """The next message, in the turn in which it came.  It must not wait.

        Raises :class:`StatusError` to end the call.
        """

    def ended(self) -> None:
        """There will be no more messages, whoever ended the call."""


class EndOfRequests(Exception):  # noqa: N818 - an end, not an error
    """The client has sent its last message."""


class Requests(Protocol):
    """The messages of a stream's client, one by one."""

    async def receive(self) -> Any:
        """The next message; a checkpoint.

        Raises :class:`EndOfRequests` after the last one, and :class:`StatusError`
        for what the client should not have sent.
        """

    async def receive_rest(self, take: Callable[[Any], bool]) -> Any:
        """The next message that ``take`` does not take; a checkpoint.

        It is called with each message in the turn in which that comes, so that what needs no waiting
        costs no switch of tasks.  Its exceptions, and those of :meth:`receive`, come out here.
        """


class Responses(Protocol):
    """The way back to a stream's client.  Messages are encoded ones, without gRPC's prefix."""

    @property
    def writable(self) -> bool:
        """Whether little enough is queued that more should be sent."""

    def send_nowait(self, payload: bytes) -> None:
        """Queue a message.  Always accepted; a caller that ignores :attr:`writable` fills memory."""

    def send_many_nowait(self, payloads: Sequence[Payload]) -> None:
        """Queue messages, in order."""

    def on_writable(self, callback: Callable[[], None]) -> None:
        """Have ``callback`` called each time :attr:`writable` becomes true again, and at the end."""

    async def send(self, payload: bytes) -> None:
        """Queue a message, then wait until :attr:`writable`; a checkpoint."""
