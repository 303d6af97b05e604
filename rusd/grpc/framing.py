"""gRPC's messages in a stream of bytes: a flag, a length, the message.

Source: "Length-Prefixed-Message" in gRPC's "PROTOCOL-HTTP2" document; limits
and error texts as grpc-go has them.  Who asks in gzip is answered in gzip, as etcd does; but a
large answer goes uncompressed, which the protocol leaves to the sender:
compressing it would hold up everybody else.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence
from struct import Struct

from rusd.grpc.quote import quote
from rusd.grpc.status import Code, StatusError

PREFIX_SIZE = 5
PREFIX = Struct(">BI")

Payload = bytes | list[bytes]
"""An encoded message; a large one may be in pieces."""

_GZIP_WINDOW_BITS = 31  # zlib's way to ask for the gzip format
_GZIP_HEADER_SIZE = 10
_LARGEST_COMPRESSED = 64 * 1024
"""Bytes; about 2 ms."""

_JOINED_BYTES = 16_384
"""The size of DATA frame that every peer takes (RFC 9113, section 6.5.2)."""

ACCEPTED_ENCODINGS = b"identity,gzip"


def frame(payload: bytes, encoding: bytes = b"") -> bytes:
    """``payload`` as a message on the wire, compressed if ``encoding`` is, and is worth it."""
    if encoding == b"gzip" and 0 < len(payload) <= _LARGEST_COMPRESSED:
        compressed = gzip.compress(payload, mtime=0)
        return PREFIX.pack(1, len(compressed)) + compressed
    return PREFIX.pack(0, len(payload)) + payload


def prefix(size: int) -> bytes:
    """What stands in front of an uncompressed message of ``size`` bytes."""
    return PREFIX.pack(0, size)


def frames(payloads: Sequence[Payload], encoding: bytes = b"") -> list[bytes]:
    """``payloads`` as messages on the wire, in order: small ones joined, large ones as they are.

    HTTP/2 doesn't care where in a stream of messages a DATA frame ends, so small ones can share one.
    """
    chunks: list[bytes] = []
    joined: list[bytes] = []
    size = 0
    for payload in payloads:
        parts = _parts(payload, encoding)
        length = sum(map(len, parts))
        if size + length > _JOINED_BYTES and joined:
            chunks.append(b"".join(joined))
            joined.clear()
            size = 0
        if length > _JOINED_BYTES:
            chunks += parts
        else:
            joined += parts
            size += length
    if joined:
        chunks.append(b"".join(joined))
    return chunks


def _parts(payload: Payload, encoding: bytes) -> Sequence[bytes]:
    if isinstance(payload, list):
        return (prefix(sum(map(len, payload))), *payload)
    if encoding:
        return (frame(payload, encoding),)
    return (PREFIX.pack(0, len(payload)), payload)


class MessageReader:
    """Cuts the bytes of one stream into messages, and knows which of them are consumed.

    ``limit`` bounds a message in bytes, compressed and not; ``encoding`` is the
    value of ``grpc-encoding``.  After an error the reader is of no more use but
    for :meth:`clear` and :meth:`take_credit`.
    """

    __slots__ = ("_buffer", "_encoding", "_limit", "_owed", "_wanted")

    def __init__(self, limit: int, encoding: bytes = b"") -> None:
        self._limit = limit
        self._encoding = encoding
        self._buffer = bytearray()
        self._wanted = PREFIX_SIZE  # bytes that must be there before the next step is possible
        self._owed = 0  # bytes that were taken in and that take_credit has not spoken of

    def feed(self, data: bytes) -> None:
        """Take in the next bytes of the stream."""
        self._buffer += data
        self._owed += len(data)

    @property
    def size(self) -> int:
        """Bytes that are buffered."""
        return len(self._buffer)

    def clear(self) -> None:
        """Forget what is buffered: nobody will ask for it."""
        self._buffer.clear()
        self._wanted = PREFIX_SIZE

    def take_credit(self) -> int:
        """How many more bytes are consumed than last time: the sender may have that much window back.

        A whole message that waits is not consumed; an unfinished one at the head
        is, or a message larger than the window could never arrive.
        """
        credit = self._owed - (len(self._buffer) if self.complete else 0)
        if credit <= 0:
            return 0
        self._owed -= credit
        return credit

    def check(self) -> None:
        """Verify that no byte's window is given back twice or kept for ever."""
        assert self._owed >= 0, "gave back more than was taken in"
        waiting = len(self._buffer) if self.complete else 0
        assert self._owed <= waiting, "window is held back for what is consumed"

    @property
    def complete(self) -> bool:
        """Whether :meth:`next_message` would get somewhere: to a message or to an error."""
        if len(self._buffer) < self._wanted:
            return False
        if self._wanted > PREFIX_SIZE:
            return True
        flag, length = PREFIX.unpack_from(self._buffer)
        if flag > 1 or length > self._limit:
            return True
        self._wanted = PREFIX_SIZE + length
        return len(self._buffer) >= self._wanted

    def next_message(self) -> bytes | None:
        """The next message, decompressed; ``None`` if more bytes are needed.

        Raises :class:`StatusError` for what can't be a message.
        """
        if not self.complete:
            return None
        flag, length = PREFIX.unpack_from(self._buffer)
        if length > self._limit:
            raise too_large(length, self._limit)
        if flag > 1:
            raise StatusError(Code.INTERNAL, f"grpc: received unexpected payload format {flag}")
        end = PREFIX_SIZE + length
        payload = bytes(memoryview(self._buffer)[PREFIX_SIZE:end])
        del self._buffer[:end]
        self._wanted = PREFIX_SIZE
        return decompress(payload, self._encoding, self._limit) if flag else payload

    @property
    def inside_message(self) -> bool:
        """Whether the bytes stop inside a message: past its prefix, before its end.

        A stream that ends inside a prefix is taken for one that ends before it, as grpc-go does.
        """
        return len(self._buffer) >= PREFIX_SIZE


