"""The server's side of one connection: HTTP/2 events in, handlers called, answers out.

Sans-IO: bytes go through :attr:`ServerConnection.http2`, whose events arrive
here; tasks, time and log lines belong to the :class:`~rusd.grpc.host.Host`.
How requests are checked, and in which order, follows grpc-go's server transport,
down to the texts; the constant parts of good answers are encoded once.  As in
grpc-go, a unary call is answered when its first message is complete, whether or
not its client half-closes.
"""

from __future__ import annotations

from struct import Struct

from google.protobuf.message import DecodeError

from rusd.grpc.admission import (
    GRPC,
    OK_TRAILERS_BLOCK,
    PLAIN,
    Gate,
    no_leader,
    refusal,
    reply_type,
    response_block,
    status_trailers,
    wants_leader,
)
from rusd.grpc.call import LongAnswer, Pending
from rusd.grpc.deadlines import Deadlines
from rusd.grpc.draining import Draining
from rusd.grpc.feed import FeedCall
from rusd.grpc.framing import PREFIX_SIZE, frame, is_compressed, supported_encoding, unsupported_encoding
from rusd.grpc.holdings import Holdings
from rusd.grpc.host import Host
from rusd.grpc.lingering import Lingering, too_much_unread
from rusd.grpc.metadata import Header, decode_timeout
from rusd.grpc.parts import Parts
from rusd.grpc.pings import TOO_MANY_PINGS, PingPolicy
from rusd.grpc.registry import Kind, Registry
from rusd.grpc.server_call import NOT_PROTOBUF, ServerCall, StreamCall
from rusd.grpc.status import Code, StatusError, deadline_exceeded
from rusd.http2 import Connection, ErrorCode, Role, Settings

DEFAULT_MAX_RECEIVE_BYTES = 1572864 + 512 * 1024  # etcd's max-request-bytes and its allowance for gRPC
DEFAULT_CONNECTION_WINDOW = 1024 * 1024

_PREFIX = Struct(">BI")

_NOT_COPIED = 32 * 1024  # an answer of so many bytes is sent behind its prefix, not in one with it
_SOON_GIVEN_BACK = 4096  # a complete request's bytes up to which its window waits for its answer


