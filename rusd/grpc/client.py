"""The client's side of one connection: calls out, answers in.

Sans-IO, like :mod:`rusd.grpc.server`: bytes go through
:attr:`ClientConnection.http2`; who waits for an answer is told by
:attr:`ClientCall.on_progress`.  Messages are bytes on both ways: encoding them is
the caller's.  What a strange answer means follows grpc-go's client.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Protocol

from rusd.grpc.admission import GRPC, is_grpc
from rusd.grpc.deadlines import Deadline, Deadlines
from rusd.grpc.framing import MessageReader, frame, supported_encoding
from rusd.grpc.metadata import Header, Metadata, encode_timeout, from_headers, to_headers
from rusd.grpc.quote import quote
from rusd.grpc.status import (
    CANCELLED_TEXT,
    Code,
    StatusError,
    code_from_http_status,
    code_from_reset,
    deadline_exceeded,
    decode_message,
)
from rusd.http2 import Connection, ErrorCode, NoNewStreamsError, Role, Settings

_NO_METADATA = Metadata()


class ClientHost(Protocol):
    """What a connection needs from the network side."""

    def monotonic(self) -> float:
        """The time, in seconds."""

    def wrote(self) -> None:
        """There is something to send."""


class _Nobody:
    """The host of a connection that is over."""

    def monotonic(self) -> float:
        return 0.0

    def wrote(self) -> None: ...


NOBODY = _Nobody()


class ClientCall:
    """One call, from its headers to its status."""

    def __init__(self, connection: ClientConnection, max_receive_bytes: int) -> None:
        self.stream_id = 0
        self.headers = _NO_METADATA
        """The server's first metadata, once they are there."""
        self.trailers = _NO_METADATA
        """The server's last metadata."""
        self.ended = False
        """Whether the status is known."""
        self.error: StatusError | None = None
        """The status of an ended call that did not go well."""
        self.on_progress: Callable[[], None] | None = None
        """Called when there is a message, a status, or room to send."""
        self.accepted = False
        """Whether the server's first metadata are there: it has let the call in."""
        self.told = False
        """Whether the status is the server's own, and not what became of the connection."""
        self.entry: Deadline | None = None
        self._connection = connection
        self._max_receive_bytes = max_receive_bytes
        self._reader = MessageReader(max_receive_bytes)
        self._half_closed = False

    # -- requests ----------------------------------------------------------------

    def send(self, payload: bytes) -> None:
        """Queue a message; nothing happens if the call has ended."""
        if not self.ended:
            self._connection.http2.send_data(self.stream_id, frame(payload))
            self._connection.wrote()

    def end(self) -> None:
        """There are no more messages."""
        if not self.ended and not self._half_closed:
            self._half_closed = True
            self._connection.http2.send_data(self.stream_id, b"", end_stream=True)
            self._connection.wrote()

    def send_last(self, payload: bytes) -> None:
        """Queue the last message, in one frame with the end."""
        if not self.ended:
            self._half_closed = True
            self._connection.http2.send_data(self.stream_id, frame(payload), end_stream=True)
            self._connection.wrote()

    @property
    def writable(self) -> bool:
        """Whether little enough is queued that more should be sent; true when it no longer matters."""
        http2 = self._connection.http2
        return self.ended or http2.queued(self.stream_id) < http2.low_water_mark

    def cancel(self) -> None:
        """The caller has lost interest."""
        self._abandon(StatusError(Code.CANCELLED, CANCELLED_TEXT))

    # -- answers ---------------------------------------------------------------------

    def take(self) -> bytes | None:
        """The next message; ``None`` if there is none (yet, or any more: see :attr:`ended`).

        Raises :class:`StatusError` for what is no message, which ends the call.
        """
        try:
            payload = self._reader.next_message()
        except StatusError as error:
            self._reader.clear()
            self._abandon(error)
            raise
        if payload is not None:
            self._acknowledge()
        return payload

    def on_headers(self, headers: list[Header], end_stream: bool) -> None:
        """The server's headers or trailers."""
        fields = dict(headers)
        status = fields.get(b":status", b"")
        if status.startswith(b"1"):  # informational: the real ones follow
            return
        try:
            if not self.accepted:
                _check_response(fields, status)
            metadata = from_headers(headers)
        except StatusError as error:
            self._abandon(error)
            return
        if not end_stream:
            encoding = fields.get(b"grpc-encoding", b"")
            if not supported_encoding(encoding):
                text = f"grpc: Decompressor is not installed for grpc-encoding {quote(encoding)}"
                self._abandon(StatusError(Code.INTERNAL, text))
                return
            self.accepted = True
            self._reader = MessageReader(self._max_receive_bytes, encoding)
            self.headers = metadata
        else:
            self.trailers = metadata
            self.told = not self.ended
            self._end(_status(fields, metadata))
        self._progress()

    def on_data(self, data: bytes, end_stream: bool) -> None:
        """The server's content."""
        self._reader.feed(data)
        self._acknowledge()
        if end_stream:
            self._end(StatusError(Code.INTERNAL, "server closed the stream without sending trailers"))
        self._progress()

    def fail(self, error: StatusError) -> None:
        """The call is over without the server's saying so."""
        self._end(error)
        self._progress()

    def expire(self) -> None:
        """The deadline has passed."""
        self._abandon(deadline_exceeded())

    def _abandon(self, error: StatusError) -> None:
        if self.ended:
            return
        self._end(error)
        self._connection.http2.reset_stream(self.stream_id, ErrorCode.CANCEL)
        self._connection.wrote()
        self._progress()

    def _end(self, error: StatusError | None) -> None:
        if self.ended:
            return
        self.ended = True
        self.error = error
        self._connection.forget(self)

    def _acknowledge(self) -> None:
        credit = self._reader.take_credit()
        if credit:
            self._connection.http2.acknowledge(self.stream_id, credit)
            self._connection.wrote()

    def _progress(self) -> None:
        if self.on_progress is not None:
            self.on_progress()


