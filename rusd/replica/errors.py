"""What can become of a proposal or read that is not carried out."""

from __future__ import annotations

from rusd.raft import ChangeRefused, ProposalDropped, TooManyUncommitted


class ReplicaError(Exception):
    """A proposal or read that this replica could not carry out."""


class TooManyRequestsError(ReplicaError):
    """The apply loop is too far behind the log."""


class NoLeaderError(ReplicaError):
    """There is no leader to take the request."""


class RequestTimeoutError(ReplicaError):
    """Not answered in time.  The write may still happen."""


class LeaderFailedError(RequestTimeoutError):
    """Not answered in time, and made while the leader before this one was lost."""


class ConnectionLostError(RequestTimeoutError):
    """Not answered in time, and the connection that it took broke meanwhile."""


class LeaderChangedError(ReplicaError):
    """Another leader came while a read waited for the former one."""


class NotLeaderError(ReplicaError):
    """Only the leader can do this."""


class BadTransfereeError(ReplicaError):
    """Leadership can't be handed to that member: it has no vote here."""


class TransferTimeoutError(ReplicaError):
    """The member that was to lead does not, after all the time there was."""


class StoppedError(ReplicaError):
    """The server is stopping.  The write may have happened."""


class SupersededError(ReplicaError):
    """A leader's own proposal was decided in a term that is over."""


class ChangeRefusedError(ReplicaError):
    """The configuration can't be changed this way, or not now: an earlier change is under way."""


def refusal_of(error: ProposalDropped) -> ReplicaError:
    """What a caller is told when Raft does not take its proposal."""
    match error:
        case TooManyUncommitted():
            return TooManyRequestsError()
        case ChangeRefused():
            return ChangeRefusedError(str(error))
    return NoLeaderError()
