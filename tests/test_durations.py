"""Go's durations, read and written as Go does."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rusd.durations import MAXIMUM_NANOSECONDS, format_duration, parse_duration

MS = 1_000_000
S = 1_000 * MS
M = 60 * S
H = 60 * M


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("0", 0),
        ("-0", 0),
        ("5s", 5 * S),
        ("1h2m3.5s", H + 2 * M + 3 * S + 500 * MS),
        ("100ms", 100 * MS),
        (".5s", 500 * MS),
        ("1.s", S),
        ("-1.5h", -90 * M),
        ("+5s", 5 * S),
        ("1us", 1_000),
        ("1µs", 1_000),
        ("1μs", 1_000),
        ("10ns", 10),
        ("1.9ns", 1),
        ("0.3333333333333333333h", 20 * M),
        ("0.830103483285477580700h", 49 * M + 48 * S + 372539827),
        ("0.9223372036854775808h", 55 * M + 20 * S + 413933267),
        ("2562047h47m16.854775807s", MAXIMUM_NANOSECONDS),
        ("-2562047h47m16.854775808s", -MAXIMUM_NANOSECONDS - 1),
    ],
)
def test_durations_are_read(text: str, nanoseconds: int) -> None:
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", 'time: invalid duration ""'),
        ("-", 'time: invalid duration "-"'),
        ("3", 'time: missing unit in duration "3"'),
        ("1h3", 'time: missing unit in duration "1h3"'),
        (".s", 'time: invalid duration ".s"'),
        ("x", 'time: invalid duration "x"'),
        ("--1s", 'time: invalid duration "--1s"'),
        ("1d", 'time: unknown unit "d" in duration "1d"'),
        ("1 s", 'time: unknown unit " s" in duration "1 s"'),
        ("2562047h47m16.854775808s", 'time: invalid duration "2562047h47m16.854775808s"'),
    ],
)
def test_other_texts_are_refused_in_gos_words(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0s"),
        (1, "1ns"),
        (1_100, "1.1µs"),
        (100 * MS, "100ms"),
        (1_500_000, "1.5ms"),
        (S, "1s"),
        (3 * S + 5 * MS, "3.005s"),
        (10 * M, "10m0s"),
        (2 * H, "2h0m0s"),
        (4 * M + 5 * S + 1, "4m5.000000001s"),
        (-S, "-1s"),
        (MAXIMUM_NANOSECONDS, "2562047h47m16.854775807s"),
    ],
)
def test_durations_are_written(nanoseconds: int, text: str) -> None:
    assert format_duration(nanoseconds) == text


@given(st.integers(-MAXIMUM_NANOSECONDS - 1, MAXIMUM_NANOSECONDS))
def test_what_is_written_reads_as_the_same(nanoseconds: int) -> None:
    assert parse_duration(format_duration(nanoseconds)) == nanoseconds


@given(st.text(alphabet="0123456789.hmsnu+- µ", max_size=12))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        nanoseconds = parse_duration(text)
    except ValueError:
        return
    assert abs(nanoseconds) <= MAXIMUM_NANOSECONDS + 1
