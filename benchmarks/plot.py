"""The ratios as a picture: a bar for each row of each table, on one logarithmic scale around 1."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.readings import Ratio, Series, tables
from benchmarks.report import significant
from benchmarks.servers import BenchmarkError

GOOD, BAD = "#0072b2", "#e69f00"  # told apart by everybody (Okabe and Ito's palette)
ROW_INCHES = 0.21
HEAD_INCHES = 0.75
WIDTH_INCHES = 10.0
LIMIT = 16.0
"""Bars end here; the number beside them doesn't."""


def require() -> Any:
    """matplotlib, which is needed for nothing else here.

    Raises :class:`BenchmarkError` without it: before the measurements, not after them.
    """
    try:
        import matplotlib as mpl

        mpl.use("Agg")
        from matplotlib import pyplot
    except ImportError as error:
        raise BenchmarkError(f"no plot without matplotlib: pip install matplotlib ({error})") from error
    return pyplot


def draw(path: Path, title: str, subjects: tuple[str, str], series: Sequence[Series]) -> None:
    """Write the picture; the suffix of ``path`` says in which format."""
    pyplot = require()
    all_bars = {table: _bars(members, subjects) for table, members in tables(series).items()}
    panels = [(table, bars) for table, bars in all_bars.items() if bars]
    if not panels:
        raise BenchmarkError("nothing to draw: no ratios")
    heights = [len(bars) * ROW_INCHES + HEAD_INCHES for _, bars in panels]
    figure, axes = pyplot.subplots(
        len(panels),
        squeeze=False,
        figsize=(WIDTH_INCHES, sum(heights) + HEAD_INCHES),
        gridspec_kw={"height_ratios": heights},
        layout="constrained",
    )
    figure.suptitle(f"{title}: 1 or more where {subjects[1]} is as good or better")
    for (table, bars), (axis,) in zip(panels, axes, strict=True):
        _panel(axis, table, bars)
    figure.savefig(path)
    pyplot.close(figure)


def _bars(members: Sequence[Series], subjects: tuple[str, str]) -> list[tuple[str, Ratio]]:
    """A bar for each row: its first measure that has a ratio."""
    found: dict[str, tuple[str, Ratio]] = {}
    for one in members:
        ratio = one.ratio(*subjects)
        if ratio is not None and one.row not in found:
            found[one.row] = (one.row, ratio)
    return list(found.values())


def _panel(axis: Any, table: str, bars: Sequence[tuple[str, Ratio]]) -> None:
    rows = range(len(bars))
    medians = [ratio.median for _, ratio in bars]
    colours = [GOOD if median >= 1 else BAD for median in medians]
    axis.barh(rows, [median - 1 for median in medians], left=1, color=colours, height=0.7)
    lowest, highest = [ratio.lowest for _, ratio in bars], [ratio.highest for _, ratio in bars]
    axis.hlines(rows, lowest, highest, color="black", linewidth=0.8)
    beside = axis.get_yaxis_transform()
    for row, median in zip(rows, medians, strict=True):
        axis.text(1.01, row, significant(median), transform=beside, fontsize=7, va="center")
    axis.axvline(1, color="black", linewidth=0.8)
    axis.set_xscale("log", base=2)
    axis.set_xlim(1 / LIMIT, LIMIT)
    axis.xaxis.set_major_formatter("{x:g}")
    axis.set_yticks(rows, [name for name, _ in bars], fontsize=7)
    axis.tick_params(axis="x", labelsize=7)
    axis.set_ylim(len(bars) - 0.5, -0.5)
    axis.set_title(table, fontsize=9, loc="left")
    axis.grid(axis="x", linewidth=0.3)
