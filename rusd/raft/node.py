"""The node: one replica's Raft state machine, driven from outside.

It has no clock, disk, network or thread.  Its owner calls :meth:`Node.tick`
every so often, :meth:`Node.step` with every message, :meth:`Node.propose` and
:meth:`Node.read_index` for its clients, and then does what :meth:`Node.ready`
says::

    while node.has_ready():
        ready = node.ready()
        deliver(ready.messages)                       # these need not wait for the disk
        if ready.must_sync:
            write(ready.snapshot, ready.hard_state, ready.entries), then sync
            node.persisted(*ready.mark)
        deliver(ready.messages_after_persist)
        apply(ready.committed)                        # then node.applied(index)
        serve(ready.reads)

The sync may take its time: while it is out, ``ready()`` may be called again,
for messages, committed entries and reads.  It hands out nothing to persist
until ``persisted()`` was called, so at most one batch is out, and a batch holds
all that came in during the one before (group commit).  Messages that depend on
later state wait inside for a later batch.

A quorum of one takes the same way: its leader's entries are committed when its
own disk has them.
"""

from __future__ import annotations

import random

from rusd.raft.elections import Elections
from rusd.raft.errors import (
    ChangeRefused,
    ContractError,
    InvariantViolation,
    NotLeader,
    TooManyUncommitted,
    TransferInProgress,
)
from rusd.raft.log import Log
from rusd.raft.membership import Change, changed, encode_configuration
from rusd.raft.messages import (
    Configuration,
    Entry,
    EntryType,
    HardState,
    Message,
    MessageType,
    Ready,
    Snapshot,
)
from rusd.raft.state import NOBODY, Limits, Options, Role

DEFAULT_LIMITS = Limits()


