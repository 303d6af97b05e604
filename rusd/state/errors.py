"""What a request of the log can be refused for, by the state it meets."""

from __future__ import annotations

from rusd.lease import LeaseError
from rusd.mvcc import MvccError


class AlarmError(Exception):
    """An active alarm refuses the request."""


class NoSpaceError(AlarmError):
    """A member is out of space: nothing may be added."""


class CorruptError(AlarmError):
    """A member's data is corrupt: nothing may change."""


class MemberError(Exception):
    """A change of the configuration that makes no sense for the members there are."""


class MemberExistsError(MemberError):
    """That id belongs to the cluster already."""


class MemberRemovedError(MemberError):
    """That id belonged to the cluster once, and can't come back."""


class MemberNotFoundError(MemberError):
    """That id does not belong to the cluster."""


class MemberNotLearnerError(MemberError):
    """Only a learner can be promoted."""


class PeerUrlExistsError(MemberError):
    """Another member has that peer URL."""


class TooManyLearnersError(MemberError):
    """There are as many learners as there may be."""


STATE_ERRORS = (MvccError, LeaseError, AlarmError, MemberError)
"""For ``except``: everything :meth:`rusd.state.StateMachine.apply` may raise."""
