"""The replicated state machine: keys, leases, alarms and members, moved by the log alone.

:meth:`StateMachine.apply` is a deterministic function of the entries: no clock,
no chance, no outside.  Two replicas that applied the same entries hold the same
state.  What it has to tell the rest of the server (new revisions for watchers,
leases for the leader's timers, a compaction to carry out) it tells through the
callbacks of :class:`Observer`, in the turn in which it happens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import attrs

from etcdpb import rpc_pb2, rusd_pb2
from rusd.lease import LeaseStore
from rusd.mvcc import Compaction, Store, apply_delete, apply_put, apply_txn
from rusd.state.alarms import Alarms
from rusd.state.errors import CorruptError, MemberNotLearnerError, NoSpaceError
from rusd.state.members import Member, Membership
from rusd.state.proposal import Kind

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from rusd.mvcc import DeleteResult, PutResult, Record, TxnResult, WriteTransaction

# What each alarm refuses. Plain reads never come here, so reads go on.
_REFUSED_WHEN_CORRUPT = frozenset(
    {Kind.PUT, Kind.DELETE_RANGE, Kind.TXN, Kind.COMPACT, Kind.LEASE_GRANT, Kind.LEASE_REVOKE}
)


class Observer:
    """What happens outside when the state changes.  These do nothing; override what you need."""

    def revision_published(self, revision: int, records: Sequence[Record]) -> None:
        """``revision`` can be read from now on; it consists of ``records``."""

    def history_compacted(self, job: Compaction) -> None:
        """Revisions below ``job.revision`` are refused from now on; ``job`` removes them."""

    def lease_granted(self, lease_id: int, ttl: int) -> None:
        """A lease exists from now on; ``ttl`` in seconds."""

    def lease_revoked(self, lease_id: int) -> None:
        """A lease and its keys are gone."""

    def lease_checkpointed(self, lease_id: int, remaining_ttl: int) -> None:
        """A leader recorded how long the lease has left, in seconds."""

    def cluster_version_changed(self, version: str) -> None:
        """The members agreed on what they speak."""

    def member_added(self, member: Member) -> None:
        """A configuration entry brought in a member."""

    def member_removed(self, member_id: int) -> None:
        """A configuration entry removed a member for good."""


@attrs.frozen
class GrantResult:
    """A lease was granted.  ``ttl`` in seconds."""

    lease_id: int
    ttl: int


@attrs.frozen
class AlarmResult:
    """The alarms asked for, or touched: (member id, alarm type)."""

    alarms: tuple[tuple[int, int], ...]


class StateMachine:
    """All replicated state of one member."""

    def __init__(self, observer: Observer | None = None) -> None:
        self.observer = observer or Observer()
        self.store = Store()
        self.leases = LeaseStore()
        self.alarms = Alarms()
        self.members = Membership()
        self.cluster_version = ""
        self._handlers: dict[Kind, Callable[..., object]] = {
            Kind.PUT: self._put,
            Kind.DELETE_RANGE: self._delete_range,
            Kind.TXN: self._txn,
            Kind.COMPACT: self._compact,
            Kind.LEASE_GRANT: self._lease_grant,
            Kind.LEASE_REVOKE: self._lease_revoke,
            Kind.LEASE_CHECKPOINT: self._lease_checkpoint,
            Kind.ALARM: self._alarm,
            Kind.CLUSTER_VERSION: self._set_cluster_version,
            Kind.MEMBER_ATTRIBUTES: self._set_member_attributes,
        }

    def apply(self, kind: Kind, request: Message) -> object:
        """Apply one request of the log and return its result.

        Raises one of :data:`rusd.state.STATE_ERRORS` for what only the state can
        refuse; then nothing has changed.
        """
        if self.alarms.corrupt and kind in _REFUSED_WHEN_CORRUPT:
            raise CorruptError
        return self._handlers[kind](request)

    def check_configuration(self, data: bytes) -> None:
        """Raise a :class:`MemberError` if a ``ConfigurationChange`` makes no sense for the members there are.

        For the leader, before it proposes one: once it is in the log it is in effect.
        """
        change = rusd_pb2.ConfigurationChange.FromString(data)
        if change.type in {rusd_pb2.ConfigurationChange.ADD_MEMBER, rusd_pb2.ConfigurationChange.ADD_LEARNER}:
            self.members.require_new(change.member.id)
            return
        member = self.members.require(change.member.id)
        if change.type == rusd_pb2.ConfigurationChange.PROMOTE_LEARNER and not member.is_learner:
            raise MemberNotLearnerError

    def apply_configuration(self, data: bytes) -> list[Member]:
        """Apply a committed change of the cluster's configuration, as a ``ConfigurationChange``.

        Returns the members there are then, by ascending id.
        """
        change = rusd_pb2.ConfigurationChange.FromString(data)
        member = Member(
            id=change.member.id,
            peer_urls=tuple(change.member.peer_urls),
            is_learner=change.type == rusd_pb2.ConfigurationChange.ADD_LEARNER,
        )
        match change.type:
            case rusd_pb2.ConfigurationChange.REMOVE_MEMBER:
                self.members.remove(member.id)
                self.observer.member_removed(member.id)
            case rusd_pb2.ConfigurationChange.PROMOTE_LEARNER:
                self.members.promote(member.id)
            case rusd_pb2.ConfigurationChange.UPDATE_MEMBER:
                self.members.set_peer_urls(member.id, member.peer_urls)
            case _:
                self.members.add(member)
                self.observer.member_added(member)
        return self.members.all()

    # -- keys --------------------------------------------------------------------

    def _put(self, request: rpc_pb2.PutRequest) -> PutResult:
        if self.alarms.nospace:
            raise NoSpaceError
        transaction = self.store.begin()
        result = apply_put(transaction, request, self.leases.exists)
        self._publish(transaction)
        return result

    def _delete_range(self, request: rpc_pb2.DeleteRangeRequest) -> DeleteResult:
        transaction = self.store.begin()
        result = apply_delete(transaction, request)
        self._publish(transaction)
        return result

    def _txn(self, request: rpc_pb2.TxnRequest) -> TxnResult:
        if self.alarms.nospace and may_put(request):
            raise NoSpaceError
        transaction = self.store.begin()
        result = apply_txn(transaction, request, self.leases.exists)
        self._publish(transaction)
        return result

    def _publish(self, transaction: WriteTransaction) -> None:
        changes = transaction.publish()
        if changes is None:
            return
        leases = self.leases
        for record, previous in zip(changes.records, changes.previous, strict=True):
            if record.lease:
                leases.attach(record.key, record.lease)
            elif previous is not None and previous.lease:
                leases.detach(record.key)
        self.observer.revision_published(changes.revision, changes.records)

    def _compact(self, request: rpc_pb2.CompactionRequest) -> Compaction:
        job = self.store.compact(request.revision)
        self.observer.history_compacted(job)
        return job

    # -- leases ------------------------------------------------------------------

    def _lease_grant(self, request: rpc_pb2.LeaseGrantRequest) -> GrantResult:
        if self.alarms.nospace:
            raise NoSpaceError
        self.leases.grant(request.ID, request.TTL)
        self.observer.lease_granted(request.ID, request.TTL)
        return GrantResult(request.ID, request.TTL)

    def _lease_revoke(self, request: rpc_pb2.LeaseRevokeRequest) -> None:
        transaction = self.store.begin()
        for key in self.leases.revoke(request.ID):
            transaction.delete_range(key)
        self._publish(transaction)
        self.observer.lease_revoked(request.ID)

    def _lease_checkpoint(self, request: rpc_pb2.LeaseCheckpointRequest) -> None:
        for checkpoint in request.checkpoints:
            if self.leases.exists(checkpoint.ID):  # it may have been revoked meanwhile
                self.leases.checkpoint(checkpoint.ID, checkpoint.remaining_TTL)
                self.observer.lease_checkpointed(checkpoint.ID, checkpoint.remaining_TTL)

    # -- the cluster -----------------------------------------------------------------

    def _alarm(self, request: rpc_pb2.AlarmRequest) -> AlarmResult:
        touched = ((request.memberID, request.alarm),)
        match request.action:
            case rpc_pb2.AlarmRequest.GET:
                return AlarmResult(tuple(self.alarms.active(request.alarm)))
            case rpc_pb2.AlarmRequest.ACTIVATE:
                return AlarmResult(touched if self.alarms.activate(*touched[0]) else ())
            case rpc_pb2.AlarmRequest.DEACTIVATE:
                return AlarmResult(touched if self.alarms.deactivate(*touched[0]) else ())
        return AlarmResult(())

    def _set_cluster_version(self, request: rusd_pb2.ClusterVersion) -> None:
        self.cluster_version = request.version
        self.observer.cluster_version_changed(request.version)

    def _set_member_attributes(self, request: rusd_pb2.MemberAttributes) -> None:
        self.members.set_attributes(request.id, request.name, request.client_urls)

    def check(self) -> None:
        """Raise :class:`AssertionError` if an invariant of any part, or between parts, is broken."""
        self.store.check()
        self.leases.check()
        self.members.check()


def may_put(request: rpc_pb2.TxnRequest) -> bool:
    """Whether either branch holds a put, nested transactions included."""
    for branch in (request.success, request.failure):
        for op in branch:
            match op.WhichOneof("request"):
                case "request_put":
                    return True
                case "request_txn" if may_put(op.request_txn):
                    return True
    return False
