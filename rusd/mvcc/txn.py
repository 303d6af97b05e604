"""Evaluating Put, DeleteRange and Txn requests on a transaction, as etcd does.

A Txn goes in three passes.  *Choose*: every compare, those of nested
transactions on the way taken too, looks at the state before any change.
*Check*: everything that could refuse an operation on that way.  *Execute*:
nothing can fail any more.  So a refused request has changed nothing.

Requests are ``etcdserverpb`` messages (or look like them) that passed the
validation done before they are proposed.  The results are small trees that the
service layer encodes.

Source: etcd's server/etcdserver/txn/txn.go, release 3.6.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import attrs

from rusd.mvcc.errors import CompactedError, FutureRevisionError, KeyNotFoundError, LeaseNotFoundError
from rusd.mvcc.ranges import RangeResult, View, evaluate_steps
from rusd.mvcc.record import Record
from rusd.mvcc.transaction import WriteTransaction
from rusd.steps import ENDLESS, PAGE, Steps, Turn, finish

if TYPE_CHECKING:
    from etcdpb import rpc_pb2

LeaseExists = Callable[[int], bool]

_PUT_COST = 3
"""What a put takes of a turn, in records."""

# etcdserverpb.Compare.CompareResult and CompareTarget
EQUAL, GREATER, LESS, NOT_EQUAL = range(4)
TARGET_VERSION, TARGET_CREATE, TARGET_MOD, TARGET_VALUE, TARGET_LEASE = range(5)


@attrs.define(eq=False)
class PutResult:
    """Of a put: the header's revision, the new record, and the old one if ``prev_kv`` asked for it."""

    revision: int
    record: Record
    previous: Record | None


@attrs.define(eq=False)
class DeleteResult:
    """Of a delete: the header's revision, how many, and the old records if ``prev_kv`` asked for them."""

    revision: int
    deleted: int
    previous: Sequence[Record]


@attrs.define(eq=False)
class TxnResult:
    """Of a transaction: the header's revision (0 if nested), the branch taken, one result an operation.

    A response is ``None`` for an operation without content.  ``weight`` is how many records there
    are in all of them.
    """

    revision: int
    succeeded: bool
    responses: list[OpResult]
    weight: int = 0


OpResult = RangeResult | PutResult | DeleteResult | TxnResult | None


class _Plan(NamedTuple):
    """The way a transaction takes: its branch, what its operations are (asking them takes time), and the
    plans of the nested transactions in it by position.
    """

    succeeded: bool
    operations: Sequence[tuple[str | None, rpc_pb2.RequestOp]]
    nested: dict[int, _Plan]


def apply_put(
    transaction: WriteTransaction, request: rpc_pb2.PutRequest, lease_exists: LeaseExists
) -> PutResult:
    """Carry out a single Put.

    Raises :class:`LeaseNotFoundError` or else :class:`KeyNotFoundError`, before any change.
    """
    lease = request.lease
    if lease and not lease_exists(lease):
        raise LeaseNotFoundError(lease)
    if request.ignore_value or request.ignore_lease:
        _check_kept(transaction, request)
        return _put(transaction, request)
    record, previous = transaction.put(request.key, request.value, lease)  # nearly always
    return PutResult(record.mod_revision, record, previous if request.prev_kv else None)


def apply_delete(transaction: WriteTransaction, request: rpc_pb2.DeleteRangeRequest) -> DeleteResult:
    """Carry out a single DeleteRange."""
    return finish(delete_steps(transaction, request, ENDLESS))


def apply_txn(
    transaction: WriteTransaction, request: rpc_pb2.TxnRequest, lease_exists: LeaseExists
) -> TxnResult:
    """Carry out a Txn.

    Raises :class:`CompactedError`, :class:`FutureRevisionError`,
    :class:`LeaseNotFoundError` or :class:`KeyNotFoundError`, before any change.
    """
    return finish(txn_steps(transaction, request, lease_exists, ENDLESS))


