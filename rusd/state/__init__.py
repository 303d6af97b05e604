"""The replicated state machine: what all members agree on.

* :mod:`~rusd.state.machine`: applies the log's requests to the store, the leases and the rest
* :mod:`~rusd.state.proposal`: what an entry of the log holds
* :mod:`~rusd.state.members`, :mod:`~rusd.state.alarms`: the small parts of the state
* :mod:`~rusd.state.snapshot`: the whole of it, cut between two entries
"""

from rusd.state.alarms import CORRUPT, NOSPACE, Alarms, alarm_name
from rusd.state.errors import (
    STATE_ERRORS,
    AlarmError,
    CorruptError,
    MemberError,
    MemberExistsError,
    MemberNotFoundError,
    MemberNotLearnerError,
    MemberRemovedError,
    NoSpaceError,
    PeerUrlExistsError,
    TooManyLearnersError,
)
from rusd.state.machine import AlarmResult, GrantResult, Observer, StateMachine, may_put
from rusd.state.members import Member, Membership, cluster_id, member_id
from rusd.state.proposal import Kind, Proposal, RequestId

__all__ = [
    "CORRUPT",
    "NOSPACE",
    "STATE_ERRORS",
    "AlarmError",
    "AlarmResult",
    "Alarms",
    "CorruptError",
    "GrantResult",
    "Kind",
    "Member",
    "MemberError",
    "MemberExistsError",
    "MemberNotFoundError",
    "MemberNotLearnerError",
    "MemberRemovedError",
    "Membership",
    "NoSpaceError",
    "Observer",
    "PeerUrlExistsError",
    "Proposal",
    "RequestId",
    "StateMachine",
    "TooManyLearnersError",
    "alarm_name",
    "cluster_id",
    "may_put",
    "member_id",
]
