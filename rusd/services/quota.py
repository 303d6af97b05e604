"""The space quota: how large the store may grow before writes that add to it are refused.

etcd's database file does not shrink when keys are deleted; freed pages are used
again, and only a defragmentation gives them back.  rusd keeps its state in
memory and logs, but clients, alarms and their recovery steps (compact,
defragment, disarm) are made for that file, so its size is imitated: the largest
size since the last defragmentation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from etcdpb import rpc_pb2

DEFAULT_QUOTA_BYTES = 2 * 1024**3
PAGE_BYTES = 4096
EMPTY_PAGES = 5
"""Pages of a database that holds no keys: its meta pages, freelist and buckets."""

PUT_COST_BYTES = 256
"""Counted for a put on top of key and value."""
LEASE_COST_BYTES = 64
_MOST_COST_PER_BYTE = PUT_COST_BYTES // 4 + 1
"""No put takes less than four bytes of a request: its tag and length, in an operation with the same."""


class Quota:
    """Imitates the size of etcd's database and says what fits.

    ``limit`` is in bytes: 0 for the default, negative for none.  ``bytes_in_use``
    tells the present size of the state.
    """

    def __init__(self, limit: int, bytes_in_use: Callable[[], int]) -> None:
        self.limit = limit if limit else DEFAULT_QUOTA_BYTES
        self._bytes_in_use = bytes_in_use
        self._largest = 0

    @property
    def size_in_use(self) -> int:
        """Bytes that hold something, in whole pages."""
        return _pages(self._bytes_in_use())

    @property
    def size(self) -> int:
        """Bytes of the database, freed pages included."""
        self._largest = max(self._largest, self.size_in_use)
        return self._largest

    def admits(self, cost: int) -> bool:
        """Whether a request that adds about ``cost`` bytes fits."""
        return self.limit < 0 or self.size + cost < self.limit

    def admits_any(self, request_bytes: int) -> bool:
        """Whether whatever a request of that size may hold fits, so that nobody need look into it."""
        return self.admits(request_bytes * _MOST_COST_PER_BYTE)

    def about_to_shrink(self) -> None:
        """Something will be removed: remember how large it was."""
        self._largest = self.size

    def defragment(self) -> None:
        """Give freed pages back."""
        self._largest = self.size_in_use


def put_cost(request: rpc_pb2.PutRequest) -> int:
    """What a put adds, in bytes."""
    return PUT_COST_BYTES + len(request.key) + len(request.value)


def txn_cost(request: rpc_pb2.TxnRequest) -> int:
    """What the larger branch of a transaction adds, in bytes."""
    return max(_branch_cost(request.success), _branch_cost(request.failure))


def _branch_cost(ops: Iterable[rpc_pb2.RequestOp]) -> int:
    cost = 0
    for op in ops:
        match op.WhichOneof("request"):
            case "request_put":
                cost += put_cost(op.request_put)
            case "request_txn":
                cost += txn_cost(op.request_txn)
    return cost


def _pages(size: int) -> int:
    return (EMPTY_PAGES + -(-size // PAGE_BYTES)) * PAGE_BYTES
