"""Checks of KV requests that need no state, in etcd's order.

They run before a request is proposed, so that nothing that is applied can fail
on its shape.  Every function raises :class:`~rusd.grpc.StatusError`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from operator import itemgetter
from typing import TYPE_CHECKING

from rusd.grpc import Code, StatusError
from rusd.services import errors

if TYPE_CHECKING:
    from etcdpb import rpc_pb2

_DESCEND = _LAST_SORT_ORDER = 2
_LAST_SORT_TARGET = 4


def check_range(request: rpc_pb2.RangeRequest) -> None:
    """A key, and sort options that exist."""
    if not request.key:
        raise errors.EMPTY_KEY()
    if not 0 <= request.sort_order <= _LAST_SORT_ORDER or not 0 <= request.sort_target <= _LAST_SORT_TARGET:
        raise errors.INVALID_SORT_OPTION()


def check_range_stream(request: rpc_pb2.RangeRequest) -> None:
    """What :func:`check_range` asks for, and nothing that needs the whole range before the first key."""
    check_range(request)
    if request.sort_order == _DESCEND or (request.sort_order and request.sort_target):
        raise StatusError(Code.UNIMPLEMENTED, "RangeStream does not support custom sort orders")
    if (
        request.min_mod_revision
        or request.max_mod_revision
        or request.min_create_revision
        or request.max_create_revision
    ):
        raise StatusError(Code.UNIMPLEMENTED, "RangeStream does not support revision filters")


def check_put(request: rpc_pb2.PutRequest) -> None:
    """A key, and nothing given that the request says to ignore."""
    if not request.key:
        raise errors.EMPTY_KEY()
    if request.ignore_value and request.value:
        raise errors.VALUE_PROVIDED()
    if request.ignore_lease and request.lease:
        raise errors.LEASE_PROVIDED()


def check_delete_range(request: rpc_pb2.DeleteRangeRequest) -> None:
    """A key."""
    if not request.key:
        raise errors.EMPTY_KEY()


def check_txn(request: rpc_pb2.TxnRequest, max_ops: int) -> None:
    """The number of operations, each operation, and that no key is changed twice."""
    _check_ops(request, max_ops)
    for branch in (request.success, request.failure):
        # One operation alone, as in a compare-and-swap, is in nobody's way, unless it is a transaction.
        if len(branch) > 1 or (branch and branch[0].WhichOneof("request") == "request_txn"):
            _changes(branch)


def _check_ops(request: rpc_pb2.TxnRequest, max_ops: int) -> None:
    count = max(len(request.compare), len(request.success), len(request.failure))
    if count > max_ops:
        raise errors.TOO_MANY_OPS()
    for compare in request.compare:
        if not compare.key:
            raise errors.EMPTY_KEY()
    for branch in (request.success, request.failure):
        for op in branch:
            kind = op.WhichOneof("request")
            if kind == "request_put":
                check_put(op.request_put)
            elif kind == "request_range":
                check_range(op.request_range)
            elif kind == "request_delete_range":
                check_delete_range(op.request_delete_range)
            elif kind == "request_txn":
                # Each level takes its own count from the budget, which also bounds the depth.
                _check_ops(op.request_txn, max_ops - count)
            else:
                raise errors.KEY_NOT_FOUND()


_Interval = tuple[bytes, bytes]
"""A range of keys: the first one in it, and the first one not in it."""


class _Changes:
    """The keys put and the ranges deleted by one branch of a transaction."""

    def __init__(self) -> None:
        self.puts: set[bytes] = set()
        self.deletes: list[_Interval] = []
        self._merged: list[_Interval] | None = None

    def delete(self, intervals: Iterable[_Interval]) -> None:
        """Add deleted ranges."""
        self.deletes += intervals
        self._merged = None

    def put(self, keys: Iterable[bytes]) -> None:
        """Add keys.  Refuses one that is put already or lies in a range deleted so far."""
        for key in keys:
            if key in self.puts or self._is_deleted(key):
                raise errors.DUPLICATE_KEY()
        self.puts.update(keys)

    def _is_deleted(self, key: bytes) -> bool:
        if self._merged is None:
            self._merged = _merge(self.deletes)
        # Disjoint and in order: only the last one that begins at or before the key can hold it.
        position = bisect_right(self._merged, key, key=itemgetter(0))
        return position > 0 and key < self._merged[position - 1][1]


def _changes(ops: Iterable[rpc_pb2.RequestOp]) -> _Changes:
    """What one branch changes, nested transactions included, in the order in which etcd looks at it.

    A put may lie in no range that the same branch deletes, nor in one that a nested
    transaction before it deletes; a nested delete after a nested put is let through.
    Of one nested transaction only one branch runs, so its two may overlap.
    """
    found = _Changes()
    found.delete(
        _interval(op.request_delete_range) for op in ops if op.WhichOneof("request") == "request_delete_range"
    )
    for op in ops:
        if op.WhichOneof("request") != "request_txn":
            continue
        then, other = _changes(op.request_txn.success), _changes(op.request_txn.failure)
        found.put(then.puts)
        found.put(other.puts - then.puts)
        found.delete(then.deletes)
        found.delete(other.deletes)
    for op in ops:
        if op.WhichOneof("request") == "request_put":
            found.put((op.request_put.key,))
    return found


def _interval(request: rpc_pb2.DeleteRangeRequest) -> _Interval:
    """The range as etcd's check sees it: a range_end of one zero byte is taken literally."""
    return request.key, request.range_end or request.key + b"\0"


def _merge(intervals: Iterable[_Interval]) -> list[_Interval]:
    """The same keys in disjoint intervals, in order.

    A transaction may hold tens of thousands of ranges and as many keys: looking at each
    pair of them would stop the server for minutes.
    """
    merged: list[_Interval] = []
    for start, end in sorted(intervals):
        if end <= start:
            continue
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged
