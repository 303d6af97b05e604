"""What is refused before it reaches the log: etcd's rules, in etcd's order."""

from __future__ import annotations

import time

import pytest

from etcdpb import rpc_pb2
from etcdpb.rpc_pb2 import Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest
from rusd.grpc import StatusError
from rusd.services import validate

KEY = ("INVALID_ARGUMENT", "etcdserver: key is not provided")
NOT_FOUND = ("INVALID_ARGUMENT", "etcdserver: key not found")
VALUE = ("INVALID_ARGUMENT", "etcdserver: value is provided")
LEASE = ("INVALID_ARGUMENT", "etcdserver: lease is provided")
SORT = ("INVALID_ARGUMENT", "etcdserver: invalid sort option")
TOO_MANY = ("INVALID_ARGUMENT", "etcdserver: too many operations in txn request")
DUPLICATE = ("INVALID_ARGUMENT", "etcdserver: duplicate key given in txn request")


def put(key: bytes, **more: object) -> RequestOp:
    return RequestOp(request_put=PutRequest(key=key, **more))  # type: ignore[arg-type]


def get(key: bytes, end: bytes = b"", **more: object) -> RequestOp:
    return RequestOp(request_range=RangeRequest(key=key, range_end=end, **more))  # type: ignore[arg-type]


def delete(key: bytes, end: bytes = b"") -> RequestOp:
    return RequestOp(request_delete_range=DeleteRangeRequest(key=key, range_end=end))


def nested(*success: RequestOp, failure: tuple[RequestOp, ...] = ()) -> RequestOp:
    return RequestOp(request_txn=TxnRequest(success=success, failure=failure))


def outcome(check: object, *arguments: object) -> tuple[str, str] | None:
    try:
        check(*arguments)  # type: ignore[operator]
    except StatusError as error:
        return error.code.name, error.message
    return None


def txn(*success: RequestOp, failure: tuple[RequestOp, ...] = (), limit: int = 128) -> tuple[str, str] | None:
    """How a transaction fares, and, both ways round, that the two branches are checked alike."""
    found = outcome(validate.check_txn, TxnRequest(success=success, failure=failure), limit)
    if not failure:
        mirrored = TxnRequest(failure=success)
        assert outcome(validate.check_txn, mirrored, limit) == found
    return found


# -- single requests ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (RangeRequest(key=b"k"), None),
        (RangeRequest(), KEY),
        (RangeRequest(range_end=b"z"), KEY),
        (RangeRequest(key=b"k", sort_order=2, sort_target=4), None),
        (RangeRequest(key=b"k", sort_order=3), SORT),  # type: ignore[arg-type]
        (RangeRequest(key=b"k", sort_order=-1), SORT),  # type: ignore[arg-type]
        (RangeRequest(key=b"k", sort_target=5), SORT),  # type: ignore[arg-type]
        (RangeRequest(sort_target=5), KEY),  # type: ignore[arg-type]
        (RangeRequest(key=b"k", limit=-1, revision=-1), None),
    ],
)
def test_a_range_needs_a_key_and_sort_options_that_exist(
    request_: RangeRequest, expected: tuple[str, str] | None
) -> None:
    assert outcome(validate.check_range, request_) == expected


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (PutRequest(key=b"k"), None),
        (PutRequest(value=b"v"), KEY),
        (PutRequest(key=b"k", ignore_value=True), None),
        (PutRequest(key=b"k", ignore_value=True, value=b"v"), VALUE),
        (PutRequest(key=b"k", ignore_lease=True, lease=1), LEASE),
        (PutRequest(key=b"k", ignore_value=True, value=b"v", ignore_lease=True, lease=1), VALUE),
        (PutRequest(ignore_value=True, value=b"v"), KEY),
    ],
)
def test_a_put_needs_a_key_and_nothing_that_it_says_to_ignore(
    request_: PutRequest, expected: tuple[str, str] | None
) -> None:
    assert outcome(validate.check_put, request_) == expected


