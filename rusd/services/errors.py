"""etcd's error answers: code and exact text.

Clients recognise errors by their text, so every one of these is part of the
interface.  Each name here makes a fresh :class:`~rusd.grpc.StatusError` when
called: ``raise errors.EMPTY_KEY()``.  :func:`from_state` translates what the
state machine and the replica report.
"""

from __future__ import annotations

import attrs

from rusd import lease, mvcc
from rusd.grpc import Code, StatusError
from rusd.replica import (
    BadTransfereeError,
    ConnectionLostError,
    LeaderChangedError,
    LeaderFailedError,
    NoLeaderError,
    NotLeaderError,
    ReplicaError,
    RequestTimeoutError,
    StoppedError,
    TooManyRequestsError,
    TransferTimeoutError,
)
from rusd.state import (
    STATE_ERRORS,
    CorruptError,
    MemberExistsError,
    MemberNotFoundError,
    MemberNotLearnerError,
    MemberRemovedError,
    NoSpaceError,
    PeerUrlExistsError,
    TooManyLearnersError,
)


@attrs.frozen
class _Reason:
    code: Code
    text: str

    def __call__(self) -> StatusError:
        return StatusError(self.code, self.text)


EMPTY_KEY = _Reason(Code.INVALID_ARGUMENT, "etcdserver: key is not provided")
KEY_NOT_FOUND = _Reason(Code.INVALID_ARGUMENT, "etcdserver: key not found")
VALUE_PROVIDED = _Reason(Code.INVALID_ARGUMENT, "etcdserver: value is provided")
LEASE_PROVIDED = _Reason(Code.INVALID_ARGUMENT, "etcdserver: lease is provided")
TOO_MANY_OPS = _Reason(Code.INVALID_ARGUMENT, "etcdserver: too many operations in txn request")
DUPLICATE_KEY = _Reason(Code.INVALID_ARGUMENT, "etcdserver: duplicate key given in txn request")
INVALID_SORT_OPTION = _Reason(Code.INVALID_ARGUMENT, "etcdserver: invalid sort option")
COMPACTED = _Reason(Code.OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted")
FUTURE_REVISION = _Reason(Code.OUT_OF_RANGE, "etcdserver: mvcc: required revision is a future revision")
NO_SPACE = _Reason(Code.RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded")
LEASE_NOT_FOUND = _Reason(Code.NOT_FOUND, "etcdserver: requested lease not found")
LEASE_EXISTS = _Reason(Code.FAILED_PRECONDITION, "etcdserver: lease already exists")
LEASE_TTL_TOO_LARGE = _Reason(Code.OUT_OF_RANGE, "etcdserver: too large lease TTL")
REQUEST_TOO_LARGE = _Reason(Code.INVALID_ARGUMENT, "etcdserver: request is too large")
TOO_MANY_REQUESTS = _Reason(Code.UNKNOWN, "etcdserver: too many requests")
NO_LEADER = _Reason(Code.UNAVAILABLE, "etcdserver: no leader")
STOPPED = _Reason(Code.UNAVAILABLE, "etcdserver: server stopped")
LEADER_CHANGED = _Reason(Code.UNAVAILABLE, "etcdserver: leader changed")
NOT_LEADER = _Reason(Code.FAILED_PRECONDITION, "etcdserver: not leader")
BAD_TRANSFEREE = _Reason(Code.FAILED_PRECONDITION, "etcdserver: bad leader transferee")
TRANSFER_TIMEOUT = _Reason(Code.UNKNOWN, "etcdserver: request timed out, leader transfer took too long")
TIMEOUT = _Reason(Code.UNAVAILABLE, "etcdserver: request timed out")
TIMEOUT_LEADER_FAILED = _Reason(
    Code.UNAVAILABLE, "etcdserver: request timed out, possibly due to previous leader failure"
)
TIMEOUT_CONNECTION_LOST = _Reason(
    Code.UNAVAILABLE, "etcdserver: request timed out, possibly due to connection lost"
)
CORRUPT = _Reason(Code.DATA_LOSS, "etcdserver: corrupt cluster")
APPLY_TIMEOUT = _Reason(
    Code.UNAVAILABLE, "etcdserver: request timed out, waiting for the applied index took too long"
)
NOT_PRIMARY = _Reason(Code.UNKNOWN, "not a primary lessor")
MEMBER_EXISTS = _Reason(Code.FAILED_PRECONDITION, "etcdserver: member ID already exist")
MEMBER_NOT_FOUND = _Reason(Code.NOT_FOUND, "etcdserver: member not found")
MEMBER_NOT_LEARNER = _Reason(Code.FAILED_PRECONDITION, "etcdserver: can only promote a learner member")
LEARNER_NOT_READY = _Reason(
    Code.FAILED_PRECONDITION, "etcdserver: can only promote a learner member which is in sync with leader"
)
TOO_MANY_LEARNERS = _Reason(Code.FAILED_PRECONDITION, "etcdserver: too many learner members in cluster")
PEER_URL_EXISTS = _Reason(Code.FAILED_PRECONDITION, "etcdserver: Peer URLs already exists")
BAD_MEMBER_URLS = _Reason(Code.INVALID_ARGUMENT, "etcdserver: given member URLs are invalid")
NOT_ENOUGH_STARTED = _Reason(
    Code.UNKNOWN, "etcdserver: re-configuration failed due to not enough started members"
)
UNHEALTHY = _Reason(Code.UNAVAILABLE, "etcdserver: unhealthy cluster")
WRONG_DOWNGRADE_FORMAT = _Reason(Code.INVALID_ARGUMENT, "etcdserver: wrong downgrade target version format")
INVALID_DOWNGRADE_TARGET = _Reason(Code.INVALID_ARGUMENT, "etcdserver: invalid downgrade target version")
NO_CLUSTER_VERSION = _Reason(
    Code.FAILED_PRECONDITION, "etcdserver: cluster version not found during downgrade"
)
DOWNGRADE_IN_PROGRESS = _Reason(
    Code.FAILED_PRECONDITION, "etcdserver: cluster has a downgrade job in progress"
)
UNKNOWN_METHOD = _Reason(Code.UNKNOWN, "etcdserver: unknown method")
LEARNER = _Reason(Code.FAILED_PRECONDITION, "etcdserver: rpc not supported for learner")

REFUSALS = (*STATE_ERRORS, ReplicaError)
"""For ``except``: what :func:`from_state` knows."""

_BY_EXCEPTION: dict[type[Exception], _Reason] = {
    mvcc.CompactedError: COMPACTED,
    mvcc.FutureRevisionError: FUTURE_REVISION,
    mvcc.KeyNotFoundError: KEY_NOT_FOUND,
    mvcc.LeaseNotFoundError: LEASE_NOT_FOUND,
    lease.LeaseNotFoundError: LEASE_NOT_FOUND,
    lease.LeaseExistsError: LEASE_EXISTS,
    lease.LeaseTTLTooLargeError: LEASE_TTL_TOO_LARGE,
    NoSpaceError: NO_SPACE,
    CorruptError: CORRUPT,
    MemberExistsError: MEMBER_EXISTS,
    MemberNotFoundError: MEMBER_NOT_FOUND,
    MemberRemovedError: MEMBER_NOT_FOUND,
    MemberNotLearnerError: MEMBER_NOT_LEARNER,
    PeerUrlExistsError: PEER_URL_EXISTS,
    TooManyLearnersError: TOO_MANY_LEARNERS,
    NoLeaderError: NO_LEADER,
    LeaderChangedError: LEADER_CHANGED,
    NotLeaderError: NOT_LEADER,
    BadTransfereeError: BAD_TRANSFEREE,
    TransferTimeoutError: TRANSFER_TIMEOUT,
    RequestTimeoutError: TIMEOUT,
    LeaderFailedError: TIMEOUT_LEADER_FAILED,
    ConnectionLostError: TIMEOUT_CONNECTION_LOST,
    StoppedError: STOPPED,
    TooManyRequestsError: TOO_MANY_REQUESTS,
}


def from_state(error: Exception) -> StatusError:
    """The answer for an error of the state machine or the replica."""
    reason = _BY_EXCEPTION.get(type(error))
    return reason() if reason is not None else StatusError(Code.UNKNOWN, str(error))
