"""What a host's disk holds for sure, as its driver was told: the simulation's own account of it."""

from __future__ import annotations

from rusd.raft import HardState, Ready
from rusd.storage import SnapshotMarker
from rusd.storage.wal import Recovered


class Durable:
    """Term, vote and the terms of the entries whose sync has returned."""

    def __init__(self) -> None:
        self.term = 0
        self.vote = 0
        self.base = 0
        self.terms: list[int] = []

    @property
    def last_index(self) -> int:
        return self.base + len(self.terms)

    def term_at(self, index: int) -> int | None:
        """None if the entry is not there, or below the base, where nobody knows any more."""
        position = index - self.base - 1
        return self.terms[position] if 0 <= position < len(self.terms) else None

    def holds(self, index: int, term: int) -> bool:
        """Whether the entry is there; what a snapshot stands for was committed, and is."""
        return index <= self.base or self.term_at(index) == term

    def synced(self, ready: Ready) -> None:
        """The batch of ``ready`` is on stable storage."""
        if ready.snapshot is not None:
            self._received(ready.snapshot.index)
        if ready.hard_state is not None:
            self.term, self.vote = ready.hard_state.term, ready.hard_state.vote
        if ready.entries:
            first = ready.entries[0].index
            del self.terms[first - self.base - 1 :]
            self.terms += [entry.term for entry in ready.entries]

    def _received(self, index: int) -> None:
        self.base, self.terms = index, []

    def outcomes(self, ready: Ready | None) -> list[Durable]:
        """What a crash may leave while ``ready`` is being written: nothing of it, a snapshot alone, all."""
        if ready is None:
            return [self]
        possible = [self]
        if ready.snapshot is not None:
            only = self.copy()
            only._received(ready.snapshot.index)
            assert ready.hard_state is not None
            only.term, only.vote = ready.hard_state.term, ready.hard_state.vote
            possible.append(only)
        whole = self.copy()
        whole.synced(ready)
        return [*possible, whole]

    def copy(self) -> Durable:
        other = Durable()
        other.term, other.vote, other.base, other.terms = self.term, self.vote, self.base, self.terms[:]
        return other

    def agrees_with(self, found: Durable) -> bool:
        """Whether a restart that found ``found`` found this."""
        if (self.term, self.vote, self.last_index) != (found.term, found.vote, found.last_index):
            return False
        low = max(self.base, found.base)
        return self.terms[low - self.base :] == found.terms[low - found.base :]

    def __repr__(self) -> str:
        return f"term {self.term}, vote {self.vote}, entries {self.base + 1} to {self.last_index}"


def found_by(recovered: Recovered) -> Durable:
    """What a restart has found."""
    durable = Durable()
    state: HardState = recovered.hard_state
    marker: SnapshotMarker | None = recovered.marker
    durable.term, durable.vote = state.term, state.vote
    durable.base = marker.index if marker else 0
    durable.terms = [entry.term for entry in recovered.entries]
    return durable