def test_a_delete_needs_a_key() -> None:
    assert outcome(validate.check_delete_range, DeleteRangeRequest(range_end=b"\0")) == KEY
    assert outcome(validate.check_delete_range, DeleteRangeRequest(key=b"k")) is None


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (RangeRequest(key=b"k", sort_order=1), None),
        (RangeRequest(key=b"k", sort_target=3), None),
        (RangeRequest(key=b"k", sort_order=2), "RangeStream does not support custom sort orders"),
        (
            RangeRequest(key=b"k", sort_order=1, sort_target=3),
            "RangeStream does not support custom sort orders",
        ),
        (RangeRequest(key=b"k", max_mod_revision=1), "RangeStream does not support revision filters"),
        (RangeRequest(key=b"k", min_create_revision=1), "RangeStream does not support revision filters"),
    ],
)
def test_a_streamed_range_is_in_key_order_and_unfiltered(
    request_: RangeRequest, expected: str | None
) -> None:
    assert outcome(validate.check_range_stream, request_) == (expected and ("UNIMPLEMENTED", expected))


# -- the shape of a transaction -------------------------------------------------------------


def test_the_larger_of_compares_and_branches_counts() -> None:
    compares = [Compare(key=b"k")] * 3
    ops = [get(b"k")] * 3
    for request in (TxnRequest(compare=compares), TxnRequest(success=ops), TxnRequest(failure=ops)):
        assert outcome(validate.check_txn, request, 3) is None
        assert outcome(validate.check_txn, request, 2) == TOO_MANY
    assert outcome(validate.check_txn, TxnRequest(compare=compares, success=ops, failure=ops), 3) is None


def test_a_nested_transaction_has_what_its_parent_leaves() -> None:
    inside = nested(get(b"a"), get(b"b"))
    assert txn(inside, limit=3) is None
    assert txn(inside, limit=2) == TOO_MANY
    assert txn(inside, get(b"c"), limit=3) == TOO_MANY
    assert txn(inside, inside, inside, limit=5) is None  # each has the same remainder
    assert txn(nested(nested(nested(get(b"a")))), limit=4) is None
    assert txn(nested(nested(nested(get(b"a")))), limit=3) == TOO_MANY


def test_the_count_comes_before_the_compares_and_these_before_the_operations() -> None:
    empty = Compare()
    assert outcome(validate.check_txn, TxnRequest(compare=[empty] * 3), 2) == TOO_MANY
    assert outcome(validate.check_txn, TxnRequest(compare=[empty], success=[RequestOp()]), 2) == KEY
    assert outcome(validate.check_txn, TxnRequest(success=[RequestOp()], failure=[put(b"")]), 2) == NOT_FOUND
    assert txn(put(b"a"), put(b"a"), put(b"")) == KEY  # duplicates come last


def test_every_operation_is_checked_as_if_it_stood_alone() -> None:
    assert txn(RequestOp()) == NOT_FOUND
    assert txn(put(b"")) == KEY
    assert txn(delete(b"")) == KEY
    assert txn(get(b"")) == KEY
    assert txn(get(b"k", sort_order=7)) == SORT
    assert txn(put(b"k", ignore_value=True, value=b"v")) == VALUE
    assert txn(put(b"k", ignore_lease=True, lease=5)) == LEASE
    assert txn(nested(put(b""))) == KEY
    assert txn(nested(failure=(RequestOp(),))) == NOT_FOUND
    inside = RequestOp(request_txn=TxnRequest(compare=[Compare()]))
    assert txn(inside) == KEY


def test_compares_of_unknown_kind_are_let_through() -> None:
    odd = Compare(key=b"k", result=9, target=9)  # type: ignore[arg-type]
    assert outcome(validate.check_txn, TxnRequest(compare=[odd]), 128) is None


# -- what may not be changed twice ---------------------------------------------------------------


def test_a_key_is_put_once_in_a_branch() -> None:
    assert txn(put(b"a"), put(b"b")) is None
    assert txn(put(b"a"), get(b"a"), put(b"a")) == DUPLICATE
    assert txn(put(b"a"), failure=(put(b"a"),)) is None


def test_a_put_inside_a_deleted_range_is_refused_wherever_it_stands() -> None:
    for first, second in ((put(b"b"), delete(b"a", b"c")), (delete(b"a", b"c"), put(b"b"))):
        assert txn(first, second) == DUPLICATE
    assert txn(put(b"b"), delete(b"b")) == DUPLICATE
    assert txn(put(b"c"), delete(b"a", b"c")) is None
    assert txn(put(b"a"), delete(b"a", b"c")) == DUPLICATE
    assert txn(put(b"a\0"), delete(b"a")) is None
    assert txn(put(b"b"), failure=(delete(b"a", b"c"),)) is None


