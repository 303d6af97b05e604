"""What is measured, and the arithmetic of comparing: readings, series of them, ratios.

A ratio is the same way round for everything: **1 or more means that the second subject is as good as the
first, or better**; 2 is twice the rate, half the time or half the memory.
"""

from __future__ import annotations

import enum
import statistics
from collections.abc import Iterable, Sequence

import attrs


class Better(enum.Enum):
    """Which way is good."""

    HIGHER = "higher"
    LOWER = "lower"
    NEITHER = "neither"
    """Of interest, but no matter of good and bad."""


@attrs.frozen
class Reading:
    """One number, of one subject in one alternation.

    ``table`` and ``row`` say where it is shown, ``measure`` in which column.  ``value`` is in ``unit``; it is
    ``None`` if the subject can't do it.
    """

    table: str
    row: str
    measure: str
    unit: str
    better: Better
    value: float | None

    @property
    def key(self) -> tuple[str, str, str]:
        """What readings of the same thing have in common."""
        return self.table, self.row, self.measure


@attrs.frozen
class Ratio:
    """How the second subject does beside the first: the alternations' median, lowest and highest."""

    median: float
    lowest: float
    highest: float


@attrs.define
class Series:
    """The readings of one thing: for each subject, one value an alternation, in their order."""

    table: str
    row: str
    measure: str
    unit: str
    better: Better
    values: dict[str, list[float | None]] = attrs.Factory(dict)

    def median(self, subject: str) -> float | None:
        """The middle one of a subject's values; ``None`` if it has none."""
        known = [value for value in self.values.get(subject, ()) if value is not None]
        return statistics.median(known) if known else None

    def ratio(self, first: str, second: str) -> Ratio | None:
        """Compare alternation by alternation, because machines drift; ``None`` if nothing compares."""
        pairs = zip(self.values.get(first, ()), self.values.get(second, ()), strict=False)
        ratios = [
            ratio
            for one, other in pairs
            if one is not None and other is not None
            if (ratio := quotient(one, other, self.better)) is not None
        ]
        if not ratios:
            return None
        return Ratio(statistics.median(ratios), min(ratios), max(ratios))


def quotient(first: float, second: float, better: Better) -> float | None:
    """One ratio, 1 or more if ``second`` is as good; ``None`` if it has no meaning."""
    if better is Better.LOWER:
        first, second = second, first
    if better is Better.NEITHER or first <= 0 or second <= 0:
        return None
    return second / first


def collect(readings: Iterable[tuple[str, int, Reading]]) -> list[Series]:
    """Gather (subject, number of the alternation from 1, reading) by what was read, in order of appearance.

    An alternation that a subject has no reading of counts as ``None``, so that the others stay beside their
    counterparts.
    """
    found: dict[tuple[str, str, str], Series] = {}
    for subject, number, reading in readings:
        series = found.get(reading.key)
        if series is None:
            series = Series(reading.table, reading.row, reading.measure, reading.unit, reading.better)
            found[reading.key] = series
        values = series.values.setdefault(subject, [])
        values += [None] * (number - 1 - len(values))
        values.append(reading.value)
    return list(found.values())


def tables(series: Sequence[Series]) -> dict[str, list[Series]]:
    """The series of each table, both in order."""
    found: dict[str, list[Series]] = {}
    for one in series:
        found.setdefault(one.table, []).append(one)
    return found
