"""Put, DeleteRange and Txn requests: compares, order of operations, headers, refusals."""

from __future__ import annotations

import pytest

from etcdpb import rpc_pb2
from etcdpb.rpc_pb2 import Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest
from rusd.mvcc import (
    CompactedError,
    DeleteResult,
    FutureRevisionError,
    KeyNotFoundError,
    LeaseNotFoundError,
    MvccError,
    PutResult,
    RangeResult,
    TxnResult,
    apply_delete,
    apply_put,
    apply_txn,
)
from rusd.mvcc.txn import compare_holds, read_only, txn_steps
from rusd.steps import PAGE
from tests.support.slices import Sliced, run_sliced

LEASES = {7, 8}


def put(key, value=b"", **more) -> RequestOp:
    return RequestOp(request_put=PutRequest(key=key, value=value, **more))


def get(key, range_end=b"", **more) -> RequestOp:
    return RequestOp(request_range=RangeRequest(key=key, range_end=range_end, **more))


def delete(key, range_end=b"", **more) -> RequestOp:
    return RequestOp(request_delete_range=DeleteRangeRequest(key=key, range_end=range_end, **more))


def nested(compare=(), success=(), failure=()) -> RequestOp:
    return RequestOp(request_txn=TxnRequest(compare=compare, success=success, failure=failure))


def run(player, success=(), *, compare=(), failure=()) -> TxnResult:
    transaction = player.store.begin()
    request = TxnRequest(compare=compare, success=success, failure=failure)
    result = apply_txn(transaction, request, LEASES.__contains__)
    transaction.publish()
    return result


def refused(player, error: type[MvccError], success) -> MvccError:
    """The transaction is refused and nothing has changed."""
    transaction = player.store.begin()
    with pytest.raises(error) as caught:
        apply_txn(transaction, TxnRequest(success=success), LEASES.__contains__)
    assert not transaction.changed
    return caught.value


def holds(player, **compare) -> bool:
    return compare_holds(player.store, Compare(**compare))


# -- single requests ------------------------------------------------------------


def test_a_put_answers_the_old_pair_only_when_asked(player) -> None:
    player.put(b"a", b"1")
    transaction = player.store.begin()
    result = apply_put(transaction, PutRequest(key=b"a", value=b"2", prev_kv=True), LEASES.__contains__)
    assert (result.revision, result.record.value, result.previous.value) == (3, b"2", b"1")
    result = apply_put(transaction, PutRequest(key=b"b", prev_kv=True), LEASES.__contains__)
    assert result.previous is None
    assert apply_put(transaction, PutRequest(key=b"a"), LEASES.__contains__).previous is None


def test_ignore_value_and_ignore_lease_keep_what_is_there(player) -> None:
    player.put(b"a", b"kept", 7)
    transaction = player.store.begin()
    request = PutRequest(key=b"a", ignore_value=True, lease=8)
    assert apply_put(transaction, request, LEASES.__contains__).record.value == b"kept"
    request = PutRequest(key=b"a", value=b"new", ignore_lease=True)
    record = apply_put(transaction, request, LEASES.__contains__).record
    assert (record.value, record.lease) == (b"new", 8)


@pytest.mark.parametrize("flag", ["ignore_value", "ignore_lease"])
def test_there_must_be_something_to_keep(player, flag) -> None:
    transaction = player.store.begin()
    with pytest.raises(KeyNotFoundError):
        apply_put(transaction, PutRequest(key=b"a", **{flag: True}), LEASES.__contains__)
    assert not transaction.changed


def test_a_single_put_looks_at_the_lease_first(player) -> None:
    transaction = player.store.begin()
    with pytest.raises(LeaseNotFoundError) as caught:
        apply_put(transaction, PutRequest(key=b"a", ignore_value=True, lease=99), LEASES.__contains__)
    assert caught.value.lease == 99


def test_a_delete_answers_the_revision_of_the_delete_or_the_unchanged_one(player) -> None:
    player.put(b"a", b"1")
    transaction = player.store.begin()
    result = apply_delete(transaction, DeleteRangeRequest(key=b"x", prev_kv=True))
    assert (result.revision, result.deleted, list(result.previous)) == (2, 0, [])
    result = apply_delete(transaction, DeleteRangeRequest(key=b"a", prev_kv=True))
    assert (result.revision, result.deleted, result.previous[0].value) == (3, 1, b"1")
    assert apply_delete(transaction, DeleteRangeRequest(key=b"a")).deleted == 0


# -- compares -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "operand", "actual"),
    [
        ("VERSION", "version", 2),
        ("CREATE", "create_revision", 2),
        ("MOD", "mod_revision", 3),
        ("LEASE", "lease", 7),
    ],
)
def test_numbers_compare(player, target, operand, actual) -> None:
    player.put(b"a", b"", 7)
    player.put(b"a", b"", 7)
    for offset, expected in ((-1, {"GREATER", "NOT_EQUAL"}), (0, {"EQUAL"}), (1, {"LESS", "NOT_EQUAL"})):
        for result in ("EQUAL", "GREATER", "LESS", "NOT_EQUAL"):
            compare = {"key": b"a", "target": target, "result": result, operand: actual + offset}
            assert holds(player, **compare) == (result in expected)


