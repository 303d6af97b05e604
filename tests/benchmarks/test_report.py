"""The page and the JSON of a run."""

from __future__ import annotations

import json

import pytest

from benchmarks.readings import Better, Ratio, Series
from benchmarks.report import as_json, page, ratio_text, significant

FACTS = {"date": "2031-02-03 04:05 UTC", "etcd": "3.5.1"}
CALLS = Series(
    "Calls", "PUT 1x1", "calls", "/s", Better.HIGHER, {"etcd": [10_000.0] * 2, "rusd": [9_000.0, 11_000.0]}
)
P50 = Series("Calls", "PUT 1x1", "p50", "ms", Better.LOWER, {"etcd": [0.5], "rusd": [0.25]})
OTHER_ROW = Series("Calls", "GET 1x1", "calls", "/s", Better.HIGHER, {"etcd": [500.0], "rusd": [None]})
COST = Series("Calls", "PUT 1x1", "generator", "µs", Better.NEITHER, {"etcd": [3.0], "rusd": [3.0]})
SERIES = [CALLS, P50, OTHER_ROW, COST]


def rows(text: str) -> list[list[str]]:
    return [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")
    ]


def test_a_table_has_both_medians_and_the_ratio_of_each_measure() -> None:
    table = rows(page("Benchmarks", FACTS, ["etcd", "rusd"], SERIES))[4:]
    assert table[0] == ["", "calls, etcd", "calls, rusd", "ratio", "p50, etcd", "p50, rusd", "ratio"]
    assert table[2] == [
        *("PUT 1x1", "10,000/s", "10,000/s", "**1.00** (0.90 to 1.10)"),
        *("0.50 ms", "0.25 ms", "**2.00**"),
    ]
    assert table[3] == ["GET 1x1", "500/s", "-", "-", "", "", ""]


def test_a_table_of_one_measure_doesnt_name_it() -> None:
    only = Series("Memory", "idle", "", "MB", Better.LOWER, {"etcd": [20.0], "rusd": [40.0]})
    assert rows(page("Benchmarks", FACTS, ["etcd", "rusd"], [only]))[4:] == [
        ["", "etcd", "rusd", "ratio"],
        ["---", "--:", "--:", "--:"],
        ["idle", "20.0 MB", "40.0 MB", "**0.50**"],
    ]


def test_one_server_alone_has_no_ratios() -> None:
    text = page("Benchmarks", FACTS, ["etcd"], SERIES)
    assert rows(text)[4:] == [
        ["", "calls, etcd", "p50, etcd"],
        ["---", "--:", "--:"],
        ["PUT 1x1", "10,000/s", "0.50 ms"],
        ["GET 1x1", "500/s", ""],
    ]
    assert "as good or better" not in text


def test_the_page_says_when_where_and_what_failed() -> None:
    text = page("Benchmarks", FACTS, ["etcd", "rusd"], SERIES, ["growth, rusd: it ended"], "results.svg")
    assert text.startswith("# Benchmarks\n")
    assert rows(text)[2:4] == [["date", "2031-02-03 04:05 UTC"], ["etcd", "3.5.1"]]
    assert "- growth, rusd: it ended" in text
    assert "](results.svg)" in text
    assert "Failed" not in page("Benchmarks", FACTS, ["etcd", "rusd"], SERIES)


def test_the_json_has_every_reading() -> None:
    document = json.loads(as_json(FACTS, ["etcd", "rusd"], SERIES))
    assert document["facts"] == FACTS
    assert document["subjects"] == ["etcd", "rusd"]
    assert document["readings"][0] == {
        "table": "Calls",
        "row": "PUT 1x1",
        "measure": "calls",
        "unit": "/s",
        "better": "higher",
        "values": {"etcd": [10_000.0, 10_000.0], "rusd": [9_000.0, 11_000.0]},
    }
    assert [one["measure"] for one in document["readings"]] == ["calls", "p50", "calls", "generator"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.00"),
        (0.254, "0.25"),
        (9.99, "9.99"),
        (12.34, "12.3"),
        (123.4, "123"),
        (1_234_567.0, "1,234,567"),
    ],
)
def test_numbers_have_about_three_digits(value: float, text: str) -> None:
    assert significant(value) == text


def test_a_ratio_shows_its_spread_if_it_has_one() -> None:
    assert ratio_text(Ratio(1.0, 0.8, 1.25)) == "**1.00** (0.80 to 1.25)"
    assert ratio_text(Ratio(1.5, 1.5, 1.5)) == "**1.50**"
    assert ratio_text(None) == "-"
