"""Cutting the state out and loading it again, while writes go on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etcdpb import rpc_pb2, rusd_pb2
from rusd.mvcc import SnapshotFormatError
from rusd.state import Kind, StateMachine, snapshot


def chunks(cut: snapshot.Cut, between: Callable[[], object] = lambda: None) -> list[bytes]:
    found = []
    while (chunk := cut.dump.next_chunk()) is not None:
        found += [chunk] if chunk else []
        between()
    cut.close()
    return found


@given(data=st.data())
@settings(deadline=None, max_examples=100, suppress_health_check=list(HealthCheck))
def test_a_loaded_state_is_the_one_that_was_cut(
    requests: Any, make: Callable[..., Any], data: st.DataObject
) -> None:
    machine = make(compacts=data.draw(st.booleans()))
    for step in data.draw(requests):
        machine.apply(step)
    picture, history, hashed = machine.picture(), machine.history(), machine.hash()
    cut = snapshot.cut(machine.machine, 10, 2, {7}, {9})
    for step in data.draw(requests):  # what comes later is not in it
        machine.apply(step)
    loaded = make()
    snapshot.load(loaded.machine, cut.header, chunks(cut))
    loaded.machine.check()
    assert loaded.picture() == picture
    assert loaded.history() == history
    assert loaded.hash() == hashed


@given(data=st.data())
@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
def test_a_loaded_state_goes_on_like_the_one_that_was_cut(
    requests: Any, make: Callable[..., Any], data: st.DataObject
) -> None:
    machine, loaded = make(), make()
    for step in data.draw(requests):
        machine.apply(step)
    cut = snapshot.cut(machine.machine, 10, 2, {7}, ())
    snapshot.load(loaded.machine, cut.header, chunks(cut))
    for step in data.draw(requests):
        assert machine.apply(step) == loaded.apply(step)
    assert machine.picture() == loaded.picture()
    assert machine.history() == loaded.history()


def test_writes_between_the_chunks_of_a_large_state_do_not_show(make: Callable[..., Any]) -> None:
    machine = make(compacts=False)

    def put(number: int, size: int) -> None:
        machine.apply((Kind.PUT, rpc_pb2.PutRequest(key=b"%05d" % number, value=bytes(size))))

    for number in range(3000):
        put(number, 2000)
    machine.apply((Kind.COMPACT, rpc_pb2.CompactionRequest(revision=1500)))
    job = machine.machine.store.last_compaction
    picture, history, hashed = machine.picture(), machine.history(), machine.hash()
    cut = snapshot.cut(machine.machine, 10, 2, {7}, ())

    def write_and_compact() -> None:
        put(1, 10)
        machine.apply((Kind.DELETE_RANGE, rpc_pb2.DeleteRangeRequest(key=b"0001", range_end=b"0002")))
        machine.apply(
            (Kind.COMPACT, rpc_pb2.CompactionRequest(revision=machine.machine.store.current_revision))
        )
        job.step()

    pieces = chunks(cut, write_and_compact)
    assert len(pieces) > 3
    loaded = make()
    snapshot.load(loaded.machine, cut.header, pieces)
    assert (loaded.picture(), loaded.history(), loaded.hash()) == (picture, history, hashed)
    while not job.step():
        pass
    machine.machine.check()


def test_the_header_says_where_in_the_log_it_stands() -> None:
    machine = StateMachine()
    cut = snapshot.cut(machine, 12, 3, {9, 7}, {8})
    cut.close()
    header = rusd_pb2.SnapshotHeader.FromString(cut.header)
    assert (header.index, header.term) == (12, 3)
    assert list(header.configuration.voters) == [7, 9]
    assert list(header.configuration.learners) == [8]


def test_equal_states_have_equal_headers() -> None:
    def header(order: list[int]) -> bytes:
        machine = StateMachine()
        for lease in order:
            machine.apply(Kind.LEASE_GRANT, rpc_pb2.LeaseGrantRequest(ID=lease, TTL=60))
        for member in order:
            machine.apply(Kind.ALARM, rpc_pb2.AlarmRequest(action=1, memberID=member, alarm=1))
        cut = snapshot.cut(machine, 1, 1, {1}, ())
        cut.close()
        return cut.header

    assert header([3, 1, 2]) == header([1, 2, 3])


def test_a_history_that_is_not_the_headers_is_refused(make: Callable[..., Any]) -> None:
    machine = make()
    first = snapshot.cut(machine.machine, 1, 1, {7}, ())
    machine.apply((Kind.PUT, rpc_pb2.PutRequest(key=b"k")))
    second = snapshot.cut(machine.machine, 2, 1, {7}, ())
    first_chunks, second_chunks = chunks(first), chunks(second)
    with pytest.raises(SnapshotFormatError, match="different revisions"):
        snapshot.load(StateMachine(), first.header, second_chunks)
    with pytest.raises(SnapshotFormatError):
        snapshot.load(StateMachine(), second.header, first_chunks)


def test_a_key_whose_lease_is_not_in_the_snapshot_is_refused(make: Callable[..., Any]) -> None:
    machine = make()
    machine.apply((Kind.LEASE_GRANT, rpc_pb2.LeaseGrantRequest(ID=5, TTL=60)))
    machine.apply((Kind.PUT, rpc_pb2.PutRequest(key=b"k", lease=5)))
    cut = snapshot.cut(machine.machine, 2, 1, {7}, ())
    header = rusd_pb2.SnapshotHeader.FromString(cut.header)
    del header.leases[:]
    with pytest.raises(SnapshotFormatError, match="lease 5"):
        snapshot.load(StateMachine(), header.SerializeToString(), chunks(cut))
