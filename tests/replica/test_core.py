"""The core of a replica: who is answered, when, and with what."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from etcdpb import rpc_pb2
from rusd.mvcc import CompactedError
from rusd.raft import Message, MessageType, Role
from rusd.replica import (
    ConnectionLostError,
    LeaderChangedError,
    LeaderFailedError,
    NoLeaderError,
    RequestTimeoutError,
    StoppedError,
    SupersededError,
    TooManyRequestsError,
    holding,
)
from rusd.replica.core import ENTRY_COST
from rusd.replica.proposals import MAX_UNAPPLIED_ENTRIES
from rusd.state import Kind, proposal

Make = Callable[..., Any]

MEMBER = 7


def test_a_caller_is_answered_when_its_entry_is_applied_and_not_before(make: Make) -> None:
    replica = make().lead()
    caller = replica.put(b"k")
    ready = replica.core.ready()
    assert ready.must_sync
    assert replica.core.ready() is None or not replica.core.has_work
    assert caller.outcome is None  # written perhaps, but not durable
    replica.core.persisted(ready)
    replica.persist()
    assert caller.outcome is None  # durable and committed, but not applied
    replica.core.apply(10)
    assert caller.outcome == (b"k", None)


def test_callers_are_answered_in_log_order(make: Make) -> None:
    replica = make().lead()
    callers = [replica.put(b"%d" % number) for number in range(10)]
    replica.persist()
    assert replica.core.apply(4 * ENTRY_COST) == 4
    assert [caller.outcome is not None for caller in callers] == [True] * 4 + [False] * 6
    assert replica.core.unapplied == 6
    replica.run()
    assert replica.machine.applied == [b"%d" % number for number in range(10)]


def test_what_the_state_refuses_is_told_and_the_log_goes_on(make: Make) -> None:
    replica = make().lead()
    refused, fine = replica.put(b"refuse"), replica.put(b"k")
    replica.run()
    assert isinstance(refused.error, CompactedError)
    assert fine.outcome == (b"k", None)


def test_a_bug_in_the_state_machine_comes_through(make: Make) -> None:
    replica = make().lead()
    replica.put(b"bug")
    with pytest.raises(KeyError):
        replica.run()


def test_entries_of_another_boot_are_applied_and_complete_no_call(make: Make) -> None:
    """A restarted process counts from 1 again; its log still has the numbers of the life before."""
    first = make(boot=1).lead()
    for number in range(5):
        first.put(b"old %d" % number)
    first.run()
    log = first.node.log.slice(1, first.node.last_index)

    second = make(boot=2, entries=log)
    second.node.campaign()
    second.persist()
    callers = [second.put(b"new %d" % number) for number in range(5)]
    second.run()
    assert second.machine.applied == [b"%s %d" % (w, n) for w in (b"old", b"new") for n in range(5)]
    assert [caller.outcome for caller in callers] == [(b"new %d" % number, None) for number in range(5)]


def test_entries_of_another_member_complete_no_call(make: Make, entry: Any) -> None:
    replica = make().lead()
    caller = replica.put(b"mine")
    for member, boot in ((99, 1), (7, 99)):  # the same number: of another member, of another life of this one
        foreign = proposal.encode(Kind.PUT, member, boot, 1, rpc_pb2.PutRequest(key=b"theirs"))
        replica.node.propose(foreign)
    replica.run()
    assert caller.outcome == (b"mine", None)
    assert replica.machine.applied == [b"mine", b"theirs", b"theirs"]


def test_what_a_leader_decided_in_an_earlier_term_is_dropped(make: Make) -> None:
    replica = make().lead()
    term = replica.node.term
    current, late = replica.put(b"current", term=term), replica.put(b"late", term=term - 1)
    replica.run()
    assert current.outcome == (b"current", None)
    assert isinstance(late.error, SupersededError)
    assert replica.machine.applied == [b"current"]


def test_a_superseded_entry_is_dropped_on_replay_too(make: Make) -> None:
    first = make(boot=1).lead()
    first.put(b"late", term=first.node.term + 5)
    first.put(b"k")
    first.run()
    second = make(boot=2, entries=first.node.log.slice(1, first.node.last_index)).lead()
    assert second.machine.applied == [b"k"]


def test_configuration_entries_reach_the_machine_with_what_is_beside_them(make: Make) -> None:
    assert make().lead().machine.configurations == [b"member 7"]


# -- reads ---------------------------------------------------------------------------------------


def test_a_read_of_what_is_applied_needs_no_wait(make: Make) -> None:
    replica = make().lead()
    assert replica.read() is None
    replica.put(b"k")
    replica.run()
    assert replica.read() is None


def test_a_read_waits_for_what_was_committed_before_it(make: Make) -> None:
    replica = make().lead()
    replica.core.held = True
    replica.put(b"a")
    replica.persist()
    caller = replica.read()
    assert caller is not None
    replica.persist()
    replica.core.apply(0)
    assert caller.outcome is None
    replica.core.apply(10)
    assert caller.outcome == (None, None)


def test_a_read_does_not_wait_for_what_is_committed_after_it(make: Make) -> None:
    replica = make().lead()
    replica.core.held = True
    for number in range(3):
        replica.put(b"%d" % number)
    replica.persist()
    caller = replica.read()
    replica.persist()
    for number in range(3):
        replica.put(b"later %d" % number)
    replica.persist()
    replica.core.apply(3 * ENTRY_COST)
    assert caller.outcome == (None, None)
    assert replica.core.unapplied == 3


def test_a_read_before_the_first_entry_of_the_term_waits_for_it(make: Make) -> None:
    replica = make()
    replica.node.campaign()
    while replica.node.leader_id == 0:
        ready = replica.core.ready()
        if ready.must_sync:
            replica.core.persisted(ready)
    caller = replica.read()
    assert caller is not None
    replica.run()
    assert caller.outcome == (None, None)


def test_proposals_without_a_leader_wait_for_one_in_their_order(make: Make) -> None:
    replica = make()
    callers = [replica.put(b"%d" % number) for number in range(3)]
    replica.run()
    assert [caller.outcome for caller in callers] == [None, None, None]
    replica.lead()
    assert [caller.outcome for caller in callers] == [(b"0", None), (b"1", None), (b"2", None)]
    assert replica.machine.applied == [b"0", b"1", b"2"]


def test_what_a_leader_decided_by_itself_does_not_wait_for_another(make: Make) -> None:
    with pytest.raises(NoLeaderError):
        make().put(b"k", term=1)


def test_a_proposal_that_waits_for_a_leader_too_long_is_given_up_for_good(make: Make) -> None:
    replica = make(voters=(7, 8, 9))
    replica.node.campaign()
    replica.persist()
    caller = replica.put(b"k")
    replica.tick(7.1)
    assert isinstance(caller.error, RequestTimeoutError)
    alone = make()
    late = alone.put(b"late")
    alone.tick(7.1)
    assert isinstance(late.error, RequestTimeoutError)
    assert alone.lead().machine.applied == []


def test_only_so_much_waits_for_a_leader(make: Make) -> None:
    replica = make()
    for _ in range(holding.MOST_PROPOSALS):
        replica.put(b"k")
    with pytest.raises(TooManyRequestsError):
        replica.put(b"one too many")
    replica.core.fail_all(StoppedError())
    replica.put(b"room again")


def test_a_read_that_waits_for_a_leader_is_told_when_there_is_one(make: Make) -> None:
    replica = make()
    caller = replica.read()
    assert caller is not None
    replica.lead()
    assert isinstance(caller.error, LeaderChangedError)
    assert replica.read() is None


def test_a_call_from_before_the_election_that_is_not_answered_is_put_down_to_the_former_leader(
    make: Make,
) -> None:
    replica = make(voters=(7, 8, 9))
    replica.tick(0.1)
    early = replica.put(b"early")
    replica.tick(0.1)
    replica.node.campaign()
    replica.persist()
    for vote in (MessageType.PRE_VOTE_RESPONSE, MessageType.VOTE_RESPONSE):
        term = replica.node.term + (vote is MessageType.PRE_VOTE_RESPONSE)
        replica.node.step(Message(type=vote, from_=8, to=MEMBER, term=term))
        replica.persist()
    assert replica.node.role is Role.LEADER
    replica.tick(0.1)
    late = replica.put(b"late")
    replica.tick(3.0)
    replica.core.causes.unreachable(8, replica.now)
    lonely = replica.put(b"lonely")
    replica.core.causes.unreachable(9, replica.now)
    replica.tick(7.0)
    assert [type(caller.error) for caller in (early, late, lonely)] == [
        LeaderFailedError,
        ConnectionLostError,
        ConnectionLostError,
    ]


# -- bounds ------------------------------------------------------------------------------------------


def test_a_caller_that_waits_too_long_is_given_up_and_its_write_may_still_happen(make: Make) -> None:
    replica = make().lead()
    old = replica.put(b"old")
    replica.tick(4.0)
    young = replica.put(b"young")
    replica.tick(2.9)
    assert (old.outcome, young.outcome) == (None, None)
    replica.tick(0.2)
    assert isinstance(old.error, RequestTimeoutError)
    assert young.outcome is None
    replica.run()
    assert replica.machine.applied == [b"old", b"young"]
    assert young.outcome == (b"young", None)


def test_a_read_that_waits_too_long_is_given_up(make: Make) -> None:
    replica = make().lead()
    replica.core.held = True
    replica.put(b"k")
    replica.persist()
    confirmed = replica.read()
    replica.persist()
    replica.tick(0.1)
    unconfirmed = replica.read()
    replica.tick(0.1)
    replica.tick(6.9)
    assert isinstance(confirmed.error, RequestTimeoutError)
    assert unconfirmed.outcome is None
    replica.tick(0.2)
    assert isinstance(unconfirmed.error, RequestTimeoutError)
    replica.run()  # neither is told again
    last = replica.read()
    assert last is None


def test_reads_that_are_answered_leave_nothing_behind(make: Make) -> None:
    replica = make().lead()
    for _ in range(50):
        replica.put(b"k")
        replica.persist()
        replica.read()
        replica.tick(0.1)
        replica.run()
    replica.tick(0.1)
    core = replica.core
    reads = core._reads
    assert not (reads._waiting or reads._confirmed or reads._marks or core._waiting)


def test_too_much_that_is_committed_and_not_applied_is_refused(make: Make) -> None:
    replica = make().lead()
    for _ in range(MAX_UNAPPLIED_ENTRIES):
        replica.put(b"k")
    replica.persist()
    replica.put(b"k")
    replica.persist()
    with pytest.raises(TooManyRequestsError):
        replica.put(b"k")
    replica.run()
    replica.put(b"k")


def test_too_much_that_is_not_committed_is_refused(make: Make) -> None:
    replica = make().lead()
    with pytest.raises(TooManyRequestsError):  # noqa: PT012
        for _ in range(100):
            replica.put(bytes(1 << 20))
    replica.run()
    replica.put(b"k")


def test_everybody_is_told_when_the_server_stops(make: Make) -> None:
    replica = make().lead()
    replica.core.held = True
    replica.put(b"a")
    replica.persist()
    confirmed = replica.read()
    replica.persist()
    waiting = [replica.put(b"b"), replica.read(), confirmed]
    replica.core.fail_all(StoppedError())
    assert all(isinstance(caller.error, StoppedError) for caller in waiting)
    replica.run()  # and what is applied later answers nobody


def test_a_core_with_nothing_to_apply_has_no_work(make: Make) -> None:
    replica = make().lead()
    assert not replica.core.has_work
    assert replica.core.ready() is None


# -- entries that are applied in steps --------------------------------------------------------


def test_an_entry_that_is_applied_in_steps_holds_back_those_behind_it(make: Make) -> None:
    replica = make().lead()
    small, large, behind = replica.put(b"a"), replica.put(b"slow"), replica.put(b"b")
    replica.persist()
    before = replica.core.applied_index
    assert replica.core.apply(100) == 1
    assert small.outcome == (b"a", None)
    for _ in range(3):
        assert (large.outcome, behind.outcome) == (None, None)
        assert replica.core.applied_index == before + 1
        assert replica.core.unapplied == 2
        assert replica.core.has_work
        assert not replica.core.between_entries
        replica.core.check()
        replica.core.apply(1)
    assert large.outcome == (b"slow", None)
    assert replica.core.between_entries
    assert behind.outcome == (b"b", None)


def test_what_the_state_refuses_in_a_later_step_is_told(make: Make) -> None:
    replica = make().lead()
    refused, fine = replica.put(b"slow refuse"), replica.put(b"k")
    replica.run()
    assert isinstance(refused.error, CompactedError)
    assert fine.outcome == (b"k", None)


def test_a_sole_leader_reads_at_once_whatever_is_committed_and_not_answered(make: Make) -> None:
    replica = make().lead()
    replica.put(b"slow")
    replica.persist()
    assert replica.read() is None
    replica.core.apply(100)
    assert replica.read() is None


def test_a_sole_leader_does_not_read_before_it_has_applied_what_it_found_in_its_log(make: Make) -> None:
    replica = make()
    replica.node.campaign()
    replica.persist()
    assert replica.core.applied_index < replica.node.commit_index
    caller = replica.read()
    replica.persist()
    assert caller.outcome is None
    replica.run()
    assert caller.outcome == (None, None)


def test_elsewhere_a_read_waits_for_the_entry_under_way(make: Make) -> None:
    replica = make().lead()
    replica.core.held = True  # as good as a quorum of several: reads go by the commit index
    replica.put(b"slow")
    replica.persist()
    replica.core.apply(100)
    caller = replica.read()
    replica.persist()
    replica.core.apply(1)
    assert caller.outcome is None
    replica.run()
    assert caller.outcome == (None, None)


def test_the_caller_of_an_entry_under_way_is_told_when_time_is_up_or_the_server_stops(make: Make) -> None:
    replica = make().lead()
    late, stopped = replica.put(b"slow"), replica.put(b"slow")
    replica.persist()
    replica.core.apply(100)
    replica.tick(8.0)
    assert isinstance(late.error, RequestTimeoutError)
    replica.tick(8.0)
    replica.core.fail_all(StoppedError())
    replica.run()
    assert replica.machine.applied == [b"slow", b"slow"]
    assert isinstance(stopped.error, RequestTimeoutError)
    last = replica.put(b"slow")
    replica.persist()
    replica.core.apply(100)
    replica.core.fail_all(StoppedError())
    assert isinstance(last.error, StoppedError)
    replica.run()