def test_deletes_may_overlap_and_ranges_may_overlap_anything() -> None:
    assert txn(delete(b"a", b"c"), delete(b"b", b"d"), delete(b"a")) is None
    assert txn(get(b"a", b"z"), put(b"b"), get(b"b"), delete(b"c")) is None


def test_a_put_between_overlapping_deletes_is_found() -> None:
    deletes = (delete(b"a", b"c"), delete(b"b", b"f"), delete(b"e", b"h"), delete(b"x"))
    for key in (b"a", b"b", b"d", b"g", b"x"):
        assert txn(*deletes, put(key)) == DUPLICATE
    for key in (b"h", b"w", b"x\0", b"\0"):
        assert txn(*deletes, put(key)) is None


def test_an_empty_range_deletes_nothing() -> None:
    assert txn(delete(b"c", b"a"), put(b"b"), put(b"c"), put(b"a")) is None
    assert txn(delete(b"b", b"b"), put(b"b")) is None


def test_a_delete_from_a_key_on_is_overlooked_as_in_etcd() -> None:
    assert txn(delete(b"a", b"\0"), put(b"b")) is None


def test_a_nested_put_counts_for_its_parent() -> None:
    assert txn(nested(put(b"a")), put(b"a")) == DUPLICATE
    assert txn(put(b"a"), nested(put(b"a"))) == DUPLICATE
    assert txn(nested(put(b"a")), nested(put(b"a"))) == DUPLICATE
    assert txn(nested(failure=(put(b"a"),)), nested(put(b"a"))) == DUPLICATE
    assert txn(nested(nested(put(b"a"))), nested(nested(put(b"b")))) is None
    assert txn(nested(nested(put(b"a"))), nested(nested(put(b"a")))) == DUPLICATE


def test_the_branches_of_one_nested_transaction_may_put_the_same_key() -> None:
    assert txn(nested(put(b"a"), failure=(put(b"a"),))) is None
    assert txn(nested(put(b"a"), failure=(put(b"a"),)), put(b"a")) == DUPLICATE


def test_one_branch_may_put_what_the_other_deletes() -> None:
    assert txn(nested(put(b"a"), failure=(delete(b"a"),))) is None
    assert txn(nested(delete(b"a", b"c"), failure=(put(b"b"),))) is None
    assert txn(nested(put(b"a"), delete(b"a"))) == DUPLICATE


def test_a_nested_put_and_a_delete_around_it_are_refused() -> None:
    assert txn(nested(put(b"a")), delete(b"a")) == DUPLICATE
    assert txn(delete(b"a", b"c"), nested(failure=(put(b"b"),))) == DUPLICATE
    assert txn(delete(b"a", b"c"), nested(nested(put(b"b")))) == DUPLICATE


def test_a_nested_delete_counts_for_puts_after_and_around_it() -> None:
    assert txn(nested(delete(b"a")), put(b"a")) == DUPLICATE
    assert txn(nested(failure=(delete(b"a", b"c"),)), put(b"b")) == DUPLICATE
    assert txn(nested(delete(b"a")), nested(put(b"a"))) == DUPLICATE
    assert txn(nested(put(b"a")), nested(delete(b"a"))) is None  # etcd looks at them in order


def test_a_transaction_as_large_as_a_request_may_be_is_checked_in_no_time() -> None:
    """Tens of thousands of deletes and puts: compared in pairs, they would stop the server for minutes."""
    width = 32

    def many(make: object, prefix: bytes) -> RequestOp:
        return nested(
            *[nested(*[make(b"%s%d-%d" % (prefix, i, j)) for j in range(width)]) for i in range(width)]
        )  # type: ignore[operator]

    tree = [many(delete, b"d%d-" % i) for i in range(width // 2)]
    tree += [many(put, b"p%d-" % i) for i in range(width // 2)]
    request = TxnRequest(success=tree)
    assert request.ByteSize() < 2_000_000
    start = time.process_time()
    assert outcome(validate.check_txn, request, 128) is None
    assert time.process_time() - start < 10.0  # in pairs: more than 30 s


def test_the_enums_here_are_those_of_the_api() -> None:
    assert max(rpc_pb2.RangeRequest.SortOrder.values()) == validate._LAST_SORT_ORDER
    assert max(rpc_pb2.RangeRequest.SortTarget.values()) == validate._LAST_SORT_TARGET
