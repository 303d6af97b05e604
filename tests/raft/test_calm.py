"""What keeps a healthy leader in office, and how it leaves on its own: thesis 9.6, 4.2.3, 6.2, 3.10."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from rusd.raft import (
    ChangeRefused,
    MessageType,
    Node,
    NotLeader,
    Role,
    TransferInProgress,
)
from rusd.raft.messages import TRANSFER
from tests.raft.builders import (
    acknowledge,
    answer,
    carry_out,
    make_leader,
    make_node,
    message,
    sent,
    tick,
)

REQUEST_VOTE = MessageType.REQUEST_VOTE
VOTE = MessageType.VOTE_RESPONSE
REQUEST_PRE_VOTE = MessageType.REQUEST_PRE_VOTE
PRE_VOTE = MessageType.PRE_VOTE_RESPONSE
HEARTBEAT = MessageType.HEARTBEAT


# -- PreVote (thesis 9.6) -----------------------------------------------------------


def test_a_pre_vote_changes_no_term() -> None:
    """9.6: a candidate only raises its term if it learns that a majority would grant their votes."""
    node = make_node([1])
    node.campaign()
    requests = sent(node)
    assert (node.role, node.term) == (Role.PRE_CANDIDATE, 1)
    assert [(m.type, m.term) for m in requests] == [(REQUEST_PRE_VOTE, 2)] * 2
    tick(node, 100)
    assert node.term == 1


def test_a_majority_of_pre_votes_starts_the_election() -> None:
    node = make_node([1])
    node.campaign()
    carry_out(node)
    node.step(message(PRE_VOTE, 2))
    assert (node.role, node.term, node.vote) == (Role.CANDIDATE, 2, 1)


def test_a_lost_pre_vote_makes_a_follower() -> None:
    node = make_node([1])
    node.campaign()
    carry_out(node)
    node.step(message(PRE_VOTE, 1, from_=2, reject=True))
    node.step(message(PRE_VOTE, 1, from_=3, reject=True))
    assert (node.role, node.term) == (Role.FOLLOWER, 1)


def test_granting_a_pre_vote_takes_no_vote_and_no_term() -> None:
    """9.6: PreVotes promise nothing, so several candidates may get one."""
    node = make_node([1])
    for candidate in (2, 3):
        reply = answer(node, message(REQUEST_PRE_VOTE, 2, from_=candidate, index=1, log_term=1))
        assert (reply.type, reply.reject, reply.term) == (PRE_VOTE, False, 2)
    assert (node.term, node.vote) == (1, 0)


def test_a_pre_vote_of_an_earlier_round_starts_nothing() -> None:
    node = make_node([1])
    node.step(message(PRE_VOTE, 2))
    assert (node.role, node.term) == (Role.FOLLOWER, 1)
    node.campaign()
    node.step(message(PRE_VOTE, 7))
    assert (node.role, node.term) == (Role.PRE_CANDIDATE, 1)


# -- stickiness (4.2.3) and CheckQuorum (6.2) -------------------------------------------


@pytest.mark.parametrize("kind", [REQUEST_VOTE, REQUEST_PRE_VOTE])
def test_who_hears_from_a_leader_ignores_candidates(kind: MessageType) -> None:
    """4.2.3: a vote request within the minimum election timeout of hearing from a leader changes nothing."""
    node = make_node([1], election_ticks=10)
    node.step(message(HEARTBEAT, 1))
    carry_out(node)
    tick(node, 9)
    node.step(message(kind, 8, from_=3, index=9, log_term=7))
    assert not node.has_ready()
    assert (node.term, node.leader_id) == (1, 2)


def test_without_a_leader_candidates_are_heard() -> None:
    node = make_node([1], election_ticks=10)
    node.step(message(HEARTBEAT, 1))
    carry_out(node)
    tick(node, 20)
    carry_out(node)
    assert not answer(node, message(REQUEST_VOTE, 8, from_=3, index=9, log_term=7)).reject


def test_a_leader_that_hears_from_no_majority_steps_down() -> None:
    """6.2: a leader steps down if an election timeout passes without a round to a majority."""
    node = make_leader(voters=range(1, 6), election_ticks=10)
    tick(node, 10)
    assert node.role is Role.LEADER  # the first interval gives the benefit of the doubt
    node.step(message(MessageType.HEARTBEAT_RESPONSE, node.term, from_=2))
    tick(node, 10)
    assert (node.role, node.leader_id, node.term) == (Role.FOLLOWER, 0, 1)


def test_a_leader_that_hears_from_a_majority_stays() -> None:
    node = make_leader(voters=range(1, 6), election_ticks=10)
    for _ in range(20):
        for peer in (2, 3):
            node.step(message(MessageType.HEARTBEAT_RESPONSE, node.term, from_=peer))
        tick(node, 10)
    assert node.role is Role.LEADER


def _beat(node: Node, peers: Sequence[int], timeouts: int) -> None:
    """Let election timeouts pass in which ``peers`` show that they live."""
    for _ in range(timeouts):
        for peer in peers:
            node.step(message(MessageType.HEARTBEAT_RESPONSE, node.term, from_=peer))
        tick(node, 10)


def test_a_leader_whose_disk_hangs_steps_down() -> None:
    """The others commit without it and would follow it for ever."""
    node = make_leader(election_ticks=10)
    node.propose(b"x")
    ready = node.ready()
    assert ready.must_sync
    _beat(node, (2, 3), 3)
    node.propose(b"waits for the next batch")
    node.ready()
    assert node.role is Role.LEADER
    _beat(node, (2, 3), 1)
    assert (node.role, node.leader_id, node.term) == (Role.FOLLOWER, 0, 1)


def test_a_leader_whose_disk_is_slow_stays() -> None:
    node = make_leader(election_ticks=10)
    for _ in range(5):
        node.propose(b"x")
        ready = node.ready()
        _beat(node, (2, 3), 3)
        node.persisted(*ready.mark)
    assert node.role is Role.LEADER


def test_a_leader_that_nobody_could_follow_waits_for_its_disk() -> None:
    node = make_leader(voters=(1,), learners=(2,), election_ticks=10)
    node.propose(b"x")
    assert node.ready().must_sync
    _beat(node, (2,), 10)
    assert node.role is Role.LEADER


def test_a_learner_does_not_keep_a_leader_in_office() -> None:
    node = make_leader(voters=(1, 2, 3), learners=(4, 5), election_ticks=10)
    for _ in range(2):
        for peer in (4, 5):
            node.step(message(MessageType.HEARTBEAT_RESPONSE, node.term, from_=peer))
        tick(node, 10)
    assert node.role is Role.FOLLOWER


# -- leadership transfer (3.10) -----------------------------------------------------------


def test_a_leader_hands_over_to_a_follower_that_is_up_to_date() -> None:
    """3.10: when the target's log matches, the leader sends TimeoutNow."""
    node = make_leader()
    acknowledge(node, 2, node.last_index)
    carry_out(node)
    node.transfer_leadership(2)
    assert [(m.type, m.to) for m in sent(node)] == [(MessageType.TIMEOUT_NOW, 2)]


