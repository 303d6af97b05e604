"""Linearizability by revision: replay the log on the model and hold every answer against it.

etcd numbers its states, and every answer carries the number of the state it was made in.  So nothing has to
be searched: a write that was answered with revision r took effect as step r, a read answered with revision
r saw the state after step r.  Three things are left to check, and together they are linearizability:

* *what*: each answer, and each change in the log, is what the model gives for that request in that state;
* *who*: every step in the log is the work of exactly one request, or of a lease that ended.  A request whose
  end is unknown may be the work behind at most one step; who did what is a bipartite matching;
* *when*: if one operation had returned before another was sent, it does not come after it.

The module :mod:`chaos.checkers.linearize` has the general search, which trusts no revision.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable

import attrs

from chaos.checkers.log import Log
from chaos.checkers.matching import match
from chaos.checkers.verdict import Violation
from chaos.history import OK, UNKNOWN, History, Operation
from chaos.model import (
    DELETE,
    PUT,
    Answer,
    Delete,
    Event,
    KeyRequest,
    Lock,
    Put,
    Range,
    Result,
    Store,
    Unlock,
    as_txn,
    deletes,
    puts,
)


@attrs.define
class Replayed:
    """What a replay found.

    ``lease_ends`` has the steps that nothing but the end of a lease can explain: lease -> revision.
    ``explained`` has the requests behind the others, as far as that is certain to matter: revision ->
    request.
    """

    violations: list[Violation] = attrs.Factory(list)
    lease_ends: dict[int, int] = attrs.Factory(dict)
    explained: dict[int, Operation] = attrs.Factory(dict)
    checked: int = 0


def replay(history: History, log: Log) -> Replayed:
    """Check all key operations of ``history`` against ``log``."""
    return _Replay(history, log).run()


@attrs.frozen
class _Ended:
    """A lease that ended, as the possible cause of a step."""

    lease: int


@attrs.frozen
class _Part:
    """One of the steps that a call of the Lock service takes: it may make a key, and delete it again."""

    operation: Operation
    kind: str


_Cause = Operation | _Ended | _Part


class _Replay:
    def __init__(self, history: History, log: Log) -> None:
        self._log = log
        self._found = Replayed()
        self._store = Store()
        operations = [one for one in history.operations if isinstance(one.request, KeyRequest)]
        self._answered = [one for one in operations if one.outcome == OK and one.answer is not None]
        self._unknown = [one for one in operations if one.outcome == UNKNOWN and _may_write(one)]
        self._floors = _Floors(self._answered, log)
        self._by_put: defaultdict[tuple[str, str], list[Operation]] = defaultdict(list)
        for one in self._unknown:
            for put in puts(_key_request(one)):
                self._by_put[put.key, put.value].append(one)
        self._deleting = [one for one in self._unknown if deletes(_key_request(one))]
        self._lockers = _lockers(history)
        self._causes: dict[int, list[_Cause]] = {}

    def run(self) -> Replayed:
        at: defaultdict[int, list[Operation]] = defaultdict(list)
        for one in self._answered:
            at[_answer(one).revision].append(one)
        self._check_reads(1, at.pop(1, []))
        for revision in range(2, max(self._log.last, *at, 1) + 1):
            if not self._step(revision, at.get(revision, [])):
                break
        self._explain()
        self._check_times()
        self._found.checked = len(self._answered)
        return self._found

    # -- what ------------------------------------------------------------------------

    def _step(self, revision: int, here: list[Operation]) -> bool:
        """Take one step and check every answer made in the state after it; False if there is no going on."""
        writers = [one for one in here if _changed(one)]
        events = self._log.changes.get(revision)
        if events is None:
            if not writers:
                self._add(
                    "completeness", f"no watcher was told of revision {revision}, nor did anybody make it"
                )
                return False
            self._add(
                "completeness",
                f"revision {revision} was answered to {_name(writers[0])}, but no watcher was told of it",
                writers[:1],
            )
            events = self._store.run(as_txn(_key_request(writers[0])), revision).events
            self._store.undo(events)
        if writers:
            self._check_writer(revision, events, writers[0])
        else:
            self._causes[revision] = self._possible_causes(revision, events)
        for other in writers[1:]:
            self._add(
                "linearizability",
                f"revision {revision} was answered to {_name(writers[0])} and to {_name(other)}",
                [writers[0], other],
            )
        self._store.apply(events)
        self._check_reads(revision, [one for one in here if one not in writers])
        return True

    def _check_writer(self, revision: int, events: tuple[Event, ...], writer: Operation) -> None:
        step = self._store.run(as_txn(_key_request(writer)), revision)
        self._store.undo(step.events)
        self._found.explained[revision] = writer
        if _bare(step.events) != events:
            self._add(
                "linearizability",
                f"{_name(writer)} had to change {_show(step.events)} at revision {revision},"
                f" but the change there is {_show(events)}",
                [writer],
            )
        self._check_answer(writer, step.succeeded, step.results)

    def _check_reads(self, revision: int, readers: Iterable[Operation]) -> None:
        for one in readers:
            step = self._store.run(as_txn(_key_request(one)), revision)
            self._store.undo(step.events)
            if step.events:
                self._add(
                    "linearizability",
                    f"{_name(one)} changed nothing at revision {revision}, where it had to change"
                    f" {_show(step.events)}",
                    [one],
                )
            self._check_answer(one, step.succeeded, step.results)

    def _check_answer(self, one: Operation, succeeded: bool, results: tuple[Result, ...]) -> None:
        answer = _answer(one)
        if answer.succeeded != succeeded:
            self._add(
                "linearizability",
                f"{_name(one)} {'succeeded' if answer.succeeded else 'did not succeed'} at revision"
                f" {answer.revision}, where its conditions {'held' if succeeded else 'did not hold'}",
                [one],
            )
        elif answer.results != results:
            self._add(
                "linearizability",
                f"{_name(one)} was answered {answer.results} at revision {answer.revision},"
                f" right is {results}",
                [one],
            )

    # -- who -----------------------------------------------------------------------------

    def _possible_causes(self, revision: int, events: tuple[Event, ...]) -> list[_Cause]:
        """Whatever may have made this step, given the state before it."""
        causes: list[_Cause] = []
        put = next((event for event in events if event.kind == PUT), None)
        suspects = self._deleting if put is None else self._by_put[put.kv.key, put.kv.value]
        for one in suspects:
            if self._floors.of(one) >= 2 * revision:
                continue
            step = self._store.run(as_txn(_key_request(one)), revision)
            self._store.undo(step.events)
            if _bare(step.events) == events:
                causes.append(one)
        if len(events) == 1:
            causes += [
                _Part(one, events[0].kind)
                for one in self._lockers.get((events[0].kind, events[0].kv.key), ())
                if self._floors.of(one) < 2 * revision
            ]
        if put is None and (lease := self._ended_lease(events)):
            causes.append(_Ended(lease))
        return causes

    def _ended_lease(self, events: tuple[Event, ...]) -> int:
        """The lease whose keys, all of them and no others, ``events`` delete; else 0."""
        first = self._store.keys.get(events[0].kv.key)
        if first is None or not first.lease:
            return 0
        gone = [event.kv.key for event in events if event.kind == DELETE]
        return first.lease if gone == self._store.attached(first.lease) else 0

    def _explain(self) -> None:
        found = match(self._causes)
        for revision, cause in sorted(found.items()):
            if isinstance(cause, _Ended):
                if len(self._causes[revision]) == 1:
                    self._found.lease_ends[cause.lease] = revision
            elif isinstance(cause, Operation):
                self._found.explained[revision] = cause
        for revision in sorted(self._causes.keys() - found.keys()):
            self._add(
                "linearizability",
                f"revision {revision} ({_show(self._log.changes[revision])}) is nobody's work,"
                " or somebody's twice",
                at=self._log.seen.get(revision),
            )

    # -- when -----------------------------------------------------------------------------

    def _check_times(self) -> None:
        for one in self._answered:
            if isinstance(one.request, Range) and one.request.serializable:
                continue  # may be as old as it likes
            position = _position(one)
            floor = self._floors.of(one)
            if floor > position or (floor == position and _changed(one)):
                self._add(
                    "linearizability",
                    f"{_name(one)} was answered from revision {_answer(one).revision}, but before it was sent"
                    f" revision {floor // 2} had been seen by {self._floors.witness(one)}",
                    [one],
                )

    def _add(
        self, rule: str, text: str, operations: Iterable[Operation] = (), at: float | None = None
    ) -> None:
        involved = tuple(operations)
        if at is None and involved:
            at = involved[0].returned
        self._found.violations.append(Violation(rule, text, at, tuple(one.id for one in involved)))


class _Floors:
    """For each operation the latest position that somebody had seen before it was sent.

    Positions are ``2 r`` for the step to revision r and ``2 r + 1`` for the state after it.  A watcher that
    was told of a step has seen it, too.
    """

    def __init__(self, answered: list[Operation], log: Log) -> None:
        seen = [(one.returned, _position(one), _name(one)) for one in answered if one.returned is not None]
        seen += [(at, 2 * revision, "a watcher") for revision, at in log.seen.items()]
        seen.sort(key=lambda entry: entry[0])
        self._times: list[float] = []
        self._best: list[tuple[int, str]] = []
        best = (0, "nobody")
        for at, position, name in seen:
            if position > best[0]:
                best = (position, name)
                self._times.append(at)
                self._best.append(best)

    def of(self, one: Operation) -> int:
        return self._entry(one)[0]

    def witness(self, one: Operation) -> str:
        return self._entry(one)[1]

    def _entry(self, one: Operation) -> tuple[int, str]:
        index = bisect_left(self._times, one.invoked)
        return self._best[index - 1] if index else (0, "nobody")


def _lockers(history: History) -> dict[tuple[str, str], list[Operation]]:
    """Calls of the Lock service by what they may do: (PUT or DELETE, the lock's key).

    A key's name is the lock's with the lease in hexadecimal.  A Lock that gives up deletes its key again.
    """
    found: defaultdict[tuple[str, str], list[Operation]] = defaultdict(list)
    for one in history.operations:
        match one.request:
            case Lock(name, lease):
                key = f"{name}/{lease:x}"
                found[PUT, key].append(one)
                if one.outcome != OK:
                    found[DELETE, key].append(one)
            case Unlock(key):
                found[DELETE, key].append(one)
    return found


def _key_request(one: Operation) -> KeyRequest:
    assert isinstance(one.request, KeyRequest)
    return one.request


def _answer(one: Operation) -> Answer:
    assert one.answer is not None
    return one.answer


def _may_write(one: Operation) -> bool:
    txn = as_txn(_key_request(one))
    return any(not isinstance(action, Range) for action in txn.success + txn.failure)


def _changed(one: Operation) -> bool:
    """Whether the answer of ``one`` says that it made its revision, rather than found it."""
    answer = _answer(one)
    txn = as_txn(_key_request(one))
    actions = txn.success if answer.succeeded else txn.failure
    return any(
        isinstance(action, Put) or (isinstance(action, Delete) and bool(result))
        for action, result in zip(actions, answer.results, strict=False)
    )


def _position(one: Operation) -> int:
    return 2 * _answer(one).revision + (not _changed(one))


def _bare(events: tuple[Event, ...]) -> tuple[Event, ...]:
    return tuple(Event(event.kind, event.kv) for event in events)


def _show(events: tuple[Event, ...]) -> str:
    return ", ".join(f"{event.kind} {event.kv.key}={event.kv.value!r}" for event in events) or "nothing"


def _name(one: Operation) -> str:
    return f"operation {one.id} ({type(one.request).__name__} by client {one.process})"
