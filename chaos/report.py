"""The page that shows a run: verdict, violations, and a timeline of operations, faults, leaders and terms.

One HTML file that needs nothing else: the timeline is SVG, with tooltips where there is more to say.
Whatever came from outside (keys, values, errors, names) is escaped here and nowhere else.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from html import escape

import attrs

from chaos.checkers.judge import Verdict
from chaos.history import FAILED, OK, UNKNOWN, Fault, History, Operation, Status

SHOWN_OPERATIONS = 6_000
SHOWN_VIOLATIONS = 200
LEFT, ROW, GAP, SECOND = 110, 16, 4, 24.0
"""Pixels: the column of names, the height of a row, the space between rows, a second."""

_TERM_COLOURS = ("#4e79a7", "#f28e2b", "#59a14f", "#b07aa1", "#76b7b2", "#edc948", "#9c755f", "#ff9da7")
_STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; margin: 2em; color: #222; }
h1 { font-size: 1.3em; } h2 { font-size: 1.1em; margin-top: 2em; }
.PASS { color: #2a7d2e; } .FAIL { color: #b3261e; }
table { border-collapse: collapse; }
td, th { padding: .2em .8em .2em 0; text-align: left; vertical-align: top; }
th { border-bottom: 1px solid #bbb; }
code { background: #f4f4f4; padding: .1em .3em; }
.timeline { overflow-x: auto; border: 1px solid #ddd; }
svg text { font: 11px system-ui, sans-serif; fill: #333; }
.ok { fill: #8fb7d8; } .failed { fill: #c9c9c9; } .unknown { fill: #e8a33d; } .wrong { fill: #b3261e; }
.fault { fill: #e06c5f; opacity: .75; } .grid { stroke: #eee; }
.alarm { stroke: #b3261e; stroke-dasharray: 3 3; }
"""


def render(history: History, verdict: Verdict, command: str = "") -> str:
    """The page as text."""
    word = "PASS" if verdict.passed else "FAIL"
    parts = [
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
        f"<title>chaos: {word}</title><style>{_STYLE}</style></head><body>",
        f'<h1 class="{word}">{escape(verdict.line())}</h1>',
        f"<p>Again: <code>{escape(command)}</code></p>" if command else "",
        _violations(verdict),
        _troubles(verdict),
        "<h2>Timeline</h2>",
        _Timeline(history, verdict).svg(),
        _workloads(history),
        _faults(history),
        "</body></html>\n",
    ]
    return "\n".join(part for part in parts if part)


# -- tables ------------------------------------------------------------------------


def _violations(verdict: Verdict) -> str:
    if verdict.passed:
        return "<p>Every promise that was checked was kept.</p>"
    rows = [
        (violation.rule, _time(violation.at), violation.text)
        for violation in verdict.violations[:SHOWN_VIOLATIONS]
    ]
    more = len(verdict.violations) - len(rows)
    return (
        "<h2>Violations</h2>"
        + _table(("rule", "at", "what"), rows)
        + (f"<p>and {more} more</p>" if more > 0 else "")
    )


def _troubles(verdict: Verdict) -> str:
    if not verdict.troubles:
        return ""
    return "<h2>Noticed</h2>" + "".join(f"<pre>{escape(text)}</pre>" for text in verdict.troubles)


def _workloads(history: History) -> str:
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    times: defaultdict[str, list[float]] = defaultdict(list)
    for one in history.operations:
        counts[one.workload][one.outcome] += 1
        if one.outcome == OK and one.returned is not None:
            times[one.workload].append(one.returned - one.invoked)
    rows = [
        (name, *(str(count[outcome]) for outcome in (OK, FAILED, UNKNOWN)), *_quantiles(times[name]))
        for name, count in sorted(counts.items())
    ]
    return "<h2>Operations</h2>" + _table(
        ("workload", "ok", "failed", "unknown", "median", "99 %", "longest"), rows
    )


