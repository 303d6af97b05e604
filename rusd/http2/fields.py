"""Are these header fields a valid request, response or trailer section? (RFC 9113 §8)

Whether each field by itself is well-formed (:func:`is_sound`) is asked by the HPACK
decoder, once per literal; the functions here rely on that and look at the
section as a whole: pseudo-header fields, connection-specific fields, content-length.
"""

from __future__ import annotations

import re
from typing import Final

from rusd.http2.errors import MalformedMessageError

_METHOD, _SCHEME, _PATH, _AUTHORITY, _STATUS = 1, 2, 4, 8, 16
_FORBIDDEN, _TE, _CONTENT_LENGTH = -1, -2, -3

_SPECIAL: Final[dict[bytes, int]] = {
    b":method": _METHOD,
    b":scheme": _SCHEME,
    b":path": _PATH,
    b":authority": _AUTHORITY,
    b":status": _STATUS,
    b"connection": _FORBIDDEN,
    b"proxy-connection": _FORBIDDEN,
    b"keep-alive": _FORBIDDEN,
    b"transfer-encoding": _FORBIDDEN,
    b"upgrade": _FORBIDDEN,
    b"te": _TE,
    b"content-length": _CONTENT_LENGTH,
}

_REQUIRED: Final = _METHOD | _SCHEME | _PATH
_MAX_LENGTH_DIGITS: Final = 18

# §8.2.1 forbids control characters, upper case, non-ASCII and inner colons in names; what is left
# beyond RFC 9110 tokens (quotes, brackets) is let through, as in other implementations.
_NAME: Final = re.compile(rb":(?:method|scheme|path|authority|status)|[!-9;-@\[-~]+").fullmatch
# A value has no NUL, CR, LF, and no white space at either end; written so that a long one costs little.
_VALUE: Final = re.compile(rb"(?:[^\x00\r\n \t](?:[^\x00\r\n]*[^\x00\r\n \t])?)?").fullmatch


def is_sound(name: bytes, value: bytes) -> bool:
    """Whether a single field is well-formed: a lower-case name or known pseudo-header, a clean value."""
    return _NAME(name) is not None and _VALUE(value) is not None


def is_sound_value(value: bytes) -> bool:
    """Whether ``value`` may stand in a field whose name is known to be well-formed."""
    return value.isalnum() or _VALUE(value) is not None  # most are plain words: half the time


def check_request(headers: list[tuple[bytes, bytes]]) -> int:
    """Check a request's header section (§8.3.1); returns its content-length, or -1.

    Raises :class:`MalformedMessageError`.
    """
    seen = 0
    regular = connect = False
    length = -1
    for name, value in headers:
        kind = _SPECIAL.get(name)
        if kind is None:
            regular = True
        elif kind > 0:
            if regular or seen & kind or kind == _STATUS:
                raise MalformedMessageError(f"pseudo-header {name!r} repeated or misplaced")
            if not value and kind != _AUTHORITY:
                raise MalformedMessageError(f"pseudo-header {name!r} is empty")
            seen |= kind
            if kind == _METHOD:
                connect = value == b"CONNECT"
        else:
            regular = True
            length = _check_special(kind, name, value, length)
    if connect:
        if seen != _METHOD | _AUTHORITY:
            raise MalformedMessageError("CONNECT takes :method and :authority only")
    elif seen & _REQUIRED != _REQUIRED:
        raise MalformedMessageError("a request needs :method, :scheme and :path")
    return length


def check_response(headers: list[tuple[bytes, bytes]]) -> tuple[bool, int]:
    """Check a response's header section (§8.3.2); returns (informational, content-length or -1).

    Raises :class:`MalformedMessageError`.
    """
    status = b""
    regular = False
    length = -1
    for name, value in headers:
        kind = _SPECIAL.get(name)
        if kind is None:
            regular = True
        elif kind > 0:
            if regular or status or kind != _STATUS:
                raise MalformedMessageError(f"pseudo-header {name!r} repeated or misplaced")
            status = value
        else:
            regular = True
            length = _check_special(kind, name, value, length)
    if len(status) != 3 or not status.isdigit():
        raise MalformedMessageError("a response needs a :status of three digits")
    return status[0] == ord("1"), length


def check_trailers(headers: list[tuple[bytes, bytes]]) -> None:
    """Check a trailer section (§8.1): no pseudo-header, no connection-specific field.

    Raises :class:`MalformedMessageError`.
    """
    for name, value in headers:
        kind = _SPECIAL.get(name)
        if kind is None:
            continue
        if kind > 0:
            raise MalformedMessageError(f"pseudo-header {name!r} in trailers")
        _check_special(kind, name, value, -1)


def _check_special(kind: int, name: bytes, value: bytes, length: int) -> int:
    """Check a field that HTTP/2 restricts (§8.2.2); returns the content-length known so far."""
    if kind == _FORBIDDEN:
        raise MalformedMessageError(f"connection-specific field {name!r}")
    if kind == _TE:
        if value != b"trailers":
            raise MalformedMessageError("te may only be trailers")
        return length
    if not value.isdigit() or len(value) > _MAX_LENGTH_DIGITS or length not in (-1, int(value)):
        raise MalformedMessageError("bad content-length")
    return int(value)
