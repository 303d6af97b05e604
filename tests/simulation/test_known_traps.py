"""The consistency bugs of etcd's own record, each as a story that a server with that bug does not survive.

The list is the track record of etcd's robustness tests, and what reports on Raft
implementations have found.  Each story is told twice: to a sound server, and to
one with the bug.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
import pytest

from etcdpb import rpc_pb2
from rusd.mvcc import CompactedError, Compaction
from rusd.mvcc.index import KeyIndex
from rusd.raft import Entry, Message, MessageType, Node
from rusd.state import Kind, StateMachine
from tests.raft.builders import append, entries, make_node
from tests.raft.mutants import ReadsUnconfirmed, TruncatesWithoutConflict
from tests.simulation import properties
from tests.simulation.mutants import (
    AnswersBeforeTheSync,
    CountsForeignEntries,
    ForgetsItsTerm,
    ForgetsItsVote,
    GoesBackInTime,
    InflatesTerms,
    LosesEventsWhenStarved,
    NeverSyncs,
    ProgressAheadOfEvents,
    ReadsAtOnce,
    ServesAtOnce,
    StaysBehind,
    TellsBeforeItBegins,
    TellsTheFutureOfThePast,
    settings_with,
)
from tests.simulation.process import Process
from tests.simulation.properties import Violation
from tests.simulation.stage import Stage
from tests.simulation.world import Settings

Story = Callable[[Settings], None]


def survives(story: Story, settings: Settings | None = None) -> None:
    story(settings or Settings())


def fails(story: Story, broken: type, *what: str, settings: Settings | None = None) -> None:
    with pytest.raises(Violation) as caught:
        story(settings_with(broken, settings or Settings()))
    assert caught.value.property in what


# -- a write lost on the crash of a single node (etcd issue 14370) --------------------------------

ALONE = Settings(size=1, voters=1)


def a_write_and_a_power_cut(settings: Settings) -> None:
    for milliseconds in range(0, 40, 2):
        stage = Stage(settings, seed=milliseconds)
        answered = stage.world.clients.answered
        stage.ask("put", 1, 1, wait=milliseconds)
        acknowledged = stage.world.clients.newest
        stage.cut_power(1)
        stage.wait(5000)
        assert stage.store(1).current_revision >= acknowledged
        stage.finish()
        assert stage.world.clients.answered > answered


def test_a_single_server_loses_no_acknowledged_write_in_a_power_cut() -> None:
    survives(a_write_and_a_power_cut, ALONE)


def test_a_server_that_acknowledges_before_its_disk_is_done_is_found_out() -> None:
    fails(a_write_and_a_power_cut, NeverSyncs, properties.DURABILITY, settings=ALONE)


# -- progress notifications ahead of events (etcd issue 15220) ------------------------------------


def progress_is_asked_for_while_events_wait(settings: Settings) -> None:
    stage = Stage(settings)
    watcher = stage.watch(start=0, patience=400)
    stage.wait(1000)
    stage.put(300)
    stage.wait(2000)
    assert stage.world.coverage["progress notifications"] > 3
    assert watcher.is_up_to_date


def test_progress_comes_behind_the_events_it_tells_of() -> None:
    survives(progress_is_asked_for_while_events_wait)
    fails(progress_is_asked_for_while_events_wait, ProgressAheadOfEvents, properties.WATCH)


# -- a watch that goes back in time after a partition (etcd issue 15271) --------------------------


def a_watched_follower_comes_back_by_a_snapshot(settings: Settings) -> None:
    stage = Stage(settings)
    stage.put(3)
    follower = stage.followers[0].host.id
    watcher = stage.watch(start=2, at=follower)
    stage.wait(500)
    stage.put(5)
    cut = stage.isolate(follower)
    stage.put(120)
    stage.world.network.mend(cut)
    stage.until(lambda: stage.world.coverage["snapshots installed"])
    stage.until(lambda: watcher.is_up_to_date)


def test_a_watch_goes_on_where_it_was_when_its_server_was_cut_off() -> None:
    survives(a_watched_follower_comes_back_by_a_snapshot)


@pytest.mark.parametrize("broken", [GoesBackInTime, StaysBehind])
def test_a_watch_that_goes_back_or_skips_is_found_out(broken: type) -> None:
    fails(a_watched_follower_comes_back_by_a_snapshot, broken, properties.WATCH)


# -- events lost under starvation of a stream (etcd issue 17529) ----------------------------------


def a_stream_is_starved(settings: Settings) -> None:
    stage = Stage(settings)
    watcher = stage.watch(start=2, patience=6000)
    stage.wait(12_000)
    stage.put(200)
    watcher.hurry()
    stage.until(lambda: watcher.is_up_to_date)


def test_a_starved_stream_loses_no_events() -> None:
    survives(a_stream_is_starved)
    fails(a_stream_is_starved, LosesEventsWhenStarved, properties.WATCH)


# -- the revision goes down after a crash in a compaction (etcd issue 17780) ----------------------


class CountsWhatIsLeft(Process):
    """The revision is that of the newest change, compacted away or not."""

    def _open(self) -> None:
        super()._open()
        store = self.machine.store
        left = [record.mod_revision for record in store.range(b"\0", b"\0").records]
        store.current_revision = max(left, default=1)
        self.world.safety.installed(self, self.core.applied_index)


def a_crash_in_a_compaction(settings: Settings) -> None:
    for operations in range(1, 12):
        stage = Stage(settings, seed=operations)
        stage.put(4)
        stage.ask("delete", 1, 5)  # a key that is not there
        stage.ask("delete", 1, 30)  # everything: the newest revision is a tombstone's
        revision = stage.store(1).current_revision
        stage.ask("compact", 1, 0)
        assert stage.store(1).compact_revision == revision
        stage.process(1).do(stage.process(1).snapshots.take)
        stage.faults.crash(1, 0.0, 50, 0, True, operations, 300)
        stage.wait(6000)
        assert stage.store(1).current_revision >= revision
        stage.finish()


def test_the_revision_does_not_go_down_after_a_crash_in_a_compaction() -> None:
    survives(a_crash_in_a_compaction, ALONE)
    fails(a_crash_in_a_compaction, CountsWhatIsLeft, properties.STATE_MACHINE_SAFETY, settings=ALONE)


def a_restarted_follower_is_asked(settings: Settings) -> None:
    stage = Stage(settings)
    stage.put(20)
    follower = stage.followers[0].host
    stage.ask("look", follower.id)
    stage.cut_power(follower.id)
    others = [it for it in stage.world.hosts if it != follower.id]
    cuts = stage.world.network.part([(it, follower.id) for it in others])
    stage.wait(400)
    stage.ask("look", follower.id)
    stage.world.network.mend(cuts)
    stage.wait(3000)
    stage.ask("look", follower.id)
    assert stage.world.coverage["serializable reads"] >= 2


def test_a_restarted_server_answers_with_no_older_revision_than_before() -> None:
    survives(a_restarted_follower_is_asked)
    fails(a_restarted_follower_is_asked, ServesAtOnce, properties.SERIALIZABLE)


# -- a missing delete event at the compacted revision (etcd issues 18089, 19179) ------------------


class _Forgetful(KeyIndex):
    """An index that drops every tombstone up to the compacted revision, the one at it, too."""

    __slots__ = ()

    def forget(self, record: object, revision: int) -> bool:
        newest = super().forget(record, revision)  # type: ignore[arg-type]
        return newest and not record.tombstone  # type: ignore[attr-defined]


class DropsTheLastTombstone(Process):
    """A compaction removes the delete at its own revision."""

    def _open(self) -> None:
        super()._open()
        self.machine.store.index.__class__ = _Forgetful


def a_watch_begins_at_a_compacted_delete(settings: Settings) -> None:
    stage = Stage(settings)
    stage.put(3)
    stage.ask("delete", 1, 30)
    deleted = stage.store(1).current_revision
    stage.ask("compact", 1, 0)
    stage.until(lambda: not stage.store(1).compactions)
    watcher = stage.watch(start=deleted)
    stage.until(lambda: watcher.is_up_to_date, milliseconds=2000)
    stage.put(1)
    stage.wait(500)
    assert stage.world.coverage["watch events"] > 1


def test_a_watch_from_the_compacted_revision_hears_of_the_delete_there() -> None:
    survives(a_watch_begins_at_a_compacted_delete, ALONE)
    with pytest.raises((Violation, AssertionError)):
        a_watch_begins_at_a_compacted_delete(settings_with(DropsTheLastTombstone, ALONE))


# -- a watch on a future revision returns old events (etcd issue 20221) ---------------------------


def a_watch_on_a_revision_to_come(settings: Settings) -> None:
    stage = Stage(settings)
    stage.put(3)
    watcher = stage.watch(start=20)
    stage.wait(500)
    stage.put(30)
    stage.until(lambda: watcher.is_up_to_date)
    assert watcher.next > 20


def test_a_watch_on_a_future_revision_hears_of_nothing_before_it() -> None:
    survives(a_watch_on_a_revision_to_come)
    fails(a_watch_on_a_revision_to_come, TellsTheFutureOfThePast, properties.WATCH)


def progress_of_a_watch_to_come(settings: Settings) -> None:
    stage = Stage(settings)
    stage.put(3)
    stage.watch(start=60, patience=30)
    stage.wait(20_000)


def test_a_watch_on_a_future_revision_is_told_of_no_progress_before_it() -> None:
    survives(progress_of_a_watch_to_come)
    fails(progress_of_a_watch_to_come, TellsBeforeItBegins, properties.WATCH)


# -- two snapshots received in a short time (etcd issue 18055) -------------------------------------


def snapshots_come_one_after_the_other(settings: Settings) -> None:
    stage = Stage(settings)
    follower, leader = stage.followers[0], stage.leader
    cut = stage.isolate(follower.host.id)
    for _ in range(2):
        stage.put(60)
        leader.snapshots.send(stage.snapshot_message(leader, follower))
    stage.world.network.mend(cut)
    stage.put(30)
    for _ in range(3):
        message = stage.snapshot_message(leader, follower)
        leader.do(lambda message=message: leader.snapshots.send(message))  # type: ignore[misc]
        stage.put(20)
    stage.finish()
    assert stage.world.coverage["snapshots installed"] >= 1


def test_snapshots_that_come_one_after_the_other_are_installed_in_turn() -> None:
    survives(snapshots_come_one_after_the_other)


# -- reading a compacted revision in a transaction (etcd issue 18667) ------------------------------


def test_a_transaction_that_reads_what_is_compacted_changes_nothing_on_any_server() -> None:
    """Whether the removal of old history is done or not: it goes its own pace on every server."""
    outcomes = []
    for is_removed in (False, True):
        machine = StateMachine()
        for number in range(5):
            machine.apply(Kind.PUT, rpc_pb2.PutRequest(key=b"k", value=b"%d" % number))
        job = machine.apply(Kind.COMPACT, rpc_pb2.CompactionRequest(revision=5))
        assert isinstance(job, Compaction)
        while is_removed and not job.step():
            pass
        put = rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=b"k", value=b"new"))
        read = rpc_pb2.RequestOp(request_range=rpc_pb2.RangeRequest(key=b"k", revision=3))
        with pytest.raises(CompactedError):
            machine.apply(Kind.TXN, rpc_pb2.TxnRequest(success=[put, read]))
        machine.check()
        outcomes.append((machine.store.current_revision, machine.store.get(b"k")))
    assert [revision for revision, _ in outcomes] == [6, 6]
    assert [record.value for _, record in outcomes if record is not None] == [b"4", b"4"]


# -- stale reads after a pause of the process (etcd issue 20418) ----------------------------------


def a_leader_is_paused(settings: Settings) -> None:
    """What reaches it meanwhile waits in its sockets: reads, and word of a new leader, in any order."""
    for seed in range(8):
        stage = Stage(settings, seed=seed)
        stage.put(3)
        paused = stage.leader
        paused.pause(5000)
        stage.wait(4000)
        assert stage.leader is not paused
        stage.put(3)
        for _ in range(30):
            stage.ask("read", paused.host.id, 2, wait=1)
        stage.wait(3000)
        stage.finish()
        assert stage.world.coverage["linearizable reads"] > 5


def test_a_leader_that_was_paused_answers_no_stale_reads() -> None:
    survives(a_leader_is_paused)


@pytest.mark.parametrize("broken", [ReadsUnconfirmed, ReadsAtOnce])
def test_a_leader_that_does_not_ask_again_after_a_pause_is_found_out(broken: type) -> None:
    fails(a_leader_is_paused, broken, properties.LINEARIZABILITY)


# -- term or vote not saved -----------------------------------------------------------------------


def voters_crash_after_they_have_voted(settings: Settings) -> None:
    stage = Stage(settings)
    for _ in range(3):
        stage.put(2)
        stage.cut_power(stage.leader.host.id, down=3000)
        stage.until(stage.world.leaders)
        for process in stage.followers:
            stage.cut_power(process.host.id)
        stage.wait(5000)
    stage.finish()


def test_term_and_vote_outlast_a_crash() -> None:
    survives(voters_crash_after_they_have_voted)


@pytest.mark.parametrize("broken", [ForgetsItsVote, ForgetsItsTerm, AnswersBeforeTheSync])
def test_a_server_that_forgets_term_or_vote_is_found_out(broken: type) -> None:
    fails(voters_crash_after_they_have_voted, broken, properties.STABLE_STORAGE)


# -- a leader acknowledges another leader's entry at the same index -------------------------------


def the_disk_is_done_with_an_entry_that_was_replaced(node_class: type[Node]) -> Node:
    node = make_node([1], term=1, commit=1, node_class=node_class)
    node.step(append(1, 1, 1, [Entry(1, 2, data=b"of the old leader")]))
    old = node.ready()
    node.step(append(2, 1, 1, [Entry(2, 2, data=b"of the new leader")], from_=3))
    node.persisted(*old.mark)
    return node


def test_what_the_disk_did_for_an_earlier_leader_is_not_acknowledged_to_the_next() -> None:
    node = the_disk_is_done_with_an_entry_that_was_replaced(Node)
    assert node.log.persisted_index == 1
    ready = node.ready()
    assert [entry.term for entry in ready.entries] == [2]
    broken = the_disk_is_done_with_an_entry_that_was_replaced(CountsForeignEntries)
    assert broken.log.persisted_index == 2
    assert not broken.ready().entries


# -- an append truncates without a conflict -------------------------------------------------------


def an_old_append_comes_again(node_class: type[Node]) -> int:
    node = make_node([1], term=1, commit=1, node_class=node_class)
    first: Message = append(1, 1, 1, entries(1, first=2))
    node.step(first)
    node.step(append(1, 2, 1, entries(1, 1, first=3)))
    ready = node.ready()
    node.persisted(*ready.mark)
    acknowledged = [m.index for m in ready.messages_after_persist if m.type is MessageType.APPEND_RESPONSE]
    assert acknowledged == [2, 4]
    node.step(first)
    return node.last_index


def test_an_old_append_takes_nothing_back() -> None:
    assert an_old_append_comes_again(Node) == 4
    assert an_old_append_comes_again(TruncatesWithoutConflict) < 4


# -- a pre-vote inflates terms --------------------------------------------------------------------


def a_follower_is_cut_off_for_long(settings: Settings) -> None:
    stage = Stage(settings)
    leader, term = stage.leader, stage.leader.node.term
    cut = stage.isolate(stage.followers[0].host.id)
    stage.wait(10_000)
    stage.world.network.mend(cut)
    stage.wait(3000)
    if stage.leader is not leader or leader.node.term != term:
        raise Violation(properties.LEADER_STAYS, f"term {term} became {stage.leader.node.term}")


def test_a_follower_that_was_cut_off_comes_back_in_the_term_it_left() -> None:
    survives(a_follower_is_cut_off_for_long)
    fails(a_follower_is_cut_off_for_long, InflatesTerms, properties.LEADER_STAYS)
    no_pre_vote = attrs.evolve(Settings(), pre_vote=False)
    with pytest.raises(Violation):
        a_follower_is_cut_off_for_long(no_pre_vote)
