"""Durations as Go writes and reads them: ``1h2m3.5s``, ``100ms``, ``0s``.

etcd's flags, log lines and error texts are full of them.  The rules are those
of Go's ``time.ParseDuration`` and ``Duration.String``; a duration is a whole
number of nanoseconds in 64 bits.
"""

from __future__ import annotations

import re

NANOSECONDS_PER_SECOND = 1_000_000_000
MAXIMUM_NANOSECONDS = (1 << 63) - 1

_UNITS = {
    "ns": 1,
    "us": 1_000,
    "\u00b5s": 1_000,  # the micro sign
    "\u03bcs": 1_000,  # the Greek letter mu
    "ms": 1_000_000,
    "s": NANOSECONDS_PER_SECOND,
    "m": 60 * NANOSECONDS_PER_SECOND,
    "h": 3600 * NANOSECONDS_PER_SECOND,
}
_PART = re.compile(r"([0-9]*)(?:\.([0-9]*))?([^0-9.]*)")


def parse_duration(text: str) -> int:
    """The nanoseconds ``text`` stands for, fractions of one cut off.

    Raises :class:`ValueError` with Go's words if it is not a duration.
    """
    sign = -1 if text.startswith("-") else 1
    rest = text[1:] if text[:1] in ("-", "+") else text
    if rest == "0":
        return 0
    if not rest:
        raise ValueError(f'time: invalid duration "{text}"')
    total = 0
    while rest:
        part = _PART.match(rest)
        if part is None or not (part[1] or part[2]):
            raise ValueError(f'time: invalid duration "{text}"')
        if not part[3]:
            raise ValueError(f'time: missing unit in duration "{text}"')
        unit = _UNITS.get(part[3])
        if unit is None:
            raise ValueError(f'time: unknown unit "{part[3]}" in duration "{text}"')
        total += int(part[1] or 0) * unit + _fraction(part[2] or "", unit)
        rest = rest[part.end() :]
    if total > MAXIMUM_NANOSECONDS + (sign < 0):
        raise ValueError(f'time: invalid duration "{text}"')
    return sign * total


def _fraction(digits: str, unit: int) -> int:
    """``0.digits`` of a unit.  In floating point, as Go has it: so a third of an hour is 20 minutes."""
    value, scale = 0, 1.0
    for digit in digits:
        if value > MAXIMUM_NANOSECONDS // 10:
            break
        value, scale = value * 10 + int(digit), scale * 10
    return int(float(value) * (float(unit) / scale))


def format_duration(nanoseconds: int) -> str:
    """``nanoseconds`` as Go prints a duration: ``0s``, ``1.5ms``, ``2h0m0s``."""
    sign = "-" if nanoseconds < 0 else ""
    rest = abs(nanoseconds)
    if rest == 0:
        return "0s"
    if rest < NANOSECONDS_PER_SECOND:
        name, unit = ("ns", 1) if rest < 1_000 else ("µs", 1_000) if rest < 1_000_000 else ("ms", 1_000_000)
        return f"{sign}{_decimal(rest, unit)}{name}"
    minutes, rest = divmod(rest, 60 * NANOSECONDS_PER_SECOND)
    hours, minutes = divmod(minutes, 60)
    seconds = _decimal(rest, NANOSECONDS_PER_SECOND)
    if hours:
        return f"{sign}{hours}h{minutes}m{seconds}s"
    if minutes:
        return f"{sign}{minutes}m{seconds}s"
    return f"{sign}{seconds}s"


def _decimal(value: int, unit: int) -> str:
    """``value / unit`` exactly, without trailing zeros; ``unit`` is a power of ten."""
    whole, fraction = divmod(value, unit)
    if not fraction:
        return str(whole)
    return f"{whole}.{fraction:0{len(str(unit)) - 1}d}".rstrip("0")
