"""The server's side of one call: its state between two frames.

One small object a call.  A :class:`ServerCall` is a unary call, for which the
connection does most of the work; a :class:`StreamCall` also keeps what its
handler has not received yet and knows how much it may send.

A call is *open* from its headers until its status is sent or nobody wants it
any more.  All methods are harmless on a call that is not open, since answers
and cancellations cross each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError, Message

from rusd.grpc.admission import wants_leader
from rusd.grpc.call import Call, EndOfRequests, LongAnswer, Pending
from rusd.grpc.framing import PREFIX, PREFIX_SIZE, MessageReader, Payload, frame, frames
from rusd.grpc.metadata import Header
from rusd.grpc.status import Code, StatusError

if TYPE_CHECKING:
    from rusd.grpc.deadlines import Deadline
    from rusd.grpc.registry import Method
    from rusd.grpc.server import ServerConnection

# What Go's protobuf says of bytes that are no message.
NOT_PROTOBUF = "proto: cannot parse invalid wire-format data"


class ServerCall(Call):
    """A unary call on its way through the server.

    ``request`` is set for the task kind before its handler is started;
    ``on_cancelled`` is what the network side wants to hear when the call is dropped.
    """

    __slots__ = (
        "block",
        "connection",
        "encoding",
        "ended",
        "entry",
        "method",
        "on_cancelled",
        "open",
        "partial",
        "pending",
        "request",
        "served",
        "stream_id",
    )

    def __init__(  # sets the base's fields itself: this runs for every call
        self,
        connection: ServerConnection,
        stream_id: int,
        method: Method,
        headers: Sequence[Header],
        *,
        deadline: float | None,
        encoding: bytes,
        block: bytes,
    ) -> None:
        self._headers = headers
        self._metadata = None
        self.path = method.path
        self.peer = connection.peer
        self.deadline = deadline
        self.identity = None
        self.cancelled = False
        self.connection = connection
        self.stream_id = stream_id
        self.method = method
        self.encoding = encoding
        self.block = block  # the encoded headers of a good answer
        self.open = True
        self.ended = False  # the client has sent its last byte
        self.entry: Deadline | None = None
        self.pending: Pending | None = None
        self.partial: MessageReader | None = None  # only for requests that come in several pieces
        self.served = False  # the request is complete and was handed on
        self.request: Message | bytes | None = None
        self.on_cancelled: Callable[[], None] | None = None

    @property
    def content_type(self) -> bytes:
        """The content type of the request."""
        return next((value for name, value in self._headers if name == b"content-type"), b"")

    @property
    def wants_leader(self) -> bool:
        """Whether the call is to fail where no leader is known."""
        return wants_leader(self._headers)

    # -- the client's bytes ---------------------------------------------------

    def receive(self, data: bytes, end_stream: bool) -> None:
        """Take in DATA that is not simply one whole message."""
        connection = self.connection
        # At once: the message's length is bounded, and without its end there is nothing to consume.
        connection.http2.acknowledge(self.stream_id, len(data))
        if end_stream:
            self.ended = True
        if self.served:  # a second message; grpc-go serves the first and looks no further
            return
        reader = self.partial
        if reader is None:
            reader = self.partial = MessageReader(connection.max_receive_bytes, self.encoding)
        size = reader.size + len(data)
        reader.feed(data)
        connection.held.partial(len(data))
        if not self.open:  # that was too much: the connection has ended
            return
        try:
            payload = reader.next_message()
        except StatusError as error:
            self.partial = None
            connection.held.partial(-size)
            connection.fail(self, error)
            return
        if payload is not None:
            self.partial = None
            connection.held.partial(-size)
            connection.dispatch(self, payload)
        elif end_stream:
            # grpc-go passes Go's bare errors on here, and so the code is Unknown.
            text = "unexpected EOF" if reader.inside_message else "EOF"
            connection.fail(self, StatusError(Code.UNKNOWN, text))

    @property
    def writable(self) -> bool:
        """Whether little enough is queued that more should be sent; true when it no longer matters."""
        http2 = self.connection.http2
        # Mostly no stream at all has to wait: that is quickly seen.
        return not http2.queued_bytes or not self.open or http2.queued(self.stream_id) < http2.low_water_mark

    # -- the end ----------------------------------------------------------------

    def settle(self, pending: Pending) -> None:
        """The answer has come: :attr:`Pending.on_settled`.

        Raises nothing: whoever settles has the answers of others to think of.
        """
        if not self.open:
            return
        try:
            if pending.error is not None:
                self.connection.fail(self, pending.error)
            elif isinstance(pending.payload, LongAnswer):
                self.connection.start_long(self, pending.payload)
            elif pending.payload is not None:
                self.connection.answer(self, pending.payload)
        except Exception as error:
            self.connection.crash(self, error)

    def expire(self) -> None:
        """The deadline has passed."""
        self.connection.expire(self)

    def release(self) -> None:
        """Forget what is only needed while the call is open.  Called once, by the connection."""
        self.open = False
        if self.entry is not None:
            self.connection.deadlines.cancel(self.entry)
            self.entry = None
        if self.pending is not None:
            self.pending.on_settled = None
            self.pending = None
        if self.partial is not None:
            self.connection.held.partial(-self.partial.size)
            self.partial = None

    def drop(self) -> None:
        """Nobody wants the answer any more: tell the handler."""
        self.cancelled = True
        if self.on_cancelled is not None:
            self.on_cancelled()


class StreamCall(ServerCall):
    """A call with a stream of requests, of answers, or both."""

    __slots__ = (
        "_first",
        "_held",
        "_on_writable",
        "_taken",
        "headers_sent",
        "on_message",
        "on_request",
        "reader",
    )

    def __init__(
        self,
        connection: ServerConnection,
        stream_id: int,
        method: Method,
        headers: Sequence[Header],
        *,
        deadline: float | None,
        encoding: bytes,
        block: bytes,
    ) -> None:
        super().__init__(
            connection, stream_id, method, headers, deadline=deadline, encoding=encoding, block=block
        )
        self.reader = MessageReader(connection.max_receive_bytes, encoding)
        self.headers_sent = False
        self.on_request: Callable[[], None] | None = None  # called when take() is worth another try
        self.on_message: Callable[[bytes], bool] | None = (
            None  # takes a message at once, or leaves it to take()
        )
        self._on_writable: list[Callable[[], None]] = []
        self._first: Message | bytes | None = None
        self._taken = False
        self._held = 0  # bytes of the reader that the connection knows of

    # -- requests -----------------------------------------------------------------

    def receive(self, data: bytes, end_stream: bool) -> None:
        if end_stream:
            self.ended = True
        if (
            self.on_message is None
            or not self.is_one_message(data)
            or not self.on_message(data[PREFIX_SIZE:])
        ):
            self.reader.feed(data)
            self._weigh()
            self._acknowledge()
        else:
            self.connection.http2.acknowledge(self.stream_id, len(data))
            self.connection.wrote()
            if not end_stream:
                return
        if self.on_request is not None:
            self.on_request()

    def is_one_message(self, data: bytes) -> bool:
        """Whether ``data`` is just one message, not compressed, and none waits before it: nearly always."""
        if self.reader.size or len(data) < PREFIX_SIZE:
            return False
        flag, length = PREFIX.unpack_from(data)
        return bool(
            not flag and length == len(data) - PREFIX_SIZE and length <= self.connection.max_receive_bytes
        )

    def take(self) -> Message | bytes | None:
        """The next request, or ``None`` if it is not there yet.

        Raises :class:`EndOfRequests` after the last, and :class:`StatusError` for
        anything that is not a request, and for a call that is over.
        """
        if self.cancelled:
            raise StatusError(Code.CANCELLED, "context canceled")
        if self.method.single_request:
            return self._take_single()
        message = self._next()
        if message is None and self.ended:
            self._refuse_rest()
            raise EndOfRequests
        return message

    def _take_single(self) -> Message | bytes | None:
        """The only request of a client that streams nothing; counts what it sends as grpc-go does."""
        if self._taken:
            raise EndOfRequests
        if self._first is None:
            self._first = self._next()
        if self._first is not None and self.reader.complete:
            raise StatusError(
                Code.INTERNAL,
                "cardinality violation: received multiple request messages for non-client-streaming RPC",
            )
        if not self.ended:
            return None
        self._refuse_rest()
        if self._first is None:
            raise StatusError(
                Code.INTERNAL,
                "cardinality violation: received no request message from non-client-streaming RPC",
            )
        self._taken = True
        message, self._first = self._first, None
        return message

    def _next(self) -> Message | bytes | None:
        payload = self.reader.next_message()
        if payload is None:
            return None
        self._weigh()
        self._acknowledge()
        try:
            return self.method.decode(payload)
        except DecodeError:
            raise StatusError(
                Code.INTERNAL, f"grpc: failed to unmarshal the received message: {NOT_PROTOBUF}"
            ) from None

    def _refuse_rest(self) -> None:
        if self.reader.inside_message:
            raise StatusError(Code.INTERNAL, "unexpected EOF")

    def _weigh(self) -> None:
        size = self.reader.size
        change, self._held = size - self._held, size  # first: what is held may be too much and end the call
        self.connection.held.partial(change)

    def _acknowledge(self) -> None:
        credit = self.reader.take_credit()
        if credit:
            self.connection.http2.acknowledge(self.stream_id, credit)
            self.connection.wrote()

    # -- answers --------------------------------------------------------------------

    def send(self, payload: bytes) -> None:
        """Queue a message for the client."""
        if self.open:
            self._queue((frame(payload, self.encoding),))

    def send_many(self, payloads: Sequence[Payload]) -> None:
        """Queue messages, in order."""
        if self.open:
            self._queue(frames(payloads, self.encoding))

    def _queue(self, chunks: Sequence[bytes]) -> None:
        """Queue what is a message, or several, and the headers before the first one."""
        connection = self.connection
        http2 = connection.http2
        if not self.headers_sent:
            self.headers_sent = True
            http2.send_encoded_headers(self.stream_id, self.block)
        for chunk in chunks:
            http2.send_data(self.stream_id, chunk)
        connection.held.queued()
        connection.wrote()

    def on_writable(self, callback: Callable[[], None]) -> None:
        """Have ``callback`` called each time the stream becomes writable again, and at its end."""
        if self.open:
            self._on_writable.append(callback)

    def unblock(self) -> None:
        """Tell those who wait that there is room."""
        for callback in self._on_writable:
            callback()

    # -- the end ------------------------------------------------------------------------

    def release(self) -> None:
        super().release()
        self.reader.clear()
        self._weigh()
        self._acknowledge()
        self._first = None
        self.unblock()
        if self.on_request is not None:
            self.on_request()
        # Callbacks know the stream; without this, such a pair would be garbage that only the collector finds.
        self._on_writable.clear()
        self.on_request = None
        self.on_message = None

    def check(self) -> None:
        """Verify the book-keeping of received bytes."""
        self.reader.check()
