"""Servers that each break one rule, by overriding the one method that is the rule.

:data:`MUTANTS` says of each which property catches it, and in what cluster.
Those of the Raft core alone are :mod:`tests.raft.mutants`, used here too; these
are of what comes with disks, time, clients and watchers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs

from rusd.raft import NOBODY, HardState, Message, Node, Ready, Role
from rusd.replica import Core
from rusd.replica.forwarding import Forward
from rusd.watch import History, WatchHub, WatchStream
from rusd.watch.history import Record
from rusd.watch.watcher import Watcher
from tests.raft.mutants import (
    AnswersEarly,
    ChangesAtAnyTime,
    CommitsOldTerms,
    ConfiguresWhenCommitted,
    CountsItselfEarly,
    ReadsTooSoon,
    ReadsUnconfirmed,
    SaysNothingToTheStale,
    SkipsTheConsistencyCheck,
    StaysInOfficeWhenRemoved,
    TakesEverybodysTimeout,
    TruncatesWithoutConflict,
    VotesForAnyLog,
    VotesTwice,
)
from tests.simulation import properties
from tests.simulation.process import Process
from tests.simulation.schedule import AMBUSHING, CHANGING, ROUGH, TURNING, Profile
from tests.simulation.snapshots import Transfer
from tests.simulation.world import Settings, spare_hosts

# -- Raft -----------------------------------------------------------------------------


class ForgetsItsVote(Node):
    """Figure 2: the vote is on stable storage before it is given."""

    def hard_state(self) -> HardState:
        return HardState(self.term, NOBODY, self.commit_index)


class ForgetsItsTerm(Node):
    """Figure 2: the term is on stable storage before anything is said in it."""

    def hard_state(self) -> HardState:
        return HardState(self.log.last_term, self.vote, self.commit_index)


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


class NeverStands(Node):
    """§5.2: who hears from no leader stands for election, after it has lost one, too."""

    def may_campaign(self) -> bool:
        return super().may_campaign() and self.role is Role.FOLLOWER and self.term < 4


class LeadsWithoutAVote(Node):
    """Thesis 4.2.1, 4.2.2: learners, and who is removed, do not stand for election."""

    def is_electable(self) -> bool:
        return True


class AppliesBeforeItsDisk(Node):
    """What is applied is on the own disk, too: it must not be lost again."""

    def _deliverable_index(self) -> int:
        return self.commit_index


class CountsForeignEntries(Node):
    """What the disk has is what it was given: perhaps not the entry that stands at that index now."""

    def persisted(self, term: int, index: int) -> None:
        super().persisted(term, index)
        done = min(index, self.log.last_index)
        self.log.handed_index = max(self.log.handed_index, done)
        self.log.persisted_index = max(self.log.persisted_index, done)


class CommitsBeyondTheMessage(Node):
    """Figure 2, AppendEntries 5: commit no further than the last entry known to be the leader's."""

    def commit_to(self, index: int) -> None:
        super().commit_to(min(index, self.log.last_index))

    def on_append_entries(self, message: Message) -> None:
        super().on_append_entries(message)
        self.commit_to(message.commit)


class HeartbeatsCommit(Node):
    """§5.2: a heartbeat lets a peer commit no further than its log is known to agree."""

    def on_heartbeat(self, message: Message) -> None:
        super().on_heartbeat(message)
        self.commit_to(min(self.log.last_index, message.commit + 3))


class KeepsTheConfiguration(Node):
    """Thesis 4.1: a configuration is rolled back with its entry."""

    def delete_from(self, index: int) -> None:
        configurations = list(self._configurations)
        super().delete_from(index)
        self._configurations = configurations


class CountsOldRounds(Node):
    """Thesis 6.4, step 3: only a heartbeat sent after the question confirms the leader."""

    def on_heartbeat_response(self, message: Message) -> None:
        super().on_heartbeat_response(message)
        if self._confirming:
            self._round_acks.add(message.from_)
            if self.is_confirmed_leader():
                self._confirm_reads()


class KeepsOfficeInNewTerms(Node):
    """§5.1: a leader that sees a higher term steps down."""

    def observe_higher_term(self, message: Message) -> bool:
        if self.role is Role.LEADER:
            return False
        return super().observe_higher_term(message)


# -- the replica ------------------------------------------------------------------------


class ForwardsTwice(Core):
    """A forwarded proposal is sent once."""

    def take_forwards(self) -> list[Forward]:
        return 2 * super().take_forwards()


