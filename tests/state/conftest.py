"""Requests of every kind for the state machine, as the services let them through."""

from __future__ import annotations

import pytest
from google.protobuf.message import Message
from hypothesis import strategies as st

from etcdpb import rpc_pb2, rusd_pb2
from rusd.grpc import StatusError
from rusd.services import validate
from rusd.state import STATE_ERRORS, Kind, Observer, StateMachine

Step = tuple[Kind, Message]

# Few keys, so that requests meet each other's effects.
keys = st.sampled_from([b"a", b"b", b"b\0", b"c", b"d/1", b"d/2", b"\xff"])
ends = st.sampled_from([b"", b"", b"\0", b"b", b"c", b"e", b"a"])
values = st.binary(max_size=4)
lease_ids = st.sampled_from([0, 0, 1, 2, 3, -4])
revisions = st.integers(-2, 25)
odd = st.integers(0, 6)

ranges = st.builds(
    rpc_pb2.RangeRequest,
    key=keys,
    range_end=ends,
    limit=st.integers(-1, 3),
    revision=st.one_of(st.just(0), revisions),
    sort_order=st.integers(0, 2),
    sort_target=st.integers(0, 4),
    keys_only=st.booleans(),
    count_only=st.booleans(),
    min_mod_revision=st.sampled_from([0, 0, 3]),
    max_create_revision=st.sampled_from([0, 0, 9]),
)
puts = st.builds(
    rpc_pb2.PutRequest,
    key=keys,
    value=values,
    lease=lease_ids,
    prev_kv=st.booleans(),
    ignore_value=st.sampled_from([False, False, True]),
    ignore_lease=st.sampled_from([False, False, True]),
)
deletes = st.builds(rpc_pb2.DeleteRangeRequest, key=keys, range_end=ends, prev_kv=st.booleans())
compares = st.one_of(
    *[
        st.builds(
            rpc_pb2.Compare,
            key=keys,
            range_end=ends,
            result=odd,
            target=odd,
            **{operand: values if operand == "value" else st.integers(-1, 5)},
        )
        for operand in ("version", "create_revision", "mod_revision", "value", "lease")
    ]
)
plain_ops = st.one_of(
    st.builds(rpc_pb2.RequestOp, request_range=ranges),
    st.builds(rpc_pb2.RequestOp, request_put=puts),
    st.builds(rpc_pb2.RequestOp, request_put=puts),
    st.builds(rpc_pb2.RequestOp, request_delete_range=deletes),
)


def txns_of(ops: st.SearchStrategy[rpc_pb2.RequestOp]) -> st.SearchStrategy[rpc_pb2.TxnRequest]:
    lists = st.lists(ops, max_size=4)
    return st.builds(rpc_pb2.TxnRequest, compare=st.lists(compares, max_size=2), success=lists, failure=lists)


txns = txns_of(plain_ops | st.builds(rpc_pb2.RequestOp, request_txn=txns_of(plain_ops)))
grants = st.builds(
    rpc_pb2.LeaseGrantRequest, ID=st.sampled_from([1, 2, 3, -4]), TTL=st.sampled_from([2, 60, 9_000_000_001])
)
checkpoints = st.builds(
    rpc_pb2.LeaseCheckpointRequest,
    checkpoints=st.lists(
        st.builds(rpc_pb2.LeaseCheckpoint, ID=lease_ids, remaining_TTL=st.integers(0, 50)), max_size=3
    ),
)
alarms = st.builds(
    rpc_pb2.AlarmRequest,
    action=st.sampled_from([0, 1, 2, 2, 9]),
    memberID=st.sampled_from([0, 7]),
    alarm=st.sampled_from([0, 1, 1, 2, 77]),
)
attributes = st.builds(
    rusd_pb2.MemberAttributes,
    id=st.sampled_from([7, 8]),
    name=st.sampled_from(["", "m"]),
    client_urls=st.lists(st.just("http://h:1"), max_size=2),
)
steps = st.one_of(
    st.tuples(st.just(Kind.PUT), puts),
    st.tuples(st.just(Kind.PUT), puts),
    st.tuples(st.just(Kind.DELETE_RANGE), deletes),
    st.tuples(st.just(Kind.TXN), txns),
    st.tuples(st.just(Kind.TXN), txns),
    st.tuples(st.just(Kind.COMPACT), st.builds(rpc_pb2.CompactionRequest, revision=revisions)),
    st.tuples(st.just(Kind.LEASE_GRANT), grants),
    st.tuples(st.just(Kind.LEASE_GRANT), grants),
    st.tuples(st.just(Kind.LEASE_REVOKE), st.builds(rpc_pb2.LeaseRevokeRequest, ID=lease_ids)),
    st.tuples(st.just(Kind.LEASE_CHECKPOINT), checkpoints),
    st.tuples(st.just(Kind.ALARM), alarms),
    st.tuples(
        st.just(Kind.CLUSTER_VERSION),
        st.builds(rusd_pb2.ClusterVersion, version=st.sampled_from(["3.6.0", "3.7.0"])),
    ),
    st.tuples(st.just(Kind.MEMBER_ATTRIBUTES), attributes),
    st.tuples(
        st.just(Kind.DOWNGRADE),
        st.builds(
            rpc_pb2.DowngradeInfo, enabled=st.booleans(), targetVersion=st.sampled_from(["3.5.0", "3.6.0"])
        ),
    ),
)


