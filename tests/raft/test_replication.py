"""Log replication: the leader's and the follower's side (§5.3), and figure 8 (§5.4.2)."""

from __future__ import annotations

import pytest

from rusd.raft import (
    Entry,
    InvariantViolation,
    Limits,
    MessageType,
    Node,
    TooManyUncommitted,
)
from tests.raft.builders import (
    ACK,
    APPEND,
    acknowledge,
    answer,
    append,
    carry_out,
    entries,
    make_leader,
    make_node,
    message,
    replicating,
    sent,
    tick,
)
from tests.raft.mutants import CommitsOldTerms, CountsItselfEarly

# -- the leader ---------------------------------------------------------------------


def test_a_proposal_goes_into_the_leaders_log_and_then_to_its_peers() -> None:
    """§5.3: the leader appends the command as a new entry and sends it to each of the other servers."""
    node = replicating(make_leader(), 2, 3)
    assert node.propose(b"set x") == (1, 2)
    ready = node.ready()
    assert ready.entries == [Entry(1, 2, data=b"set x")]
    for peer, sent_message in zip((2, 3), sorted(ready.messages, key=lambda m: m.to), strict=True):
        assert (sent_message.type, sent_message.to) == (APPEND, peer)
        assert (sent_message.index, sent_message.log_term) == (1, 1)
        assert sent_message.entries == ready.entries


def test_a_leaders_appends_need_not_wait_for_its_disk() -> None:
    """Thesis 10.2.1: the leader may write to its disk in parallel with replicating."""
    node = replicating(make_leader(), 2, 3)
    node.propose(b"x")
    ready = node.ready()
    assert ready.must_sync
    assert len(ready.messages) == 2
    assert ready.messages_after_persist == []


def test_an_entry_is_committed_once_it_is_on_a_majority() -> None:
    """§5.3: committed means that the leader has replicated it on a majority of the servers."""
    node = make_leader(voters=range(1, 6))
    acknowledge(node, 2, 1)
    assert node.commit_index == 0
    acknowledge(node, 3, 1)
    assert node.commit_index == 1


def test_followers_may_commit_before_the_leaders_own_disk() -> None:
    """10.2.1: an entry may be committed by a majority of followers before the leader has written it."""
    node = replicating(make_leader(), 2, 3)
    node.propose(b"x")
    ready = node.ready()
    acknowledge(node, 2, 2)
    assert node.commit_index == 1
    acknowledge(node, 3, 2)
    assert node.commit_index == 2
    assert node.ready().committed == []  # nothing is applied that this disk could still lose
    node.persisted(*ready.mark)
    assert [entry.index for entry in node.ready().committed] == [2]


@pytest.mark.parametrize(("node_class", "committed"), [(Node, 1), (CountsItselfEarly, 2)])
def test_a_leader_does_not_count_itself_before_its_disk_is_done(
    node_class: type[Node], committed: int
) -> None:
    """10.2.1: until then its own copy could be lost, and with it a majority."""
    node = replicating(make_leader(node_class=node_class), 2, 3)
    node.propose(b"x")
    node.ready()
    acknowledge(node, 2, 2)
    assert node.commit_index == committed


def test_learners_do_not_commit() -> None:
    """Thesis 4.2.1: a non-voting server is not counted towards a majority."""
    node = make_leader(voters=(1, 2, 3), learners=(4, 5))
    for learner in (4, 5):
        acknowledge(node, learner, 1)
    assert node.commit_index == 0


def test_the_commit_index_reaches_followers_with_the_next_message() -> None:
    """§5.3: the leader includes its highest committed index in future appends, heartbeats included."""
    node = make_leader()
    carry_out(node)
    acknowledge(node, 2, 1)
    messages = [(m.type, m.to, m.commit) for m in sent(node)]
    assert messages == [(APPEND, 2, 1)]
    tick(node, 1)
    assert [(m.to, m.commit) for m in sent(node)] == [(2, 1), (3, 0)]


def test_a_heartbeat_commits_no_more_than_it_says() -> None:
    """§5.3: beyond what the leader knows of this log, entries may be another leader's."""
    node = make_node([1, 1, 1])
    node.step(message(MessageType.HEARTBEAT, 1, commit=1))
    assert node.commit_index == 1


@pytest.mark.parametrize(("node_class", "committed"), [(Node, False), (CommitsOldTerms, True)])
def test_an_entry_of_an_earlier_term_is_not_committed_by_counting(
    node_class: type[Node], committed: bool
) -> None:
    """§5.4.2, figure 8 (c): the entry of term 2 is on a majority, and still it may be overwritten.

    S1 leads term 4 with a log of terms 1, 2 and its own blank entry; S2 and S3 hold
    the entry of term 2.  S5, with terms 1, 3, could still win term 5.
    """
    node = make_leader([1, 2], term=3, voters=range(1, 6), node_class=node_class)
    for peer in (2, 3):
        acknowledge(node, peer, 2)
    assert (node.commit_index == 2) is committed
    voter = make_node([1, 2], me=2, term=4, vote=1, voters=range(1, 6))
    request = message(MessageType.REQUEST_VOTE, 5, from_=5, to=2, index=2, log_term=3)
    assert not answer(voter, request).reject


