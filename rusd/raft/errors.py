"""What can go wrong in the Raft core, as exceptions.

Two kinds.  A :class:`ProposalDropped` is an ordinary answer: nothing was
appended or asked, the caller may try again elsewhere or later.  An
:class:`InvariantViolation` or :class:`ContractError` means that a replica has
diverged or is driven wrongly; going on would spread the damage, so the owner
must stop.
"""

from __future__ import annotations


class RaftError(Exception):
    """The root of this package's exceptions."""


class ProposalDropped(RaftError):  # noqa: N818 - an answer, not an error
    """The proposal was not appended and never will be."""


class NotLeader(ProposalDropped):
    """Only a leader takes proposals; ``leader_id`` is whom to ask, 0 if unknown."""

    def __init__(self, leader_id: int) -> None:
        super().__init__("not the leader")
        self.leader_id = leader_id


class TransferInProgress(ProposalDropped):
    """The leader is handing its office over to ``target`` and takes nothing new (thesis 3.10)."""

    def __init__(self, target: int) -> None:
        super().__init__(f"leadership is being transferred to {target:x}")
        self.target = target


class TooManyUncommitted(ProposalDropped):
    """The leader already holds as many uncommitted bytes as it may."""

    def __init__(self, held: int, limit: int) -> None:
        super().__init__(f"too many uncommitted bytes: {held} held, {limit} allowed")
        self.held = held
        self.limit = limit


class ChangeRefused(ProposalDropped):
    """The configuration may not be changed this way, or not now (thesis 4.1)."""


class NoLeader(ProposalDropped):
    """A read was dropped: there is no known leader that could confirm it."""

    def __init__(self) -> None:
        super().__init__("no leader")


class InvariantViolation(RaftError):  # noqa: N818 - the usual name for it
    """Something Raft proves impossible was seen: lost data, a foreign log, or a bug."""


class ContractError(RaftError):
    """The owner broke the ``ready()`` / ``persisted()`` / ``applied()`` contract."""