class ClientConnection:
    """One connection to a server.  Implements :class:`rusd.http2.Events`.

    ``authority`` is what the server is called, usually ``host:port``.
    """

    def __init__(
        self,
        host: ClientHost,
        deadlines: Deadlines,
        *,
        authority: str,
        max_receive_bytes: int,
        settings: Settings,
        connection_window: int,
        output_limit: int | None = None,
    ) -> None:
        self.http2 = Connection(
            Role.CLIENT, self, settings, connection_window, output_limit=output_limit, now=host.monotonic
        )
        self.deadlines = deadlines
        self._host = host
        self._authority = authority.encode()
        self._max_receive_bytes = max_receive_bytes
        self._calls: dict[int, ClientCall] = {}
        self._in_turn = False
        self._lost: str | None = None  # why there can be no new calls
        self.on_going_away: Callable[[], None] | None = None
        """Called when the server asks for an end; open calls go on."""

    def start(
        self,
        path: str,
        metadata: Iterable[tuple[str, bytes]] = (),
        timeout: float | None = None,
    ) -> ClientCall:
        """Begin a call.  Its headers leave with what is written next.

        Raises :class:`StatusError` (UNAVAILABLE) if there can be no new ones.
        """
        headers = [
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", path.encode()),
            (b":authority", self._authority),
            (b"content-type", GRPC),
            (b"te", b"trailers"),
        ]
        if timeout is not None:
            headers.append((b"grpc-timeout", encode_timeout(timeout)))
        headers.extend(to_headers(metadata))
        if self._lost is not None:
            raise StatusError(Code.UNAVAILABLE, self._lost)
        call = ClientCall(self, self._max_receive_bytes)
        try:
            call.stream_id = self.http2.open_stream(headers)
        except NoNewStreamsError as error:
            raise StatusError(Code.UNAVAILABLE, str(error)) from None
        self._calls[call.stream_id] = call
        if timeout is not None:
            call.entry = self.deadlines.add(self._host.monotonic() + timeout, call.expire)
        return call

    def forget(self, call: ClientCall) -> None:
        """A call has ended."""
        self._calls.pop(call.stream_id, None)
        if call.entry is not None:
            self.deadlines.cancel(call.entry)
            call.entry = None

    # -- turns ---------------------------------------------------------------------------

    def begin_turn(self) -> None:
        """Bytes are about to be parsed; what is written meanwhile leaves at the end of the turn."""
        self._in_turn = True

    def end_turn(self) -> None:
        """The turn is over."""
        self._in_turn = False

    def wrote(self) -> None:
        """Something was queued; outside a turn the host must know."""
        if not self._in_turn:
            self._host.wrote()

    def lost(self, reason: str = "the connection is closed") -> None:
        """The connection is gone: so are its calls."""
        if self._lost is None:
            self._lost = reason
        for call in list(self._calls.values()):
            call.fail(StatusError(Code.UNAVAILABLE, self._lost))

    def dispose(self) -> None:
        """Nothing will be called any more: cut the cycle with the host, which no collector looks for."""
        self.lost()
        self._host = NOBODY
        self.on_going_away = None

    @property
    def open_calls(self) -> int:
        """Calls without a status yet."""
        return len(self._calls)

    # -- what HTTP/2 tells --------------------------------------------------------------------

    def on_headers(self, stream_id: int, headers: list[Header], end_stream: bool) -> None:
        call = self._calls.get(stream_id)
        if call is not None:
            call.on_headers(headers, end_stream)
            if end_stream:
                # A server that answers early has no use for the rest of the requests.
                self.http2.reset_stream(stream_id, ErrorCode.NO_ERROR)

    def on_data(self, stream_id: int, data: bytes, end_stream: bool) -> None:
        call = self._calls.get(stream_id)
        if call is not None:
            call.on_data(data, end_stream)
            if end_stream:  # ended all the same, and nobody will end our side
                self.http2.reset_stream(stream_id, ErrorCode.NO_ERROR)
        else:
            self.http2.acknowledge(stream_id, len(data))

    def on_reset(self, stream_id: int, error_code: int) -> None:
        call = self._calls.get(stream_id)
        if call is not None:
            text = f"stream terminated by RST_STREAM with error code: {_reset_name(error_code)}"
            call.fail(StatusError(code_from_reset(error_code), text))

    def on_window(self, stream_id: int) -> None:
        call = self._calls.get(stream_id)
        if call is not None and call.on_progress is not None:
            call.on_progress()

    def on_ping(self) -> None:
        """A server may ping as often as it likes."""

    def on_ping_ack(self, payload: bytes) -> None:
        """Nobody here pings."""

    def on_goaway(self, last_stream_id: int, error_code: int, debug: bytes) -> None:
        if self._lost is None:
            self._lost = "the server is going away"
        if self.on_going_away is not None:
            self.on_going_away()

    def on_closed(self, error_code: int, reason: str) -> None:
        self.lost(f"connection error: {reason}")