def test_values_compare_bytewise(player) -> None:
    player.put(b"a", b"b")
    assert holds(player, key=b"a", target="VALUE", value=b"b")
    assert holds(player, key=b"a", target="VALUE", result="GREATER", value=b"aa")
    assert holds(player, key=b"a", target="VALUE", result="LESS", value=b"b\x00")
    assert holds(player, key=b"a", target="VALUE", result="GREATER")


@pytest.mark.parametrize("result", ["EQUAL", "GREATER", "LESS", "NOT_EQUAL"])
def test_the_value_of_a_missing_key_never_holds(player, result) -> None:
    assert not holds(player, key=b"a", target="VALUE", result=result, value=b"")
    assert not holds(player, key=b"a", range_end=b"b", target="VALUE", result=result, value=b"x")


@pytest.mark.parametrize("target", ["VERSION", "CREATE", "MOD", "LEASE"])
def test_a_missing_key_counts_as_zero(player, target) -> None:
    assert holds(player, key=b"a", target=target)
    assert not holds(player, key=b"a", target=target, result="GREATER")


def test_an_operand_of_another_target_counts_as_missing(player) -> None:
    player.put(b"a", b"")
    assert holds(player, key=b"a", target="VERSION", result="GREATER", mod_revision=9)
    assert holds(player, key=b"a", target="VALUE", result="EQUAL", version=1)


def test_a_compare_with_a_range_must_hold_for_every_key(player) -> None:
    player.put(b"a", b"1")
    player.put(b"b", b"1")
    player.put(b"b", b"1")
    assert holds(player, key=b"a", range_end=b"\x00", target="VALUE", value=b"1")
    assert not holds(player, key=b"a", range_end=b"c", target="VERSION", version=1)
    assert holds(player, key=b"a", range_end=b"b", target="VERSION", version=1)
    assert holds(player, key=b"\x00", range_end=b"\x00", target="VERSION", result="GREATER")


def test_numbers_outside_the_enums_do_not_raise(player) -> None:
    player.put(b"a", b"1")
    assert holds(player, key=b"a", result=9, version=77)
    assert holds(player, key=b"a", target=9, version=77)
    assert not holds(player, key=b"a", target=9, result="NOT_EQUAL")
    assert holds(player, key=b"missing", target=9)


# -- operations -----------------------------------------------------------------


def test_no_compare_holds(player) -> None:
    assert run(player).succeeded
    assert run(player).revision == 1


def test_the_branch_follows_from_all_compares(player) -> None:
    player.put(b"a", b"1")
    good = Compare(key=b"a", target="VALUE", value=b"1")
    bad = Compare(key=b"a", target="VALUE", value=b"2")
    result = run(player, [put(b"x")], compare=[good, bad], failure=[put(b"y")])
    assert not result.succeeded
    assert player.keys() == [b"a", b"y"]


def test_headers_tell_what_an_operation_saw(player) -> None:
    player.put(b"a")
    result = run(
        player,
        [get(b"a"), delete(b"none"), put(b"b"), get(b"b"), delete(b"none"), nested(success=[get(b"a")])],
    )
    kinds = [RangeResult, DeleteResult, PutResult, RangeResult, DeleteResult, TxnResult]
    assert [type(response) for response in result.responses] == kinds
    assert [response.revision for response in result.responses] == [2, 2, 3, 3, 3, 0]
    assert result.responses[5].responses[0].revision == 3
    assert result.revision == 3


def test_reads_see_what_came_before_them(player) -> None:
    player.put(b"a", b"old")
    result = run(
        player, [put(b"a", b"new"), get(b"a"), delete(b"a"), get(b"a", b"\x00"), put(b"a", b"again")]
    )
    assert [record.value for record in result.responses[1].records] == [b"new"]
    assert result.responses[2].deleted == 1
    assert result.responses[3].count == 0
    assert player.store.get(b"a").version == 1


def test_a_read_with_a_revision_sees_the_past(player) -> None:
    player.put(b"a", b"old")
    result = run(player, [put(b"a", b"new"), get(b"a", revision=2), get(b"a", b"b", revision=1)])
    assert [record.value for record in result.responses[1].records] == [b"old"]
    assert result.responses[2].count == 0
    assert result.responses[1].revision == 3


def test_nested_compares_see_the_state_before_everything(player) -> None:
    player.put(b"a", b"1")
    is_one = Compare(key=b"a", target="VALUE", value=b"1")
    result = run(
        player,
        [
            put(b"a", b"2"),
            nested([is_one], [nested([is_one], [put(b"b")], [put(b"no")])], [put(b"no")]),
            nested([Compare(key=b"b", target="VERSION", version=1)], [put(b"no")], [put(b"c")]),
        ],
    )
    assert [response.succeeded for response in result.responses[1:]] == [True, False]
    assert result.responses[1].responses[0].succeeded
    assert player.keys() == [b"a", b"b", b"c"]
    assert [player.store.get(key).mod_revision for key in (b"a", b"b", b"c")] == [3, 3, 3]