def test_an_entry_of_the_current_term_commits_all_before_it() -> None:
    """§5.4.2, figure 8 (e): then all prior entries are committed, by the log matching property."""
    node = make_leader([1, 2], term=3, voters=range(1, 6))
    for peer in (2, 3):
        acknowledge(node, peer, 3)
    assert node.commit_index == 3
    assert [entry.term for entry in carry_out(node).committed] == [1, 2, 4]


def test_an_acknowledgement_of_what_was_never_sent_stops_the_leader() -> None:
    node = make_leader()
    with pytest.raises(InvariantViolation):
        acknowledge(node, 2, 9)


def test_answers_of_strangers_are_ignored() -> None:
    node = make_leader()
    acknowledge(node, 9, 1)
    node.step(message(MessageType.HEARTBEAT_RESPONSE, 1, from_=9))
    assert (node.commit_index, node.has_ready()) == (0, False)


def test_uncommitted_bytes_are_bounded() -> None:
    node = make_leader(limits=Limits(uncommitted_bytes=100))
    node.propose(b"x" * 60)
    with pytest.raises(TooManyUncommitted) as caught:
        node.propose(b"x" * 60)
    assert (caught.value.held, caught.value.limit) == (60, 100)
    carry_out(node)
    acknowledge(node, 2, node.last_index)
    node.propose(b"x" * 500)  # one always fits
    node.check()


def test_a_new_leader_counts_what_its_predecessors_left_uncommitted() -> None:
    node = make_leader([1, 1, 1], commit=1, limits=Limits(uncommitted_bytes=2))
    with pytest.raises(TooManyUncommitted):
        node.propose(b"x")
    node.check()


# -- the follower ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("index", "log_term", "accepted"),
    [(0, 0, True), (1, 1, True), (2, 2, True), (1, 2, False), (2, 1, False), (3, 3, False)],
)
def test_an_append_needs_the_entry_before_it(index: int, log_term: int, accepted: bool) -> None:
    """§5.3: a follower refuses new entries if it finds no entry with the same index and term before them."""
    node = make_node([1, 2])
    reply = answer(node, append(3, index, log_term))
    assert (reply.type, reply.reject, reply.index) == (ACK, not accepted, index)


@pytest.mark.parametrize(
    ("index", "log_term", "new", "result"),
    [
        (2, 2, [3], [1, 2, 3]),
        (1, 1, [3, 4], [1, 3, 4]),
        (0, 0, [1, 2], [1, 2]),
        (0, 0, [3], [3]),
        (0, 0, [1], [1, 2]),  # an old message takes nothing back
        (0, 0, [1, 2, 2, 2], [1, 2, 2, 2]),
    ],
)
def test_a_follower_deletes_only_what_conflicts(
    index: int, log_term: int, new: list[int], result: list[int]
) -> None:
    """§5.3: an entry that conflicts is deleted with all that follow; what agrees stays."""
    node = make_node([1, 2])
    reply = answer(node, append(4, index, log_term, entries(*new, first=index + 1)))
    assert [entry.term for entry in node.log.slice(1, node.last_index)] == result
    assert (reply.reject, reply.index) == (False, index + len(new))


def test_an_append_is_answered_after_it_is_durable() -> None:
    """Figure 2: stable storage before responding."""
    node = make_node([1])
    node.step(append(1, 1, 1, entries(1, 1, first=2)))
    ready = node.ready()
    assert ready.must_sync
    assert ready.messages == []
    assert [m.index for m in ready.messages_after_persist] == [3]


@pytest.mark.parametrize(
    ("commit", "new", "result"), [(1, [], 1), (2, [], 2), (3, [3], 3), (9, [3], 3), (9, [], 2)]
)
def test_a_follower_commits_up_to_its_last_new_entry(commit: int, new: list[int], result: int) -> None:
    """Figure 2, AppendEntries 5: the minimum of leaderCommit and the index of the last new entry."""
    node = make_node([1, 2, 2])
    answer(node, append(3, 2, 2, entries(*new, first=3), commit=commit))
    assert node.commit_index == result


def test_committed_entries_are_never_deleted() -> None:
    """§5.4: a leader that would delete them cannot have been elected; seeing it stops the replica."""
    node = make_node([1, 1], commit=2, check_quorum=False)
    reply = answer(node, append(3, 0, 0, entries(3)))
    assert (reply.reject, reply.index) == (False, 2)  # all before the commit index agrees already
    with pytest.raises(InvariantViolation):
        node.delete_from(2)


def test_a_commit_index_beyond_the_log_stops_the_replica() -> None:
    node = make_node([1])
    with pytest.raises(InvariantViolation):
        node.step(message(MessageType.HEARTBEAT, 1, commit=2))


def test_entries_that_do_not_follow_each_other_stop_the_replica() -> None:
    node = make_node([1])
    with pytest.raises(InvariantViolation):
        node.step(append(1, 1, 1, [Entry(1, 2), Entry(1, 4)]))