class ReadsAtOnce(Core):
    """A leader reads without asking only where nobody else could have been elected."""

    def may_read_now(self) -> bool:
        return self.node.role is Role.LEADER


class AppliesWhatItHasNot(Core):
    """Nothing is applied between the log's replacement by a snapshot and the state's."""

    def _may_apply(self) -> bool:
        return True


class ChangesWithoutLooking(Core):
    """A change is judged by the leader that appends it, not only by who asked for it."""

    def require_sense(self, data: bytes) -> None:
        pass


# -- the driver -------------------------------------------------------------------------


class AnswersBeforeTheSync(Process):
    """What depends on the disk leaves when the disk is done."""

    def _write(self, ready: Ready) -> None:
        super()._write(ready)
        self.send(ready.messages_after_persist)


class NeverSyncs(Process):
    """A sync is a sync: the bug that loses a write on a crash of a single server."""

    def finish_write(self, ready: Ready) -> None:
        self.wal._is_synced = True
        super().finish_write(ready)


class ServesAtOnce(Process):
    """After a restart clients are served when the state is as new as it ever was."""

    def _get_ready_to_serve(self) -> None:
        self.serving = True


class RaftHearsFirst(Process):
    """A received snapshot's file is durable before Raft accepts it."""

    def receive(self, thing: object) -> None:
        if isinstance(thing, Transfer):
            self.node.step(thing.message)
            self.later(40, lambda: super(RaftHearsFirst, self).receive(thing))
            return
        super().receive(thing)


# -- watchers ---------------------------------------------------------------------------


class _Streams(WatchHub):
    """A hub whose streams are of another class."""

    stream_class: type[WatchStream]

    def open_stream(
        self,
        wake: Callable[[], None],
        *,
        header_prefix: Callable[[int], bytes],
        max_response_bytes: int = 1 << 20,
    ) -> WatchStream:
        stream = self.stream_class(self, wake, header_prefix, max_response_bytes)
        self.streams[stream] = None
        return stream


class _ProgressFirst(WatchStream):
    def _mark_progress(self, watcher: Watcher | None) -> None:
        pending, self._pending = self._pending, []
        super()._mark_progress(watcher)
        self._pending = pending


class ProgressAheadOfEvents(_Streams):
    """Progress goes out behind the events that it tells of."""

    stream_class = _ProgressFirst


class _DropsWhenFull(WatchStream):
    def fall_behind(self) -> None:
        self._release_pending()


class LosesEventsWhenStarved(_Streams):
    """A stream that falls behind reads from history what it was not sent."""

    stream_class = _DropsWhenFull


class _StartsOver(WatchStream):
    def history_replaced(self, last_revision: int) -> None:
        for watcher in self.watchers.values():
            watcher.next = watcher.start or watcher.next
        super().history_replaced(last_revision)


class GoesBackInTime(_Streams):
    """A watcher that has heard of a revision hears of none before it, wherever its server was meanwhile."""

    stream_class = _StartsOver


class _AlwaysSynced(WatchStream):
    def _is_synced(self, watcher: Watcher) -> bool:
        return True


class TellsBeforeItBegins(_Streams):
    """A watch on a revision to come is told of no progress before it."""

    stream_class = _AlwaysSynced


class StaysBehind(WatchHub):
    """When the state is replaced, watchers are told of what was skipped."""

    def history_replaced(self, history: History) -> None:
        self.history = history
        self.current_revision = history.current_revision
        self.compact_revision = history.compact_revision


class TellsTheFutureOfThePast(WatchHub):
    """A watch on a revision to come hears of nothing before it."""

    def publish(self, revision: int, records: Sequence[Record]) -> None:
        for stream in self.streams:
            for watcher in stream.watchers.values():
                watcher.next = min(watcher.next, revision)
        super().publish(revision, records)


# -- the table --------------------------------------------------------------------------


@attrs.frozen
class Mutant:
    """A broken rule: the class that breaks it, the property that catches it, the cluster in which.

    ``seed`` is the first that caught it when this was written.  Any change of what servers say to
    each other moves it, so the tests look from there on.
    """

    broken: type
    caught_by: str
    seed: int = 0
    size: int = 3
    profile: Profile = ROUGH
    quiet: bool = True  # with the thesis' additions PreVote and CheckQuorum
    pre_vote: bool = True  # if quiet

    @property
    def settings(self) -> Settings:
        """The cluster."""
        size, pre_vote = self.size + spare_hosts(self.profile), self.quiet and self.pre_vote
        settings = Settings(size=size, voters=self.size, pre_vote=pre_vote, check_quorum=self.quiet)
        return settings_with(self.broken, settings)


