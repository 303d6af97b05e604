"""Everything that ever happened in a small world of Raft, and the properties it must have (figure 3)."""

from __future__ import annotations

from collections.abc import Sequence

from rusd.raft import Entry, Node, Role


class SafetyViolation(AssertionError):  # noqa: N818 - as the paper says "safety"
    """One of the properties that Raft guarantees did not hold."""


class History:
    """Everything that ever happened, against which each step is judged (figure 3)."""

    def __init__(self) -> None:
        self.leaders: dict[int, int] = {}
        self.entries: dict[tuple[int, int], tuple[Entry, int | None]] = {}
        self.committed: dict[int, Entry] = {}
        self.applied_entries: dict[int, Entry] = {}
        self.reads_asked: dict[bytes, int] = {}
        self.reads_answered = 0
        self.snapshots_installed = 0

    def observe(self, node: Node) -> None:
        """Look at one replica after it did something."""
        self._election_safety(node)
        self._log_matching(node)
        self._committed(node)

    def _election_safety(self, node: Node) -> None:
        """At most one leader can be elected in a given term.  And it has all that was committed before."""
        if node.role is not Role.LEADER or self.leaders.get(node.term) == node.id:
            return
        if node.term in self.leaders:
            raise SafetyViolation(f"{self.leaders[node.term]} and {node.id} both lead term {node.term}")
        self.leaders[node.term] = node.id
        for index, entry in self.committed.items():
            if index > node.log.base_index and node.log.term(index) != entry.term:
                raise SafetyViolation(f"leader {node.id} of term {node.term} lacks committed {entry}")

    def _log_matching(self, node: Node) -> None:
        """Entries of equal index and term are equal, and so are those before them."""
        log = node.log
        before: int | None = log.base_term if log.base_index else None
        for entry in log.slice(log.base_index + 1, log.last_index):
            key = (entry.index, entry.term)
            known, known_before = self.entries.setdefault(key, (entry, before))
            if known != entry:
                raise SafetyViolation(f"{known} and {entry} differ")
            if before is not None and known_before is not None and before != known_before:
                raise SafetyViolation(f"two entries before {entry}: of terms {before} and {known_before}")
            before = entry.term

    def _committed(self, node: Node) -> None:
        log = node.log
        first = max(log.base_index, node.commit_index - 40) + 1
        for entry in log.slice(first, node.commit_index):
            known = self.committed.setdefault(entry.index, entry)
            if known != entry:
                raise SafetyViolation(f"{known} was committed, {node.id} committed {entry}")

    def applied(self, host: int, entry: Entry, base_index: int, on_disk: Sequence[Entry]) -> None:
        """State machine safety: nobody applies another entry at an index.  What is applied is durable."""
        known = self.applied_entries.setdefault(entry.index, entry)
        if known != entry:
            raise SafetyViolation(f"{known} was applied, {host} applies {entry}")
        position = entry.index - base_index - 1
        if position >= 0 and (position >= len(on_disk) or on_disk[position] != entry):
            raise SafetyViolation(f"{host} applies {entry}, which its disk does not have")

    def read(self, host: int, context: bytes, index: int) -> None:
        """A confirmed read sees everything that anybody knew to be committed when it was asked for."""
        self.reads_answered += 1
        if index < self.reads_asked[context]:
            raise SafetyViolation(f"{host} reads at {index}, but {self.reads_asked[context]} was committed")
