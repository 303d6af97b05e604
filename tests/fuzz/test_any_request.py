"""Requests that look for trouble in what they mean: accepted ones apply, to any state that can be reached.

Beside the target that is driven by bytes, these strategies know what is worth asking: limits at both ends,
negative ids, enumerators that don't exist, ranges that are empty or end nowhere, transactions nested up to
every bound.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from google.protobuf.message import DecodeError, EncodeError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etcdpb import rpc_pb2
from rusd.state import Kind, proposal
from tests.fuzz.messages import ENUMS, INTEGERS, deep_txn
from tests.fuzz.requests import OUTPUTS, Session
from tests.fuzz.scale import STATE_SCALES, scaled

integers = st.sampled_from(INTEGERS) | st.integers(-3, 12)
enums = st.sampled_from(ENUMS)
keys = st.sampled_from([b"a", b"b", b"b\0", b"c", b"\0", b"\xff", b"\xff\xff", b""])
ends = st.sampled_from([b"", b"\0", b"a", b"b", b"c", b"\xff", b"a\0"])
values = st.sampled_from([b"", b"v", b"x" * 3000, b"\0"])
leases = st.sampled_from([0, 1, 2, -4, 2**63 - 1, -(2**63)])

ranges = st.builds(
    rpc_pb2.RangeRequest,
    key=keys,
    range_end=ends,
    limit=integers,
    revision=integers,
    sort_order=st.sampled_from([0, 0, 1, 2]) | enums,
    sort_target=st.integers(0, 4) | enums,
    serializable=st.booleans(),
    keys_only=st.booleans(),
    count_only=st.booleans(),
    min_mod_revision=integers,
    max_create_revision=integers,
)
puts = st.builds(
    rpc_pb2.PutRequest,
    key=keys,
    value=values,
    lease=leases,
    prev_kv=st.booleans(),
    ignore_value=st.booleans(),
    ignore_lease=st.booleans(),
)
deletes = st.builds(rpc_pb2.DeleteRangeRequest, key=keys, range_end=ends, prev_kv=st.booleans())
compares = st.one_of(
    [
        st.builds(rpc_pb2.Compare, key=keys, range_end=ends, result=enums, target=enums, **{operand: wanted})
        for operand, wanted in (
            ("version", integers),
            ("create_revision", integers),
            ("mod_revision", integers),
            ("value", values),
            ("lease", leases),
        )
    ]
)
plain_ops = st.one_of(
    st.builds(rpc_pb2.RequestOp, request_range=ranges),
    st.builds(rpc_pb2.RequestOp, request_put=puts),
    st.builds(rpc_pb2.RequestOp, request_delete_range=deletes),
    st.just(rpc_pb2.RequestOp()),
)


def txns(ops: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    branch = st.lists(ops, max_size=3)
    return st.builds(
        rpc_pb2.TxnRequest, compare=st.lists(compares, max_size=2), success=branch, failure=branch
    )


ops = st.recursive(
    plain_ops, lambda inner: st.builds(rpc_pb2.RequestOp, request_txn=txns(inner)), max_leaves=12
)
calls = st.one_of(
    st.tuples(st.just("/etcdserverpb.KV/Put"), puts),
    st.tuples(st.just("/etcdserverpb.KV/Range"), ranges),
    st.tuples(st.just("/etcdserverpb.KV/DeleteRange"), deletes),
    st.tuples(st.just("/etcdserverpb.KV/Txn"), txns(ops)),
    st.tuples(st.just("/etcdserverpb.KV/Compact"), st.builds(rpc_pb2.CompactionRequest, revision=integers)),
    st.tuples(
        st.just("/etcdserverpb.Lease/LeaseGrant"),
        st.builds(rpc_pb2.LeaseGrantRequest, ID=leases, TTL=integers),
    ),
    st.tuples(st.just("/etcdserverpb.Lease/LeaseRevoke"), st.builds(rpc_pb2.LeaseRevokeRequest, ID=leases)),
    st.tuples(
        st.just("/etcdserverpb.Lease/LeaseTimeToLive"),
        st.builds(rpc_pb2.LeaseTimeToLiveRequest, ID=leases, keys=st.booleans()),
    ),
    st.tuples(
        st.just("/etcdserverpb.Maintenance/Alarm"),
        st.builds(
            rpc_pb2.AlarmRequest, action=enums, memberID=st.sampled_from([0, 7, 2**64 - 1]), alarm=enums
        ),
    ),
    st.tuples(
        st.just("/etcdserverpb.Watch/Watch"),
        st.builds(
            rpc_pb2.WatchRequest,
            create_request=st.builds(
                rpc_pb2.WatchCreateRequest,
                key=keys,
                range_end=ends,
                start_revision=integers,
                watch_id=leases,
                filters=st.lists(enums, max_size=2),
                prev_kv=st.booleans(),
                fragment=st.booleans(),
                progress_notify=st.booleans(),
            ),
        ),
    ),
)


@given(
    st.integers(0, 7),
    st.sampled_from(STATE_SCALES),
    st.binary(max_size=6),
    st.lists(st.tuples(calls, st.integers(0, 7)), max_size=25),
)
@settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
def test_any_accepted_request_applies_to_any_state(
    choices: int, scale: Mapping[str, int], turns: bytes, requests: list[Any]
) -> None:
    with scaled(scale):
        session = Session(choices, turns, publish_at_once=0)
        for (path, request), what in requests:
            session.call(path, request.SerializeToString())
            if what < 3:
                session.settle()
            elif what < 5:
                session.slices(what)
                session.work(what)
        session.finish()


@pytest.mark.parametrize("steps", range(6))
@pytest.mark.parametrize("revoked", [True, False])
def test_a_lease_whose_keys_are_being_told_changes_or_goes(steps: int, revoked: bool) -> None:
    with scaled(STATE_SCALES[1]):
        session = Session(0)
        session.propose(Kind.LEASE_GRANT, rpc_pb2.LeaseGrantRequest(ID=1, TTL=60))
        for key in (b"a", b"b", b"c"):
            session.propose(Kind.PUT, rpc_pb2.PutRequest(key=key, lease=1))
        session.settle()
        ask = rpc_pb2.LeaseTimeToLiveRequest(ID=1, keys=True)
        session.call("/etcdserverpb.Lease/LeaseTimeToLive", ask.SerializeToString())
        session.work(steps)
        if revoked:
            session.propose(Kind.LEASE_REVOKE, rpc_pb2.LeaseRevokeRequest(ID=1))
        else:
            session.propose(Kind.PUT, rpc_pb2.PutRequest(key=b"d", lease=1))
        session.settle()
        session.work(100)
        assert session.answered == 1
        session.finish()


EVERYTHING = rpc_pb2.RangeRequest(key=b"\0", range_end=b"\0")
ONE_BY_ONE = rpc_pb2.TxnRequest(
    success=[
        rpc_pb2.RequestOp(request_range=rpc_pb2.RangeRequest(key=key)) for key in (b"a", b"b", b"c", b"d/1")
    ]
)
TWICE = rpc_pb2.TxnRequest(success=[rpc_pb2.RequestOp(request_range=EVERYTHING)] * 2)


@pytest.mark.parametrize("steps", range(12))
@pytest.mark.parametrize(
    ("path", "request_"),
    [
        ("/etcdserverpb.KV/Range", EVERYTHING),
        ("/etcdserverpb.KV/Txn", TWICE),
        ("/etcdserverpb.KV/Txn", ONE_BY_ONE),
    ],
)
def test_what_is_read_slowly_stays_while_its_history_is_compacted(
    steps: int, path: str, request_: Any
) -> None:
    with scaled(STATE_SCALES[1]):
        session = Session(0x80)
        session.call(path, request_.SerializeToString())
        session.work(steps)
        for key in (b"a", b"b", b"c", b"d/1", b"d/2"):
            session.propose(Kind.PUT, rpc_pb2.PutRequest(key=key, value=b"later"))
        session.settle()
        session.propose(
            Kind.COMPACT, rpc_pb2.CompactionRequest(revision=session.etcd.machine.store.current_revision)
        )
        session.settle()
        session.etcd.compact()
        session.finish()
        assert session.answered == 1


@pytest.mark.parametrize("budget", [1, 3, 1000])
def test_history_is_compacted_while_a_large_change_is_published(budget: int) -> None:
    with scaled(STATE_SCALES[1]):
        session = Session(0x80, b"\0", publish_at_once=0)
        for key in (b"a", b"d/1", b"d/2"):
            session.propose(Kind.DELETE_RANGE, rpc_pb2.DeleteRangeRequest(key=key))
        session.propose(Kind.PUT, rpc_pb2.PutRequest(key=b"d/1", value=b"again"))
        session.propose(Kind.COMPACT, rpc_pb2.CompactionRequest(revision=14))
        session.settle()
        session.propose(Kind.DELETE_RANGE, rpc_pb2.DeleteRangeRequest(key=b"\0", range_end=b"\0"))
        session.propose(Kind.PUT, rpc_pb2.PutRequest(key=b"c"))
        tries = 0
        while session.etcd.log.pending:
            session.slices(1)
            if session.etcd.machine.store.publishing:
                tries += 1
                session.etcd.compact(budget)
        assert tries > 3
        session.finish()


def test_the_calls_are_registered() -> None:
    assert OUTPUTS.keys() >= set(Session(0).etcd.registry.paths())


PUT = rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=b"k")).SerializeToString()
RANGE = rpc_pb2.RequestOp(request_range=rpc_pb2.RangeRequest(key=b"k")).SerializeToString()
DELETE = rpc_pb2.RequestOp(request_delete_range=rpc_pb2.DeleteRangeRequest(key=b"k")).SerializeToString()


@pytest.mark.parametrize("innermost", [PUT, RANGE, DELETE, b""])
@pytest.mark.parametrize("branch", [0, 1])
def test_transactions_of_any_depth_are_refused_or_apply(branch: int, innermost: bytes) -> None:
    for depth in range(1, 140):
        session = Session(0)
        session.deep = True
        session.call("/etcdserverpb.KV/Txn", deep_txn(depth, 15 * branch, innermost))
        session.finish()


def test_what_can_be_read_from_the_wire_can_be_read_from_the_log() -> None:
    deepest = 0
    for depth in range(1, 140):
        try:
            request = rpc_pb2.TxnRequest.FromString(deep_txn(depth, 0, PUT))
        except DecodeError:
            break
        deepest = depth
        try:
            data = proposal.encode(Kind.TXN, 1, 2, 3, request)
        except EncodeError:
            pytest.fail(f"a request of depth {depth} is read but can't be written")
        assert proposal.decode(data).request == request
    assert 40 < deepest < 139
