"""ReadIndex: thesis 6.4, step by step."""

from __future__ import annotations

from typing import Any

import pytest

from rusd.raft import Change, ChangeKind, MessageType, Node, NoLeader, ReadState, Role
from tests.raft.builders import acknowledge, append, carry_out, make_leader, make_node, message, sent, tick
from tests.raft.history import SafetyViolation
from tests.raft.mutants import ReadsTooSoon, ReadsUnconfirmed
from tests.raft.network import Network

HEARTBEAT = MessageType.HEARTBEAT
RESPONSE = MessageType.HEARTBEAT_RESPONSE


def settled_leader(**kwargs: Any) -> Node:
    """A leader that has committed the first entry of its term."""
    node = make_leader(**kwargs)
    for peer in node.progress:
        acknowledge(node, peer, node.last_index)
    carry_out(node)
    assert node.commit_index == node.last_index
    return node


def heartbeat_round(node: Node) -> int:
    """The round of the heartbeats that are sent now."""
    rounds = {m.index for m in sent(node) if m.type is HEARTBEAT}
    assert len(rounds) == 1
    return rounds.pop()


def test_a_read_is_confirmed_by_a_majority_of_heartbeats() -> None:
    """6.4: the leader exchanges a round of heartbeats with a majority before it answers."""
    node = settled_leader(voters=range(1, 6))
    node.read_index(b"r")
    number = heartbeat_round(node)
    node.step(message(RESPONSE, 1, from_=2, index=number))
    assert carry_out(node).reads == []
    node.step(message(RESPONSE, 1, from_=3, index=number))
    assert carry_out(node).reads == [ReadState(1, b"r")]


def test_heartbeats_sent_before_the_read_do_not_confirm_it() -> None:
    """6.4: the round must begin after the read index was noted."""
    node = settled_leader()
    tick(node, 1)
    old = heartbeat_round(node)
    node.read_index(b"r")
    assert heartbeat_round(node) != old
    for peer in (2, 3):
        node.step(message(RESPONSE, 1, from_=peer, index=old))
    assert carry_out(node).reads == []


def test_one_server_cannot_confirm_twice_and_learners_not_at_all() -> None:
    node = settled_leader(voters=range(1, 6), learners=(8, 9))
    node.read_index(b"r")
    number = heartbeat_round(node)
    for peer in (2, 2, 8, 9):
        node.step(message(RESPONSE, 1, from_=peer, index=number))
    assert carry_out(node).reads == []


@pytest.mark.parametrize("voters", [(1,), (1, 2, 3)])
def test_a_new_leader_answers_only_after_committing_in_its_term(voters: tuple[int, ...]) -> None:
    """6.4, step 1: until then it does not know which entries are committed.  In a quorum of one too."""
    node = make_node([1, 1], voters=voters, pre_vote=False)
    node.campaign()
    ready = node.ready()
    node.persisted(*ready.mark)
    for peer in voters[1:]:
        node.step(message(MessageType.VOTE_RESPONSE, 2, from_=peer))
    assert node.role is Role.LEADER
    node.read_index(b"r")
    assert not node.may_serve_reads()
    assert not node.is_sole_leader
    ready = node.ready()
    assert (ready.reads, node.pending_reads()) == ([], 1)
    node.persisted(*ready.mark)
    for peer in voters[1:]:
        acknowledge(node, peer, 3)
    assert node.may_serve_reads()
    tick(node, 1)
    for m in sent(node) or ():
        if m.type is HEARTBEAT:
            node.step(message(RESPONSE, 2, from_=m.to, index=m.index))
    carry_out(node)
    assert node.pending_reads() == 0


def test_a_quorum_of_one_confirms_at_once() -> None:
    node = settled_leader(voters=(1,))
    assert node.is_sole_leader
    node.read_index(b"a")
    node.read_index(b"b")
    ready = node.ready()
    assert ready.reads == [ReadState(1, b"a"), ReadState(1, b"b")]
    assert ready.messages == []
    assert not ready.must_sync


def test_learners_do_not_hold_up_a_quorum_of_one() -> None:
    node = settled_leader(voters=(1,), learners=(2,))
    node.read_index(b"a")
    assert node.ready().reads == [ReadState(1, b"a")]


def test_reads_that_come_in_together_share_one_round() -> None:
    """6.4: a single round of heartbeats serves any number of reads that have accumulated."""
    node = settled_leader()
    for number in range(50):
        node.read_index(b"%d" % number)
    heartbeats = [m for m in sent(node) if m.type is HEARTBEAT]
    assert len(heartbeats) == 2
    node.step(message(RESPONSE, 1, index=heartbeats[0].index))
    assert len(carry_out(node).reads) == 50