def accepted(step: Step) -> bool:
    """Whether the services would let the request through to the log."""
    kind, request = step
    try:
        match kind:
            case Kind.PUT:
                validate.check_put(request)  # type: ignore[arg-type]
            case Kind.DELETE_RANGE:
                validate.check_delete_range(request)  # type: ignore[arg-type]
            case Kind.TXN:
                validate.check_txn(request, 128)  # type: ignore[arg-type]
    except StatusError:
        return False
    return True


class Recorder(Observer):
    """Notes all that the machine tells the rest of the server; carries compactions out at once."""

    def __init__(self, *, compacts: bool = True) -> None:
        self.told: list[tuple[object, ...]] = []
        self._compacts = compacts

    def revision_published(self, revision: int, records: object) -> None:
        self.told.append(("revision", revision, [repr(record) for record in records]))  # type: ignore[attr-defined]

    def history_compacted(self, job: object) -> None:
        self.told.append(("compacted", job.revision))  # type: ignore[attr-defined]
        for _ in range(100 if self._compacts else 0):  # while history is pinned it can't be done
            job.step()  # type: ignore[attr-defined]

    def lease_granted(self, lease_id: int, ttl: int) -> None:
        self.told.append(("granted", lease_id, ttl))

    def lease_revoked(self, lease_id: int) -> None:
        self.told.append(("revoked", lease_id))

    def lease_checkpointed(self, lease_id: int, remaining_ttl: int) -> None:
        self.told.append(("checkpointed", lease_id, remaining_ttl))

    def cluster_version_changed(self, version: str, before: str) -> None:
        self.told.append(("version", version))


class Machine:
    """A state machine with one member, and the outcome of every step as text."""

    def __init__(self, *, compacts: bool = True) -> None:
        self.recorder = Recorder(compacts=compacts)
        self.machine = StateMachine(self.recorder)
        self.machine.apply_configuration(
            rusd_pb2.ConfigurationChange(
                member=rusd_pb2.Member(id=7, peer_urls=["http://h:2380"])
            ).SerializeToString()
        )

    def apply(self, step: Step) -> str:
        """Anything but a STATE_ERROR comes through."""
        before = self.picture()
        try:
            result = self.machine.apply(*step)
        except STATE_ERRORS as error:
            assert self.picture() == before, "refused, and yet something changed"
            return type(error).__name__
        return repr(result) if step[0] is not Kind.COMPACT else "compacted"

    def picture(self) -> tuple[object, ...]:
        """All of the state but the history."""
        machine = self.machine
        return (
            machine.store.current_revision,
            machine.store.compact_revision,
            machine.leases.dump(),
            [(lease.lease_id, machine.leases.keys(lease.lease_id)) for lease in machine.leases.dump()],
            machine.alarms.active(),
            (machine.alarms.nospace, machine.alarms.corrupt),
            machine.members.all(),
            machine.members.removed(),
            machine.cluster_version,
            machine.downgrade_target,
        )

    def history(self, since: int = 1) -> list[tuple[int, list[bytes]]]:
        """The retained changes from a revision on."""
        store = self.machine.store
        first = max(store.compact_revision, since)
        return [
            (revision, [record.event_field for record in records])
            for revision, records in store.changes(first, store.current_revision)
        ]

    def hash(self) -> object:
        """Of the history itself: what is remembered of compactions is each process's own."""
        self.machine.store.compaction_hashes = []
        job = self.machine.store.hash_kv(0)
        while not job.step():
            pass
        return job.result


@pytest.fixture
def requests() -> st.SearchStrategy[list[Step]]:
    """Lists of requests that the services let through."""
    return st.lists(steps.filter(accepted), max_size=30)


@pytest.fixture
def make() -> type[Machine]:
    return Machine
