"""The arithmetic of comparing."""

from __future__ import annotations

import pytest

from benchmarks.readings import Better, Ratio, Reading, Series, collect, quotient, tables


def reading(value: float | None, *, row: str = "PUT 1x1", better: Better = Better.HIGHER) -> Reading:
    return Reading("Calls", row, "calls", "/s", better, value)


@pytest.mark.parametrize(
    ("better", "expected"), [(Better.HIGHER, 2.0), (Better.LOWER, 0.5), (Better.NEITHER, None)]
)
def test_a_ratio_above_1_is_good_for_the_second(better: Better, expected: float | None) -> None:
    assert quotient(100.0, 200.0, better) == expected


@pytest.mark.parametrize(("first", "second"), [(0.0, 1.0), (1.0, 0.0), (-1.0, 1.0)])
def test_nothing_and_less_have_no_ratio(first: float, second: float) -> None:
    for better in Better:
        assert quotient(first, second, better) is None


def test_alternations_are_compared_in_pairs() -> None:
    # The machine became three times slower after the first alternation; both servers saw that.
    series = collect(
        (subject, number, reading(value))
        for number, (etcd, rusd) in enumerate([(300.0, 330.0), (100.0, 120.0), (100.0, 90.0)], start=1)
        for subject, value in (("etcd", etcd), ("rusd", rusd))
    )
    assert len(series) == 1
    assert (series[0].median("etcd"), series[0].median("rusd")) == (100.0, 120.0)
    assert series[0].ratio("etcd", "rusd") == Ratio(
        pytest.approx(1.1), pytest.approx(0.9), pytest.approx(1.2)
    )


def test_a_failed_alternation_leaves_the_others_with_their_counterparts() -> None:
    series = collect(
        [
            ("etcd", 1, reading(100.0)),
            ("etcd", 2, reading(200.0)),
            ("rusd", 2, reading(300.0)),
            ("etcd", 3, reading(400.0)),
            ("rusd", 3, reading(800.0)),
        ]
    )
    assert series[0].values == {"etcd": [100.0, 200.0, 400.0], "rusd": [None, 300.0, 800.0]}
    assert series[0].ratio("etcd", "rusd") == Ratio(1.75, 1.5, 2.0)


def test_what_only_one_can_do_has_a_median_and_no_ratio() -> None:
    series = collect([("etcd", 1, reading(5.0)), ("rusd", 1, reading(None))])
    assert (series[0].median("etcd"), series[0].median("rusd")) == (5.0, None)
    assert series[0].ratio("etcd", "rusd") is None
    assert series[0].median("a third") is None


def test_readings_are_gathered_in_their_order() -> None:
    rows = ["PUT 64x1", "PUT 1x1", "PUT 16x1"]
    series = collect((subject, 1, reading(1.0, row=row)) for subject in ("etcd", "rusd") for row in rows)
    series.append(Series("Memory", "idle", "memory", "MB", Better.LOWER))
    assert {table: [one.row for one in members] for table, members in tables(series).items()} == {
        "Calls": rows,
        "Memory": ["idle"],
    }
