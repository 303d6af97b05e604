"""Leader election: §5.2 and §5.4.1 of the paper, and what the thesis adds to it.

A follower that hears from no leader for a randomised time stands for election.
Three additions keep a healthy leader in office:

* **PreVote** (thesis 9.6): before it raises its term, a candidate asks whether
  it could win; a replica cut off for a while returns without disturbing anyone.
* **Stickiness** (4.2.3): whoever has heard from a leader lately ignores
  candidates, so that removed servers cannot depose it.
* **CheckQuorum** (6.2): a leader that no longer hears from a majority steps
  down, so that its clients look for the new one; so does one whose disk hangs.

A leader that wants to go hands over (3.10): it brings one follower up to date
and tells it to campaign at once.
"""

from __future__ import annotations

from rusd.raft import quorum
from rusd.raft.errors import ChangeRefused, InvariantViolation, NotLeader
from rusd.raft.messages import TRANSFER, Entry, HardState, Message, MessageType
from rusd.raft.quorum import VoteResult
from rusd.raft.reads import Reads
from rusd.raft.state import NOBODY, Role

_VOTE_REQUESTS = frozenset({MessageType.REQUEST_VOTE, MessageType.REQUEST_PRE_VOTE})
_FROM_LEADERS = frozenset({MessageType.APPEND_ENTRIES, MessageType.HEARTBEAT, MessageType.INSTALL_SNAPSHOT})

HUNG_DISK_TIMEOUTS = 3
"""Election timeouts after which a disk that is still busy with the same batch counts as hung."""


