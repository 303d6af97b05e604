"""Log replication: the leader's log becomes everybody's (§5.3, §5.4.2, §7, thesis 10.2).

The leader's half keeps a :class:`Progress` per peer and sends what each is
owed; the follower's half checks, truncates, appends and answers.  Appends are
pipelined (10.2.2): the leader assumes the best and sends on, and a rejection
takes it back to probing.  Heartbeats are messages of their own, not empty appends.
"""

from __future__ import annotations

from collections.abc import Mapping

from rusd.raft import quorum
from rusd.raft.errors import ContractError, InvariantViolation
from rusd.raft.membership import Membership
from rusd.raft.messages import Message, MessageType, Snapshot
from rusd.raft.progress import Flow, Progress
from rusd.raft.state import Role


class Replication(Membership):
    """Adds the leader's view of its peers, and the follower's side of appends and snapshots."""

    _progress: dict[int, Progress]

    @property
    def progress(self) -> Mapping[int, Progress]:
        """The leader's knowledge of each peer; empty on others."""
        return self._progress

    # -- the leader's rules -------------------------------------------------------

    def own_match(self) -> int:
        """Thesis 10.2.1: a leader counts itself only for what its own disk holds."""
        return self.log.persisted_index

    def may_commit(self, index: int) -> bool:
        """§5.4.2: only entries of the current term are committed by counting replicas.

        An older entry may be on a majority and still be overwritten (figure 8);
        once an entry of this term is committed, the log matching property commits
        all before it.
        """
        return self.log.term(index) == self.term

    def advance_commit_index(self) -> None:
        """§5.3: an entry is committed once the leader has replicated it on a majority."""
        index = quorum.majority_match(self.configuration.voters, self._match_of)
        if index > self.commit_index and self.may_commit(index):
            self.commit_to(index)

    def _match_of(self, voter: int) -> int:
        return self.own_match() if voter == self.id else self._progress[voter].match

    # -- the leader sends ---------------------------------------------------------

    def start_replicating(self) -> None:
        """A new leader knows nothing of its peers: figure 2, nextIndex starts past its last entry."""
        self._progress = {peer: self._new_progress() for peer in self.configuration.members - {self.id}}

    def _new_progress(self) -> Progress:
        return Progress(
            self.log.last_index + 1,
            max_messages=self.options.limits.inflight_messages,
            max_bytes=self.options.limits.inflight_bytes,
        )

    def configuration_changed(self) -> None:
        super().configuration_changed()
        if self.role is not Role.LEADER:
            return
        peers = self.configuration.members - {self.id}
        self._progress = {peer: self._progress.get(peer) or self._new_progress() for peer in peers}

    def owes_appends(self) -> bool:
        """Whether some peer should be sent something now."""
        last, commit = self.log.last_index, self.commit_index
        return any(progress.is_owed(last, commit) for progress in self._progress.values())

    def replicate(self) -> None:
        """Send every peer what it is owed, as far as its window allows."""
        for peer, progress in self._progress.items():
            while progress.is_owed(self.log.last_index, self.commit_index):
                self.send_append(peer, progress)

    def send_append(self, peer: int, progress: Progress) -> None:
        """One AppendEntries (§5.3) with as much as fits; a snapshot if the log is cut too short (§7)."""
        previous = progress.next - 1
        log_term = self.log.term(previous)
        if log_term is None:
            self._send_snapshot(peer, progress)
            return
        limit = self.options.limits.append_bytes
        entries = [] if progress.is_full() else self.log.slice_bytes(progress.next, limit)
        self.send(
            Message(
                type=MessageType.APPEND_ENTRIES,
                from_=self.id,
                to=peer,
                term=self.term,
                index=previous,
                log_term=log_term,
                entries=entries,
                commit=self.commit_index,
            )
        )
        progress.sent(entries, self.commit_index)

    def _send_snapshot(self, peer: int, progress: Progress) -> None:
        if not progress.active:
            progress.become_probe()  # nobody there to take it; the next sign of life lifts the pause
            progress.paused = True
            return
        progress.become_snapshot()
        self.send(
            Message(
                type=MessageType.INSTALL_SNAPSHOT,
                from_=self.id,
                to=peer,
                term=self.term,
                index=self.log.base_index,
            )
        )

    def broadcast_heartbeat(self, read_round: int) -> None:
        """§5.2: the leader's sign of life, with the commit index as far as the peer surely has the log."""
        for peer, progress in self._progress.items():
            self.send(
                Message(
                    type=MessageType.HEARTBEAT,
                    from_=self.id,
                    to=peer,
                    term=self.term,
                    index=read_round,
                    commit=min(progress.match, self.commit_index),
                )
            )

    # -- the leader hears ---------------------------------------------------------

    def on_append_response(self, message: Message) -> None:
        """Success moves ``match`` up, and perhaps the commit index; failure moves ``next`` down (§5.3)."""
        progress = self._progress.get(message.from_)
        if progress is None:
            return
        progress.active = True
        if message.reject:
            # Where the follower's log may still agree with this one, judged by terms.
            agreed = self.log.last_at_or_below_term(message.reject_hint, message.log_term)
            progress.rejected(message.index, agreed)
            return
        if message.index > self.log.last_index:
            raise InvariantViolation(f"{message.from_:x} acknowledges {message.index}, which was never sent")
        progress.acknowledged(message.index, self.log.base_index)
        self.advance_commit_index()

    def on_heartbeat_response(self, message: Message) -> None:
        """The peer lives; if it lacks entries, whatever was under way may be lost, so ask again."""
        progress = self._progress.get(message.from_)
        if progress is None:
            return
        progress.active = True
        progress.paused = False
        if progress.flow is Flow.REPLICATE and progress.match < self.log.last_index:
            self.send_append(message.from_, progress)

    def report_unreachable(self, peer: int) -> None:
        """The owner could not deliver to ``peer``: what was sent ahead is probably lost."""
        progress = self._progress.get(peer)
        if progress is not None and progress.flow is Flow.REPLICATE:
            progress.become_probe()

    def report_snapshot(self, peer: int) -> None:
        """The owner is done sending ``peer`` a snapshot, well or not: look again at its next sign of life."""
        progress = self._progress.get(peer)
        if progress is not None and progress.flow is Flow.SNAPSHOT:
            progress.become_probe()
            progress.paused = True

    def keep_log(self, peer: int, index: int) -> None:
        """Keep the log after ``index`` until :meth:`release_log`: ``peer`` is sent a snapshot up to there.

        Else the log would be cut beyond it while it is sent and loaded, and only
        another snapshot would help, time and again.
        """
        progress = self._progress.get(peer)
        if progress is not None:
            progress.keeps = index

    def release_log(self, peer: int) -> None:
        """``peer`` has caught up, or is given up."""
        progress = self._progress.get(peer)
        if progress is not None:
            progress.keeps = None

    def trim_log(self, through: int) -> None:
        """Spare what peers still need, but not without bounds."""
        limits, log = self.options.limits, self.log
        if log.entries_held <= limits.kept_entries and log.bytes_held <= limits.kept_bytes:
            for progress in self._progress.values():
                needed = progress.needs_log_after(log.base_index)
                if needed is not None and needed < through:
                    through = needed
        super().trim_log(through)

    # -- the follower -------------------------------------------------------------

    def passes_consistency_check(self, message: Message) -> bool:
        """§5.3: appended only if the log holds the entry just before, with the same term.

        By induction two logs that agree at one index agree at all before it: the
        log matching property.
        """
        return self.log.holds(message.index, message.log_term)

    def on_append_entries(self, message: Message) -> None:
        """The follower's AppendEntries (figure 2, receiver's rules 2 to 5)."""
        if message.index < self.commit_index:
            # Committed entries agree everywhere; and those before the base could not be checked.
            self._accept(message.from_, self.commit_index)
            return
        if not self.passes_consistency_check(message):
            self._reject(message)
            return
        self.take_entries(message)
        last_new = message.index + len(message.entries)
        self.commit_to(min(message.commit, last_new))
        self._accept(message.from_, last_new)

    def take_entries(self, message: Message) -> None:
        """§5.3: delete a conflicting entry and all that follow it; append what is new.

        What agrees is left alone, also beyond the end of ``message``: it may be an
        old message, and later entries may have been acknowledged already.
        """
        position = self.log.find_conflict(message.entries)
        if position == len(message.entries):
            return
        first = message.entries[position].index
        if first <= self.log.last_index:
            self.delete_from(first)
        self.append_entries(message.entries[position:])

    def on_heartbeat(self, message: Message) -> None:
        """The leader lives and lets this log be committed as far as it knows it to agree."""
        self.commit_to(message.commit)
        self.send(
            Message(
                type=MessageType.HEARTBEAT_RESPONSE,
                from_=self.id,
                to=message.from_,
                term=self.term,
                index=message.index,
            )
        )

    def on_install_snapshot(self, message: Message) -> None:
        """§7: a snapshot the owner has received whole and holds on disk, not yet installed.

        Three cases: it says nothing new; the log holds its last entry, so that
        only the commit index moves; or it takes the place of the whole log.
        """
        snapshot = message.snapshot
        if snapshot is None:
            raise ContractError("a snapshot message came without its snapshot")
        if snapshot.index > self.commit_index:
            if self.log.holds(snapshot.index, snapshot.term):
                self.commit_to(snapshot.index)
            else:
                self.install(snapshot)
        self._accept(message.from_, self.commit_index)

    def install(self, snapshot: Snapshot) -> None:
        """Let ``snapshot`` take the place of the log; the next ``Ready`` tells the owner."""
        self.replace_log(snapshot.index, snapshot.term, snapshot.configuration)
        self.commit_index = self.delivered_index = snapshot.index
        self._snapshot = snapshot

    def _accept(self, leader: int, index: int) -> None:
        self.send(
            Message(type=MessageType.APPEND_RESPONSE, from_=self.id, to=leader, term=self.term, index=index)
        )

    def _reject(self, message: Message) -> None:
        hint = self.log.last_at_or_below_term(message.index, message.log_term)
        self.send(
            Message(
                type=MessageType.APPEND_RESPONSE,
                from_=self.id,
                to=message.from_,
                term=self.term,
                index=message.index,
                reject=True,
                reject_hint=hint,
                log_term=self.log.term(hint) or 0,
            )
        )