def settings_with(broken: type, settings: Settings) -> Settings:
    """``settings`` with a broken class in its place."""
    if issubclass(broken, Node):
        return attrs.evolve(settings, node_class=broken)
    if issubclass(broken, Core):
        return attrs.evolve(settings, core_class=broken)
    if issubclass(broken, Process):
        return attrs.evolve(settings, process_class=broken)
    assert issubclass(broken, WatchHub)
    return attrs.evolve(settings, hub_class=broken)


MUTANTS = (
    Mutant(ForgetsItsVote, properties.STABLE_STORAGE),
    Mutant(ForgetsItsTerm, properties.STABLE_STORAGE),
    Mutant(VotesTwice, properties.ELECTION_SAFETY, quiet=False, seed=5),
    Mutant(VotesForAnyLog, properties.LEADER_COMPLETENESS, quiet=False),
    Mutant(CommitsOldTerms, properties.LEADER_COMPLETENESS, size=5, profile=AMBUSHING, quiet=False, seed=195),
    Mutant(SkipsTheConsistencyCheck, properties.LOG_MATCHING, profile=TURNING, seed=2),
    Mutant(TruncatesWithoutConflict, properties.ACKNOWLEDGED, seed=1),
    Mutant(CountsItselfEarly, properties.QUORUM),
    Mutant(CountsForeignEntries, properties.APPLIED, seed=18),
    Mutant(AnswersEarly, properties.STABLE_STORAGE),
    Mutant(KeepsOfficeInNewTerms, properties.LEADER_FOUND, quiet=False),
    Mutant(CommitsBeyondTheMessage, properties.STATE_MACHINE_SAFETY, quiet=False),
    Mutant(HeartbeatsCommit, properties.QUORUM),
    Mutant(AppliesBeforeItsDisk, properties.APPLIED),
    Mutant(ReadsUnconfirmed, properties.LINEARIZABILITY, quiet=False),
    Mutant(ReadsTooSoon, properties.LINEARIZABILITY, profile=TURNING, quiet=False, seed=3),
    Mutant(CountsOldRounds, properties.LINEARIZABILITY, profile=TURNING, quiet=False, seed=15),
    Mutant(ChangesAtAnyTime, properties.ONE_CHANGE, profile=CHANGING, seed=3),
    Mutant(KeepsTheConfiguration, properties.INVARIANTS, profile=CHANGING, seed=3),
    Mutant(LeadsWithoutAVote, properties.LEADER_VOTES, profile=CHANGING, seed=3),
    Mutant(InflatesTerms, properties.LEADER_STAYS),
    Mutant(FollowsAnybody, properties.LEADER_STAYS),
    Mutant(NeverStepsDown, properties.STEPS_DOWN),
    Mutant(NeverStands, properties.LEADER_FOUND),
    Mutant(SaysNothingToTheStale, properties.LEADER_FOUND, pre_vote=False, seed=2),
    Mutant(TakesEverybodysTimeout, properties.LEADER_FOUND, size=5, quiet=False, seed=13),
    Mutant(ConfiguresWhenCommitted, properties.QUORUM, profile=CHANGING),
    Mutant(StaysInOfficeWhenRemoved, properties.LEADER_FOUND, profile=CHANGING, seed=10),
    Mutant(ChangesWithoutLooking, properties.CAUGHT_UP, profile=CHANGING, seed=133),
    Mutant(ForwardsTwice, properties.ONCE),
    Mutant(ReadsAtOnce, properties.LINEARIZABILITY, seed=2),
    Mutant(AppliesWhatItHasNot, properties.APPLIED, seed=1),
    Mutant(AnswersBeforeTheSync, properties.STABLE_STORAGE),
    Mutant(NeverSyncs, properties.DURABILITY),
    Mutant(RaftHearsFirst, properties.DURABILITY, seed=1),
    Mutant(ServesAtOnce, properties.SERIALIZABLE, seed=15),
    Mutant(ProgressAheadOfEvents, properties.WATCH),
    Mutant(LosesEventsWhenStarved, properties.WATCH, seed=14),
    Mutant(GoesBackInTime, properties.WATCH, seed=102),
    Mutant(StaysBehind, properties.WATCH, seed=3),
    Mutant(TellsTheFutureOfThePast, properties.WATCH, seed=1),
    Mutant(TellsBeforeItBegins, properties.WATCH),
)
