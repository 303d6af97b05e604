"""Nodes that each break one rule, to show what the rule is for, and that the network notices."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from rusd.raft import NOBODY, Configuration, Entry, Message, MessageType, Node, Role


class VotesTwice(Node):
    """Forgets §5.2: at most one vote in a term."""

    def may_vote_for(self, candidate: int) -> bool:
        return True


class VotesForAnyLog(Node):
    """Forgets §5.4.1: the candidate's log must be up to date."""

    def is_up_to_date(self, log_term: int, index: int) -> bool:
        return True


class LeadsWithAHungDisk(Node):
    """Forgets that a leader whose disk hangs keeps everybody waiting."""

    def disk_is_hung(self) -> bool:
        return False


class CommitsOldTerms(Node):
    """Forgets §5.4.2: only entries of the current term are committed by counting."""

    def may_commit(self, index: int) -> bool:
        return True


class SkipsTheConsistencyCheck(Node):
    """Forgets §5.3: the entry before must match."""

    def passes_consistency_check(self, message: Message) -> bool:
        return message.index <= self.log.last_index


class TruncatesWithoutConflict(Node):
    """Forgets §5.3: only a conflicting entry is deleted; an old append takes back what was acknowledged."""

    def take_entries(self, message: Message) -> None:
        first = max(message.index, self.commit_index) + 1
        if first <= self.log.last_index:
            self.delete_from(first)
        super().take_entries(message)


class CountsItselfEarly(Node):
    """Forgets 10.2.1: the leader's own disk has to be done before it counts."""

    def own_match(self) -> int:
        return self.log.last_index


class AnswersEarly(Node):
    """Forgets figure 2: stable storage before responding."""

    def may_leave_at_once(self, message: Message) -> bool:
        return True


class ReadsUnconfirmed(Node):
    """Forgets 6.4, step 3: a deposed leader does not know that it is one."""

    def is_confirmed_leader(self) -> bool:
        return True


class ReadsTooSoon(Node):
    """Forgets 6.4, step 1: a new leader does not know yet what is committed."""

    def may_serve_reads(self) -> bool:
        return True


class ChangesAtAnyTime(Node):
    """Forgets 4.1: one change of configuration at a time, and only after committing in the own term."""

    def may_change_configuration(self) -> bool:
        return True


class TakesEverybodysTimeout(Node):
    """Forgets §5.2: election timeouts are random, so that candidates do not meet again and again."""

    def election_timeout(self) -> int:
        return self.options.election_ticks


class HeldUpByCandidates(Node):
    """Forgets figure 2, followers: only a leader, or a vote granted, keeps a follower from standing."""

    def become_follower(self, term: int, leader: int) -> None:
        super().become_follower(term, leader)
        self.restart_clock()


class SaysNothingToTheStale(Node):
    """Forgets §5.1: who sends an old term is told the newer one."""

    def refuse_stale(self, message: Message) -> None:
        pass


class OpensNoTerm(Node):
    """Forgets §8: a new leader appends a blank entry, the first that it can commit."""

    def append_entries(self, entries: Sequence[Entry]) -> None:
        super().append_entries([each for each in entries if each.data or self.role is not Role.LEADER])


class ConfiguresWhenCommitted(Node):
    """Forgets 4.1: a configuration is in effect as soon as it is in the log."""

    @property
    def configuration(self) -> Configuration:
        return self.configuration_at(self.commit_index)


class StaysInOfficeWhenRemoved(Node):
    """Forgets 4.2.2: a leader that is no member any more steps down once that is committed."""

    def committed_changed(self) -> None:
        pass


class LosesWhatFollowsASnapshot(Node):
    """Forgets §7: if the log holds the snapshot's last entry, what follows it stays."""

    def on_install_snapshot(self, message: Message) -> None:
        if message.snapshot is not None and message.snapshot.index > self.commit_index:
            self.install(message.snapshot)
            return
        super().on_install_snapshot(message)


class TakesWorkWhileHandingOver(Node):
    """Forgets 3.10, step 1: a leader that hands over takes no proposals."""

    def _admit(self, size: int) -> None:
        target, self._transfer_target = self._transfer_target, NOBODY
        super()._admit(size)
        self._transfer_target = target


class HandsOverAtOnce(Node):
    """Forgets 3.10, step 2: the target's log is brought up to date first."""

    def _hand_over_if_ready(self, target: int) -> None:
        self.send(Message(type=MessageType.TIMEOUT_NOW, from_=self.id, to=target, term=self.term))


class DisregardsTheHeir(Node):
    """Forgets 4.2.3 with 3.10: who stands because its leader wants it to is heard."""

    def disregards(self, message: Message) -> bool:
        return super().disregards(attrs.evolve(message, context=b""))
