"""Servers that each break one rule, by overriding the one method that is the rule.

Those that need only Raft to be seen are :mod:`tests.raft.mutants`, used here
too; these are of what comes with disks, time and clients.
"""

from __future__ import annotations

from rusd.raft import HardState, Message, Node
from rusd.raft.messages import MessageType
from rusd.raft.state import NOBODY


class ForgetsItsVote(Node):
    """Figure 2: the vote is on stable storage before it is given."""

    def hard_state(self) -> HardState:
        return HardState(self.term, NOBODY, self.commit_index)


class ForgetsItsTerm(Node):
    """Figure 2: the term is on stable storage before anything is said in it."""

    def hard_state(self) -> HardState:
        return HardState(max(self.log.last_term, self._durable_term), self.vote, self.commit_index)


class InflatesTerms(Node):
    """Thesis 9.6: a PreVote asks about a term without entering it."""

    def _begin_pre_vote(self) -> None:
        self.term += 1
        super()._begin_pre_vote()


class FollowsAnybody(Node):
    """Thesis 4.2.3: who has heard from a leader lately ignores candidates."""

    def disregards(self, message: Message) -> bool:
        return False


class NeverStepsDown(Node):
    """Thesis 6.2: a leader that hears from no majority steps down."""

    def hears_a_majority(self) -> bool:
        return True


class AppliesBeforeItsDisk(Node):
    """What is applied is on the own disk, too: it must not be lost again."""

    def _deliverable_index(self) -> int:
        return self.commit_index


class CommitsWhatTheLeaderHas(Node):
    """§5.3: a follower commits only what it knows to be the leader's log."""

    def on_heartbeat(self, message: Message) -> None:
        self.commit_to(min(self._leaders_commit(message), self.log.last_index))
        super().on_heartbeat(message)

    def _leaders_commit(self, message: Message) -> int:
        return message.index + self.log.last_index


class HeartbeatsCommit(Node):
    """§5.2: a heartbeat lets a peer commit no further than its log is known to agree."""

    def broadcast_heartbeat(self, read_round: int) -> None:
        for peer in self._progress:
            self.send(
                Message(
                    type=MessageType.HEARTBEAT,
                    from_=self.id,
                    to=peer,
                    term=self.term,
                    index=read_round,
                    commit=min(self.commit_index, self._progress[peer].next - 1),
                )
            )