def test_reads_that_come_in_during_a_round_share_the_next() -> None:
    node = settled_leader()
    node.read_index(b"first")
    first = heartbeat_round(node)
    for context in (b"a", b"b"):
        node.read_index(context)
        assert not node.has_ready()
    node.step(message(RESPONSE, 1, index=first))
    ready = carry_out(node)
    assert ready.reads == [ReadState(1, b"first")]
    (number,) = {m.index for m in ready.messages}
    node.step(message(RESPONSE, 1, index=number))
    assert [read.context for read in carry_out(node).reads] == [b"a", b"b"]


def test_a_lost_round_is_made_up_for_by_the_next_heartbeat() -> None:
    node = settled_leader()
    node.read_index(b"r")
    lost = heartbeat_round(node)
    tick(node, 1)
    assert heartbeat_round(node) == lost
    node.step(message(RESPONSE, 1, index=lost))
    assert carry_out(node).reads == [ReadState(1, b"r")]


def test_the_read_index_is_that_of_the_beginning() -> None:
    """6.4, step 2: entries committed while the round is under way need not be waited for."""
    node = settled_leader()
    node.read_index(b"r")
    number = heartbeat_round(node)
    node.propose(b"later")
    carry_out(node)
    acknowledge(node, 2, 2)
    node.step(message(RESPONSE, 1, index=number))
    assert carry_out(node).reads == [ReadState(1, b"r")]


def test_a_leader_that_steps_down_forgets_its_reads() -> None:
    node = settled_leader()
    node.read_index(b"r")
    carry_out(node)
    node.step(append(9, 1, 1))
    assert node.pending_reads() == 0
    assert carry_out(node).reads == []


def test_a_follower_asks_its_leader() -> None:
    """6.4: a follower asks the leader for a current read index."""
    leader, follower = settled_leader(), make_node([1], me=2)
    follower.step(message(HEARTBEAT, 1, from_=1, to=2, commit=1))
    carry_out(follower)
    follower.read_index(b"r")
    (question,) = sent(follower)
    leader.step(question)
    number = heartbeat_round(leader)
    leader.step(message(RESPONSE, 1, from_=3, index=number))
    (reply,) = [m for m in sent(leader) if m.type is MessageType.READ_INDEX_RESPONSE]
    follower.step(reply)
    assert carry_out(follower).reads == [ReadState(1, b"r")]


def test_without_a_leader_nobody_can_be_asked() -> None:
    with pytest.raises(NoLeader):
        make_node().read_index(b"r")


def test_a_question_to_somebody_who_does_not_lead_is_lost() -> None:
    node = make_node([1])
    node.step(message(MessageType.READ_INDEX, 1, context=b"r"))
    assert not node.has_ready()


def test_a_smaller_quorum_may_confirm_at_once() -> None:
    node = settled_leader(voters=(1, 2))
    node.read_index(b"r")
    carry_out(node)
    node.propose_configuration(Change(ChangeKind.REMOVE, 2))
    assert carry_out(node).reads == [ReadState(1, b"r")]


def deposed_leader_reads(node_class: type[Node]) -> Network:
    """Host 1 leads and is cut off; host 2 is elected and commits; a client reads from host 1."""
    network = Network(3, seed=1, node_class=node_class, check_quorum=False)
    network.elect(1)
    network.side = frozenset({1})
    network.elect(2)
    network.node(2).propose(b"new")
    network.after(network.hosts[2])
    network.settle()
    network.history.reads_asked[b"r"] = network.node(2).commit_index
    assert network.node(1).role is Role.LEADER
    network.node(1).read_index(b"r")
    network.after(network.hosts[1])
    network.settle()
    return network


def test_a_deposed_leader_confirms_no_reads() -> None:
    """6.4: another leader may have been elected of which it is unaware."""
    assert deposed_leader_reads(Node).history.reads_answered == 0
    with pytest.raises(SafetyViolation):
        deposed_leader_reads(ReadsUnconfirmed)


def new_leader_reads(node_class: type[Node]) -> None:
    """Host 1 commits an entry, and host 2 is elected before it hears that it is committed."""
    network = Network(3, seed=1, node_class=node_class, check_quorum=False)
    first, second = network.elect(1), network.node(2)
    _, index = first.propose(b"x")
    network.after(network.hosts[1])
    network.settle_until(lambda: first.commit_index == index)
    assert second.last_index == index > second.commit_index
    network.pool = []
    network.side = frozenset({1})
    second.campaign()
    network.after(network.hosts[2])
    network.settle_until(lambda: second.role is Role.LEADER)
    network.history.reads_asked[b"r"] = index
    second.read_index(b"r")
    network.after(network.hosts[2])
    network.settle()
    network.beat(2)
    network.settle()
    assert network.history.reads_answered == 1


@pytest.mark.parametrize(("node_class", "caught"), [(Node, False), (ReadsTooSoon, True)])
def test_a_new_leader_does_not_read_below_what_its_predecessor_committed(
    node_class: type[Node], caught: bool
) -> None:
    try:
        new_leader_reads(node_class)
    except SafetyViolation:
        assert caught
    else:
        assert not caught
