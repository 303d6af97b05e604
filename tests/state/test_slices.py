"""Large entries applied in steps: the same state as in one go, and nothing of it to be seen before.

Every request is taken for a large one here, and every turn is the shortest there is.
"""

from __future__ import annotations

from collections.abc import Callable
from types import GeneratorType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etcdpb import rpc_pb2
from rusd.state import STATE_ERRORS, Kind, Observer, StateMachine, snapshot
from rusd.steps import PAGE, Turn
from rusd.watch import WatchHub, WatchStream

ALL = (b"\0", b"\0")


class Hub(Observer):
    """Tells a watch hub, as the server does."""

    def __init__(self) -> None:
        self.hub: WatchHub
        self.stream: WatchStream

    def attach(self, machine: StateMachine) -> None:
        self.hub = WatchHub(machine.store)
        self.stream = self.hub.open_stream(lambda: None, header_prefix=lambda revision: b"%d " % revision)
        self.stream.create(*ALL, prev_kv=True)
        self.stream.create(b"d", b"e")

    def revision_published(self, revision: int, records: Any) -> None:
        self.hub.publish(revision, records)

    def revision_steps(self, revision: int, records: Any, turn: Turn) -> Any:
        return self.hub.publish_steps(revision, records, turn)

    def is_long(self, changes: int) -> bool:
        return True

    def history_compacted(self, job: Any) -> None:
        self.hub.compacted(job.revision)

    def events(self) -> list[bytes]:
        """Everything there is to send; responses of several revisions are as good as one for each."""
        found = []
        while self.stream.has_output:
            found += [m if isinstance(m, bytes) else b"".join(m) for m in self.stream.pull(1 << 20)]
        return found


def apply_sliced(
    machine: StateMachine, step: tuple[Kind, Any], at_pause: Callable[[], object], budget: float = 1
) -> object:
    """The result, or the name of the error."""
    turn = Turn(budget)
    try:
        result = machine.apply(*step, turn)
        while isinstance(result, GeneratorType):
            at_pause()
            turn.left = budget
            try:
                next(result)
            except StopIteration as stop:
                result = stop.value
    except STATE_ERRORS as error:
        return type(error).__name__
    return result


def picture(machine: StateMachine) -> tuple[object, ...]:
    """What readers can see of keys, leases and history."""
    store = machine.store
    everything = store.range(*ALL)
    leases = {}
    for lease in machine.leases.dump():
        attached = map(store.get, machine.leases.keys(lease.lease_id))
        leases[lease] = [r.key for r in attached if r is not None and r.lease == lease.lease_id]
    return (
        store.current_revision,
        store.compact_revision,
        list(map(repr, everything.records)),
        everything.count,
        store.count(b"a", b"c"),
        store.count(b"b", b"\0"),
        [repr(store.get(key)) for key in (b"a", b"b", b"c", b"d/1")],
        list(map(repr, store.range(b"b", b"\0", limit=2).records)),
        [list(map(repr, store.range(*ALL, revision=r).records)) for r in past(machine)],
        [(revision, list(map(repr, records))) for revision, records in changes(machine)],
        store.key_count,
        store.bytes_in_use if not store.compactions else 0,
        leases,
    )


def past(machine: StateMachine) -> range:
    store = machine.store
    return range(max(store.compact_revision, store.current_revision - 3, 1), store.current_revision + 1)


def changes(machine: StateMachine) -> Any:
    store = machine.store
    return store.changes(max(store.compact_revision, 1), store.current_revision)


def hashed(machine: StateMachine) -> object:
    job = machine.store.hash_kv(0)
    while not job.step(3):
        pass
    return job.result


def compacted(machine: StateMachine) -> None:
    """Carry out what is to be removed."""
    while (job := machine.store.last_compaction) is not None:
        if job.step(5):
            break


def dumped(machine: StateMachine) -> tuple[bytes, list[bytes]]:
    cut = snapshot.cut(machine, 1, 1, {7}, ())
    chunks = []
    while (chunk := cut.dump.next_chunk()) is not None:
        chunks += [chunk] if chunk else []
    header = cut.header
    cut.close()
    return header, chunks


