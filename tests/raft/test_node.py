"""The node as its owner sees it: a quorum of one, and the ready / persisted contract."""

from __future__ import annotations

import random
from typing import Any

import pytest

from rusd.raft import (
    Configuration,
    ContractError,
    Entry,
    EntryType,
    HardState,
    InvariantViolation,
    Limits,
    Log,
    Message,
    MessageType,
    Node,
    NotLeader,
    ReadState,
    Ready,
    Role,
    bootstrap,
)
from tests.raft.builders import acknowledge, append, carry_out, entries, make_leader, make_node, message, tick


def lone_node(**options: Any) -> Node:
    """The only member of a cluster that has just been created."""
    hard_state, first = bootstrap([(1, b"me")])
    return Node(1, Log(first), hard_state, Configuration(), applied=0, random=random.Random(1), **options)


def lone_leader(**options: Any) -> Node:
    node = lone_node(**options)
    node.campaign()
    carry_out(node)
    assert node.is_sole_leader
    return node


# -- a quorum of one ----------------------------------------------------------------------


def test_the_first_leader_of_a_new_single_member_has_term_2() -> None:
    node = lone_node()
    node.campaign()
    done = carry_out(node)
    assert (node.role, node.term, node.leader_id) == (Role.LEADER, 2, 1)
    assert [(entry.term, entry.type) for entry in done.committed] == [
        (1, EntryType.CONFIGURATION),
        (2, EntryType.NORMAL),
    ]
    assert done.messages == []
    assert done.messages_after_persist == []


def test_a_single_member_leads_by_the_clock_too() -> None:
    node = lone_node(election_ticks=10)
    tick(node, 20)
    carry_out(node)
    assert node.role is Role.LEADER


def test_a_write_is_committed_when_the_own_disk_has_it() -> None:
    node = lone_leader()
    assert node.propose(b"x") == (2, 3)
    ready = node.ready()
    assert (ready.must_sync, ready.entries, ready.committed) == (True, [Entry(2, 3, data=b"x")], [])
    assert not node.has_ready()
    node.persisted(*ready.mark)
    assert node.commit_index == 3
    ready = node.ready()
    assert (ready.must_sync, ready.committed) == (False, [Entry(2, 3, data=b"x")])
    assert not node.has_ready()


def test_a_leader_of_one_stays_in_office() -> None:
    node = lone_leader()
    tick(node, 1000)
    assert node.role is Role.LEADER
    assert not node.has_ready()


def test_a_restarted_single_member_keeps_everything_it_wrote() -> None:
    """What was written and not committed before a restart is committed after it."""
    node = lone_leader()
    for number in range(5):
        node.propose(b"%d" % number)
    ready = node.ready()
    log = Log([*bootstrap([(1, b"me")])[1], Entry(2, 2), *ready.entries])
    again = Node(1, log, HardState(2, 1, 2), Configuration(), applied=0, random=random.Random(2))
    again.campaign()
    done = carry_out(again)
    assert again.term == 3
    assert [entry.data for entry in done.committed[2:]] == [b"0", b"1", b"2", b"3", b"4", b""]


def test_a_batch_holds_all_that_came_in_during_the_one_before() -> None:
    """Group commit: one batch is out at a time."""
    node = lone_leader()
    node.propose(b"a")
    first = node.ready()
    for data in (b"b", b"c"):
        node.propose(data)
        assert not node.has_ready()
    assert node.ready().entries == []
    node.persisted(*first.mark)
    second = node.ready()
    assert [entry.data for entry in second.entries] == [b"b", b"c"]
    assert [entry.data for entry in second.committed] == [b"a"]


def test_reads_are_answered_while_a_batch_is_out() -> None:
    node = lone_leader()
    node.propose(b"a")
    ready = node.ready()
    node.read_index(b"r")
    assert node.ready().reads == [ReadState(2, b"r")]
    node.persisted(*ready.mark)