def _reset_name(error_code: int) -> str:
    try:
        return ErrorCode(error_code).name
    except ValueError:
        return str(error_code)


def _check_response(fields: dict[bytes, bytes], status: bytes) -> None:
    """Raise :class:`StatusError` for headers that are not gRPC's."""
    content_type = fields.get(b"content-type")
    if content_type is not None and is_grpc(content_type):
        return
    if content_type is None:
        problem = "malformed header: missing HTTP content-type"
    else:
        problem = f"transport: received unexpected content-type {quote(content_type)}"
    number = int(status) if status.isdigit() else 0
    try:
        phrase = HTTPStatus(number).phrase
    except ValueError:
        phrase = ""
    text = f"unexpected HTTP status code received from server: {number} ({phrase}); {problem}"
    raise StatusError(code_from_http_status(number), text)


def _status(fields: dict[bytes, bytes], trailers: Metadata) -> StatusError | None:
    """What a server's trailers say; ``None`` for OK."""
    value = fields.get(b"grpc-status", b"")
    if value == b"0":
        return None
    message = decode_message(fields.get(b"grpc-message", b""))
    try:
        code = Code(int(value)) if value.isdigit() else Code.UNKNOWN
    except ValueError:
        code = Code.UNKNOWN
    return StatusError(code, message, tuple(trailers.pairs()))
