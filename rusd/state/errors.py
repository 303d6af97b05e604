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


STATE_ERRORS = (MvccError, LeaseError, AlarmError)
"""For ``except``: everything :meth:`rusd.state.StateMachine.apply` may raise."""
