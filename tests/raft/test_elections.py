"""Leader election: each test shows one sentence of the paper or the thesis, with its section."""

from __future__ import annotations

import copy

import pytest

from rusd.raft import (
    HardState,
    InvariantViolation,
    MessageType,
    Role,
)
from rusd.raft.messages import TRANSFER
from tests.raft.builders import (
    answer,
    append,
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


def test_a_server_starts_as_a_follower() -> None:
    """§5.2: servers begin as followers."""
    node = make_node()
    assert (node.role, node.leader_id, node.term) == (Role.FOLLOWER, 0, 0)


@pytest.mark.parametrize("role", [Role.FOLLOWER, Role.CANDIDATE, Role.LEADER])
def test_a_higher_term_makes_anybody_a_follower(role: Role) -> None:
    """§5.1: whoever finds its term out of date becomes a follower at once."""
    node = make_leader() if role is Role.LEADER else make_node(pre_vote=False)
    if role is Role.CANDIDATE:
        node.campaign()
    assert node.role is role
    node.step(message(HEARTBEAT, 9))
    assert (node.role, node.term, node.leader_id, node.vote) == (Role.FOLLOWER, 9, 2, 0)


@pytest.mark.parametrize(
    ("request_kind", "answer_kind"),
    [
        (REQUEST_VOTE, VOTE),
        (REQUEST_PRE_VOTE, PRE_VOTE),
        (MessageType.APPEND_ENTRIES, MessageType.APPEND_RESPONSE),
        (HEARTBEAT, MessageType.APPEND_RESPONSE),
    ],
)
def test_a_request_of_a_stale_term_is_rejected(request_kind: MessageType, answer_kind: MessageType) -> None:
    """§5.1: a request with a stale term is rejected, and the answer carries the newer one."""
    node = make_node([1], term=5)
    reply = answer(node, message(request_kind, 4))
    assert (reply.type, reply.term, reply.reject) == (answer_kind, 5, True)


def test_a_stale_response_is_ignored() -> None:
    """§5.1: terms act as a clock that tells obsolete information apart."""
    node = make_leader([1])
    node.step(message(MessageType.APPEND_RESPONSE, node.term - 1, index=2))
    assert node.commit_index == 0
    assert not node.has_ready()


def test_a_follower_that_hears_nothing_for_an_election_timeout_campaigns() -> None:
    """§5.2: no communication over the election timeout means that there is no viable leader."""
    node = make_node([1], pre_vote=False, election_ticks=10)
    tick(node, 9)
    assert node.role is Role.FOLLOWER
    tick(node, 10)
    assert (node.role, node.term, node.vote) == (Role.CANDIDATE, 2, 1)
    requests = sent(node)
    assert [(m.type, m.to, m.index, m.log_term) for m in requests] == [
        (REQUEST_VOTE, 2, 1, 1),
        (REQUEST_VOTE, 3, 1, 1),
    ]


def test_a_follower_stays_one_while_it_hears_from_a_leader() -> None:
    """§5.2: a server remains a follower as long as it receives valid calls."""
    node = make_node(election_ticks=10)
    for _ in range(50):
        tick(node, 9)
        node.step(message(HEARTBEAT, 1))
        carry_out(node)
    assert (node.role, node.leader_id) == (Role.FOLLOWER, 2)


def test_election_timeouts_are_drawn_from_an_interval() -> None:
    """§5.2: election timeouts are chosen randomly from a fixed interval."""
    node = make_node(election_ticks=10)
    drawn = {node.election_timeout() for _ in range(500)}
    assert drawn == set(range(10, 20))


def test_timeouts_are_drawn_anew_for_each_election() -> None:
    """§5.2: a candidate restarts its randomised timeout at the start of an election."""
    node = make_node(pre_vote=False, election_ticks=10)
    spans, span = [], 0
    for _ in range(300):
        term = node.term
        node.tick()
        carry_out(node)
        span += 1
        if node.term != term:
            spans.append(span)
            span = 0
    assert len(set(spans)) > 3
    assert min(spans) >= 10
    assert max(spans) < 20


def test_a_follower_draws_another_timeout_with_each_leader() -> None:
    """Or it would keep a long one for good, and with it the next election would be long in coming."""
    node = make_node(election_ticks=10)
    spans = set()
    for term in range(1, 100):
        node.step(message(REQUEST_VOTE, term, context=TRANSFER))
        assert node.vote == 2
        node.step(message(HEARTBEAT, term))
        left, ticks = copy.deepcopy(node), 0
        while left.role is Role.FOLLOWER:
            left.tick()
            ticks += 1
        spans.add(ticks)
    assert spans == set(range(10, 20))


@pytest.mark.parametrize(
    ("vote", "candidate", "granted"), [(0, 2, True), (0, 3, True), (2, 2, True), (3, 2, False), (1, 2, False)]
)
def test_a_server_votes_for_one_candidate_in_a_term(vote: int, candidate: int, granted: bool) -> None:
    """§5.2: at most one vote in a given term, first come first served."""
    node = make_node([1], term=3, vote=vote)
    reply = answer(node, message(REQUEST_VOTE, 3, from_=candidate, index=1, log_term=1))
    assert reply.reject is not granted
    assert node.vote == (candidate if granted else vote)


@pytest.mark.parametrize(
    ("mine", "log_term", "index", "granted"),
    [
        ([1], 1, 1, True),  # the same log
        ([1], 1, 2, True),  # longer
        ([1, 1], 1, 1, False),  # shorter
        ([1], 2, 1, True),  # later term
        ([1], 2, 2, True),
        ([1, 1], 2, 1, True),  # later term, shorter
        ([2], 1, 1, False),  # earlier term
        ([2], 1, 2, False),  # earlier term, longer
        ([1, 2], 1, 9, False),
    ],
)
@pytest.mark.parametrize("kind", [REQUEST_VOTE, REQUEST_PRE_VOTE])
def test_only_an_up_to_date_candidate_gets_a_vote(
    kind: MessageType, mine: list[int], log_term: int, index: int, granted: bool
) -> None:
    """§5.4.1: later last term first, then length, decides which of two logs is more up to date."""
    node = make_node(mine, term=3)
    reply = answer(node, message(kind, 4, index=index, log_term=log_term))
    assert reply.reject is not granted


def test_a_vote_leaves_only_after_it_is_durable() -> None:
    """Figure 2: persistent state is updated on stable storage before responding."""
    node = make_node([1])
    node.step(message(REQUEST_VOTE, 2, index=1, log_term=1))
    ready = node.ready()
    assert ready.must_sync
    assert ready.hard_state == HardState(term=2, vote=2, commit=0)
    assert ready.messages == []
    assert [m.type for m in ready.messages_after_persist] == [VOTE]


def test_a_vote_survives_a_restart() -> None:
    """§5.2: one vote in a term, restarts included."""
    node = make_node([1], term=2, vote=2)
    assert answer(node, message(REQUEST_VOTE, 2, from_=3, index=9, log_term=2)).reject


def test_granting_a_vote_restarts_the_clock_and_refusing_does_not() -> None:
    """§5.2 (figure 2, followers): the timeout elapses only without granting a vote."""
    for index, expected in [(1, Role.FOLLOWER), (0, Role.CANDIDATE)]:
        node = make_node([1], pre_vote=False, check_quorum=False, election_ticks=10)
        tick(node, 9)
        node.step(message(REQUEST_VOTE, 1, index=index, log_term=index))
        carry_out(node)
        tick(node, 9 if index else 19)
        assert node.role is expected


def test_candidates_with_short_logs_do_not_keep_others_from_standing() -> None:
    """Figure 2, followers: a newer term alone does not put the next election off."""
    node = make_node([1], pre_vote=False, check_quorum=False, election_ticks=10)
    for term in range(2, 8):
        node.step(message(REQUEST_VOTE, term, index=0, log_term=0))
        tick(node, 5)
        carry_out(node)
        if node.role is Role.CANDIDATE:
            return
    pytest.fail("it never stood for election")


def test_a_leader_that_is_deposed_waits_as_long_as_anybody() -> None:
    """Its clock ran for its quorum."""
    node = make_leader(check_quorum=False, election_ticks=10)
    tick(node, 9)
    node.step(message(REQUEST_VOTE, 5, index=0, log_term=0))
    carry_out(node)
    tick(node, 9)
    assert node.role is Role.FOLLOWER


@pytest.mark.parametrize(
    ("size", "grants", "refusals", "role"),
    [
        (3, [2], [], Role.LEADER),
        (3, [], [2], Role.CANDIDATE),
        (3, [], [2, 3], Role.FOLLOWER),
        (5, [2], [], Role.CANDIDATE),
        (5, [2, 3], [], Role.LEADER),
        (5, [2, 3], [4, 5], Role.LEADER),
        (5, [2], [3, 4, 5], Role.FOLLOWER),
        (5, [2, 2, 2], [], Role.CANDIDATE),
    ],
)
def test_a_majority_of_votes_wins(size: int, grants: list[int], refusals: list[int], role: Role) -> None:
    """§5.2: a candidate wins with votes of a majority of the full cluster in the same term."""
    node = make_node([1], voters=range(1, size + 1), pre_vote=False)
    node.campaign()
    carry_out(node)
    for voter in grants:
        node.step(message(VOTE, 2, from_=voter))
    for voter in refusals:
        node.step(message(VOTE, 2, from_=voter, reject=True))
    assert node.role is role


def test_votes_of_strangers_do_not_count() -> None:
    """Thesis 4.2.1: learners, and servers that are no members, do not decide."""
    node = make_node(voters=(1, 2, 3), learners=(4,), pre_vote=False)
    node.campaign()
    carry_out(node)
    node.step(message(VOTE, 1, from_=4))
    node.step(message(VOTE, 1, from_=9))
    assert node.role is Role.CANDIDATE


def test_a_candidate_counts_its_own_vote_when_it_is_durable() -> None:
    """Figure 2: a vote exists once it is on stable storage, the candidate's own too."""
    node = make_node(voters=(1,), pre_vote=False)
    node.campaign()
    ready = node.ready()
    assert (node.role, ready.hard_state) == (Role.CANDIDATE, HardState(1, 1, 0))
    node.persisted(*ready.mark)
    assert node.role is Role.LEADER


def test_vote_requests_wait_for_the_disk() -> None:
    """Thesis 10.2.1 lets only a leader's appends go first: a vote request promises a term and a log."""
    node = make_node(pre_vote=False)
    node.campaign()
    ready = node.ready()
    assert ready.messages == []
    assert len(ready.messages_after_persist) == 2


def test_a_candidate_whose_disk_is_slow_does_not_start_over() -> None:
    node = make_node(pre_vote=False, election_ticks=10)
    node.campaign()
    ready = node.ready()
    tick(node, 100)
    assert node.term == 1
    node.persisted(*ready.mark)
    tick(node, 20)
    assert node.term == 2


def test_a_candidate_that_hears_from_a_leader_of_its_term_follows_it() -> None:
    """§5.2: if the leader's term is at least as large, the candidate recognises it."""
    node = make_node(pre_vote=False)
    node.campaign()
    carry_out(node)
    node.step(append(1, 0, 0))
    assert (node.role, node.leader_id) == (Role.FOLLOWER, 2)


def test_two_leaders_in_one_term_are_never_accepted() -> None:
    """§5.2: election safety.  Seeing it broken stops the replica."""
    node = make_leader()
    with pytest.raises(InvariantViolation):
        node.step(append(node.term, 0, 0))


def test_a_split_vote_is_followed_by_another_election() -> None:
    """§5.2: when votes are split, each candidate times out and starts a new term."""
    node = make_node(pre_vote=False, check_quorum=False, election_ticks=10)
    node.campaign()
    carry_out(node)
    node.step(message(REQUEST_VOTE, 1, from_=2))
    tick(node, 20)
    assert (node.role, node.term) == (Role.CANDIDATE, 2)


def test_a_new_leader_announces_itself_with_a_blank_entry() -> None:
    """§8: a leader commits a blank no-op entry at the start of its term."""
    node = make_leader([1])
    assert (node.log.last_term, node.last_index) == (2, 2)
    assert node.log.slice(2, 2)[0].data == b""


def test_a_leader_sends_heartbeats() -> None:
    """§5.2: leaders send periodic heartbeats to keep their authority."""
    node = make_leader(heartbeat_ticks=3)
    tick(node, 2)
    assert not node.has_ready()
    tick(node, 1)
    assert [(m.type, m.to) for m in sent(node)] == [(HEARTBEAT, 2), (HEARTBEAT, 3)]


@pytest.mark.parametrize("voters", [(2, 3), ()])
def test_only_a_voter_campaigns(voters: tuple[int, ...]) -> None:
    """Thesis 4.2.1: a non-voting member, or a server not added yet, never stands for election."""
    node = make_node(voters=voters, learners=(1,))
    node.campaign()
    tick(node, 100)
    assert (node.role, node.term) == (Role.FOLLOWER, 0)


def test_the_same_seed_gives_the_same_timeouts() -> None:
    one, other = make_node(seed=3), make_node(seed=3)
    assert [one.election_timeout() for _ in range(9)] == [other.election_timeout() for _ in range(9)]


def test_a_candidate_that_meets_a_higher_term_stands_again_when_its_own_time_is_over() -> None:
    """§5.2 (figure 2, candidates): a candidate's clock starts with its election."""
    node = make_node([1, 1], pre_vote=False, check_quorum=False, election_ticks=10)
    node.campaign()
    carry_out(node)
    tick(node, 9)
    node.step(message(REQUEST_VOTE, 7, index=1, log_term=1))
    carry_out(node)
    assert node.role is Role.FOLLOWER
    tick(node, 10)
    assert (node.role, node.term) == (Role.CANDIDATE, 8)
