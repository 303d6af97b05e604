"""Locks: who is told to hold one holds it, and no write guarded by a lock's key is made by anybody else.

A lock's holder is the owner of the oldest key under its name.  That a guarded write fails once its key is
gone is already in the replay of its condition; here it is asked whether the key was the holder's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from sortedcontainers import SortedDict

from chaos.checkers.log import Log
from chaos.checkers.verdict import Violation
from chaos.history import OK, History, Operation
from chaos.model import PUT, Lock

GUARD = "guard:"


def check(history: History, log: Log, explained: Mapping[int, Operation]) -> list[Violation]:
    """Check all locks; ``explained`` says which request is behind which revision."""
    names = {one.request.name for one in history.operations if isinstance(one.request, Lock)}
    violations: list[Violation] = []
    for name in sorted(names):
        holders = _holders(name, log)
        violations += _check_writes(name, holders, explained)
        violations += _check_answers(name, holders, history, explained)
    return violations


def _holders(name: str, log: Log) -> SortedDict[int, str]:
    """From which revision on which key holds the lock; the empty string for none."""
    waiting: SortedDict[int, str] = SortedDict()  # by create revision
    created: dict[str, int] = {}
    holders: SortedDict[int, str] = SortedDict({0: ""})
    for revision in sorted(log.changes):
        for event in log.changes[revision]:
            key = event.kv.key
            if not key.startswith(f"{name}/"):
                continue
            if event.kind == PUT:
                created[key] = event.kv.create
                waiting[event.kv.create] = key
            elif key in created:
                del waiting[created.pop(key)]
            holder = waiting.peekitem(0)[1] if waiting else ""
            if holders.peekitem(-1)[1] != holder:
                holders[revision] = holder
    return holders


def _check_writes(
    name: str, holders: SortedDict[int, str], explained: Mapping[int, Operation]
) -> list[Violation]:
    violations = []
    for revision, one in sorted(explained.items()):
        key = one.note.removeprefix(GUARD)
        if key == one.note or not key.startswith(f"{name}/"):
            continue
        holder = holders.peekitem(holders.bisect_left(revision) - 1)[1]
        if holder != key:
            violations.append(
                Violation(
                    "lock",
                    f"operation {one.id} wrote revision {revision} under {key}, but the lock was held by"
                    f" {holder or 'nobody'}",
                    one.returned,
                    (one.id,),
                )
            )
    return violations


def _check_answers(
    name: str, holders: SortedDict[int, str], history: History, explained: Mapping[int, Operation]
) -> list[Violation]:
    """Who was told to hold the lock held it at some time before being told."""
    since = {holder: revision for revision, holder in holders.items() if holder}
    begins = _begins(explained)
    violations = []
    for one in history.operations:
        if not isinstance(one.request, Lock) or one.request.name != name or one.outcome != OK:
            continue
        assert one.answer is not None
        assert one.returned is not None
        begun = since.get(one.answer.key)
        if begun is None:
            text = f"operation {one.id} was told to hold {one.answer.key}, which never held the lock"
        elif _not_before(begun, begins) > one.returned:
            text = (
                f"operation {one.id} was told to hold {one.answer.key} before it did, from revision {begun}"
            )
        else:
            continue
        violations.append(Violation("lock", text, one.returned, (one.id,)))
    return violations


def _begins(explained: Mapping[int, Operation]) -> SortedDict[int, float]:
    """For revisions whose request is known, the latest that this or an earlier one's request was sent."""
    latest = -math.inf
    begins: SortedDict[int, float] = SortedDict()
    for revision in sorted(explained):
        latest = max(latest, explained[revision].invoked)
        begins[revision] = latest
    return begins


def _not_before(revision: int, begins: SortedDict[int, float]) -> float:
    """A time before which ``revision`` certainly was not there."""
    index = begins.bisect_right(revision)
    return begins.peekitem(index - 1)[1] if index else -math.inf
