"""What one replica knows: the "State" box of the paper's figure 2, and the outbox.

Every other chapter (membership, replication, reads, elections) is a class that
adds its own piece of state and its rules to this one;
:class:`rusd.raft.node.Node` is the last of them.  A rule is one method, named
as the paper names it, so that a subclass can break exactly one and show what it
was for.
"""

from __future__ import annotations

import random
from enum import Enum

import attrs

from rusd.raft.errors import InvariantViolation
from rusd.raft.log import Log
from rusd.raft.messages import HardState, Message, MessageType, ReadState, Snapshot

NOBODY = 0
"""The id that is no replica's."""

_NEVER_WAIT = frozenset(
    {
        # A leader's own messages: 10.2.1.  Its term and vote were durable before it could win.
        MessageType.APPEND_ENTRIES,
        MessageType.HEARTBEAT,
        MessageType.INSTALL_SNAPSHOT,
        MessageType.TIMEOUT_NOW,
        MessageType.READ_INDEX_RESPONSE,
        # These promise nothing that a crash could break.
        MessageType.REQUEST_PRE_VOTE,
        MessageType.READ_INDEX,
    }
)


class Role(Enum):
    """The three roles of §5.1, and the PreVote phase of thesis 9.6."""

    FOLLOWER = "follower"
    PRE_CANDIDATE = "pre-candidate"
    CANDIDATE = "candidate"
    LEADER = "leader"


@attrs.frozen(kw_only=True)
class Limits:
    """Bounds on what a leader sends and holds; bytes are those of the entries' data.

    ``append_bytes``       in one append, but one entry at least;
    ``inflight_messages``  appends sent to one peer and not acknowledged;
    ``inflight_bytes``     bytes in these;
    ``uncommitted_bytes``  proposed and not committed: more is refused, but one proposal always fits;
    ``kept_entries``       held in all while a peer needs them: one that is further behind gets a snapshot;
    ``kept_bytes``         the same in bytes.
    """

    append_bytes: int = 1024 * 1024
    inflight_messages: int = 256
    inflight_bytes: int = 16 * 1024 * 1024
    uncommitted_bytes: int = 64 * 1024 * 1024
    kept_entries: int = 400_000
    kept_bytes: int = 128 * 1024 * 1024


@attrs.frozen(kw_only=True)
class Options:
    """The dials of a node.  Times are in ticks; their length is the owner's affair."""

    election_ticks: int = attrs.field(default=10, validator=attrs.validators.ge(2))
    heartbeat_ticks: int = attrs.field(default=1, validator=attrs.validators.ge(1))
    pre_vote: bool = True
    check_quorum: bool = True
    limits: Limits = attrs.field(factory=Limits)

    def __attrs_post_init__(self) -> None:
        if self.heartbeat_ticks >= self.election_ticks:
            raise ValueError("heartbeat_ticks must be below election_ticks")


class State:
    """Term, vote, log, commit index and role of one replica, and what it has to say."""

    def __init__(
        self,
        id: int,  # noqa: A002
        log: Log,
        hard_state: HardState,
        *,
        applied: int,
        random: random.Random,
        options: Options,
    ) -> None:
        self.id = id
        self.log = log
        self.options = options
        # Persistent (figure 2).
        self.term = hard_state.term
        self.vote = hard_state.vote
        # Volatile.
        self.commit_index = max(hard_state.commit, applied, log.base_index)
        self.applied_index = applied
        self.delivered_index = applied  # handed out for applying
        self.role = Role.FOLLOWER
        self.leader_id = NOBODY
        # What of the persistent state the disk holds for sure.
        self._durable_term = hard_state.term
        self._durable_vote = hard_state.vote
        self._outstanding: HardState | None = None  # of the batch that the disk has not done yet
        # The outbox.
        self._messages: list[Message] = []
        self._messages_after_persist: list[Message] = []
        self._reads: list[ReadState] = []
        self._snapshot: Snapshot | None = None
        self._random = random
        # Counted on a leader only: bytes of data above the commit index.
        self._uncommitted_bytes = 0

    @property
    def last_index(self) -> int:
        """The index of the last entry, durable or not."""
        return self.log.last_index

    # -- sending ------------------------------------------------------------

    def send(self, message: Message) -> None:
        """Put ``message`` into the outbox that its kind asks for."""
        if self.may_leave_at_once(message):
            self._messages.append(message)
        else:
            self._messages_after_persist.append(message)

    def may_leave_at_once(self, message: Message) -> bool:
        """Figure 2 and thesis 10.2.1: state is on stable storage before an answer depends on it.

        A follower's append response promises entries, a vote promises a vote, and
        a vote request promises a log that long in that term: if any of them got
        away before the disk is done, a crash would break the promise.  A leader's
        appends may go first, because it does not count itself until its own disk
        is done.  A heartbeat response promises no more than the term.
        """
        if message.type is MessageType.HEARTBEAT_RESPONSE:
            return self._durable_term == self.term
        return message.type in _NEVER_WAIT

    # -- committing ---------------------------------------------------------

    def commit_to(self, index: int) -> None:
        """Move the commit index up to ``index``, never down (figure 2: it "increases monotonically")."""
        if index <= self.commit_index:
            return
        if index > self.log.last_index:
            raise InvariantViolation(
                f"asked to commit {index}, but the log ends at {self.log.last_index}: has it lost entries?"
            )
        if self.role is Role.LEADER:
            committed = self.log.slice(self.commit_index + 1, index)
            self._uncommitted_bytes -= sum([len(entry.data) for entry in committed])
        self.commit_index = index
        self.committed_changed()

    def committed_changed(self) -> None:
        """The commit index has moved: each chapter adds what follows from it."""
