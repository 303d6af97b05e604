"""What travels in a call's headers besides the call: metadata and time-outs.

The rules are gRPC's "PROTOCOL-HTTP2" document: names are lower-case ASCII;
values of names that end in ``-bin`` are base64 on the wire and bytes here;
``grpc-timeout`` is up to eight digits and a unit.  Texts of errors are
grpc-go's.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator, Sequence

from rusd.grpc.quote import quote
from rusd.grpc.status import Code, StatusError

Header = tuple[bytes, bytes]

# Headers that belong to the protocol; handlers don't see them.
_RESERVED = frozenset(
    (
        b":method",
        b":scheme",
        b":path",
        b":status",
        b"te",
        b"grpc-encoding",
        b"grpc-message",
        b"grpc-message-type",
        b"grpc-status",
        b"grpc-timeout",
    )
)


class Metadata:
    """Names with their values, in the order they came; a name may repeat.

    Values are bytes; those of ``-bin`` names are decoded.
    """

    __slots__ = ("_values",)

    def __init__(self, pairs: Iterable[tuple[str, bytes]] = ()) -> None:
        self._values: dict[str, list[bytes]] = {}
        for name, value in pairs:
            self._values.setdefault(name, []).append(value)

    def get(self, name: str, default: bytes | None = None) -> bytes | None:
        """The first value of ``name``, or ``default``."""
        values = self._values.get(name)
        return values[0] if values else default

    def get_all(self, name: str) -> list[bytes]:
        """All values of ``name``; empty if there is none."""
        return list(self._values.get(name, ()))

    def pairs(self) -> Iterator[tuple[str, bytes]]:
        """Each name with each of its values, for sending on."""
        for name, values in self._values.items():
            for value in values:
                yield name, value

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def __getitem__(self, name: str) -> list[bytes]:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Metadata) and self._values == other._values

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Metadata({list(self.pairs())!r})"


def from_headers(headers: Sequence[Header]) -> Metadata:
    """The metadata among received ``headers``.

    Raises :class:`StatusError` (INTERNAL) for a ``-bin`` value that is not base64.
    """
    return Metadata(
        (name.decode("latin-1"), decode_binary(name, value) if name.endswith(b"-bin") else value)
        for name, value in headers
        if name not in _RESERVED
    )


def to_headers(pairs: Iterable[tuple[str, bytes]]) -> list[Header]:
    """The headers that carry the metadata ``pairs``; reserved names are left out."""
    headers = []
    for text, value in pairs:
        name = text.lower().encode("latin-1")
        if name in _RESERVED or name.startswith(b":"):
            continue
        headers.append((name, encode_binary(value) if name.endswith(b"-bin") else value))
    return headers


# -- binary values -------------------------------------------------------------------

_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]")


def encode_binary(value: bytes) -> bytes:
    """``value`` in base64 without padding, as gRPC sends it."""
    return base64.b64encode(value).rstrip(b"=")


def decode_binary(name: bytes, value: bytes) -> bytes:
    """The bytes in a base64 ``value``, padded or not.

    Raises :class:`StatusError` (INTERNAL) with grpc-go's text if it is not base64.
    """
    digits = value
    if len(value) % 4 == 0:  # padded, or no padding needed
        digits = value[:-2] if value.endswith(b"==") else value.removesuffix(b"=")
    bad = _NOT_BASE64.search(digits)
    if bad is None and len(digits) % 4 != 1:
        return binascii.a2b_base64(digits + b"=" * (-len(digits) % 4))
    offset = bad.start() if bad else len(digits) - 1
    raise StatusError(
        Code.INTERNAL,
        f"malformed binary metadata {quote(value)} in header {quote(name)}: "
        f"illegal base64 data at input byte {offset}",
    )


# -- time-outs ------------------------------------------------------------------------

_SECONDS = {0x48: 3600.0, 0x4D: 60.0, 0x53: 1.0, 0x6D: 1e-3, 0x75: 1e-6, 0x6E: 1e-9}  # H M S m u n
_MAX_DIGITS = 8


def decode_timeout(value: bytes) -> float:
    """The seconds a ``grpc-timeout`` value stands for.

    Raises :class:`StatusError` (INTERNAL) with grpc-go's text for a malformed one.
    """
    digits = value[:-1]
    unit = _SECONDS.get(value[-1]) if value else None
    if unit is not None and digits.isdigit() and len(digits) <= _MAX_DIGITS:
        return int(digits) * unit
    if len(value) < 2:
        problem = f"transport: timeout string is too short: {quote(value)}"
    elif len(value) > _MAX_DIGITS + 1:
        problem = f"transport: timeout string is too long: {quote(value)}"
    elif unit is None:
        problem = f"transport: timeout unit is not recognized: {quote(value)}"
    else:
        problem = f"strconv.ParseUint: parsing {quote(digits)}: invalid syntax"
    raise StatusError(Code.INTERNAL, f"malformed grpc-timeout: {problem}")


_UNITS_OF_NANOSECONDS = (
    (1, b"n"),
    (1_000, b"u"),
    (1_000_000, b"m"),
    (1_000_000_000, b"S"),
    (60_000_000_000, b"M"),
    (3_600_000_000_000, b"H"),
)


def encode_timeout(seconds: float) -> bytes:
    """The ``grpc-timeout`` value for ``seconds``, in the finest unit that fits, rounded up."""
    nanoseconds = max(0, int(seconds * 1e9))
    for size, unit in _UNITS_OF_NANOSECONDS:
        count = -(-nanoseconds // size)
        if count < 10**_MAX_DIGITS:
            return b"%d%s" % (count, unit)
    return b"99999999H"