@given(data=st.data())
@settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))
def test_sliced_and_unsliced_histories_are_the_same(requests: Any, data: st.DataObject) -> None:
    observers = Hub(), Hub()
    sliced, plain = (StateMachine(observer) for observer in observers)
    for observer, machine in zip(observers, (sliced, plain), strict=True):
        observer.attach(machine)
    sliced.store.publish_at_once = 0
    for step in data.draw(requests):
        before = picture(sliced)
        known = hashed(sliced), dumped(sliced)

        def look() -> None:
            sliced.store.check()
            if sliced.store.current_revision == before[0]:  # noqa: B023
                assert picture(sliced) == before  # noqa: B023
                assert (hashed(sliced), dumped(sliced)) == known  # noqa: B023
            else:  # all of it is there; what goes on is cleaning up
                assert picture(sliced) == after  # noqa: B023

        expected = apply_sliced(plain, step, pytest.fail, float("inf"))
        after = picture(plain)
        if step[0] is Kind.COMPACT:
            compacted(plain)
            apply_sliced(sliced, step, look)
            compacted(sliced)
        else:
            assert repr(apply_sliced(sliced, step, look)) == repr(expected)
        assert picture(sliced) == picture(plain)
        assert hashed(sliced) == hashed(plain)
        for machine in (sliced, plain):
            machine.check()
        for observer in observers:
            observer.hub.check()
        if data.draw(st.booleans()):
            assert b"".join(observers[0].events()) == b"".join(observers[1].events())
    assert b"".join(observers[0].events()) == b"".join(observers[1].events())
    assert dumped(sliced) == dumped(plain)


# -- how much one turn does ---------------------------------------------------------------------

SIZE = 12 * PAGE
BUDGET = 200


def filled(lease: int = 0) -> StateMachine:
    machine = StateMachine()
    if lease:
        machine.apply(Kind.LEASE_GRANT, rpc_pb2.LeaseGrantRequest(ID=lease, TTL=60))
    for first in range(0, SIZE, 100):
        puts = [
            rpc_pb2.RequestOp(
                request_put=rpc_pb2.PutRequest(key=b"k%06d" % (n * 7919 % SIZE), value=b"v", lease=lease)
            )
            for n in range(first, first + 100)
        ]
        machine.apply(Kind.TXN, rpc_pb2.TxnRequest(success=puts))
    return machine


LARGE = {
    "delete": (Kind.DELETE_RANGE, rpc_pb2.DeleteRangeRequest(key=b"k", range_end=b"l")),
    "delete with values": (
        Kind.DELETE_RANGE,
        rpc_pb2.DeleteRangeRequest(key=b"\0", range_end=b"\0", prev_kv=True),
    ),
    "ranges": (
        Kind.TXN,
        rpc_pb2.TxnRequest(
            compare=[rpc_pb2.Compare(key=b"k", range_end=b"l", target=rpc_pb2.Compare.VERSION, version=1)],
            success=[
                rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=b"z")),
                *(
                    rpc_pb2.RequestOp(
                        request_range=rpc_pb2.RangeRequest(
                            key=b"k", range_end=b"\0", sort_order=order, sort_target=3, limit=limit
                        )
                    )
                    for order, limit in [(0, 0), (2, 0), (1, 5)]
                ),
            ],
        ),
    ),
    "revocation": (Kind.LEASE_REVOKE, rpc_pb2.LeaseRevokeRequest(ID=5)),
}


@pytest.mark.parametrize("name", LARGE)
def test_a_turn_of_a_large_entry_does_not_do_much_more_than_it_may(name: str) -> None:
    machine = filled(lease=5)
    spent: list[float] = []
    turn = Turn(BUDGET)

    result = machine.apply(*LARGE[name], turn)
    while isinstance(result, GeneratorType):
        spent.append(BUDGET - turn.left)
        turn.left = BUDGET
        try:
            next(result)
        except StopIteration as stop:
            result = stop.value
    spent.append(BUDGET - turn.left)
    assert max(spent) <= BUDGET + 5 * PAGE
    assert sum(spent) >= SIZE
    assert len(spent) >= SIZE / (BUDGET + 5 * PAGE)
    machine.check()


def test_a_cut_of_many_leases_is_the_state_of_its_moment() -> None:
    machine = StateMachine()
    for number in range(1, 3 * PAGE):
        machine.apply(Kind.LEASE_GRANT, rpc_pb2.LeaseGrantRequest(ID=number, TTL=60))
    expected = machine.leases.dump()
    cut = machine.leases.cut()
    turn = Turn(10)
    steps = cut.steps(turn)
    next(steps)
    machine.apply(Kind.LEASE_REVOKE, rpc_pb2.LeaseRevokeRequest(ID=1400))
    machine.apply(Kind.LEASE_GRANT, rpc_pb2.LeaseGrantRequest(ID=1400, TTL=99))
    machine.apply(Kind.LEASE_GRANT, rpc_pb2.LeaseGrantRequest(ID=9999, TTL=99))
    checkpoint = rpc_pb2.LeaseCheckpoint(ID=1401, remaining_TTL=3)
    machine.apply(Kind.LEASE_CHECKPOINT, rpc_pb2.LeaseCheckpointRequest(checkpoints=[checkpoint]))
    states, pauses = None, 1
    while states is None:
        turn.left = 10
        try:
            next(steps)
        except StopIteration as stop:
            states = stop.value
        pauses += 1
    assert tuple(states) == expected
    assert pauses > 3
    cut.close()