class Elections(Reads):
    """Adds votes and timers, and moves the replica between the roles."""

    _votes: dict[int, bool]
    _elapsed: int  # ticks: since the clock was started again, on a leader since it last checked its quorum
    _heartbeat_elapsed: int
    _timeout: int
    _transfer_target: int
    _watched: HardState | None = None  # of the batch that the disk was busy with at the last check
    _watched_for: int = 0  # checks at which it was that one

    # -- the rules ----------------------------------------------------------------

    def election_timeout(self) -> int:
        """§5.2: timeouts are "chosen randomly from a fixed interval", so that split votes are rare."""
        return self.options.election_ticks + self._random.randrange(self.options.election_ticks)

    def is_up_to_date(self, log_term: int, index: int) -> bool:
        """§5.4.1: a later last term wins; with equal terms, the longer log.

        A committed entry is on a majority, and one of that majority must grant
        this vote: so every elected leader has every committed entry.
        """
        return (log_term, index) >= (self.log.last_term, self.log.last_index)

    def may_vote_for(self, candidate: int) -> bool:
        """§5.2: at most one vote in a term, first come first served."""
        return self.vote in (NOBODY, candidate) and self.leader_id in (NOBODY, candidate)

    def disregards(self, message: Message) -> bool:
        """4.2.3: no vote, and no new term, within an election timeout of hearing from a leader.

        Unless that leader itself wants the election (3.10).
        """
        return (
            self.options.check_quorum
            and message.context != TRANSFER
            and self.leader_id != NOBODY
            and self._elapsed < self.options.election_ticks
        )

    def may_campaign(self) -> bool:
        """Learners never stand for election (4.2.1), nor does who is about to install a snapshot.

        A candidate whose own vote is still on its way to the disk has asked nobody
        yet: on a slow disk it must not start over, or it would never get further.
        """
        if self.role is Role.LEADER or self._snapshot is not None or not self.is_electable():
            return False
        return self.role is not Role.CANDIDATE or self.id in self._votes

    def hears_a_majority(self) -> bool:
        """6.2: whether a majority gave a sign of life since this was last asked."""
        present = {peer for peer, progress in self._progress.items() if progress.active}
        return quorum.has_majority(self.configuration.voters, present | {self.id})

    def disk_is_hung(self) -> bool:
        """Whether the disk has been busy with one batch for so long that another leader is better.

        Appends leave before the disk is done (10.2.1), and the others commit without it.  So they would
        not notice, while this leader could apply nothing, answer nobody, and in the end take nothing.
        Where nobody else could lead, nothing is won by stepping down.
        """
        return self._watched_for >= HUNG_DISK_TIMEOUTS and self.configuration.voters != {self.id}

    # -- time -----------------------------------------------------------------------

    def tick(self) -> None:
        """One unit of time has passed."""
        self._elapsed += 1
        if self.role is Role.LEADER:
            self._tick_leader()
        elif self._elapsed >= self._timeout:
            self.restart_clock()
            self.leader_id = (
                NOBODY  # whoever it was, it is gone; those who may not campaign wait for the next
            )
            self.campaign()

    def restart_clock(self) -> None:
        """§5.2: a whole timeout, drawn anew, until the next election."""
        self._elapsed = 0
        self._timeout = self.election_timeout()

    def _tick_leader(self) -> None:
        if self._elapsed >= self.options.election_ticks:
            self._elapsed = 0
            self._transfer_target = NOBODY  # 3.10: not done within an election timeout, so carry on
            self._watch_disk()
            if self.options.check_quorum and (not self.hears_a_majority() or self.disk_is_hung()):
                self.become_follower(self.term, NOBODY)
                return
            for progress in self._progress.values():
                progress.lately, progress.active = progress.active, False
        self._heartbeat_elapsed += 1
        if self._heartbeat_elapsed >= self.options.heartbeat_ticks:
            self._heartbeat_elapsed = 0
            self.broadcast_heartbeat(self._read_round)

    def _watch_disk(self) -> None:
        is_the_same = self._outstanding is not None and self._outstanding is self._watched
        self._watched_for = self._watched_for + 1 if is_the_same else 0
        self._watched = self._outstanding

    # -- roles ----------------------------------------------------------------------

    def become_follower(self, term: int, leader: int) -> None:
        """§5.1: follow ``leader`` (0 if unknown) in ``term``; a new term comes with a new vote.

        A new term alone does not put the next election off (figure 2, followers): else candidates
        that can't win, their logs being too short, would keep those from standing who can.
        """
        if term > self.term:
            self.term = term
            self.vote = NOBODY
        if leader != NOBODY or self.role is Role.LEADER:
            self.restart_clock()
        self._enter(Role.FOLLOWER, leader)

    def campaign(self) -> None:
        """Stand for election now; nothing happens if this replica leads or may not.

        The owner calls it at start if the latest configuration has this replica as
        its only voter; otherwise the clock does.
        """
        if not self.may_campaign():
            return
        if self.options.pre_vote:
            self._begin_pre_vote()
        else:
            self._begin_election(context=b"")

    def _begin_pre_vote(self) -> None:
        """9.6: ask for votes in the next term without entering it."""
        self.restart_clock()
        self._enter(Role.PRE_CANDIDATE, NOBODY)
        self._request_votes(MessageType.REQUEST_PRE_VOTE, self.term + 1, b"")
        self._count_vote(self.id, granted=True)

    def _begin_election(self, context: bytes) -> None:
        """§5.2: a new term, a vote for oneself, and requests to all other voters.

        The own vote is counted when it is durable, as any other would be.
        """
        self.term += 1
        self.vote = self.id
        self.restart_clock()
        self._enter(Role.CANDIDATE, NOBODY)
        self._request_votes(MessageType.REQUEST_VOTE, self.term, context)

    def _request_votes(self, kind: MessageType, term: int, context: bytes) -> None:
        for voter in sorted(self.configuration.voters - {self.id}):
            self.send(
                Message(
                    type=kind,
                    from_=self.id,
                    to=voter,
                    term=term,
                    index=self.log.last_index,
                    log_term=self.log.last_term,
                    context=context,
                )
            )

    def become_leader(self) -> None:
        """§5.2, §8: in office; a blank entry opens the term, since only it can be committed by counting."""
        self.restart_clock()
        self._enter(Role.LEADER, self.id)
        self.start_replicating()
        unsettled = self.log.slice(self.commit_index + 1, self.log.last_index)
        self._uncommitted_bytes = sum(len(entry.data) for entry in unsettled)
        self.append_entries([Entry(self.term, self.log.last_index + 1)])

    def _enter(self, role: Role, leader: int) -> None:
        self.role = role
        self.leader_id = leader
        self._votes = {}
        self._heartbeat_elapsed = 0
        self._transfer_target = NOBODY
        self._progress = {}
        self._uncommitted_bytes = 0
        self.forget_reads()

    def committed_changed(self) -> None:
        """4.2.2: a leader that is no member any more steps down once that is committed."""
        super().committed_changed()
        position, configuration = self._configurations[-1]
        if self.role is Role.LEADER and position <= self.commit_index and self.id not in configuration.voters:
            self.become_follower(self.term, NOBODY)

    # -- votes ------------------------------------------------------------------------

    def on_vote_request(self, message: Message) -> None:
        """The voter's side of an election or of a PreVote (figure 2, RequestVote)."""
        pre = message.type is MessageType.REQUEST_PRE_VOTE
        # A PreVote is for a term to come, in which nobody has voted yet; it takes no vote away.
        free = message.term > self.term if pre else self.may_vote_for(message.from_)
        granted = free and self.is_up_to_date(message.log_term, message.index)
        if granted and not pre:
            self.vote = message.from_
            self._elapsed = 0  # §5.2: granting a vote counts as a sign of life
        self.send(
            Message(
                type=MessageType.PRE_VOTE_RESPONSE if pre else MessageType.VOTE_RESPONSE,
                from_=self.id,
                to=message.from_,
                term=message.term if granted else self.term,
                reject=not granted,
            )
        )

    def on_vote_response(self, message: Message) -> None:
        """A vote arrived for the election under way; those for earlier ones say nothing."""
        pre = message.type is MessageType.PRE_VOTE_RESPONSE
        if self.role is not (Role.PRE_CANDIDATE if pre else Role.CANDIDATE):
            return
        self._count_vote(message.from_, granted=not message.reject)

    def count_own_vote(self) -> None:
        """The disk has caught up: a candidate's vote for itself counts if it is the one that is durable."""
        durable = (self._durable_term, self._durable_vote) == (self.term, self.id)
        if self.role is Role.CANDIDATE and durable:
            self._count_vote(self.id, granted=True)

    def _count_vote(self, voter: int, *, granted: bool) -> None:
        self._votes.setdefault(voter, granted)
        result = quorum.tally(self.configuration.voters, self._votes)
        if result is VoteResult.LOST:
            self.become_follower(self.term, NOBODY)
        elif result is VoteResult.WON and self.role is Role.PRE_CANDIDATE:
            self._begin_election(context=b"")
        elif result is VoteResult.WON:
            self.become_leader()

    # -- terms ------------------------------------------------------------------------

    def observe_higher_term(self, message: Message) -> bool:
        """§5.1: whoever sees a higher term adopts it and follows.  Whether to go on with ``message``.

        A PreVote speaks of a term that nobody has entered yet.
        """
        if message.type in _VOTE_REQUESTS and self.disregards(message):
            return False
        if message.type is MessageType.REQUEST_PRE_VOTE:
            return True
        if message.type is MessageType.PRE_VOTE_RESPONSE and not message.reject:
            return message.term == self.term + 1
        leader = message.from_ if message.type in _FROM_LEADERS else NOBODY
        self.become_follower(message.term, leader)
        return True

    def refuse_stale(self, message: Message) -> None:
        """§5.1: a request with a stale term is rejected; the answer tells its sender the newer one.

        This is also how a replica whose term ran ahead frees itself: its leader
        steps down, and the next election takes place above that term.
        """
        if message.type is MessageType.REQUEST_VOTE:
            kind = MessageType.VOTE_RESPONSE
        elif message.type is MessageType.REQUEST_PRE_VOTE:
            kind = MessageType.PRE_VOTE_RESPONSE
        elif message.type in _FROM_LEADERS:
            kind = MessageType.APPEND_RESPONSE
        else:
            return
        self.send(Message(type=kind, from_=self.id, to=message.from_, term=self.term, reject=True))

    def recognise_leader(self, leader: int) -> None:
        """§5.2: a candidate that hears from a leader of its term follows it; the clock starts again.

        With every leader comes another timeout: whoever once drew a long one would keep it for good, while
        those with short ones come to lead and fail, and elections would take ever longer.
        """
        if self.role is Role.LEADER:
            raise InvariantViolation(
                f"{leader:x} claims to lead term {self.term}, in which {self.id:x} leads"
            )
        if self.role is not Role.FOLLOWER:
            self.become_follower(self.term, leader)
        elif self.leader_id != leader:
            self.restart_clock()
        self.leader_id = leader
        self._elapsed = 0

    # -- transfer ---------------------------------------------------------------------

    def transfer_leadership(self, target: int) -> None:
        """3.10: stop taking proposals, bring ``target`` up to date, tell it to campaign at once.

        Given up after an election timeout.  Raises :class:`NotLeader`, or
        :class:`ChangeRefused` if ``target`` is no voter.
        """
        if self.role is not Role.LEADER:
            raise NotLeader(self.leader_id)
        if target not in self.configuration.voters:
            raise ChangeRefused(f"{target:x} is not a voter")
        if target == self.id:
            return
        self._transfer_target = target
        self._elapsed = 0
        self._hand_over_if_ready(target)

    def on_append_response(self, message: Message) -> None:
        super().on_append_response(message)
        if message.from_ == self._transfer_target:
            self._hand_over_if_ready(message.from_)

    def on_timeout_now(self, message: Message) -> None:
        """3.10: the leader wants this replica to take over; no PreVote, and no stickiness against it."""
        if self.may_campaign():
            self._begin_election(context=TRANSFER)

    def _hand_over_if_ready(self, target: int) -> None:
        progress = self._progress.get(target)
        if progress is None or progress.match != self.log.last_index:
            return
        self.send(Message(type=MessageType.TIMEOUT_NOW, from_=self.id, to=target, term=self.term))