def test_a_leader_brings_the_target_up_to_date_first() -> None:
    """3.10: the prior leader makes sure that the target has all its entries."""
    node = make_leader()
    node.transfer_leadership(2)
    assert sent(node) == []
    acknowledge(node, 2, node.last_index)
    assert MessageType.TIMEOUT_NOW in [m.type for m in sent(node)]


def test_a_leader_that_hands_over_takes_no_proposals() -> None:
    """3.10: the current leader stops accepting client requests."""
    node = make_leader(election_ticks=10)
    node.transfer_leadership(2)
    with pytest.raises(TransferInProgress) as caught:
        node.propose(b"x")
    assert caught.value.target == 2


def test_a_transfer_that_takes_too_long_is_given_up() -> None:
    """3.10: after about an election timeout the leader resumes."""
    node = make_leader(election_ticks=10)
    node.transfer_leadership(2)
    tick(node, 10)
    node.propose(b"x")


def test_who_is_told_to_take_over_campaigns_at_once_and_is_heard() -> None:
    """3.10: no PreVote, and a flag that lets the request through although a leader is alive."""
    node = make_node([1], me=2)
    node.step(message(HEARTBEAT, 1, from_=1, to=2))
    carry_out(node)
    node.step(message(MessageType.TIMEOUT_NOW, 1, from_=1, to=2))
    assert (node.role, node.term) == (Role.CANDIDATE, 2)
    request = next(m for m in sent(node) if m.to == 3)
    assert request.context == TRANSFER
    other = make_node([1], me=3)
    other.step(message(HEARTBEAT, 1, from_=1, to=3))
    assert not answer(other, request).reject


def test_leadership_goes_to_voters_only() -> None:
    node = make_leader(learners=(4,))
    for stranger in (4, 9):
        with pytest.raises(ChangeRefused):
            node.transfer_leadership(stranger)
    node.transfer_leadership(1)
    node.propose(b"x")
    with pytest.raises(NotLeader):
        make_node().transfer_leadership(2)
