"""A dict of many keys that never grows by much at once.

A Python dict that is full copies itself into one twice as large: 50 ms for 700,000
keys, during which nothing else happens.  Here are many small dicts instead, among which the
keys are spread by their hash; each one's growth takes less than a millisecond up to
millions of keys.

Where every tenth of a microsecond counts, callers do what :meth:`KeyTable.get` does
themselves (it spares the call): ``table.shards[hash(key) & MASK].get(key)``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

V = TypeVar("V")

SHARDS = 256
MASK = SHARDS - 1


class KeyTable(Generic[V]):
    """Keys and what belongs to them.  In no order: it differs from process to process."""

    __slots__ = ("shards",)

    def __init__(self, items: Mapping[bytes, V] | None = None) -> None:
        self.shards: tuple[dict[bytes, V], ...] = tuple({} for _ in range(SHARDS))
        for key, value in items.items() if items else ():
            self[key] = value

    def __len__(self) -> int:
        return sum(map(len, self.shards))

    def __contains__(self, key: bytes) -> bool:
        return key in self.shards[hash(key) & MASK]

    def __getitem__(self, key: bytes) -> V:
        return self.shards[hash(key) & MASK][key]

    def __setitem__(self, key: bytes, value: V) -> None:
        self.shards[hash(key) & MASK][key] = value

    def __delitem__(self, key: bytes) -> None:
        del self.shards[hash(key) & MASK][key]

    def get(self, key: bytes) -> V | None:
        """What belongs to ``key``, or ``None``."""
        return self.shards[hash(key) & MASK].get(key)

    def items(self) -> Iterator[tuple[bytes, V]]:
        """All of it; nothing may be added or removed meanwhile."""
        for shard in self.shards:
            yield from shard.items()

    def values(self) -> Iterator[V]:
        """As :meth:`items`."""
        for shard in self.shards:
            yield from shard.values()
