"""The keys of one lease: a set that may be walked while it changes.

A lease can have a million keys.  To tell them takes many turns, between which keys
come and go, and Python's own set can't be walked then; nor does it grow by one
key without copying itself now and then.  So the keys of a large lease are spread
over many small sets, each of which is read, and grows, in no time.
"""

from __future__ import annotations

from collections.abc import Iterator

_MANY = 1000
"""Keys from which on they are spread."""

_SHARDS = 256


class KeySet:
    """Keys in no order: it differs from process to process."""

    __slots__ = ("shards",)

    def __init__(self) -> None:
        self.shards: list[set[bytes]] = [set()]

    def __len__(self) -> int:
        return sum(map(len, self.shards))

    def add(self, key: bytes) -> None:
        """Add ``key``; fine if it is there."""
        shards = self.shards
        if len(shards) > 1:
            shards[hash(key) % _SHARDS].add(key)
            return
        shards[0].add(key)
        if len(shards[0]) > _MANY:
            self._spread()

    def discard(self, key: bytes) -> None:
        """Remove ``key``; fine if it is not there."""
        shards = self.shards
        shards[hash(key) % _SHARDS if len(shards) > 1 else 0].discard(key)

    def parts(self) -> Iterator[list[bytes]]:
        """All keys, in parts.  What comes or goes between two of them may or may not show."""
        for shard in self.shards:
            yield list(shard)

    def _spread(self) -> None:
        """In a list of its own, so that who is walking ends with the set it has seen."""
        keys = self.shards[0]
        self.shards = [set() for _ in range(_SHARDS)]
        for key in keys:
            self.shards[hash(key) % _SHARDS].add(key)
