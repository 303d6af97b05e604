"""All checks of a history, and one verdict."""

from __future__ import annotations

from collections import Counter

import attrs

from chaos.checkers import election, hashes, lease, linearize, lock, log, replay, totals, watch
from chaos.checkers.verdict import Violation
from chaos.history import FAILED, OK, UNKNOWN, End, History, Run, Trouble


@attrs.frozen
class Verdict:
    """What the checks came to."""

    run: Run | None
    violations: tuple[Violation, ...]
    outcomes: Counter[str]
    troubles: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return not self.violations

    def line(self) -> str:
        """The verdict in one line."""
        counts = ", ".join(f"{self.outcomes[name]} {name}" for name in (OK, FAILED, UNKNOWN))
        about = ""
        if self.run is not None:
            faults = ",".join(self.run.faults) or "none"
            about = (
                f" {self.run.server} nodes={self.run.nodes} seed={self.run.seed}"
                f" duration={self.run.duration:g}s faults={faults}"
            )
        if self.passed:
            return f"PASS{about}: {self.outcomes.total()} operations ({counts}), no violation"
        rules = Counter(violation.rule for violation in self.violations)
        broken = ", ".join(f"{count} {rule}" for rule, count in sorted(rules.items()))
        return f"FAIL{about}: {broken}; {self.outcomes.total()} operations ({counts})"


def judge(history: History) -> Verdict:
    """Check everything."""
    runs = history.of(Run)
    whole = log.build(history)
    violations = list(whole.violations)
    replayed = replay.replay(history, whole)
    violations += replayed.violations
    violations += linearize.check(history)
    violations += watch.check(history, whole)
    violations += lease.check(history, whole, replayed.lease_ends)
    violations += lock.check(history, whole, replayed.explained)
    violations += totals.check(history)
    violations += hashes.check(history)
    violations += election.check(history)
    troubles = history.of(Trouble)
    violations += [Violation("recovery", trouble.text, trouble.at) for trouble in troubles if trouble.fatal]
    if not history.of(End) and not any(trouble.fatal for trouble in troubles):
        violations.append(Violation("recovery", "the run was cut off: its history has no end"))
    return Verdict(
        run=runs[0] if runs else None,
        violations=tuple(violations),
        outcomes=Counter(operation.outcome for operation in history.operations),
        troubles=tuple(trouble.text for trouble in troubles if not trouble.fatal),
    )