# -- the contract ---------------------------------------------------------------------------


def test_a_new_term_or_vote_must_be_persisted() -> None:
    node = make_node([1])
    node.step(message(MessageType.HEARTBEAT, 4))
    ready = node.ready()
    assert (ready.must_sync, ready.hard_state, ready.entries) == (True, HardState(4, 0, 0), [])


def test_a_heartbeat_response_waits_for_its_term_to_be_durable() -> None:
    node = make_node([1])
    node.step(message(MessageType.HEARTBEAT, 4))
    ready = node.ready()
    assert ready.messages == []
    assert len(ready.messages_after_persist) == 1
    node.persisted(*ready.mark)
    node.step(message(MessageType.HEARTBEAT, 4))
    assert len(node.ready().messages) == 1


def test_the_commit_index_alone_asks_for_no_sync_and_rides_with_the_next_batch() -> None:
    node = lone_leader()
    node.propose(b"a")
    ready = node.ready()
    assert ready.hard_state == HardState(2, 1, 2)
    node.persisted(*ready.mark)
    ready = node.ready()
    assert (ready.must_sync, ready.hard_state) == (False, None)
    node.propose(b"b")
    assert node.ready().hard_state == HardState(2, 1, 3)


def test_answers_to_what_came_in_meanwhile_wait_for_its_own_batch() -> None:
    node = make_node([1])
    node.step(append(1, 1, 1, entries(1, first=2)))
    first = node.ready()
    assert [m.index for m in first.messages_after_persist] == [2]
    node.step(append(1, 2, 1, entries(1, first=3)))
    assert not node.has_ready()
    assert node.ready().messages_after_persist == []
    node.persisted(*first.mark)
    second = node.ready()
    assert [m.index for m in second.messages_after_persist] == [3]
    assert second.entries == entries(1, first=3)


def test_an_answer_that_needs_nothing_new_on_disk_comes_without_a_sync() -> None:
    node = make_node([1])
    node.step(append(1, 9, 1))
    ready = node.ready()
    assert (ready.must_sync, [m.reject for m in ready.messages_after_persist]) == (False, [True])


def test_persisted_does_not_count_for_what_a_new_leader_replaced() -> None:
    """The batch that was out held entry 2 of term 1; meanwhile the log holds another one there."""
    node = make_node([1])
    node.step(append(1, 1, 1, entries(1, 1, first=2)))
    first = node.ready()
    node.step(append(2, 1, 1, entries(2, first=2), from_=3, commit=2))
    node.persisted(*first.mark)
    assert node.log.persisted_index == 1
    ready = node.ready()
    assert (ready.entries, ready.committed) == (entries(2, first=2), entries(1))
    node.persisted(*ready.mark)
    assert node.ready().committed == entries(2, first=2)


def test_committed_entries_are_handed_out_when_they_are_durable_here() -> None:
    node = make_node([1])
    node.step(append(1, 1, 1, entries(1, 1, first=2), commit=3))
    assert node.commit_index == 3
    ready = node.ready()
    assert [entry.index for entry in ready.committed] == [1]
    node.persisted(*ready.mark)
    assert [entry.index for entry in node.ready().committed] == [2, 3]


def test_persisted_needs_something_to_have_been_asked_for() -> None:
    node = lone_leader()
    with pytest.raises(ContractError):
        node.persisted(2, 2)


def test_applied_needs_something_to_have_been_handed_out() -> None:
    node = lone_leader()
    with pytest.raises(ContractError):
        node.applied(3)
    node.applied(1)  # going back is nothing new
    assert node.applied_index == 2


def test_a_message_for_somebody_else_is_refused() -> None:
    with pytest.raises(ValueError, match="reached"):
        make_node().step(message(MessageType.HEARTBEAT, 1, to=2))


