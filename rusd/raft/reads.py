"""Linearizable reads without a log entry: ReadIndex, in batches (thesis 6.4).

A read may be served once the state machine has applied everything that was
committed when the read came in.  Only a leader knows that index, and only after
it has made sure that it still is one:

1. it has committed an entry of its own term (a new leader may not know the
   latest commit index before), in a quorum of one too;
2. it notes the commit index as the read index of all reads that have come in;
3. a majority answers a round of heartbeats that was sent after that.

One round is under way at a time; reads that come in meanwhile share the next.
Each heartbeat, also those that the clock sends, carries the number of the
latest round, so a lost one is made up for by the next.  A follower sends its
reads to the leader.  Reads are forgotten when a leader steps down: their owner
sees the change of term or leader and answers for them.
"""

from __future__ import annotations

from rusd.raft import quorum
from rusd.raft.errors import NoLeader
from rusd.raft.messages import Message, MessageType, ReadState
from rusd.raft.replication import Replication
from rusd.raft.state import NOBODY, Role


class Reads(Replication):
    """Adds the reads that wait for a round, and those of the round under way."""

    _gathering: list[tuple[int, bytes]]  # (who asked, context)
    _confirming: list[tuple[int, bytes]]
    _read_index: int
    _read_round: int
    _round_acks: set[int]

    def forget_reads(self) -> None:
        """Start over; nothing is confirmed any more."""
        self._gathering = []
        self._confirming = []
        self._read_index = 0
        self._read_round = 0
        self._round_acks = set()

    def read_index(self, context: bytes) -> None:
        """Ask for a read index; ``Ready.reads`` has it with the same ``context`` once a quorum confirmed.

        On a follower the question goes to the leader.  Messages get lost and
        leaders change: the owner asks again after a while.  Raises
        :class:`NoLeader` if nobody can be asked.
        """
        if self.role is Role.LEADER:
            self._gathering.append((self.id, context))
            return
        if self.leader_id == NOBODY:
            raise NoLeader
        self.send(
            Message(
                type=MessageType.READ_INDEX,
                from_=self.id,
                to=self.leader_id,
                term=self.term,
                context=context,
            )
        )

    def may_serve_reads(self) -> bool:
        """6.4, step 1: the leader has committed an entry of its own term."""
        return self.has_committed_in_own_term()

    def is_confirmed_leader(self) -> bool:
        """6.4, step 3: a majority has answered the round, so no newer leader had been elected before it."""
        return quorum.has_majority(self.configuration.voters, self._round_acks)

    def wants_read_round(self) -> bool:
        """Whether reads wait and a round for them may begin."""
        return bool(self._gathering) and not self._confirming and self.may_serve_reads()

    def begin_read_round(self) -> None:
        """6.4, step 2: all gathered reads share one read index and one round of heartbeats."""
        self._confirming, self._gathering = self._gathering, []
        self._read_index = self.commit_index
        self._read_round += 1
        self._round_acks = {self.id}
        if not self.is_confirmed_leader():
            self.broadcast_heartbeat(self._read_round)
            return
        self._confirm_reads()

    def configuration_changed(self) -> None:
        super().configuration_changed()
        if self.role is Role.LEADER and self._confirming and self.is_confirmed_leader():
            self._confirm_reads()  # a smaller quorum may be complete already

    def on_heartbeat_response(self, message: Message) -> None:
        super().on_heartbeat_response(message)
        if not self._confirming or message.index != self._read_round:
            return
        self._round_acks.add(message.from_)
        if self.is_confirmed_leader():
            self._confirm_reads()

    def on_read_index(self, message: Message) -> None:
        """A follower's read waits with the leader's own."""
        self._gathering.append((message.from_, message.context))

    def on_read_index_response(self, message: Message) -> None:
        """The leader has confirmed this follower's read."""
        self._reads.append(ReadState(message.index, message.context))

    def _confirm_reads(self) -> None:
        confirmed, self._confirming = self._confirming, []
        for asker, context in confirmed:
            if asker == self.id:
                self._reads.append(ReadState(self._read_index, context))
                continue
            self.send(
                Message(
                    type=MessageType.READ_INDEX_RESPONSE,
                    from_=self.id,
                    to=asker,
                    term=self.term,
                    index=self._read_index,
                    context=context,
                )
            )
