"""Nodes that each break one rule, to show what the rule is for, and that the network notices."""

from __future__ import annotations

from rusd.raft import Message, Node


class VotesTwice(Node):
    """Forgets §5.2: at most one vote in a term."""

    def may_vote_for(self, candidate: int) -> bool:
        return True


class VotesForAnyLog(Node):
    """Forgets §5.4.1: the candidate's log must be up to date."""

    def is_up_to_date(self, log_term: int, index: int) -> bool:
        return True


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
