"""The state machine: nothing that is accepted raises, and equal logs make equal states."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etcdpb import rpc_pb2, rusd_pb2
from rusd.state import Kind, NoSpaceError, StateMachine, may_put, proposal

FAST = settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))


@given(data=st.data())
@FAST
def test_any_accepted_request_applies_to_any_reachable_state(
    requests: Any, make: Callable[..., Any], data: st.DataObject
) -> None:
    machine = make()
    for step in data.draw(requests):
        machine.apply(step)  # raises what is not one of STATE_ERRORS
        machine.machine.check()


@given(data=st.data())
@FAST
def test_equal_logs_make_equal_states(requests: Any, make: Callable[..., Any], data: st.DataObject) -> None:
    """The second machine gets what the first one's log holds, and removes nothing on its own."""
    log = data.draw(requests)
    one, two = make(), make(compacts=False)
    for number, (kind, request) in enumerate(log, start=1):
        entry = proposal.decode(proposal.encode(kind, 7, 1, number, request))
        assert one.apply((kind, request)) == two.apply((entry.kind, entry.request))
    assert one.picture() == two.picture()
    assert one.recorder.told == two.recorder.told
    assert one.hash() == two.hash()
    assert one.history() == two.history()


@given(data=st.data())
@FAST
def test_revisions_are_published_one_after_the_other(
    requests: Any, make: Callable[..., Any], data: st.DataObject
) -> None:
    machine = make()
    for step in data.draw(requests):
        machine.apply(step)
    published = [told[1] for told in machine.recorder.told if told[0] == "revision"]
    assert published == list(range(2, machine.machine.store.current_revision + 1))


# -- what each request does beside the store -----------------------------------------------------


def put(machine: StateMachine, key: bytes, lease: int = 0) -> None:
    machine.apply(Kind.PUT, rpc_pb2.PutRequest(key=key, lease=lease))


def grant(machine: StateMachine, lease: int) -> None:
    machine.apply(Kind.LEASE_GRANT, rpc_pb2.LeaseGrantRequest(ID=lease, TTL=60))


def test_keys_and_leases_stay_in_step() -> None:
    machine = StateMachine()
    grant(machine, 1)
    grant(machine, 2)
    for key in (b"a", b"b", b"c"):
        put(machine, key, 1)
    put(machine, b"b", 2)
    put(machine, b"c")
    assert (machine.leases.keys(1), machine.leases.keys(2)) == ([b"a"], [b"b"])
    machine.apply(Kind.DELETE_RANGE, rpc_pb2.DeleteRangeRequest(key=b"a"))
    assert machine.leases.keys(1) == []
    machine.apply(Kind.LEASE_REVOKE, rpc_pb2.LeaseRevokeRequest(ID=2))
    assert machine.store.get(b"b") is None
    assert machine.store.get(b"c") is not None
    machine.check()


def test_a_transaction_that_puts_and_deletes_a_key_leaves_it_detached() -> None:
    """Validation overlooks a delete from a key on, as etcd's does."""
    machine = StateMachine()
    grant(machine, 1)
    delete = rpc_pb2.RequestOp(request_delete_range=rpc_pb2.DeleteRangeRequest(key=b"a", range_end=b"\0"))
    op = rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=b"k", lease=1))
    machine.apply(Kind.TXN, rpc_pb2.TxnRequest(success=[op, delete]))
    assert machine.leases.keys(1) == []
    machine.apply(Kind.TXN, rpc_pb2.TxnRequest(success=[delete, op]))
    assert machine.leases.keys(1) == [b"k"]
    machine.check()


def test_a_checkpoint_of_a_lease_that_is_gone_is_ignored() -> None:
    machine = StateMachine()
    grant(machine, 1)
    request = rpc_pb2.LeaseCheckpointRequest(
        checkpoints=[
            rpc_pb2.LeaseCheckpoint(ID=9, remaining_TTL=5),
            rpc_pb2.LeaseCheckpoint(ID=1, remaining_TTL=5),
        ]
    )
    machine.apply(Kind.LEASE_CHECKPOINT, request)
    assert machine.leases.remaining(1) == 5


def test_a_full_cluster_refuses_transactions_by_what_they_could_put() -> None:
    machine = StateMachine()
    machine.apply(Kind.ALARM, rpc_pb2.AlarmRequest(action=1, memberID=1, alarm=rpc_pb2.NOSPACE))
    op = rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=b"k"))
    nested = rpc_pb2.RequestOp(request_txn=rpc_pb2.TxnRequest(failure=[op]))
    for request in (
        rpc_pb2.TxnRequest(success=[op]),
        rpc_pb2.TxnRequest(failure=[op]),
        rpc_pb2.TxnRequest(success=[nested]),
    ):
        assert may_put(request)
        with pytest.raises(NoSpaceError):
            machine.apply(Kind.TXN, request)
    delete = rpc_pb2.RequestOp(request_delete_range=rpc_pb2.DeleteRangeRequest(key=b"k"))
    assert not may_put(rpc_pb2.TxnRequest(success=[delete, rpc_pb2.RequestOp()]))
    machine.apply(Kind.TXN, rpc_pb2.TxnRequest(success=[delete]))


def test_attributes_of_a_stranger_are_ignored() -> None:
    machine = StateMachine()
    machine.apply(Kind.MEMBER_ATTRIBUTES, rusd_pb2.MemberAttributes(id=5, name="x"))
    assert machine.members.all() == []
