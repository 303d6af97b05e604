"""Short-hands that several of the store's tests share."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rusd.mvcc import Changes, Store


class Player:
    """A store and single-operation transactions on it."""

    def __init__(self) -> None:
        self.store = Store()

    def put(self, key: bytes, value: bytes = b"", lease: int = 0) -> int:
        """The revision of the put."""
        return self.write(lambda transaction: transaction.put(key, value, lease)).revision

    def delete(self, key: bytes, range_end: bytes = b"") -> Changes | None:
        transaction = self.store.begin()
        transaction.delete_range(key, range_end)
        return transaction.publish()

    def write(self, change: Callable) -> Changes:
        transaction = self.store.begin()
        change(transaction)
        changes = transaction.publish()
        assert changes is not None
        return changes

    def compact(self, revision: int) -> None:
        """Compact and remove at once."""
        finished(self.store.compact(revision))

    def keys(self, revision: int = 0) -> list[bytes]:
        return [record.key for record in self.store.range(b"\x00", b"\x00", revision=revision).records]

    def stored(self) -> list[tuple[bytes, int, int, bool]]:
        """Everything retained: key, main revision, sub revision, whether a tombstone."""
        dump = self.store.dump()
        records = []
        while part := dump.take(100):
            records += part
        dump.close()
        return [(r.key, r.mod_revision, r.sub, r.tombstone) for r in records]

    def hash(self, revision: int = 0):
        return finished(self.store.hash_kv(revision)).result


def finished(job):
    while not job.step(3):
        pass
    return job


@pytest.fixture
def player():
    """A fresh store; its invariants are verified at the end."""
    player = Player()
    yield player
    assert player.store.pins == 0
    player.store.check()
