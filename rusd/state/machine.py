"""The replicated state machine: keys, leases, alarms and members, moved by the log alone.

:meth:`StateMachine.apply` is a deterministic function of the entries: no clock,
no chance, no outside.  Two replicas that applied the same entries hold the same
state.  What it has to tell the rest of the server (new revisions for watchers,
leases for the leader's timers, a compaction to carry out) it tells through the
callbacks of :class:`Observer`, in the turn in which it happens.

What is too large for one turn is applied in steps.  Until the last but those that clean
up, everybody sees the state before; then all of the new one appears at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import attrs

from etcdpb import rpc_pb2, rusd_pb2
from rusd.lease import LeaseStore
from rusd.mvcc import Compaction, Store, apply_put, delete_steps, txn_steps
from rusd.state.alarms import Alarms
from rusd.state.errors import CorruptError, MemberNotLearnerError, NoSpaceError
from rusd.state.members import Member, Membership
from rusd.state.proposal import Kind
from rusd.steps import ENDLESS, PAGE, Steps, Turn, discard_steps, start

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from rusd.mvcc import Changes, DeleteResult, PutResult, Record, TxnResult, WriteTransaction

# What each alarm refuses. Plain reads never come here, so reads go on.
_REFUSED_WHEN_CORRUPT = frozenset(
    {Kind.PUT, Kind.DELETE_RANGE, Kind.TXN, Kind.COMPACT, Kind.LEASE_GRANT, Kind.LEASE_REVOKE}
)

_ADDITIONS = frozenset(
    {
        rusd_pb2.ConfigurationChange.ADD_MEMBER,
        rusd_pb2.ConfigurationChange.ADD_LEARNER,
        rusd_pb2.ConfigurationChange.ADD_CANDIDATE,
    }
)


class Observer:
    """What happens outside when the state changes.  These do nothing; override what you need."""

    def revision_published(self, revision: int, records: Sequence[Record]) -> None:
        """``revision`` can be read from now on; it consists of ``records``."""

    def is_long(self, changes: int) -> bool:
        """Whether :meth:`revision_steps` should be called even for so few changes."""
        return False

    def revision_steps(
        self, revision: int, records: Sequence[Record], turn: Turn
    ) -> Steps[Callable[[], None]]:
        """``revision``, of many ``records``, is about to be published.

        Does in steps what can be done before.  What it gives back is called instead of
        :meth:`revision_published`, in the turn in which the revision can be read.
        """
        yield from ()
        return lambda: self.revision_published(revision, records)

    def history_compacted(self, job: Compaction) -> None:
        """Revisions below ``job.revision`` are refused from now on; ``job`` removes them."""

    def state_replaced(self) -> None:
        """A snapshot of another member is the state now: the store is another, leases and members too."""

    def lease_granted(self, lease_id: int, ttl: int) -> None:
        """A lease exists from now on; ``ttl`` in seconds."""

    def lease_revoked(self, lease_id: int) -> None:
        """A lease and its keys are gone."""

    def lease_checkpointed(self, lease_id: int, remaining_ttl: int) -> None:
        """A leader recorded how long the lease has left, in seconds."""

    def cluster_version_changed(self, version: str, before: str) -> None:
        """The members agreed on what they speak; ``before`` is "" if they had not yet."""

    def ready_to_downgrade(self, target: str) -> None:
        """The members agreed to speak ``target`` although they all know a newer version."""

    def member_added(self, member: Member) -> None:
        """A configuration entry brought in a member."""

    def member_removed(self, member_id: int) -> None:
        """A configuration entry removed a member for good."""

    def member_promoted(self, member: Member) -> None:
        """A configuration entry gave a learner its vote."""

    def member_updated(self, member: Member) -> None:
        """A member has other peer URLs."""

    def member_published(self, member: Member) -> None:
        """A member told its name and client URLs."""


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
    """All replicated state of one member.

    ``max_learners`` is what this member allows when it leads, None for any number; what is in the log
    counts in any case.
    """

    def __init__(self, observer: Observer | None = None, *, max_learners: int | None = None) -> None:
        self._max_learners = max_learners
        self.observer = observer or Observer()
        self.store = Store()
        self.leases = LeaseStore()
        self.alarms = Alarms()
        self.members = Membership()
        self.cluster_version = ""
        self.downgrade_target = ""
        """The older version that the cluster is on its way to, as "3.5.0"; empty if it is not."""
        handlers: dict[Kind, Callable[..., object]] = {
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
            Kind.MEMBER_UPDATE: self._update_member,
            Kind.DOWNGRADE: self._set_downgrade,
        }
        # By number: an enum's hash is a Python function, and this is asked for every entry.
        self._handlers = [handlers[kind] for kind in sorted(handlers)]
        assert sorted(handlers) == list(range(1, len(handlers) + 1))

    def apply(self, kind: Kind, request: Message, turn: Turn = ENDLESS) -> object:
        """Apply one request of the log and return its result.

        If ``turn`` does not suffice, a generator of steps is returned instead: run it, filling
        ``turn`` up at each pause, until it returns the result; nothing else may be applied before.
        Raises one of :data:`rusd.state.STATE_ERRORS` for what only the state can
        refuse, here or from the steps; then nothing has changed.
        """
        if self.alarms.corrupt and kind in _REFUSED_WHEN_CORRUPT:
            raise CorruptError
        return self._handlers[kind - 1](request, turn)

    def check_configuration(self, data: bytes) -> None:
        """Raise a :class:`MemberError` if a ``ConfigurationChange`` makes no sense for the members there are.

        For the leader, before it proposes one: once it is in the log it is in effect.
        """
        change = rusd_pb2.ConfigurationChange.FromString(data)
        members = self.members
        if change.type in _ADDITIONS:
            members.require_new(change.member.id)
            members.require_free(change.member.peer_urls)
            is_learner = change.type == rusd_pb2.ConfigurationChange.ADD_LEARNER
            if is_learner and self._max_learners is not None:
                members.require_room_for_learner(self._max_learners)
            return
        member = members.require(change.member.id)
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
                if (promoted := self.members.get(member.id)) is not None:
                    self.observer.member_promoted(promoted)
            case rusd_pb2.ConfigurationChange.UPDATE_MEMBER:
                self.members.set_peer_urls(member.id, member.peer_urls)
            case rusd_pb2.ConfigurationChange.ADMIT_CANDIDATE:
                pass  # only Raft makes a difference between those that have a vote and those that will
            case _:
                self.members.add(member)
                self.observer.member_added(member)
        return self.members.all()

    # -- keys --------------------------------------------------------------------

    def _put(self, request: rpc_pb2.PutRequest, _turn: Turn) -> PutResult:
        if self.alarms.nospace:
            raise NoSpaceError
        transaction = self.store.begin()
        result = apply_put(transaction, request, self.leases.exists)
        self._publish(transaction)
        return result

    def _delete_range(
        self, request: rpc_pb2.DeleteRangeRequest, turn: Turn
    ) -> DeleteResult | Steps[DeleteResult]:
        return start(self._delete_range_steps(request, turn))

    def _delete_range_steps(self, request: rpc_pb2.DeleteRangeRequest, turn: Turn) -> Steps[DeleteResult]:
        transaction = self.store.begin()
        result = yield from delete_steps(transaction, request, turn)
        yield from self._publish_steps(transaction, turn)
        return result

    def _txn(self, request: rpc_pb2.TxnRequest, turn: Turn) -> TxnResult | Steps[TxnResult]:
        if self.alarms.nospace and may_put(request):
            raise NoSpaceError
        return start(self._txn_steps(request, turn))

    def _txn_steps(self, request: rpc_pb2.TxnRequest, turn: Turn) -> Steps[TxnResult]:
        transaction = self.store.begin()
        result = yield from txn_steps(transaction, request, self.leases.exists, turn)
        yield from self._publish_steps(transaction, turn)
        return result

    def _publish(self, transaction: WriteTransaction, tell: Callable[[], None] | None = None) -> None:
        """Publish in one go; ``tell`` does the rest of what :meth:`Observer.revision_steps` has begun."""
        changes = transaction.publish()
        if changes is None:
            return
        leases = self.leases
        for record, previous in zip(changes.records, changes.previous, strict=True):
            if record.lease:
                leases.attach(record.key, record.lease, previous.lease if previous is not None else 0)
            elif previous is not None and previous.lease:
                leases.detach(record.key, previous.lease)
        if tell is None:
            self.observer.revision_published(changes.revision, changes.records)
        else:
            tell()

    def _publish_steps(self, transaction: WriteTransaction, turn: Turn, revoked: int = 0) -> Steps[None]:
        """:meth:`_publish` in steps; the lease ``revoked``, if given, goes in the turn of the publication."""
        changes = transaction.changes
        few = len(changes.records) <= self.store.publish_at_once
        tell: Callable[[], None] | None = None
        if not few or self.observer.is_long(len(changes.records)):
            tell = yield from self.observer.revision_steps(changes.revision, changes.records, turn)
        if few:
            self._publish(transaction, tell)
            if revoked:
                self._remove_lease(revoked)
            return
        assert tell is not None
        yield from self._attach_steps(changes, turn)
        commit = yield from transaction.prepare_steps(turn)
        garbage = commit()
        tell()
        keys = self._remove_lease(revoked) if revoked else ()
        yield from self._detach_steps(changes, turn)
        yield from discard_steps([*garbage, *keys, changes.previous], turn)

    def _attach_steps(self, changes: Changes, turn: Turn) -> Steps[None]:
        """Attach keys to the leases that they are about to have."""
        records = changes.records
        for first in range(0, len(records), PAGE):
            for record in records[first : first + PAGE]:
                if record.lease:
                    self.leases.attach(record.key, record.lease)
            turn.left -= PAGE / 16
            if turn.left <= 0:
                yield

    def _detach_steps(self, changes: Changes, turn: Turn) -> Steps[None]:
        """Detach keys from leases that they no longer have."""
        leases, get = self.leases, self.store.get
        for first in range(0, len(changes.records), PAGE):
            for previous in changes.previous[first : first + PAGE]:
                if previous is None or not leases.exists(previous.lease):
                    continue
                now = get(previous.key)
                if now is None or now.lease != previous.lease:
                    leases.detach(previous.key, previous.lease)
            turn.left -= PAGE / 8
            if turn.left <= 0:
                yield

    def _compact(self, request: rpc_pb2.CompactionRequest, _turn: Turn) -> Compaction:
        job = self.store.compact(request.revision)
        self.observer.history_compacted(job)
        return job

    # -- leases ------------------------------------------------------------------

    def _lease_grant(self, request: rpc_pb2.LeaseGrantRequest, _turn: Turn) -> GrantResult:
        if self.alarms.nospace:
            raise NoSpaceError
        self.leases.grant(request.ID, request.TTL)
        self.observer.lease_granted(request.ID, request.TTL)
        return GrantResult(request.ID, request.TTL)

    def _lease_revoke(self, request: rpc_pb2.LeaseRevokeRequest, turn: Turn) -> Steps[None] | None:
        return start(self._lease_revoke_steps(request.ID, turn))

    def _lease_revoke_steps(self, lease_id: int, turn: Turn) -> Steps[None]:
        keys = yield from self.leases.keys_steps(lease_id, turn)  # in order: all members delete in one order
        transaction = self.store.begin()
        for first in range(0, len(keys), PAGE):
            transaction.delete_keys(keys[first : first + PAGE])
            turn.left -= 2 * PAGE
            if turn.left <= 0:
                yield
        yield from self._publish_steps(transaction, turn, revoked=lease_id)
        yield from discard_steps([keys], turn)

    def _remove_lease(self, lease_id: int) -> Sequence[set[bytes]]:
        keys = self.leases.revoke(lease_id)
        self.observer.lease_revoked(lease_id)
        return keys

    def _lease_checkpoint(self, request: rpc_pb2.LeaseCheckpointRequest, _turn: Turn) -> None:
        for checkpoint in request.checkpoints:
            if self.leases.exists(checkpoint.ID):  # it may have been revoked meanwhile
                self.leases.checkpoint(checkpoint.ID, checkpoint.remaining_TTL)
                self.observer.lease_checkpointed(checkpoint.ID, checkpoint.remaining_TTL)

    # -- the cluster -----------------------------------------------------------------

    def _alarm(self, request: rpc_pb2.AlarmRequest, _turn: Turn) -> AlarmResult:
        touched = ((request.memberID, request.alarm),)
        match request.action:
            case rpc_pb2.AlarmRequest.GET:
                return AlarmResult(tuple(self.alarms.active(request.alarm)))
            case rpc_pb2.AlarmRequest.ACTIVATE:
                return AlarmResult(touched if self.alarms.activate(*touched[0]) else ())
            case rpc_pb2.AlarmRequest.DEACTIVATE:
                return AlarmResult(touched if self.alarms.deactivate(*touched[0]) else ())
        return AlarmResult(())

    def _set_cluster_version(self, request: rusd_pb2.ClusterVersion, _turn: Turn) -> None:
        before, self.cluster_version = self.cluster_version, request.version
        self.observer.cluster_version_changed(request.version, before)
        if request.version == self.downgrade_target:
            self.observer.ready_to_downgrade(request.version)

    def _set_downgrade(self, request: rpc_pb2.DowngradeInfo, _turn: Turn) -> None:
        self.downgrade_target = request.targetVersion if request.enabled else ""

    def _set_member_attributes(self, request: rusd_pb2.MemberAttributes, _turn: Turn) -> None:
        self.members.set_attributes(request.id, request.name, request.client_urls)
        if (member := self.members.get(request.id)) is not None:
            self.observer.member_published(member)

    def _update_member(self, request: rusd_pb2.Member, _turn: Turn) -> list[Member]:
        self.members.require(request.id)
        self.members.require_free(request.peer_urls, besides=request.id)
        self.members.set_peer_urls(request.id, request.peer_urls)
        if (member := self.members.get(request.id)) is not None:
            self.observer.member_updated(member)
        return self.members.all()

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