def delete_steps(
    transaction: WriteTransaction, request: rpc_pb2.DeleteRangeRequest, turn: Turn
) -> Steps[DeleteResult]:
    """:func:`apply_delete` in steps."""
    previous: list[Record] | None = [] if request.prev_kv else None
    if request.range_end:
        deleted = yield from transaction.delete_steps(request.key, request.range_end, turn, previous)
    else:
        victims = transaction.delete_range(request.key)
        turn.left -= 1
        deleted = len(victims)
        if previous is not None:
            previous = victims
    # Nothing deleted and nothing changed before: still the revision of the beginning.
    return DeleteResult(transaction.view_revision, deleted, previous or ())


def txn_steps(
    transaction: WriteTransaction, request: rpc_pb2.TxnRequest, lease_exists: LeaseExists, turn: Turn
) -> Steps[TxnResult]:
    """:func:`apply_txn` in steps; what it raises comes before any change."""
    plan = yield from _choose(transaction, request, turn)
    _check(transaction, plan, lease_exists)
    result = yield from _execute(transaction, plan, turn)
    result.revision = transaction.view_revision
    return result


def read_only(request: rpc_pb2.TxnRequest) -> bool:
    """Whether every operation of both branches is a plain range (etcd then reads locally)."""
    for branch in (request.success, request.failure):
        for operation in branch:
            if operation.WhichOneof("request") != "request_range":
                return False
    return True


# -- choose -------------------------------------------------------------------


def _choose(view: View, request: rpc_pb2.TxnRequest, turn: Turn) -> Steps[_Plan]:
    succeeded = True
    for compare in request.compare:
        if compare.range_end:
            succeeded = yield from _compare_range(view, compare, turn)
        else:
            succeeded = _compare_key(compare, view.get(compare.key))
        if not succeeded:
            break
    branch = request.success if succeeded else request.failure
    operations = [(operation.WhichOneof("request"), operation) for operation in branch]
    nested: dict[int, _Plan] = {}
    for position, (kind, operation) in enumerate(operations):
        if kind == "request_txn":
            nested[position] = yield from _choose(view, operation.request_txn, turn)
    return _Plan(succeeded, operations, nested)


def compare_holds(view: View, compare: rpc_pb2.Compare) -> bool:
    """Whether a comparison holds for every key of its range.

    Where there is no key, a value compares as false whatever the operator, and
    anything else as 0.
    """
    return finish(_compare_range(view, compare, ENDLESS))


def _compare_range(view: View, compare: rpc_pb2.Compare, turn: Turn) -> Steps[bool]:
    """:func:`compare_holds` in steps."""
    result = yield from view.range_steps(compare.key, compare.range_end, turn)
    if len(result.records) <= PAGE:
        return _compare_records(compare, result.records)
    records = result.records if isinstance(result.records, list) else list(result.records)
    holds = True
    while records:
        holds = holds and _compare_records(compare, records[-PAGE:])
        del records[-PAGE:]
        turn.left -= PAGE
        if turn.left <= 0:
            yield
    return holds


def _compare_records(compare: rpc_pb2.Compare, records: Sequence[Record]) -> bool:
    if records:
        return all(_compare_record(compare, record) for record in records)
    return _compare_key(compare, None)


def _compare_key(compare: rpc_pb2.Compare, record: Record | None) -> bool:
    """Whether a comparison holds for a single key."""
    return (record is not None or compare.target != TARGET_VALUE) and _compare_record(compare, record)


