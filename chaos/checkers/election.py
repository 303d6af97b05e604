"""Election safety: a term has one leader, whoever is asked."""

from __future__ import annotations

from chaos.checkers.verdict import Violation
from chaos.history import History, Status


def check(history: History) -> list[Violation]:
    """Compare what all members said of each term."""
    leaders: dict[int, Status] = {}
    violations = []
    for status in history.of(Status):
        if status.leader < 0:
            continue
        first = leaders.setdefault(status.term, status)
        if first.leader != status.leader:
            violations.append(
                Violation(
                    "election",
                    f"the leader of term {status.term} is n{first.leader}, says n{first.member}, and"
                    f" n{status.leader}, says n{status.member}",
                    status.at,
                )
            )
    return violations