def too_large(length: int, limit: int) -> StatusError:
    """The error for a message of ``length`` bytes where ``limit`` are allowed."""
    return StatusError(
        Code.RESOURCE_EXHAUSTED, f"grpc: received message larger than max ({length} vs. {limit})"
    )


# -- compression ------------------------------------------------------------------------


def supported_encoding(encoding: bytes) -> bool:
    """Whether messages under this ``grpc-encoding`` can be read."""
    return encoding in (b"", b"identity", b"gzip")


def is_compressed(encoding: bytes) -> bool:
    """Whether answers under this ``grpc-encoding`` may be compressed."""
    return encoding == b"gzip"


def unsupported_encoding(encoding: bytes) -> StatusError:
    """The error for a ``grpc-encoding`` nobody here can read; it tells which ones could be."""
    return StatusError(
        Code.UNIMPLEMENTED,
        f"grpc: Decompressor is not installed for grpc-encoding {quote(encoding)}",
        [("grpc-accept-encoding", ACCEPTED_ENCODINGS)],
    )


def decompress(data: bytes, encoding: bytes, limit: int) -> bytes:
    """The message in compressed ``data``; never builds more than ``limit`` bytes and one.

    Raises :class:`StatusError` for broken data, and for a message over the limit.
    """
    if encoding in (b"", b"identity"):
        raise StatusError(Code.INTERNAL, "grpc: compressed flag set with identity or empty encoding")
    if encoding != b"gzip":
        raise unsupported_encoding(encoding)
    _check_gzip_start(data, "grpc: failed to decompress the message")
    out: list[bytes] = []
    room = limit + 1
    while data:  # a gzip file may have several members, one after the other
        part, data = _gzip_member(data, room)
        out.append(part)
        room -= len(part)
        if room == 0:
            raise StatusError(
                Code.RESOURCE_EXHAUSTED, f"grpc: received message after decompression larger than max {limit}"
            )
        if data:
            _check_gzip_start(data, "grpc: failed to read decompressed data")
    return b"".join(out)


def _gzip_member(data: bytes, room: int) -> tuple[bytes, bytes]:
    """Up to ``room`` bytes of the first member, and what follows it."""
    decoder = zlib.decompressobj(_GZIP_WINDOW_BITS)
    try:
        part = decoder.decompress(data, room)
    except zlib.error as error:
        reason = "gzip: invalid checksum" if "incorrect" in str(error) else "flate: corrupt input"
        raise StatusError(Code.INTERNAL, f"grpc: failed to read decompressed data: {reason}") from error
    if len(part) < room and not decoder.eof:
        raise StatusError(Code.INTERNAL, "grpc: failed to read decompressed data: unexpected EOF")
    return part, decoder.unused_data


def _check_gzip_start(data: bytes, what: str) -> None:
    if not data:
        raise StatusError(Code.INTERNAL, f"{what}: EOF")
    if len(data) < _GZIP_HEADER_SIZE:
        raise StatusError(Code.INTERNAL, f"{what}: unexpected EOF")
    if data[:3] != b"\x1f\x8b\x08":
        raise StatusError(Code.INTERNAL, f"{what}: gzip: invalid header")