def _compare_record(compare: rpc_pb2.Compare, record: Record | None) -> bool:
    """One key's comparison; an operand that is missing, or of another target, counts as 0 or empty."""
    target = compare.target
    actual: Any
    wanted: Any
    # An operand belongs to its own target: protobuf gives 0 or b"" for the unset members of a oneof.
    if target == TARGET_VALUE:
        actual, wanted = (record.value if record else b""), compare.value
    elif target == TARGET_CREATE:
        actual, wanted = (record.create_revision if record else 0), compare.create_revision
    elif target == TARGET_MOD:
        actual, wanted = (record.mod_revision if record else 0), compare.mod_revision
    elif target == TARGET_VERSION:
        actual, wanted = (record.version if record else 0), compare.version
    elif target == TARGET_LEASE:
        actual, wanted = (record.lease if record else 0), compare.lease
    else:  # unknown to us: equal
        actual, wanted = 0, 0
    result = compare.result
    if result == EQUAL:
        return bool(actual == wanted)
    if result == NOT_EQUAL:
        return bool(actual != wanted)
    if result == GREATER:
        return bool(actual > wanted)
    if result == LESS:
        return bool(actual < wanted)
    return True  # unknown to us


# -- check --------------------------------------------------------------------


def _check(transaction: WriteTransaction, plan: _Plan, lease_exists: LeaseExists) -> None:
    """Raise what the operations of the plan would be refused for, the first one first."""
    for position, (kind, operation) in enumerate(plan.operations):
        if kind == "request_put":
            # Inside a transaction etcd looks at the key before the lease.
            put = operation.request_put
            _check_kept(transaction, put)
            _check_lease(put.lease, lease_exists)
        elif kind == "request_range":
            _check_range(transaction, operation.request_range.revision)
        elif kind == "request_txn":
            _check(transaction, plan.nested[position], lease_exists)


def _check_range(transaction: WriteTransaction, revision: int) -> None:
    """As etcd has it for ranges in a transaction, where a negative revision can be compacted."""
    if revision == 0:
        return
    if revision > transaction.revision:
        raise FutureRevisionError(revision, transaction.revision)
    if revision < transaction.compact_revision:
        raise CompactedError(revision, transaction.compact_revision)


def _check_lease(lease: int, lease_exists: LeaseExists) -> None:
    if lease and not lease_exists(lease):
        raise LeaseNotFoundError(lease)


def _check_kept(transaction: WriteTransaction, request: rpc_pb2.PutRequest) -> None:
    """``ignore_value`` and ``ignore_lease`` need a key whose value or lease they keep."""
    if (request.ignore_value or request.ignore_lease) and transaction.get(request.key) is None:
        raise KeyNotFoundError(request.key)


# -- execute ------------------------------------------------------------------


def _execute(transaction: WriteTransaction, plan: _Plan, turn: Turn) -> Steps[TxnResult]:
    responses: list[OpResult] = []
    weight = 0
    for position, (kind, operation) in enumerate(plan.operations):
        response: OpResult = None
        if kind == "request_put":
            response = _put(transaction, operation.request_put)
            turn.left -= _PUT_COST
            if response.previous is not None:
                weight += 1
        elif kind == "request_range":
            response = yield from evaluate_steps(transaction, operation.request_range, turn)
            weight += len(response.records)
        elif kind == "request_delete_range":
            response = yield from delete_steps(transaction, operation.request_delete_range, turn)
            weight += len(response.previous)
        elif kind == "request_txn":
            response = yield from _execute(transaction, plan.nested[position], turn)
            weight += response.weight
        responses.append(response)
        if turn.left <= 0:
            yield
    return TxnResult(0, plan.succeeded, responses, weight)


def _put(transaction: WriteTransaction, request: rpc_pb2.PutRequest) -> PutResult:
    key, value, lease = request.key, request.value, request.lease
    if request.ignore_value or request.ignore_lease:
        # An earlier delete of the same transaction may have taken the key after the check
        # (validation overlooks deletes "from key on"); then there is nothing to keep.
        kept = transaction.get(key)
        if request.ignore_value:
            value = kept.value if kept else b""
        if request.ignore_lease:
            lease = kept.lease if kept else 0
    record, previous = transaction.put(key, value, lease)
    return PutResult(record.mod_revision, record, previous if request.prev_kv else None)