class ServerConnection:
    """One client's connection.  Implements :class:`rusd.http2.Events`.

    The owner brackets each turn: :meth:`begin_turn`, bytes into :attr:`http2`,
    :meth:`end_turn`, bytes out.
    """

    def __init__(
        self,
        registry: Registry,
        host: Host,
        deadlines: Deadlines,
        *,
        peer: str = "",
        max_receive_bytes: int = DEFAULT_MAX_RECEIVE_BYTES,
        settings: Settings = Settings(),  # noqa: B008 - frozen
        connection_window: int = DEFAULT_CONNECTION_WINDOW,
        output_limit: int | None = None,
        ping_policy: PingPolicy | None = None,
        gate: Gate | None = None,
    ) -> None:
        self.peer = peer
        self.max_receive_bytes = max_receive_bytes
        self.deadlines = deadlines
        self.http2 = Connection(
            Role.SERVER, self, settings, connection_window, output_limit=output_limit, now=host.monotonic
        )
        self._registry = registry
        self._host = host
        self._calls: dict[int, ServerCall] = {}
        self._lingering = Lingering(self.http2)
        self.parts = Parts(self.http2)
        self._unarmed: list[ServerCall] = []  # calls of this turn whose deadline is not in the heap
        self._in_turn = False
        self._last_stream_id = 0
        self._goodbye = Draining(self.http2, self._lingering, deadlines, host.wrote)
        self._pings = ping_policy
        self._gate = gate or Gate()
        self.held = Holdings(self.http2, host.grew)
        self._blocks = {GRPC: response_block(GRPC)}

    # -- turns ------------------------------------------------------------------------

    def begin_turn(self) -> None:
        """Bytes are about to be parsed; what is written meanwhile leaves at the end of the turn."""
        self._in_turn = True

    def end_turn(self) -> None:
        """The turn is over: calls still open get their deadlines watched."""
        self._in_turn = False
        if self.http2.open_streams > self.held.crowd:
            self.held.note()
        if not self._unarmed:
            return
        for call in self._unarmed:
            if call.open and call.deadline is not None:
                call.entry = self.deadlines.add(call.deadline, call.expire)
        self._unarmed.clear()

    def wrote(self) -> None:
        """Something was queued; outside a turn the host must know."""
        if not self._in_turn:
            self._host.wrote()

    # -- requests -----------------------------------------------------------------------

    def on_headers(self, stream_id: int, headers: list[Header], end_stream: bool) -> None:
        if stream_id <= self._last_stream_id:
            if end_stream:  # a client's trailers carry nothing for us but the end
                self.on_data(stream_id, b"", True)
            return
        self._last_stream_id = stream_id
        fields = dict(headers)
        content_type = fields.get(b"content-type", b"")
        block = self._blocks.get(content_type)
        if (
            block is None
            or fields.get(b":method") != b"POST"
            or len(fields) != len(headers)
            or not fields.keys() <= PLAIN
        ):
            refused = refusal(headers)
            if refused is not None:
                self._abort(stream_id, *refused, end_stream)
                return
            if wants_leader(headers) and not self._gate.has_leader():
                self._abort(stream_id, b"200", no_leader(), end_stream, content_type)
                return
            block = self._block_for(content_type)
        deadline = None
        timeout = fields.get(b"grpc-timeout")
        if timeout is not None:
            try:
                seconds = decode_timeout(timeout)
            except StatusError as error:
                self._abort(stream_id, b"400", error, end_stream)
                return
            if seconds <= 0:
                self._abort(stream_id, b"200", deadline_exceeded(), end_stream)
                return
            deadline = self._host.monotonic() + seconds
        path = fields.get(b":path", b"")
        method = self._registry.find(path)
        only = self._gate.only
        if method is None or (only is not None and path not in only):
            unavailable = self._registry.missing(path) if method is None else self._gate.refusal()
            self._abort(stream_id, b"200", unavailable, end_stream, content_type)
            return
        encoding = fields.get(b"grpc-encoding", b"")
        if encoding and not supported_encoding(encoding):
            self._abort(stream_id, b"200", unsupported_encoding(encoding), end_stream, content_type)
            return
        if is_compressed(encoding):
            block = response_block(content_type, encoding)
        streams = method.kind is Kind.STREAM or method.kind is Kind.FEED
        kind = (StreamCall if method.kind is Kind.STREAM else FeedCall) if streams else ServerCall
        call = kind(self, stream_id, method, headers, deadline=deadline, encoding=encoding, block=block)
        self._calls[stream_id] = call
        if deadline is not None:
            self._unarmed.append(call)
        if streams:
            call.served = True
            call.ended = end_stream
            if isinstance(call, FeedCall):
                call.start()
            else:
                self._host.start(call)
        elif end_stream:
            call.receive(b"", True)

    def on_data(self, stream_id: int, data: bytes, end_stream: bool) -> None:
        call = self._calls.get(stream_id)
        if call is None:
            self._lingering.receive(stream_id, len(data), end_stream)
            return
        if call.partial is None and not call.served and len(data) >= PREFIX_SIZE:
            # Nearly every unary request is one message in one frame.
            flag, length = _PREFIX.unpack_from(data)
            if not flag and length == len(data) - PREFIX_SIZE and length <= self.max_receive_bytes:
                call.ended = end_stream
                if not end_stream or length > _SOON_GIVEN_BACK:
                    self.http2.acknowledge(stream_id, len(data))
                self.dispatch(call, data[PREFIX_SIZE:])
                return
        call.receive(data, end_stream)

    def dispatch(self, call: ServerCall, payload: bytes) -> None:
        """The request of a unary call is complete: decode it and have it answered."""
        call.served = True
        method = call.method
        try:
            request = method.decode(payload)
        except DecodeError:
            text = f"grpc: error unmarshalling request: {NOT_PROTOBUF}"
            self.fail(call, StatusError(Code.INTERNAL, text))
            return
        if method.kind is Kind.TASK:
            call.request = request
            self._host.start(call)
            return
        try:
            answer = method.handler(call, request)
        except StatusError as error:
            self.fail(call, error)
            return
        except Exception as error:
            self.crash(call, error)
            return
        if type(answer) is bytes:
            self.answer(call, answer)
        elif isinstance(answer, LongAnswer):
            self.start_long(call, answer)
        elif not isinstance(answer, Pending):
            self.crash(call, TypeError(f"a handler returned {type(answer).__name__}, not bytes or Pending"))
        elif answer.settled:
            call.settle(answer)
        else:
            call.pending = answer
            answer.on_settled = call.settle

    # -- answers ------------------------------------------------------------------------------

    def answer(self, call: ServerCall, payload: bytes) -> None:
        """End a unary call well, with one encoded message."""
        if not call.open:
            return
        head = _PREFIX.pack(0, len(payload))  # first, in case it is no payload at all
        if call.encoding:
            head, payload = b"", frame(payload, call.encoding)
        stream_id = call.stream_id
        self._close(call)
        http2 = self.http2
        if len(payload) < _NOT_COPIED:
            waits = http2.send_message(stream_id, call.block, head + payload, OK_TRAILERS_BLOCK)
        else:
            http2.send_encoded_headers(stream_id, call.block)
            http2.send_data(stream_id, head)
            http2.send_data(stream_id, payload)
            http2.send_encoded_headers(stream_id, OK_TRAILERS_BLOCK, end_stream=True)
            waits = http2.queued(stream_id)
        if not call.ended:
            self._lingering.add(stream_id)
        if waits:  # either may end the connection
            self.held.note()
            if too_much_unread(http2):
                self._host.end(ErrorCode.ENHANCE_YOUR_CALM, "answers are not read")
        if not self._in_turn:
            self._host.wrote()

    def start_long(self, call: ServerCall, answer: LongAnswer) -> None:
        """A unary call gets an answer in parts."""
        self._host.start_long(call, answer)

    def finish(self, call: ServerCall) -> None:
        """End well a stream, or a unary call all parts of whose answer were sent."""
        if not call.open:
            return
        block = OK_TRAILERS_BLOCK if self._has_begun(call) else call.block + OK_TRAILERS_BLOCK
        self._close(call)
        self.http2.send_encoded_headers(call.stream_id, block, end_stream=True)
        if not call.ended:
            self._lingering.add(call.stream_id)
        self.wrote()

    def fail(self, call: ServerCall, error: StatusError) -> None:
        """End a call with ``error``: in trailers alone if nothing was sent before."""
        if not call.open:
            return
        headers = status_trailers(error)
        if not self._has_begun(call):
            headers = [(b":status", b"200"), (b"content-type", reply_type(call.content_type)), *headers]
        self._close(call)
        self._send_last(call.stream_id, headers)
        if not call.ended:
            self._lingering.add(call.stream_id)
            if error.code is Code.RESOURCE_EXHAUSTED:  # most likely a large request: stop it now
                self._lingering.stop(call.stream_id)
        self.wrote()

    def _has_begun(self, call: ServerCall) -> bool:
        """Whether the headers of a good answer were sent."""
        return call.headers_sent if isinstance(call, StreamCall) else call.stream_id in self.parts

    def crash(self, call: ServerCall, error: Exception) -> None:
        """A handler raised something that is not a status: say so, in the log and to the client."""
        self._host.crashed(call, error)
        self.fail(call, StatusError(Code.UNKNOWN, f"unexpected error in handler: {type(error).__name__}"))

    def expire(self, call: ServerCall) -> None:
        """The client's deadline has passed: answer so, and tell the handler."""
        if not call.open:
            return
        self.fail(call, deadline_exceeded())
        call.drop()

    def end_leaderless(self) -> None:
        """There has been no leader for long: end the streams whose clients want one."""
        for call in list(self._calls.values()):
            if isinstance(call, StreamCall) and call.wants_leader:
                self.fail(call, no_leader())
                call.drop()

    def _close(self, call: ServerCall) -> None:
        del self._calls[call.stream_id]
        call.release()
        self.parts.ended(call.stream_id)

    def _abort(
        self, stream_id: int, status: bytes, error: StatusError, ended: bool, content_type: bytes = GRPC
    ) -> None:
        """Answer a stream that never became a call."""
        headers = [(b":status", status), (b"content-type", reply_type(content_type))]
        self._send_last(stream_id, [*headers, *status_trailers(error)])
        if not ended:
            self._lingering.add(stream_id)

    def _send_last(self, stream_id: int, headers: list[Header]) -> None:
        """End a stream with ``headers``; with a reset, as grpc-go does, if the client won't take so many."""
        if self.http2.would_take(headers):
            self.http2.send_headers(stream_id, headers, end_stream=True)
        else:
            self.http2.reset_stream(stream_id, ErrorCode.INTERNAL_ERROR)

    def _block_for(self, content_type: bytes) -> bytes:
        block = self._blocks.get(content_type)
        if block is None:
            block = response_block(content_type)
            if content_type == b"application/grpc+proto":  # the only other one that is common
                self._blocks[content_type] = block
        return block

    # -- the rest of what HTTP/2 tells ------------------------------------------------------------------

    def on_reset(self, stream_id: int, error_code: int) -> None:
        self._lingering.discard(stream_id)
        call = self._calls.get(stream_id)
        if call is not None:
            self._close(call)
            call.drop()

    def on_window(self, stream_id: int) -> None:
        call = self._calls.get(stream_id)
        if isinstance(call, StreamCall):
            call.unblock()
        else:
            self.parts.relieved(stream_id)

    def on_ping(self) -> None:
        policy, http2 = self._pings, self.http2
        if policy and policy.is_one_too_many(self._host.monotonic(), http2.open_streams, http2.sent):
            self._host.end(ErrorCode.ENHANCE_YOUR_CALM, TOO_MANY_PINGS)

    def on_ping_ack(self, payload: bytes) -> None:
        self._goodbye.on_ping_ack(payload)

    def on_goaway(self, last_stream_id: int, error_code: int, debug: bytes) -> None:
        """A client that says goodbye finishes its calls and closes: nothing to do."""

    def on_closed(self, error_code: int, reason: str) -> None:
        self.lost()

    # -- the end ------------------------------------------------------------------------------------------

    def lost(self) -> None:
        """The connection is gone, or soon will be: nobody waits for any answer."""
        calls = list(self._calls.values())
        self._lingering.clear()
        self._goodbye.stop()
        for call in calls:
            if call.open:
                self._close(call)
                call.drop()

    def drain(self) -> None:
        """Ask the client to open no more streams."""
        self._goodbye.start(self._host.monotonic())

    @property
    def drained(self) -> bool:
        """Whether the client knows that it is over, and has read its answers; asks it once all are sent."""
        if not self._goodbye.refusing or self._calls or self.http2.open_streams:
            return False
        return self._goodbye.has_been_read(self._host.monotonic())

    @property
    def open_calls(self) -> int:
        """Calls without a status yet."""
        return len(self._calls)

    def check(self) -> None:
        """Verify the book-keeping of calls."""
        for stream_id, call in self._calls.items():
            assert call.open, "a closed call is still listed"
            assert call.stream_id == stream_id, "a call is listed under another stream"
            assert stream_id not in self._lingering, "an open call lingers"
            if isinstance(call, StreamCall):
                call.check()
        self._lingering.check()
