"""Election safety: a term has one leader, whoever is asked.

Only of rusd, whose Status is one look at Raft.  etcd takes the leader from Raft and the term from the last
entry applied, so that after each election a new leader appears in the old term for a while.
"""

from __future__ import annotations

from chaos.checkers.verdict import Violation
from chaos.history import History, Run, Status


def check(history: History) -> list[Violation]:
    """Compare what all members said of each term."""
    if any(run.server != "rusd" for run in history.of(Run)):
        return []
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