def test_an_operation_without_content_is_passed_over(player) -> None:
    assert run(player, [RequestOp(), put(b"a")]).responses[0] is None
    assert player.keys() == [b"a"]


# -- refusals -------------------------------------------------------------------


def test_any_refusal_leaves_everything_as_it_was(player) -> None:
    player.put(b"a")
    player.put(b"a")
    player.compact(3)
    refused(player, FutureRevisionError, [put(b"b"), get(b"a", revision=4)])
    refused(player, CompactedError, [put(b"b"), get(b"a", revision=2)])
    refused(player, LeaseNotFoundError, [put(b"b"), put(b"c", lease=9)])
    refused(player, KeyNotFoundError, [put(b"b"), put(b"c", ignore_value=True)])
    refused(player, KeyNotFoundError, [put(b"b"), nested(success=[put(b"c", ignore_lease=True)])])
    assert player.keys() == [b"a"]
    assert player.store.current_revision == 3


def test_the_first_operation_refused_gives_the_error(player) -> None:
    future = get(b"a", revision=9)
    no_lease = put(b"a", lease=9)
    refused(player, FutureRevisionError, [future, no_lease])
    refused(player, LeaseNotFoundError, [no_lease, future])


def test_inside_a_transaction_the_key_is_looked_at_before_the_lease(player) -> None:
    refused(player, KeyNotFoundError, [put(b"a", ignore_value=True, lease=9)])


def test_only_the_branch_taken_is_checked(player) -> None:
    never = Compare(key=b"a", target="VERSION", version=1)
    run(player, [put(b"a", lease=9)], compare=[never], failure=[nested([never], [put(b"a", lease=9)])])
    assert player.keys() == []


def test_a_negative_revision_can_be_compacted_inside_a_transaction(player) -> None:
    assert refused(player, CompactedError, [get(b"a", revision=-2)]).compact_revision == -1
    assert run(player, [get(b"a", revision=-1)]).responses[0].count == 0


def test_a_key_must_be_there_at_the_start_to_keep_its_value(player) -> None:
    refused(player, KeyNotFoundError, [put(b"a"), put(b"a", ignore_value=True)])


def test_a_key_deleted_on_the_way_has_nothing_to_keep(player) -> None:
    # validation lets this through: a delete "from key on" is not seen as overlapping
    player.put(b"a", b"old", 7)
    run(player, [delete(b"a", b"\x00"), put(b"a", ignore_value=True), put(b"a", b"x", ignore_lease=True)])
    record = player.store.get(b"a")
    assert (record.value, record.lease, record.version) == (b"x", 0, 2)


# -- the rest -------------------------------------------------------------------


def test_a_huge_transaction_goes_in_steps(player) -> None:
    player.write(lambda t: [t.put(b"k%06d" % number, b"") for number in range(3 * PAGE)])
    transaction = player.store.begin()
    request = TxnRequest(
        compare=[Compare(key=b"k", range_end=b"l", target=Compare.VERSION, version=1)],
        success=[
            get(b"k", b"l", sort_order=RangeRequest.DESCEND, limit=2),
            nested(success=[delete(b"k", b"l", prev_kv=True)]),
            put(b"z"),
            get(b"a", b"\0"),
        ],
    )
    job = Sliced(lambda turn: txn_steps(transaction, request, LEASES.__contains__, turn))
    while not job.step(100):
        assert player.store.key_count == 3 * PAGE
    listed, deleted, _, left = job.result.responses
    assert [record.key for record in listed.records] == [b"k%06d" % number for number in (1499, 1498)]
    assert deleted.responses[0].deleted == len(deleted.responses[0].previous) == 3 * PAGE
    assert [record.key for record in left.records] == [b"z"]
    assert job.result.weight == 3 * PAGE + 3
    assert job.pauses >= 9  # three pages are compared, read and deleted
    changes = run_sliced(transaction.publish_steps, player.store.check)
    assert len(changes.records) == 3 * PAGE + 1
    assert player.keys() == [b"z"]


def test_a_compare_of_a_huge_range_looks_at_each_key(player) -> None:
    player.write(lambda t: [t.put(b"k%06d" % number, b"v") for number in range(3 * PAGE)])
    compare = Compare(key=b"k", range_end=b"l", target=Compare.VALUE, value=b"v")
    assert compare_holds(player.store, compare)
    player.put(b"k000777", b"other")
    assert not compare_holds(player.store, compare)


def test_read_only_means_plain_ranges_in_both_branches() -> None:
    assert read_only(TxnRequest(compare=[Compare(key=b"a")]))
    assert read_only(TxnRequest(success=[get(b"a")], failure=[get(b"b")]))
    assert not read_only(TxnRequest(success=[get(b"a")], failure=[put(b"b")]))
    assert not read_only(TxnRequest(success=[nested(success=[get(b"a")])]))
    assert not read_only(TxnRequest(success=[rpc_pb2.RequestOp()]))
