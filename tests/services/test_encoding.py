"""Answers written by hand are byte for byte what protobuf writes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etcdpb import kv_pb2, rpc_pb2
from rusd.mvcc import DeleteResult, PutResult, RangeResult, Record, TxnResult
from rusd.mvcc.record import put_record
from rusd.services import HeaderWriter
from rusd.services.encoding import delete_response, put_response, range_response, txn_response

CLUSTER, MEMBER, TERM = 14841639068965178418, 10276657743932975437, 3

revisions = st.one_of(st.integers(1, 200), st.integers(1, 2**62))
sizes = st.one_of(st.binary(max_size=3), st.binary(min_size=120, max_size=140))
keys = sizes.filter(bool)
int64s = st.one_of(st.integers(-2, 300), st.integers(-(2**63), 2**63 - 1))
records = st.builds(
    put_record,
    keys,
    revisions,
    revisions,
    st.integers(0, 1000),
    st.integers(1, 2**40),
    sizes,
    int64s,
)
several = st.lists(records, max_size=4)
ranges = st.builds(RangeResult, several, st.integers(0, 2**40), st.booleans(), revisions, st.booleans())
puts = st.builds(PutResult, revisions, records, st.none() | records)
deletes = st.builds(DeleteResult, revisions, st.integers(0, 2**40), several)
txns = st.recursive(
    st.builds(TxnResult, revisions, st.booleans(), st.lists(ranges | puts | deletes, max_size=4)),
    lambda inner: st.builds(
        TxnResult, st.just(0), st.booleans(), st.lists(ranges | puts | inner, max_size=3)
    ),
    max_leaves=5,
)


def writer(revision: int = 7) -> HeaderWriter:
    return HeaderWriter(CLUSTER, MEMBER, lambda: revision, lambda: TERM)


def full(revision: int) -> rpc_pb2.ResponseHeader:
    return rpc_pb2.ResponseHeader(cluster_id=CLUSTER, member_id=MEMBER, revision=revision, raft_term=TERM)


def inner(revision: int) -> rpc_pb2.ResponseHeader:
    return rpc_pb2.ResponseHeader(revision=revision)


# -- the same answers through protobuf ---------------------------------------------------


def kv(record: Record, *, with_value: bool = True) -> kv_pb2.KeyValue:
    return kv_pb2.KeyValue(
        key=record.key,
        create_revision=record.create_revision,
        mod_revision=record.mod_revision,
        version=record.version,
        value=record.value if with_value else b"",
        lease=record.lease,
    )


def range_message(header: rpc_pb2.ResponseHeader, result: RangeResult) -> rpc_pb2.RangeResponse:
    kvs = [kv(record, with_value=not result.keys_only) for record in result.records]
    return rpc_pb2.RangeResponse(header=header, kvs=kvs, more=result.more, count=result.count)


def put_message(header: rpc_pb2.ResponseHeader, result: PutResult) -> rpc_pb2.PutResponse:
    previous = None if result.previous is None else kv(result.previous)
    return rpc_pb2.PutResponse(header=header, prev_kv=previous)


def delete_message(header: rpc_pb2.ResponseHeader, result: DeleteResult) -> rpc_pb2.DeleteRangeResponse:
    previous = [kv(record) for record in result.previous]
    return rpc_pb2.DeleteRangeResponse(header=header, deleted=result.deleted, prev_kvs=previous)


def txn_message(header: rpc_pb2.ResponseHeader, result: TxnResult) -> rpc_pb2.TxnResponse:
    responses = []
    for response in result.responses:
        match response:
            case RangeResult():
                message = range_message(inner(response.revision), response)
                responses.append(rpc_pb2.ResponseOp(response_range=message))
            case PutResult():
                message = put_message(inner(response.revision), response)
                responses.append(rpc_pb2.ResponseOp(response_put=message))
            case DeleteResult():
                message = delete_message(inner(response.revision), response)
                responses.append(rpc_pb2.ResponseOp(response_delete_range=message))
            case TxnResult():
                responses.append(rpc_pb2.ResponseOp(response_txn=txn_message(inner(0), response)))
            case _:
                responses.append(rpc_pb2.ResponseOp())
    return rpc_pb2.TxnResponse(header=header, succeeded=result.succeeded, responses=responses)


# -- tests ----------------------------------------------------------------------------------


@given(ranges)
@settings(deadline=None, max_examples=60)
def test_a_range_is_encoded_as_protobuf_does(result: RangeResult) -> None:
    encoded = range_response(writer().at(result.revision), result)
    assert encoded == range_message(full(result.revision), result).SerializeToString()


@given(puts)
@settings(deadline=None, max_examples=60)
def test_a_put_is_encoded_as_protobuf_does(result: PutResult) -> None:
    encoded = put_response(writer().at(result.revision), result)
    assert encoded == put_message(full(result.revision), result).SerializeToString()


@given(deletes)
@settings(deadline=None, max_examples=60)
def test_a_delete_is_encoded_as_protobuf_does(result: DeleteResult) -> None:
    encoded = delete_response(writer().at(result.revision), result)
    assert encoded == delete_message(full(result.revision), result).SerializeToString()


@given(txns)
@settings(deadline=None, max_examples=60)
def test_a_transaction_is_encoded_as_protobuf_does(result: TxnResult) -> None:
    encoded = txn_response(writer().at(result.revision), result)
    assert encoded == txn_message(full(result.revision), result).SerializeToString()


@pytest.mark.parametrize("size", [16_370, 16_384, 2_097_000, 2_097_152])
def test_large_values_have_longer_lengths(size: int) -> None:
    record = put_record(b"k", 2, 3, 0, 2, b"v" * size, 9)
    result = TxnResult(4, True, [RangeResult([record], 1, False, 4), PutResult(4, record, record)])
    assert txn_response(writer().at(4), result) == txn_message(full(4), result).SerializeToString()


def test_an_operation_without_content_is_an_empty_answer() -> None:
    result = TxnResult(5, True, [None])
    encoded = txn_response(writer().at(5), result)
    assert encoded == txn_message(full(5), result).SerializeToString()


@given(int64s, st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_a_header_is_encoded_as_protobuf_does(revision: int, cluster: int, member: int, term: int) -> None:
    header = rpc_pb2.ResponseHeader(cluster_id=cluster, member_id=member, revision=revision, raft_term=term)
    encoded = HeaderWriter(cluster, member, lambda: revision, lambda: term).now()
    assert encoded == rpc_pb2.PutResponse(header=header).SerializeToString()


def test_a_header_follows_the_revision_and_the_term() -> None:
    now = {"revision": 4, "term": 2}
    headers = HeaderWriter(1, 2, lambda: now["revision"], lambda: now["term"])

    def seen() -> tuple[int, int]:
        header = rpc_pb2.PutResponse.FromString(headers.now()).header
        return header.revision, header.raft_term

    assert seen() == (4, 2)
    now["revision"] = 5
    assert seen() == (5, 2)
    now["term"] = 3
    assert seen() == (5, 3)
    assert rpc_pb2.PutResponse.FromString(headers.at(0)).header.revision == 0
