"""What watchers were told, against the log of all changes.

etcd promises its watchers that events are *ordered* by revision, *unique*, *atomic* (all of a revision in
one response), *reliable* (none is left out), *resumable* (a new watch from the last revision on gets the
rest) and *bookmarkable* (after a progress notification nothing older comes).  A logical watcher is a chain
of streams; what all of them were told, one after the other, has to be exactly the part of the log that it
asked for.  The one excuse for a gap is that a stream ended with the news that its place was compacted.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict

import attrs

from chaos.checkers.log import Log
from chaos.checkers.verdict import Violation
from chaos.history import Delivery, End, History, Watch, WatchEnd
from chaos.model import DELETE, PUT, Compact, Event, KeyValue, in_range


def check(history: History, log: Log) -> list[Violation]:
    """Check every watcher in ``history``."""
    complete = _with_previous(log)
    compacted = sorted(
        (one.invoked, one.request.revision) for one in history.operations if isinstance(one.request, Compact)
    )
    chains: defaultdict[str, list[Watch | Delivery | WatchEnd]] = defaultdict(list)
    for record in history.records:
        if isinstance(record, Watch | Delivery | WatchEnd):
            chains[record.watcher].append(record)
    ends = history.of(End)
    violations: list[Violation] = []
    for name, records in sorted(chains.items()):
        chain = _Chain(name, complete, compacted)
        for record in records:
            chain.take(record)
        if ends and name in ends[-1].watchers:
            chain.finish(ends[-1])
        violations += chain.violations
    return violations


def _with_previous(log: Log) -> list[Event]:
    """All events of the log in order, each with the key as it was before."""
    keys: dict[str, KeyValue] = {}
    events: list[Event] = []
    for revision in sorted(log.changes):
        for event in log.changes[revision]:
            events.append(attrs.evolve(event, previous=keys.get(event.kv.key)))
            if event.kind == PUT:
                keys[event.kv.key] = event.kv
            else:
                keys.pop(event.kv.key, None)
    return events


class _Chain:
    """One logical watcher, and how far into its part of the log it has been told."""

    def __init__(self, name: str, log: list[Event], compacted: list[tuple[float, int]]) -> None:
        self.violations: list[Violation] = []
        self._name = name
        self._log = log
        self._compacted = compacted
        self._expected: list[Event] = []
        self._position = 0
        self._watch: Watch | None = None

    def take(self, record: Watch | Delivery | WatchEnd) -> None:
        """The next thing that happened to the watcher."""
        match record:
            case Watch():
                self._begin(record)
            case Delivery() if record.events:
                self._deliver(record)
            case Delivery():
                self._progress(record)
            case WatchEnd() if record.compacted > (asked := self._compacted_by(record.at)):
                self._add(
                    f"was ended because of a compaction at {record.compacted}, but nobody asked for one"
                    f" beyond {asked}",
                    record.at,
                )

    def finish(self, end: End) -> None:
        """Everything up to the end of the run has to be here."""
        missing = self._next()
        if missing is not None and missing.kv.mod <= end.revision:
            self._add(f"was never told of {_show(missing)}, nor of anything after it", end.at)

    def _begin(self, watch: Watch) -> None:
        if self._watch is None:
            self._expected = [
                event
                for event in self._log
                if in_range(event.kv.key, watch.key, watch.end) and event.kind not in watch.drop
            ]
        self._watch = watch
        self._position = bisect_left(self._expected, watch.start, key=lambda event: event.kv.mod)

    def _deliver(self, delivery: Delivery) -> None:
        for event in delivery.events:
            self._one(event, delivery)
        last, following = delivery.events[-1], self._next()
        if following is not None and following.kv.mod == last.kv.mod:
            self._add(
                f"was told of revision {last.kv.mod} only in part: {_show(following)} is left", delivery.at
            )
        if delivery.revision < last.kv.mod:
            self._add(
                f"was told of {_show(last)} by an answer from revision {delivery.revision}", delivery.at
            )

    def _one(self, event: Event, delivery: Delivery) -> None:
        expected = self._next()
        if expected is not None and _same(event, expected):
            self._position += 1
            self._check_previous(event, expected, delivery.at)
            return
        place = self._place(event)
        if place is None:
            right = self._at(event.kv.mod, event.kv.key)
            instead = f"; right is {_show(right)}" if right else ", which is not in its part of the log"
            self._add(f"was told of {_show(event)}{instead}", delivery.at)
            if right is not None and right is expected:
                self._position += 1
        elif place < self._position:
            self._add(f"was told of {_show(event)} again, or too late", delivery.at)
        else:
            assert expected is not None
            self._add(
                f"was told of {_show(event)} before {_show(expected)}"
                + (f" and {place - self._position - 1} more" if place - self._position > 1 else ""),
                delivery.at,
            )
            self._position = place + 1

    def _check_previous(self, event: Event, expected: Event, at: float) -> None:
        assert self._watch is not None
        if not self._watch.previous or event.previous == expected.previous:
            return
        if event.previous is None and event.kv.mod - 1 < self._compacted_by(at):
            return  # what was before may be compacted
        self._add(
            f"was told of {_show(event)} with {event.previous} as what was before;"
            f" right is {expected.previous}",
            at,
        )

    def _compacted_by(self, at: float) -> int:
        """The newest revision at which somebody had asked for a compaction by then."""
        return max((revision for invoked, revision in self._compacted if invoked <= at), default=0)

    def _progress(self, delivery: Delivery) -> None:
        missing = self._next()
        if missing is not None and missing.kv.mod <= delivery.revision:
            self._add(
                f"was promised that it knows all up to {delivery.revision}, but was not told of"
                f" {_show(missing)}",
                delivery.at,
            )

    def _next(self) -> Event | None:
        return self._expected[self._position] if self._position < len(self._expected) else None

    def _place(self, event: Event) -> int | None:
        """Where ``event`` stands in this watcher's part of the log."""
        place = bisect_left(self._expected, event.kv.mod, key=lambda one: one.kv.mod)
        while place < len(self._expected) and self._expected[place].kv.mod == event.kv.mod:
            if _same(self._expected[place], event):
                return place
            place += 1
        return None

    def _at(self, revision: int, key: str) -> Event | None:
        """What the log has for ``key`` at ``revision``."""
        place = bisect_left(self._expected, revision, key=lambda one: one.kv.mod)
        for event in self._expected[place:]:
            if event.kv.mod != revision:
                return None
            if event.kv.key == key:
                return event
        return None

    def _add(self, text: str, at: float) -> None:
        member = "?" if self._watch is None else f"n{self._watch.member}"
        self.violations.append(Violation("watch", f"watcher {self._name} (by {member}) {text}", at))


def _same(one: Event, other: Event) -> bool:
    return one.kind == other.kind and one.kv == other.kv


def _show(event: Event) -> str:
    value = "" if event.kind == DELETE else f"={event.kv.value!r}"
    return f"{event.kind} {event.kv.key}{value} at {event.kv.mod}"