def _quantiles(times: list[float]) -> tuple[str, str, str]:
    if not times:
        return "", "", ""
    times = sorted(times)
    last = len(times) - 1
    picked = (times[last // 2], times[int(last * 0.99)], times[last])
    return tuple(f"{1000 * one:.1f} ms" for one in picked)  # type: ignore[return-value]


def _faults(history: History) -> str:
    rows = [(_time(one.begun), _time(one.ended), one.name, one.detail) for one in history.of(Fault)]
    return "<h2>Faults</h2>" + _table(("from", "to", "fault", "what"), sorted(rows)) if rows else ""


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    body = "".join("<tr>" + "".join(f"<td>{escape(text)}</td>" for text in row) + "</tr>\n" for row in rows)
    return f"<table><tr>{head}</tr>\n{body}</table>"


def _time(at: float | None) -> str:
    return "" if at is None else f"{at:8.3f} s"


# -- the timeline -----------------------------------------------------------------------


@attrs.frozen
class _Reign:
    """A member's idea of who leads, while it lasted."""

    begin: float
    end: float
    leader: int
    term: int


class _Timeline:
    """Rows of bars over seconds: leaders by member, faults, operations by client."""

    def __init__(self, history: History, verdict: Verdict) -> None:
        self._history = history
        self._wrong = {number for violation in verdict.violations for number in violation.operations}
        self._alarms = [one.at for one in verdict.violations if one.at is not None][:SHOWN_VIOLATIONS]
        self._end = max((one.ended for one in history.of(Fault)), default=0.0)
        self._end = max(self._end, *(_end(one) for one in history.operations), 1.0)
        self._parts: list[str] = []
        self._y = 2 * ROW

    def svg(self) -> str:
        """The whole of it."""
        for member, reigns in sorted(_reigns(self._history).items()):
            self._leaders(member, reigns)
        self._y += GAP * 2
        for name, faults in sorted(_by_name(self._history.of(Fault)).items()):
            self._faults(name, faults)
        self._y += GAP * 2
        shown, left_out = self._choose()
        for process, operations in sorted(shown.items()):
            self._operations(process, operations)
        width, height = int(LEFT + self._end * SECOND) + 20, self._y + ROW
        note = f"<p>{left_out} ordinary operations are not drawn.</p>" if left_out else ""
        return (
            '<div class="timeline"><svg xmlns="http://www.w3.org/2000/svg"'
            f' width="{width}" height="{height}">'
            f"{self._grid(height)}{''.join(self._parts)}{self._alarm_lines(height)}</svg></div>{note}"
        )

    def _leaders(self, member: int, reigns: list[_Reign]) -> None:
        self._name(f"n{member}'s leader")
        for reign in reigns:
            leader = "none" if reign.leader < 0 else f"n{reign.leader}"
            colour = "#dddddd" if reign.leader < 0 else _TERM_COLOURS[reign.term % len(_TERM_COLOURS)]
            title = f"leader {leader}, term {reign.term}, as n{member} says"
            self._bar(reign.begin, reign.end, title, f'fill="{colour}"')
            if (reign.end - reign.begin) * SECOND > 60:
                x = LEFT + reign.begin * SECOND + 3
                self._parts.append(f'<text x="{x:.1f}" y="{self._y + 12}">{leader} · {reign.term}</text>')
        self._y += ROW + GAP

    def _faults(self, name: str, faults: list[Fault]) -> None:
        self._name(name)
        for one in faults:
            self._bar(one.begun, one.ended, f"{one.name}: {one.detail}", 'class="fault"')
        self._y += ROW + GAP

    def _operations(self, process: int, operations: list[Operation]) -> None:
        self._name(f"{operations[0].workload} {process}")
        for one in operations:
            kind = "wrong" if one.id in self._wrong else one.outcome
            title = f"operation {one.id} at n{one.member}: {one.request} → {one.answer or one.error}"
            self._bar(one.invoked, _end(one), title[:600], f'class="{kind}"')
        self._y += ROW

    def _choose(self) -> tuple[dict[int, list[Operation]], int]:
        """The operations to draw, by client: the special ones all, of the others what there is room for."""
        operations = self._history.operations
        special = [one for one in operations if one.outcome != OK or one.id in self._wrong]
        ordinary = [one for one in operations if one.outcome == OK and one.id not in self._wrong]
        room = max(0, SHOWN_OPERATIONS - len(special))
        every = max(1, -(-len(ordinary) // room)) if room else len(ordinary) + 1
        drawn = ordinary[::every]
        chosen: defaultdict[int, list[Operation]] = defaultdict(list)
        for one in sorted([*special, *drawn], key=lambda one: one.invoked):
            chosen[one.process].append(one)
        return dict(chosen), len(ordinary) - len(drawn)

    def _name(self, text: str) -> None:
        self._parts.append(f'<text x="4" y="{self._y + 12}">{escape(text)}</text>')

    def _bar(self, begin: float, end: float, title: str, look: str) -> None:
        x, width = LEFT + begin * SECOND, max(1.0, (end - begin) * SECOND)
        self._parts.append(
            f'<rect x="{x:.1f}" y="{self._y}" width="{width:.1f}" height="{ROW - 2}" {look}>'
            f"<title>{escape(title)}</title></rect>"
        )

    def _grid(self, height: int) -> str:
        step = 5 if self._end < 300 else 30
        lines = []
        for second in range(0, int(self._end) + step, step):
            x = LEFT + second * SECOND
            lines.append(f'<line class="grid" x1="{x}" x2="{x}" y1="16" y2="{height}"/>')
            lines.append(f'<text x="{x}" y="12">{second} s</text>')
        return "".join(lines)

    def _alarm_lines(self, height: int) -> str:
        places = sorted({round(LEFT + at * SECOND) for at in self._alarms})
        return "".join(f'<line class="alarm" x1="{x}" x2="{x}" y1="16" y2="{height}"/>' for x in places)


def _reigns(history: History) -> dict[int, list[_Reign]]:
    """What each member said about the leader, neighbouring equal statements joined."""
    reigns: defaultdict[int, list[_Reign]] = defaultdict(list)
    for status in history.of(Status):
        own = reigns[status.member]
        if own and (own[-1].leader, own[-1].term) == (status.leader, status.term):
            own[-1] = attrs.evolve(own[-1], end=status.at)
        else:
            own.append(_Reign(status.at, status.at, status.leader, status.term))
    return dict(reigns)


def _by_name(faults: Iterable[Fault]) -> dict[str, list[Fault]]:
    named: defaultdict[str, list[Fault]] = defaultdict(list)
    for one in faults:
        named[one.name].append(one)
    return dict(named)


def _end(one: Operation) -> float:
    """Where an operation's bar ends: one without a certain end gets a short one."""
    return one.invoked + 0.2 if one.returned is None else one.returned
