"""How a call ended: gRPC's status codes, and their form in HTTP/2 headers.

Not the calls themselves: this module turns statuses into header values and
back.  The codes and the percent-encoding of ``grpc-message`` are those of
gRPC's "PROTOCOL-HTTP2" and "Status codes" documents; where these leave room we
do what grpc-go does, since that is what etcd's clients know.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import IntEnum


class Code(IntEnum):
    """gRPC's status codes."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16

    CANCELED = 1  # Go's spelling


_GO_NAMES = (
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
)

DEADLINE_EXCEEDED_TEXT = "context deadline exceeded"
CANCELLED_TEXT = "context canceled"


class StatusError(Exception):
    """A call that ends with something other than OK.

    Raised by handlers to say how their call ends, and to callers of the client
    role to say how it ended.  ``trailers`` are metadata sent along with it.
    """

    def __init__(self, code: Code, message: str = "", trailers: Sequence[tuple[str, bytes]] = ()) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.trailers = tuple(trailers)

    def again(self) -> StatusError:
        """The same for being raised, where the one that is kept is known to the frames it goes through.

        Raising that one would leave a cycle: it, its traceback, the frames, it.
        """
        return StatusError(self.code, self.message, self.trailers)

    def __str__(self) -> str:
        """The text Go gives such an error; etcd puts it into some of its answers."""
        return f"rpc error: code = {_GO_NAMES[self.code]} desc = {self.message}"


def deadline_exceeded() -> StatusError:
    """The status of a call whose deadline has passed."""
    return StatusError(Code.DEADLINE_EXCEEDED, DEADLINE_EXCEEDED_TEXT)


# -- grpc-message ----------------------------------------------------------------

# All but printable ASCII, "%", and a space at either end, where RFC 9113 section 8.2.1 allows none.
_UNSAFE = re.compile(rb"[^ -$&-~]|\A | \Z")
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")


def encode_message(message: str) -> bytes:
    """The ``grpc-message`` value for ``message``: UTF-8, all but printable ASCII as ``%XX``."""
    return _UNSAFE.sub(lambda match: b"%%%02X" % match[0][0], message.encode("utf-8", "replace"))


def decode_message(value: bytes) -> str:
    """The text in a ``grpc-message`` value; malformed escapes stay as they are."""
    return _ESCAPE.sub(lambda match: bytes((int(match[1], 16),)), value).decode("utf-8", "replace")


# -- what a client makes of answers that carry no grpc-status ---------------------

_FROM_HTTP_STATUS = {
    400: Code.INTERNAL,
    401: Code.UNAUTHENTICATED,
    403: Code.PERMISSION_DENIED,
    404: Code.UNIMPLEMENTED,
    429: Code.UNAVAILABLE,
    502: Code.UNAVAILABLE,
    503: Code.UNAVAILABLE,
    504: Code.UNAVAILABLE,
}

# RFC 9113 section 7 error codes; all others mean INTERNAL.
_FROM_RESET = {
    0x3: Code.RESOURCE_EXHAUSTED,  # FLOW_CONTROL_ERROR
    0x7: Code.UNAVAILABLE,  # REFUSED_STREAM
    0x8: Code.CANCELLED,  # CANCEL
    0xB: Code.RESOURCE_EXHAUSTED,  # ENHANCE_YOUR_CALM
    0xC: Code.PERMISSION_DENIED,  # INADEQUATE_SECURITY
}


def code_from_http_status(status: int) -> Code:
    """The code for an answer without ``grpc-status``, by gRPC's "HTTP to gRPC status" mapping."""
    return _FROM_HTTP_STATUS.get(status, Code.UNKNOWN)


def code_from_reset(error_code: int) -> Code:
    """The code for a stream that ended in RST_STREAM with ``error_code``."""
    return _FROM_RESET.get(error_code, Code.INTERNAL)