class Node(Elections):
    """One replica.

    ``log``, ``hard_state`` and ``configuration`` (as of the log's base) are
    what the owner found on disk; ``applied`` is how far its state machine got.
    ``random`` draws the election timeouts; the rest is explained at
    :class:`rusd.raft.state.Options`.

    Worth reading: ``role``, ``term``, ``leader_id``, ``commit_index``,
    ``applied_index``, ``last_index``, ``configuration``, ``progress``.
    Raises :class:`ValueError` if the pieces do not fit together.
    """

    def __init__(
        self,
        id: int,  # noqa: A002
        log: Log,
        hard_state: HardState,
        configuration: Configuration,
        *,
        applied: int,
        random: random.Random,
        election_ticks: int = 10,
        heartbeat_ticks: int = 1,
        pre_vote: bool = True,
        check_quorum: bool = True,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        if id == NOBODY:
            raise ValueError("0 is no replica's id")
        if not log.base_index <= applied <= log.last_index:
            raise ValueError(f"applied {applied} is outside the log, {log.base_index} to {log.last_index}")
        if hard_state.commit > log.last_index:
            raise ValueError(f"commit {hard_state.commit} is beyond the log's end, {log.last_index}")
        if log.last_term > hard_state.term:
            raise ValueError(f"the log reaches term {log.last_term}, the hard state only {hard_state.term}")
        options = Options(
            election_ticks=election_ticks,
            heartbeat_ticks=heartbeat_ticks,
            pre_vote=pre_vote,
            check_quorum=check_quorum,
            limits=limits,
        )
        super().__init__(id, log, hard_state, configuration, applied=applied, random=random, options=options)
        self.restart_clock()
        self.become_follower(self.term, NOBODY)

    # -- from the clients -------------------------------------------------------------

    def propose(self, data: bytes) -> tuple[int, int]:
        """Append ``data`` to the leader's log; returns its (term, index).

        It is committed if the entry handed out in ``Ready.committed`` at that
        index has that term.  Raises a :class:`ProposalDropped`: :class:`NotLeader`,
        :class:`TransferInProgress` or :class:`TooManyUncommitted`.
        """
        self._admit(len(data))
        term = self.term
        index = self.log.last_index + 1
        self.log.append(Entry(term, index, EntryType.NORMAL, data))
        return term, index

    def propose_configuration(self, change: Change, data: bytes = b"") -> tuple[int, int]:
        """Append the configuration after ``change``, with the owner's ``data`` beside it; its (term, index).

        It is in effect at once.  Raises what :meth:`propose` does, and
        :class:`ChangeRefused` if another change is not committed yet, the leader
        has committed nothing in its term, or ``change`` makes no sense.
        """
        if self.role is not Role.LEADER:
            raise NotLeader(self.leader_id)
        if not self.may_change_configuration():
            raise ChangeRefused("an earlier change, or the leader's first entry, is not committed yet")
        encoded = encode_configuration(changed(self.configuration, change), data)
        self._admit(len(encoded))
        entry = Entry(self.term, self.log.last_index + 1, EntryType.CONFIGURATION, encoded)
        self.append_entries([entry])
        return entry.term, entry.index

    def _admit(self, size: int) -> None:
        if self.role is not Role.LEADER:
            raise NotLeader(self.leader_id)
        if self._transfer_target:
            raise TransferInProgress(self._transfer_target)
        held = self._uncommitted_bytes + size
        # One proposal always fits, or a very large one could never be made.
        if held > self.options.limits.uncommitted_bytes and self._uncommitted_bytes:
            raise TooManyUncommitted(self._uncommitted_bytes, self.options.limits.uncommitted_bytes)
        self._uncommitted_bytes = held

    # -- from the peers ---------------------------------------------------------------

    def step(self, message: Message) -> None:
        """Take in one message from a peer, in whatever order and however often it arrives.

        Raises :class:`ValueError` if it is addressed to another replica.
        """
        if message.to != self.id:
            raise ValueError(f"a message to {message.to:x} reached {self.id:x}")
        if message.term < self.term:
            self.refuse_stale(message)
            return
        if message.term > self.term and not self.observe_higher_term(message):
            return
        match message.type:
            case MessageType.REQUEST_VOTE | MessageType.REQUEST_PRE_VOTE:
                self.on_vote_request(message)
            case MessageType.VOTE_RESPONSE | MessageType.PRE_VOTE_RESPONSE:
                self.on_vote_response(message)
            case MessageType.APPEND_ENTRIES:
                self.recognise_leader(message.from_)
                self.on_append_entries(message)
            case MessageType.HEARTBEAT:
                self.recognise_leader(message.from_)
                self.on_heartbeat(message)
            case MessageType.INSTALL_SNAPSHOT:
                self.recognise_leader(message.from_)
                self.on_install_snapshot(message)
            case MessageType.TIMEOUT_NOW:
                self.on_timeout_now(message)
            case MessageType.READ_INDEX_RESPONSE:
                self.on_read_index_response(message)
            case _ if self.role is Role.LEADER:
                self._step_leader(message)

    def _step_leader(self, message: Message) -> None:
        """What only a leader listens to; to others it is old news."""
        match message.type:
            case MessageType.APPEND_RESPONSE:
                self.on_append_response(message)
            case MessageType.HEARTBEAT_RESPONSE:
                self.on_heartbeat_response(message)
            case MessageType.READ_INDEX:
                self.on_read_index(message)

    # -- to and from the owner ----------------------------------------------------------

    def has_ready(self) -> bool:
        """Whether :meth:`ready` would have anything to say."""
        if self._messages or self._reads or self._deliverable_index() > self.delivered_index:
            return True
        if self._outstanding is None and (self._messages_after_persist or self._has_unpersisted()):
            return True
        return self.role is Role.LEADER and (self.owes_appends() or self.wants_read_round())

    def ready(self) -> Ready:
        """All that is to be done now; what it returns is never returned again."""
        if self.role is Role.LEADER:
            if self.wants_read_round():
                self.begin_read_round()
            self.replicate()
        committed = self._take_committed()
        mark = (self.log.last_term, self.log.last_index)
        if self._outstanding is not None:
            return self._make_ready(None, [], [], committed, mark)
        waiting, self._messages_after_persist = self._messages_after_persist, []
        if not self._has_unpersisted():
            return self._make_ready(None, [], waiting, committed, mark)
        # The commit index never asks for a sync of its own; it rides with whatever does.
        self._outstanding = self.hard_state()
        return self._make_ready(self._outstanding, self.log.take_unpersisted(), waiting, committed, mark)

    def persisted(self, term: int, index: int) -> None:
        """What the last ``Ready`` with ``must_sync`` asked for is durable; the arguments are its ``mark``.

        Counts for the log only if it still holds that entry: a new leader may have
        replaced it meanwhile.  Raises :class:`ContractError` if nothing was asked for.
        """
        if self._outstanding is None:
            raise ContractError("persisted() without anything to persist")
        self._durable_term, self._durable_vote = self._outstanding.term, self._outstanding.vote
        self._outstanding = None
        moved = self.log.persisted(term, index)
        if self.role is Role.CANDIDATE:
            self.count_own_vote()
        elif moved and self.role is Role.LEADER:
            self.advance_commit_index()

    def applied(self, index: int) -> None:
        """The owner has applied everything up to ``index``, which lets the log drop old entries.

        Raises :class:`ContractError` if ``index`` was not handed out for applying.
        """
        if index > self.delivered_index:
            raise ContractError(f"applied {index}, but only {self.delivered_index} was handed out")
        if index > self.applied_index:
            self.applied_index = index
            self.trim_log(index)

    def _has_unpersisted(self) -> bool:
        return (
            self.log.handed_index < self.log.last_index
            or self.term != self._durable_term
            or self.vote != self._durable_vote
            or self._snapshot is not None
        )

    def _deliverable_index(self) -> int:
        """Committed, and durable here: what was applied must never be lost again."""
        return min(self.commit_index, self.log.persisted_index)

    def _take_committed(self) -> list[Entry]:
        last = self._deliverable_index()
        if last <= self.delivered_index:
            return []
        committed = self.log.slice(self.delivered_index + 1, last)
        self.delivered_index = last
        return committed

    def _make_ready(
        self,
        hard_state: HardState | None,
        entries: list[Entry],
        messages_after_persist: list[Message],
        committed: list[Entry],
        mark: tuple[int, int],
    ) -> Ready:
        messages, self._messages = self._messages, []
        reads, self._reads = self._reads, []
        snapshot = None
        if hard_state is not None:
            snapshot, self._snapshot = self._snapshot, None
        return Ready(
            hard_state=hard_state,
            entries=entries,
            messages=messages,
            messages_after_persist=messages_after_persist,
            committed=committed,
            reads=reads,
            snapshot=snapshot,
            mark=mark,
        )

    # -- looking inside -------------------------------------------------------------------

    def hard_state(self) -> HardState:
        """Term, vote and commit index as they are now, durable or not."""
        return HardState(self.term, self.vote, self.commit_index)

    @property
    def is_sole_leader(self) -> bool:
        """Whether this replica leads a quorum of one and may serve reads: each is confirmed at once."""
        return self.role is Role.LEADER and self.configuration.voters == {self.id} and self.may_serve_reads()

    @property
    def pending_snapshot(self) -> Snapshot | None:
        """The snapshot that the next ``Ready`` with ``must_sync`` hands out to be installed."""
        return self._snapshot

    def pending_reads(self) -> int:
        """How many reads wait for a quorum to confirm them."""
        return len(self._gathering) + len(self._confirming)

    def check(self) -> None:
        """Verify what must always hold; raises :class:`InvariantViolation`.  Walks the whole log."""
        self.log.check()
        for progress in self._progress.values():
            progress.check()
        for holds, what in self._invariants():
            if not holds:
                raise InvariantViolation(f"replica {self.id:x}: {what}")

    def _invariants(self) -> list[tuple[bool, str]]:
        log, leads = self.log, self.role is Role.LEADER
        configuration = self.configuration
        unsettled = sum(len(entry.data) for entry in log.slice(self.commit_index + 1, log.last_index))
        configured = [at for at, _ in self._configurations]
        peers = self._progress
        return [
            (log.last_term <= self.term, "the log is of a later term than the replica"),
            (log.base_index <= self.commit_index <= log.last_index, "the commit index is outside the log"),
            (self.applied_index <= self.delivered_index, "applied more than was handed out"),
            (self.delivered_index <= self.commit_index, "handed out more than was committed"),
            (self._durable_term <= self.term, "the disk is of a later term than the replica"),
            (leads == (self.leader_id == self.id), "exactly a leader is its own leader"),
            (leads or not peers, "only a leader tracks its peers"),
            (not leads or set(peers) == configuration.members - {self.id}, "peers are not the members"),
            (not leads or log.last_term == self.term, "a leader's log ends in its own term"),
            (not leads or self._uncommitted_bytes == unsettled, "lost count of the uncommitted bytes"),
            (all(peer.match <= log.last_index for peer in peers.values()), "a peer is ahead of its leader"),
            (not configuration.voters & configuration.learners, "a voter is a learner"),
            (configured == sorted(set(configured)), "configurations out of order"),
            (configured[0] <= log.base_index, "no configuration at the log's base"),
            (configured[-1] <= log.last_index, "a configuration outlived its entry"),
        ]
