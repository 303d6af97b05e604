"""What a run is shown as: a page of Markdown, and JSON to keep.

In the page each measure has three columns: both subjects' medians and the ratio, which is 1 or more where the
second is as good or better; the JSON has every single reading.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.readings import Better, Ratio, Series, tables

NOTHING = "–"


def page(title: str, facts: Mapping[str, str], subjects: tuple[str, str], series: Sequence[Series]) -> str:
    """The whole page.  ``facts`` are about the run: date, machine, versions."""
    lines = [f"# {title}", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in facts.items()]
    lines += [
        "",
        f"Of each number the median of all alternations. A ratio compares {subjects[1]} with {subjects[0]} inside each "
        "alternation; shown are its median and, in brackets, its lowest and highest. "
        f"**1 or more: {subjects[1]} is as good or better.**",
    ]
    for table, members in tables(series).items():
        lines += ["", f"## {table}", "", *_table(subjects, [one for one in members if _shown(one)])]
    return "\n".join(lines) + "\n"


def as_json(facts: Mapping[str, str], subjects: Sequence[str], series: Sequence[Series]) -> str:
    """Everything, as one JSON document."""
    readings = [
        {
            "table": one.table,
            "row": one.row,
            "measure": one.measure,
            "unit": one.unit,
            "better": one.better.value,
            "values": one.values,
        }
        for one in series
    ]
    document = {"facts": dict(facts), "subjects": list(subjects), "readings": readings}
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def from_json(text: str) -> tuple[dict[str, str], tuple[str, str], list[Series]]:
    """What :func:`as_json` was given."""
    document: dict[str, Any] = json.loads(text)
    first, second = document["subjects"]
    series = [
        Series(
            one["table"], one["row"], one["measure"], one["unit"], Better(one["better"]), one["values"]
        )
        for one in document["readings"]
    ]
    return document["facts"], (first, second), series


def _shown(series: Series) -> bool:
    return series.better is not Better.NEITHER


def _table(subjects: tuple[str, str], series: Sequence[Series]) -> list[str]:
    measures = list(dict.fromkeys(one.measure for one in series))
    rows = list(dict.fromkeys(one.row for one in series))
    cells = {(one.row, one.measure): one for one in series}
    head = [f"{measure}, {subject}" for measure in measures for subject in subjects]
    columns = ["", *[cell for at in range(len(measures)) for cell in (*head[2 * at : 2 * at + 2], "ratio")]]
    lines = [_line(columns), _line(["---", *["--:"] * (len(columns) - 1)])]
    for row in rows:
        line = [row]
        for measure in measures:
            line += _cells(cells.get((row, measure)), subjects)
        lines.append(_line(line))
    return lines


def _cells(series: Series | None, subjects: tuple[str, str]) -> list[str]:
    if series is None:
        return ["", "", ""]
    values = [_number(series.median(subject), series.unit) for subject in subjects]
    return [*values, ratio_text(series.ratio(*subjects))]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _number(value: float | None, unit: str) -> str:
    if value is None:
        return NOTHING
    text = significant(value)
    return f"{text}{unit}" if unit.startswith("/") else f"{text} {unit}"


def significant(value: float) -> str:
    """Three digits, whole numbers from 100 on, with commas."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}"


def ratio_text(ratio: Ratio | None) -> str:
    """The median, in bold, and how far the alternations lie apart."""
    if ratio is None:
        return NOTHING
    if ratio.lowest == ratio.highest:
        return f"**{ratio.median:.2f}**"
    return f"**{ratio.median:.2f}** ({ratio.lowest:.2f}–{ratio.highest:.2f})"
