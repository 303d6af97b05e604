"""Leases: none ends before its time, none that has ended is renewed, none lives on after it was revoked.

Times are taken so that doubt is in the server's favour.  A renewal counts from when it was *sent*, the end
of a lease from when somebody was *told* of it: if even so less than its time to live lies between, the
lease ended too early, whatever delays there were.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

import attrs

from chaos.checkers.log import Log
from chaos.checkers.verdict import Violation
from chaos.history import FAILED, OK, Fault, History, Operation, Status
from chaos.model import PUT, Grant, KeepAlive, Revoke

LATE_SECONDS = 10.0
"""How much longer than its time to live a lease may live while nothing is going on."""


@attrs.define
class _Lease:
    """What was asked about one lease."""

    renewals: list[Operation] = attrs.Factory(list)
    revocations: list[Operation] = attrs.Factory(list)
    doubtful: float = -math.inf
    """When the last request was sent that may have renewed it, answered or not."""


def check(history: History, log: Log, ends: Mapping[int, int]) -> list[Violation]:
    """Check all leases; ``ends`` says which revision certainly is the end of which lease."""
    leases: defaultdict[int, _Lease] = defaultdict(_Lease)
    for one in history.operations:
        match one.request:
            case Grant(lease=lease) | KeepAlive(lease=lease):
                leases[lease].doubtful = max(leases[lease].doubtful, one.returned or math.inf)
                if one.outcome == OK and one.answer is not None and one.answer.ttl > 0:
                    leases[lease].renewals.append(one)
            case Revoke(lease=lease) if one.outcome != FAILED:
                leases[lease].revocations.append(one)
    faults, statuses = history.of(Fault), history.of(Status)
    violations: list[Violation] = []
    for lease, revision in sorted(ends.items()):
        at = log.seen.get(revision)
        if at is not None:
            violations += _check_end(lease, leases[lease], revision, at)
            violations += _check_late(lease, leases[lease], at, faults, statuses)
    return violations + _check_revoked(leases, log)


def _check_end(lease: int, asked: _Lease, revision: int, at: float) -> list[Violation]:
    """The lease ended at ``revision``, of which somebody was told at ``at``."""
    violations = [
        Violation(
            "lease",
            f"lease {lease:x} ended with revision {revision}, and was renewed after that for {_ttl(one)} s",
            one.returned,
            (one.id,),
        )
        for one in asked.renewals
        if one.invoked > at
    ]
    if any(one.invoked < at for one in asked.revocations):
        return violations
    before = [one for one in asked.renewals if one.invoked <= at]
    last = max(before, key=lambda one: one.invoked + _ttl(one), default=None)
    if last is not None and at < last.invoked + _ttl(last):
        left = last.invoked + _ttl(last) - at
        violations.append(
            Violation(
                "lease",
                f"lease {lease:x} ended with revision {revision}, at least {left:.2f} s before its"
                f" {_ttl(last)} s were over",
                at,
                (last.id,),
            )
        )
    return violations


def _check_late(
    lease: int, asked: _Lease, at: float, faults: Sequence[Fault], statuses: Sequence[Status]
) -> list[Violation]:
    """A lease that nobody renews has to go, unless there was something that may have held it up."""
    if not asked.renewals or math.isinf(asked.doubtful):
        return []
    ttl = max(_ttl(one) for one in asked.renewals)
    latest = asked.doubtful + ttl + LATE_SECONDS
    if at <= latest or _disturbed(faults, statuses, asked.doubtful, at):
        return []
    return [
        Violation("lease", f"lease {lease:x} lived {at - asked.doubtful:.1f} s after its last renewal", at)
    ]


def _disturbed(faults: Sequence[Fault], statuses: Sequence[Status], begin: float, end: float) -> bool:
    """Whether there was a fault, or leaders changed, so that leases may rightly be extended."""
    if any(fault.begun < end and fault.ended > begin for fault in faults):
        return True
    return len({status.term for status in statuses if begin <= status.at <= end}) > 1


def _check_revoked(leases: Mapping[int, _Lease], log: Log) -> list[Violation]:
    """After the answer to a Revoke no key hangs on the lease."""
    attached: dict[str, tuple[int, int]] = {}
    revoked = {
        lease: one.answer.revision
        for lease, asked in leases.items()
        for one in asked.revocations
        if one.outcome == OK and one.answer is not None
    }
    violations = []
    for revision in sorted(log.changes):
        for event in log.changes[revision]:
            lease, _ = attached.pop(event.kv.key, (0, 0))
            if lease in revoked and revision > revoked[lease]:
                violations.append(
                    Violation(
                        "lease",
                        f"lease {lease:x} was revoked by revision {revoked[lease]}, but {event.kv.key} was"
                        f" there until {revision}",
                        log.seen.get(revision),
                    )
                )
            if event.kind == PUT and event.kv.lease:
                attached[event.kv.key] = (event.kv.lease, revision)
    violations += [
        Violation("lease", f"lease {lease:x} was revoked, but {key} is still there")
        for key, (lease, _) in sorted(attached.items())
        if lease in revoked
    ]
    return violations


def _ttl(one: Operation) -> int:
    assert one.answer is not None
    return one.answer.ttl
