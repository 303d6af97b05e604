"""The kinds of values a flag can have: how each is read from text and shown again.

Text is read as Go's ``flag`` and ``strconv`` packages and etcd's own flag types
read it, and refused in their words, because people meet these words.  A reader
raises :class:`ValueError`; who calls it knows the flag's name and adds it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

import attrs

from rusd.config import gates
from rusd.config.urls import Url, format_urls, parse_url, parse_urls
from rusd.durations import NANOSECONDS_PER_SECOND, format_duration, parse_duration

T = TypeVar("T")

PARSE_ERROR = "parse error"
RANGE_ERROR = "value out of range"

_BASES = {"0b": 2, "0o": 8, "0x": 16}
_NUMBER = re.compile(r"(?P<sign>[+-]?)(?P<prefix>0[bBoOxX]?)?(?P<digits>[0-9a-fA-F_]*)")


@attrs.frozen
class Kind(Generic[T]):
    """A kind of value.  ``go_type`` is what etcd's error messages call it."""

    go_type: str
    read: Callable[[str], T]
    show: Callable[[T], str]

    @property
    def is_boolean(self) -> bool:
        """Whether the flag may stand alone, without a value."""
        return self.go_type == "bool"


def _go_integer(text: str) -> int:
    """An integer literal as Go's base 0 takes it: decimal, 0x, 0o, 0b, leading 0; ``_`` between digits."""
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise ValueError(PARSE_ERROR)
    prefix = (match["prefix"] or "").lower()
    digits = match["digits"]
    if prefix == "0" and not digits:
        return 0
    base = 8 if prefix == "0" else _BASES.get(prefix, 10)
    if digits.endswith("_") or "__" in digits or (not prefix and digits.startswith("_")):
        raise ValueError(PARSE_ERROR)
    try:
        number = int(digits.replace("_", ""), base)
    except ValueError:
        raise ValueError(PARSE_ERROR) from None
    return -number if match["sign"] == "-" else number


def _integer(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if low == 0 and text[:1] in ("+", "-"):  # Go's unsigned types know no sign at all
            raise ValueError(PARSE_ERROR)
        number = _go_integer(text)
        if not low <= number <= high:
            raise ValueError(RANGE_ERROR)
        return number

    return read


def _uint32(text: str) -> int:
    """etcd's own 32-bit flag, which passes on ``strconv``'s words."""
    try:
        return _integer(0, (1 << 32) - 1)(text)
    except ValueError as error:
        why = RANGE_ERROR if str(error) == RANGE_ERROR else "invalid syntax"
        raise ValueError(f'strconv.ParseUint: parsing "{text}": {why}') from None


def _boolean(text: str) -> bool:
    try:
        return gates.parse_bool(text)
    except ValueError:
        raise ValueError(PARSE_ERROR) from None


def _seconds(text: str) -> float:
    try:
        return parse_duration(text) / NANOSECONDS_PER_SECOND
    except ValueError:
        raise ValueError(PARSE_ERROR) from None


def _strings(text: str) -> tuple[str, ...]:
    return tuple(text.split(",")) if text else ()


def _unique_strings(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_strings(text)))


def _origins(text: str) -> tuple[str, ...]:
    """Origins for CORS: URLs, or ``*`` for any; empty text allows any too."""
    origins = [part if part == "*" else str(parse_url(part)) for part in _unique_strings(text)]
    return tuple(origins) or ("*",)


def _hosts(text: str) -> tuple[str, ...]:
    return _unique_strings(text) or ("*",)


def one_of(*words: str) -> Kind[str]:
    """A string that must be one of ``words``."""

    def read(text: str) -> str:
        if text not in words:
            raise ValueError("invalid value")
        return text

    return Kind("string", read, str)


def _show_bool(value: bool) -> str:
    return "true" if value else "false"


def _show_seconds(value: float) -> str:
    return format_duration(round(value * NANOSECONDS_PER_SECOND))


STRING: Kind[str] = Kind("string", str, str)
BOOL: Kind[bool] = Kind("bool", _boolean, _show_bool)
INT: Kind[int] = Kind("int", _integer(-(1 << 63), (1 << 63) - 1), str)
INT64: Kind[int] = Kind("int64", _integer(-(1 << 63), (1 << 63) - 1), str)
UINT: Kind[int] = Kind("uint", _integer(0, (1 << 64) - 1), str)
UINT64: Kind[int] = Kind("uint64", _integer(0, (1 << 64) - 1), str)
UINT32: Kind[int] = Kind("uint32", _uint32, str)
DURATION: Kind[float] = Kind("time.Duration", _seconds, _show_seconds)
STRINGS: Kind[tuple[str, ...]] = Kind("[]string", _strings, ",".join)
UNIQUE_STRINGS: Kind[tuple[str, ...]] = Kind("[]string", _unique_strings, ",".join)
URLS: Kind[tuple[Url, ...]] = Kind("string", parse_urls, format_urls)
ORIGINS: Kind[tuple[str, ...]] = Kind("string", _origins, ",".join)
HOSTS: Kind[tuple[str, ...]] = Kind("string", _hosts, ",".join)
FEATURE_GATES: Kind[Mapping[str, bool]] = Kind("string", gates.parse_gates, gates.format_gates)