def test_only_a_leader_takes_proposals_and_others_name_it() -> None:
    node = make_node()
    with pytest.raises(NotLeader):
        node.propose(b"x")
    node.step(message(MessageType.HEARTBEAT, 1, from_=3))
    with pytest.raises(NotLeader) as caught:
        node.propose(b"x")
    assert caught.value.leader_id == 3


def test_the_log_in_memory_is_bounded() -> None:
    hard_state, first = bootstrap([(1, b"")])
    log = Log(first, max_entries=50, max_bytes=4000)
    node = Node(1, log, hard_state, Configuration(), applied=0, random=random.Random(1))
    node.campaign()
    for _ in range(300):
        carry_out(node)
        node.propose(b"x" * random.Random(7).randrange(200))
    carry_out(node)
    assert node.last_index - log.base_index <= 50
    assert sum(len(entry.data) for entry in log.slice(log.base_index + 1, log.last_index)) <= 4000


@pytest.mark.parametrize(
    ("me", "hard_state", "applied"),
    [
        (0, HardState(2, 0, 0), 0),
        (1, HardState(2, 0, 4), 0),
        (1, HardState(1, 0, 0), 0),
        (1, HardState(2, 0, 0), 4),
    ],
)
def test_pieces_that_do_not_fit_together_are_refused(me: int, hard_state: HardState, applied: int) -> None:
    with pytest.raises(ValueError, match=r"."):
        Node(me, Log(entries(1, 2, 2)), hard_state, Configuration(), applied=applied, random=random.Random(1))


@pytest.mark.parametrize("ticks", [(1, 1), (10, 10), (10, 0)])
def test_a_heartbeat_is_shorter_than_an_election(ticks: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="ticks"):
        make_node(election_ticks=ticks[0], heartbeat_ticks=ticks[1])


@pytest.mark.parametrize(
    "broken",
    [
        {"term": 1},
        {"commit_index": 99},
        {"applied_index": 99},
        {"leader_id": 2},
        {"_uncommitted_bytes": 7},
        {"_progress": {}},
        {"role": Role.FOLLOWER},
    ],
)
def test_check_notices_what_is_wrong(broken: dict[str, object]) -> None:
    node = make_leader([1, 1])
    node.check()
    for name, value in broken.items():
        setattr(node, name, value)
    with pytest.raises(InvariantViolation):
        node.check()


def test_the_window_to_a_peer_does_not_keep_the_node_busy() -> None:
    """A full window is not work to be done: has_ready() must not spin."""
    node = make_leader(limits=Limits(inflight_messages=1, append_bytes=1))
    for peer in (2, 3):
        acknowledge(node, peer, 1)
    carry_out(node)
    for _ in range(3):
        node.propose(b"x")
    carry_out(node)
    assert not node.has_ready()


# -- values -----------------------------------------------------------------------------------


def test_entries_are_equal_by_what_they_hold() -> None:
    assert Entry(1, 2, EntryType.NORMAL, b"x") == Entry(1, 2, data=b"x")
    assert len({Entry(1, 2), Entry(1, 2)}) == 1
    for other in (Entry(2, 2), Entry(1, 3), Entry(1, 2, data=b"x"), Entry(1, 2, EntryType.CONFIGURATION)):
        assert other != Entry(1, 2)
    assert Entry(1, 2) != (1, 2)
    assert repr(Entry(1, 2, data=b"x")) == "Entry(term=1, index=2, type=NORMAL, data=b'x')"


def test_a_ready_shows_what_is_in_it() -> None:
    node = lone_leader()
    node.read_index(b"r")
    ready = node.ready()
    assert isinstance(ready, Ready)
    assert "ReadState(index=2, context=b'r')" in repr(ready)
    assert "entries" not in repr(ready)


def test_messages_are_values() -> None:
    one = message(MessageType.HEARTBEAT, 1)
    assert one == Message(type=MessageType.HEARTBEAT, from_=2, to=1, term=1)
    with pytest.raises(AttributeError):
        one.term = 2  # type: ignore[misc]
