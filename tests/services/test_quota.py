"""The space quota: what requests cost, and the size that is imitated."""

from __future__ import annotations

import pytest

from etcdpb.rpc_pb2 import DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest
from rusd.services.quota import DEFAULT_QUOTA_BYTES, Quota, put_cost, txn_cost


class Size:
    """The state's size, as a test sets it."""

    def __init__(self, value: int = 0) -> None:
        self.value = value

    def __call__(self) -> int:
        return self.value


def put(key: bytes, value: bytes = b"") -> RequestOp:
    return RequestOp(request_put=PutRequest(key=key, value=value))


def test_a_put_costs_its_key_its_value_and_256() -> None:
    assert put_cost(PutRequest(key=b"abc", value=b"12345")) == 256 + 3 + 5


def test_a_transaction_costs_what_its_dearer_branch_puts() -> None:
    assert txn_cost(TxnRequest(success=[put(b"a"), put(b"b")], failure=[put(b"c")])) == 2 * 257
    assert txn_cost(TxnRequest(success=[put(b"a")], failure=[put(b"ccc"), put(b"d")])) == 259 + 257


def test_only_puts_cost_anything() -> None:
    get = RequestOp(request_range=RangeRequest(key=b"k"))
    delete = RequestOp(request_delete_range=DeleteRangeRequest(key=b"k"))
    assert txn_cost(TxnRequest(success=[get, delete, RequestOp()])) == 0


def test_nested_puts_count() -> None:
    inner = RequestOp(request_txn=TxnRequest(success=[put(b"a")], failure=[put(b"b"), put(b"c")]))
    assert txn_cost(TxnRequest(success=[put(b"x"), inner])) == 257 + 2 * 257


def test_what_fits_must_stay_below_the_limit() -> None:
    quota = Quota(100_000, Size())
    room = 100_000 - quota.size
    assert quota.admits(room - 1)
    assert not quota.admits(room)


@pytest.mark.parametrize("configured", [0, DEFAULT_QUOTA_BYTES])
def test_zero_means_the_default(configured: int) -> None:
    quota = Quota(configured, Size())
    assert quota.limit == 2 * 1024**3
    assert not quota.admits(DEFAULT_QUOTA_BYTES)


def test_a_negative_limit_is_none() -> None:
    quota = Quota(-1, Size(1 << 50))
    assert quota.admits(1 << 60)
    assert quota.limit == -1


def test_what_is_removed_stays_in_the_file_until_it_is_defragmented() -> None:
    size = Size(1_000_000)
    quota = Quota(0, size)
    quota.about_to_shrink()
    size.value = 10_000
    assert quota.size_in_use < 50_000
    assert quota.size > 1_000_000
    quota.defragment()
    assert quota.size == quota.size_in_use


def test_the_file_grows_in_pages_and_is_never_empty() -> None:
    size = Size()
    quota = Quota(0, size)
    assert quota.size == quota.size_in_use == 5 * 4096
    size.value = 1
    assert quota.size == 6 * 4096
    size.value = 4097
    assert quota.size == 7 * 4096
