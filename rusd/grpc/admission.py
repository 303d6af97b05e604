"""Whether a request's headers make a call, and the headers that answer it.

The checks, their order and their texts are those of grpc-go's server transport;
what HTTP/2 itself forbids has been dealt with before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rusd.grpc.framing import is_compressed
from rusd.grpc.metadata import Header, decode_binary, to_headers
from rusd.grpc.quote import quote
from rusd.grpc.status import Code, StatusError, encode_message
from rusd.http2 import encode_static

GRPC = b"application/grpc"

# Headers whose values nobody has to look at before the handler does.
PLAIN = frozenset(
    (
        b":authority",
        b":method",
        b":path",
        b":scheme",
        b"accept",
        b"accept-encoding",
        b"authorization",
        b"client-api-version",
        b"content-length",
        b"content-type",
        b"grpc-accept-encoding",
        b"grpc-encoding",
        b"grpc-timeout",
        b"te",
        b"token",
        b"user-agent",
    )
)


def refusal(headers: Sequence[Header]) -> tuple[bytes, StatusError] | None:
    """Why these headers make no call: HTTP status and gRPC status; ``None`` if they do.

    For requests that are not plain at first sight; see ``ServerConnection.on_headers``.
    """
    names = [name for name, _ in headers]
    hosts = names.count(b"host")
    if hosts > 1:
        return b"400", StatusError(
            Code.INTERNAL,
            f"num values of :authority: {names.count(b':authority')}, num values of host: {hosts}, "
            "both must only have 1 value as per HTTP/2 spec",
        )
    fields = dict(headers)
    content_type = fields.get(b"content-type", b"")
    if not is_grpc(content_type):
        text = f"invalid gRPC request content-type {quote(content_type)}"
        return b"415", StatusError(Code.INVALID_ARGUMENT, text)
    for name, value in headers:
        if name.endswith(b"-bin"):
            try:
                decode_binary(name, value)
            except StatusError as error:
                return b"400", error
    method = fields.get(b":method", b"")
    if method != b"POST":
        text = f"Received a HEADERS frame with :method {quote(method)} which should be POST"
        return b"405", StatusError(Code.INTERNAL, text)
    return None


class Gate:
    """Which calls a server takes at all, as things are now; whoever knows changes it.

    ``only`` are the paths that may be called, None for all; ``refusal`` is what others fail with.
    """

    __slots__ = ("has_leader", "only", "refusal")

    def __init__(self, has_leader: Callable[[], bool] = lambda: True) -> None:
        self.has_leader = has_leader
        self.only: frozenset[bytes] | None = None
        self.refusal: Callable[[], StatusError] = no_leader


def wants_leader(headers: Sequence[Header]) -> bool:
    """Whether the call is to fail where no leader is known: etcd's ``hasleader`` metadata."""
    return next((value for name, value in headers if name == b"hasleader"), b"") == b"true"


def no_leader() -> StatusError:
    """What such a call fails with."""
    return StatusError(Code.UNAVAILABLE, "etcdserver: no leader")


def is_grpc(content_type: bytes) -> bool:
    """Whether it is ``application/grpc``, alone or with a subtype after ``+`` or ``;``."""
    return content_type == GRPC or content_type.startswith((GRPC + b"+", GRPC + b";"))


def reply_type(content_type: bytes) -> bytes:
    """The content type of answers to requests of ``content_type``: the same subtype, always after ``+``."""
    subtype = content_type[len(GRPC) + 1 :]
    return GRPC + b"+" + subtype if subtype else GRPC


def response_block(content_type: bytes, encoding: bytes = b"") -> bytes:
    """The encoded headers of a good answer to a request of ``content_type`` and ``grpc-encoding``."""
    headers = [(b":status", b"200"), (b"content-type", reply_type(content_type))]
    if is_compressed(encoding):
        headers.append((b"grpc-encoding", encoding))
    return encode_static(headers)


OK_TRAILERS_BLOCK = encode_static([(b"grpc-status", b"0"), (b"grpc-message", b"")])


def status_trailers(error: StatusError) -> list[Header]:
    """The trailers that say how a call failed."""
    return [
        (b"grpc-status", b"%d" % error.code),
        (b"grpc-message", encode_message(error.message)),
        *to_headers(error.trailers),
    ]
