"""Sums that must come out, whatever the revisions say: counters, lists, and accounts.

These are the promises that an application would make to its own users, checked on values alone.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Sequence

from chaos.checkers.verdict import Violation
from chaos.history import FAILED, OK, History, Operation
from chaos.model import KeyRequest, KeyValue, Put, Range, puts
from chaos.workloads.keys import ACCOUNT_PREFIX, ACCOUNTS, COUNTERS, FIRST_BALANCE, LISTS, balance


def check(history: History) -> list[Violation]:
    """Check all three."""
    operations = [one for one in history.operations if isinstance(one.request, KeyRequest)]
    violations = [violation for key in COUNTERS for violation in _check_counter(key, operations)]
    violations += [violation for key in LISTS for violation in _check_list(key, operations)]
    return violations + _check_accounts(operations)


def _check_counter(key: str, operations: Sequence[Operation]) -> list[Violation]:
    """A read is at least the additions answered before it, and at most those sent by its end."""
    adds = [one for one in operations if one.note == "add" and _target(one) == key]
    answered = sorted(one.returned for one in adds if _succeeded(one) and one.returned is not None)
    sent = sorted(one.invoked for one in adds if one.outcome != FAILED and not _refused(one))
    violations = []
    for one, found in _reads(key, operations):
        assert one.returned is not None
        value = 0 if found is None else int(found.value)
        least, most = bisect_left(answered, one.invoked), bisect_right(sent, one.returned)
        if not least <= value <= most:
            violations.append(_violation(one, f"{key} was {value}, after {least} to {most} additions"))
    return violations


def _check_list(key: str, operations: Sequence[Operation]) -> list[Violation]:
    """Lists with the same first element are one list: each a prefix of the longer, none missing what is in
    it.
    """
    violations: list[Violation] = []
    longest: dict[str, list[str]] = {}
    answered: defaultdict[str, list[tuple[float, int]]] = defaultdict(list)
    for one in operations:
        if one.note == "append" and _target(one) == key and _succeeded(one):
            items = _items(next(iter(puts(_request(one)))).value)
            assert one.returned is not None
            answered[items[0]].append((one.returned, len(items)))
    lengths = {first: _running_maximum(entries) for first, entries in answered.items()}
    for one, found in _reads(key, operations):
        if found is None:
            continue
        items = _items(found.value)
        if len(set(items)) < len(items):
            violations.append(_violation(one, f"{key} has an element twice: {found.value}"))
        known = longest.setdefault(items[0], items)
        shorter, longer = sorted((known, items), key=len)
        if longer[: len(shorter)] != shorter:
            violations.append(_violation(one, f"{key} was read as {items} and as {known}"))
        longest[items[0]] = longer
        least = _at(lengths.get(items[0], []), one.invoked)
        if len(items) < least:
            violations.append(
                _violation(one, f"{key} had {len(items)} elements, after {least} had been appended")
            )
    return violations


def _check_accounts(operations: Sequence[Operation]) -> list[Violation]:
    """All accounts together always hold the same."""
    violations = []
    for one in operations:
        if not isinstance(one.request, Range) or one.request.key != ACCOUNT_PREFIX or one.outcome != OK:
            continue
        assert one.answer is not None
        (found,) = one.answer.results
        if not isinstance(found, tuple) or not found:
            continue
        total, right = sum(balance(kv) for kv in found), FIRST_BALANCE * len(ACCOUNTS)
        if total != right or len(found) != len(ACCOUNTS):
            violations.append(_violation(one, f"{len(found)} accounts hold {total}; right is {right}"))
    return violations


def _reads(key: str, operations: Sequence[Operation]) -> list[tuple[Operation, KeyValue | None]]:
    """The linearizable reads of exactly ``key`` that were answered, with what they found."""
    found: list[tuple[Operation, KeyValue | None]] = []
    for one in operations:
        if one.request == Range(key) and one.outcome == OK and one.answer is not None:
            (result,) = one.answer.results
            found.append((one, result[0] if isinstance(result, tuple) and result else None))
    return found


def _violation(one: Operation, text: str) -> Violation:
    return Violation("totals", f"operation {one.id}: {text}", one.returned, (one.id,))


def _request(one: Operation) -> KeyRequest:
    assert isinstance(one.request, KeyRequest)
    return one.request


def _target(one: Operation) -> str:
    return next((put.key for put in puts(_request(one)) if isinstance(put, Put)), "")


def _succeeded(one: Operation) -> bool:
    return one.outcome == OK and one.answer is not None and one.answer.succeeded


def _refused(one: Operation) -> bool:
    return one.outcome == OK and one.answer is not None and not one.answer.succeeded


def _items(value: str) -> list[str]:
    return value.split(",")


def _running_maximum(entries: list[tuple[float, int]]) -> list[tuple[float, int]]:
    """Times and lengths with each length the greatest up to then."""
    best, result = 0, []
    for at, length in sorted(entries):
        best = max(best, length)
        result.append((at, best))
    return result


def _at(entries: list[tuple[float, int]], time: float) -> int:
    """The length that was reached before ``time``."""
    index = bisect_left(entries, (time, 0))
    return entries[index - 1][1] if index else 0
