"""Members that say they hold the same: HashKV at one revision, by members that compacted alike."""

from __future__ import annotations

from collections import defaultdict

from chaos.checkers.verdict import Violation
from chaos.history import Hash, History


def check(history: History) -> list[Violation]:
    """Compare all hashes that can be compared."""
    groups: defaultdict[tuple[int, int], list[Hash]] = defaultdict(list)
    for one in history.of(Hash):
        groups[one.revision, one.compacted].append(one)
    return [
        Violation(
            "hash",
            f"at revision {revision}, compacted at {compacted}, the hashes are "
            + ", ".join(f"{one.hash:08x} on n{one.member}" for one in hashes),
            hashes[0].at,
        )
        for (revision, compacted), hashes in sorted(groups.items())
        if len({one.hash for one in hashes}) > 1
    ]
