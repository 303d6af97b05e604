"""What a run is shown as: a page of Markdown, and JSON to keep.

In the page each measure has three columns: both subjects' medians and the ratio.  The JSON has every single
reading, in the order of the alternations.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from benchmarks.readings import Better, Ratio, Series, tables

NOTHING = "-"
_READING_HELP = """\
Of each number the median of all alternations. A ratio compares {1} with {0} inside each alternation; shown is
the median of these, and in brackets the lowest and the highest. **1 or more: {1} is as good or better.**"""


def page(
    title: str,
    facts: Mapping[str, str],
    subjects: Sequence[str],
    series: Sequence[Series],
    failures: Sequence[str] = (),
    picture: str = "",
) -> str:
    """The whole page, about one subject or two.

    ``facts`` are about the run: date, machine, versions.  ``failures`` are what could not be measured;
    ``picture`` is the name of a file beside the page.
    """
    lines = [f"# {title}", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in facts.items()]
    if len(subjects) > 1:
        lines += ["", _READING_HELP.format(*subjects)]
    if failures:
        lines += ["", "**Failed**, and not counted:", "", *(f"- {one}" for one in failures)]
    if picture:
        lines += ["", f"![The ratios]({picture})"]
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


def _shown(series: Series) -> bool:
    return series.better is not Better.NEITHER


def _table(subjects: Sequence[str], series: Sequence[Series]) -> list[str]:
    measures = list(dict.fromkeys(one.measure for one in series))
    rows = list(dict.fromkeys(one.row for one in series))
    found = {(one.row, one.measure): one for one in series}
    columns = [""]
    for measure in measures:
        columns += [f"{measure}, {subject}" if measure else subject for subject in subjects]
        columns += ["ratio"] * (len(subjects) - 1)
    lines = [_line(columns), _line(["---", *["--:"] * (len(columns) - 1)])]
    for row in rows:
        line = [row]
        for measure in measures:
            line += _cells(found.get((row, measure)), subjects)
        lines.append(_line(line))
    return lines


def _cells(series: Series | None, subjects: Sequence[str]) -> list[str]:
    if series is None:
        return [""] * (2 * len(subjects) - 1)
    values = [_number(series.median(subject), series.unit) for subject in subjects]
    ratios = [ratio_text(series.ratio(subjects[0], other)) for other in subjects[1:]]
    return [*values, *ratios]


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
    return f"**{ratio.median:.2f}** ({ratio.lowest:.2f} to {ratio.highest:.2f})"
