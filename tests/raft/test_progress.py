"""How a leader brings each peer up to date: figure 7, the flow of appends, snapshots (§7)."""

from __future__ import annotations

import itertools

import pytest

from rusd.raft import (
    Configuration,
    ContractError,
    Flow,
    HardState,
    InvariantViolation,
    Limits,
    Message,
    MessageType,
    Node,
    Progress,
    Role,
    Snapshot,
)
from tests.raft.builders import (
    ACK,
    APPEND,
    acknowledge,
    answer,
    append,
    appends,
    carry_out,
    entries,
    make_leader,
    make_node,
    message,
    replicating,
    sent,
    silence,
    tick,
)

# -- figure 7, and how a leader finds where the logs agree ------------------------------------

LEADER = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6]
FIGURE_7 = {
    "a": [1, 1, 1, 4, 4, 5, 5, 6, 6],
    "b": [1, 1, 1, 4],
    "c": [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
    "d": [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
    "e": [1, 1, 1, 4, 4, 4, 4],
    "f": [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
}


def converse(leader: Node, follower: Node) -> int:
    """Carry messages to and fro until both are silent; the number of appends it took."""
    tick(leader, 1)  # its first probes are lost: a heartbeat makes it try again
    count = 0
    while True:
        messages = [m for m in sent(leader) if m.to == follower.id]
        if not messages:
            return count
        count += sum(m.type is APPEND for m in messages)
        for each in messages:
            follower.step(each)
        for reply in sent(follower):
            leader.step(reply)


@pytest.mark.parametrize("name", FIGURE_7)
def test_the_leader_makes_every_log_of_figure_7_its_own(name: str) -> None:
    """§5.3: the leader forces the followers' logs to duplicate its own."""
    leader = make_leader(LEADER, term=7)
    follower = make_node(FIGURE_7[name], me=2, term=7)
    assert leader.term == 8
    rounds = converse(leader, follower)
    assert follower.log.slice(1, follower.last_index) == leader.log.slice(1, leader.last_index)
    assert rounds <= 4


def test_a_rejection_skips_whole_terms() -> None:
    """§5.3: with the conflicting term in the answer, one round trip per term is enough, not one per entry."""
    leader = make_leader([1] * 3 + [5] * 200, term=5)
    follower = make_node([1] * 3 + [2] * 150 + [3] * 100, me=2, term=5)
    assert converse(leader, follower) <= 4
    assert follower.last_index == leader.last_index


def test_an_old_rejection_changes_nothing() -> None:
    node = replicating(make_leader([1, 1, 1]), 2, 3)
    node.step(message(ACK, node.term, index=2, reject=True, reject_hint=1, log_term=1))
    progress = node.progress[2]
    assert (progress.flow, progress.match, progress.next) == (Flow.REPLICATE, 4, 5)


def test_a_probe_is_sent_once_until_there_is_a_sign_of_life() -> None:
    node = make_leader()
    carry_out(node)
    node.propose(b"x")
    assert appends(node, 2) == []
    node.step(message(MessageType.HEARTBEAT_RESPONSE, 1))
    assert [len(m.entries) for m in appends(node, 2)] == [2]


def test_appends_are_pipelined_up_to_the_window() -> None:
    """Thesis 10.2.1: the leader sends the next entries without waiting for the answer to the last."""
    node = replicating(make_leader(limits=Limits(inflight_messages=2, append_bytes=1)), 2, 3)
    for _ in range(4):
        node.propose(b"x")
    assert [m.index for m in appends(node, 2)] == [1, 2]
    acknowledge(node, 2, 2)
    assert [m.index for m in appends(node, 2)] == [3]


def test_the_window_is_bounded_in_bytes_too() -> None:
    node = replicating(make_leader(limits=Limits(inflight_bytes=150, append_bytes=100)), 2, 3)
    for _ in range(4):
        node.propose(b"x" * 100)
    assert len(appends(node, 2)) == 2


def test_a_gap_takes_the_leader_back_to_probing() -> None:
    """§5.3: appends are retried until the follower has everything, lost messages included."""
    node = replicating(make_leader(), 2, 3)
    node.propose(b"lost")
    carry_out(node)
    node.propose(b"then")
    carry_out(node)
    node.step(message(ACK, 1, index=2, reject=True, reject_hint=1, log_term=1))
    (retry,) = appends(node, 2)
    assert (retry.index, len(retry.entries)) == (1, 2)
    assert node.progress[2].flow is Flow.PROBE


def test_a_lost_tail_is_found_by_the_next_heartbeat() -> None:
    node = replicating(make_leader(), 2, 3)
    node.propose(b"lost")
    carry_out(node)
    node.step(message(MessageType.HEARTBEAT_RESPONSE, 1))
    (question,) = appends(node, 2)
    assert (question.index, question.entries) == (2, [])


def test_what_was_sent_to_an_unreachable_peer_is_sent_again() -> None:
    node = replicating(make_leader(), 2, 3)
    node.propose(b"x")
    carry_out(node)
    node.report_unreachable(2)
    assert [m.index for m in appends(node, 2)] == [1]


def test_progress_notices_what_is_wrong() -> None:
    progress = Progress(5, max_messages=2, max_bytes=100)
    progress.check()
    progress.match = 5
    with pytest.raises(InvariantViolation):
        progress.check()


# -- snapshots (§7) -----------------------------------------------------------------------

SNAPSHOT = Snapshot(8, 4, Configuration(frozenset({1, 2, 3, 4})))


def install(term: int = 5, snapshot: Snapshot | None = SNAPSHOT) -> Message:
    return message(MessageType.INSTALL_SNAPSHOT, term, snapshot=snapshot)


def test_a_peer_whose_entries_are_gone_is_sent_a_snapshot() -> None:
    """§7: the leader has discarded the next entry that the follower needs."""
    node = replicating(make_leader(), 3)
    node.log._max_entries = 4
    silence(node, 2)
    for _ in range(8):
        node.propose(b"x")
        carry_out(node)
        acknowledge(node, 3, node.last_index)
    carry_out(node)
    base = node.log.base_index
    assert base > 1
    node.step(message(MessageType.HEARTBEAT_RESPONSE, 1))
    (offer,) = [m for m in sent(node) if m.to == 2]
    assert (offer.type, offer.index, node.progress[2].flow) == (
        MessageType.INSTALL_SNAPSHOT,
        base,
        Flow.SNAPSHOT,
    )
    tick(node, 1)
    node.step(message(MessageType.HEARTBEAT_RESPONSE, 1))
    assert appends(node, 2) == []
    acknowledge(node, 2, base)
    assert [m.index for m in appends(node, 2)] == [base]


def test_a_failed_snapshot_is_offered_again_at_the_next_sign_of_life() -> None:
    node = replicating(make_leader(), 3)
    node.progress[2].become_snapshot()
    node.report_snapshot(2)
    assert sent(node) == []
    node.step(message(MessageType.HEARTBEAT_RESPONSE, 1))
    assert [m.type for m in sent(node)] == [APPEND]


def test_a_snapshot_takes_the_place_of_the_log() -> None:
    """§7: the follower discards its entire log; it is all superseded by the snapshot."""
    node = make_node([1, 1, 2])
    node.step(install())
    assert not node.may_campaign()
    ready = node.ready()
    assert (ready.snapshot, ready.must_sync, ready.entries) == (SNAPSHOT, True, [])
    assert ready.hard_state == HardState(5, 0, 8)
    assert [(m.type, m.index) for m in ready.messages_after_persist] == [(ACK, 8)]
    node.persisted(*ready.mark)
    node.applied(8)
    node.check()
    assert (node.last_index, node.commit_index, node.applied_index) == (8, 8, 8)
    assert node.configuration == SNAPSHOT.configuration


def test_entries_after_a_snapshot_are_handed_out_with_or_after_it() -> None:
    node = make_node([1])
    node.step(install())
    node.step(append(5, 8, 4, entries(5, first=9), commit=9))
    ready = node.ready()
    assert (ready.snapshot, ready.entries, ready.committed) == (SNAPSHOT, entries(5, first=9), [])
    node.persisted(*ready.mark)
    assert node.ready().committed == entries(5, first=9)


def test_a_snapshot_that_describes_a_prefix_of_the_log_keeps_what_follows() -> None:
    """§7: the entries after the snapshot are still valid and must be kept."""
    node = make_node([1, 1, 2, 4, 4, 4, 4, 4, 4, 4])
    node.step(install())
    ready = carry_out(node)
    assert ready.snapshot is None
    assert (node.last_index, node.commit_index) == (10, 8)


def test_an_old_snapshot_changes_nothing() -> None:
    node = make_node([4] * 9, commit=9)
    reply = answer(node, install())
    assert (reply.type, reply.index, node.last_index) == (ACK, 9, 9)


def test_a_snapshot_message_needs_its_snapshot() -> None:
    with pytest.raises(ContractError):
        make_node().step(install(snapshot=None))


def test_a_leader_ignores_appends_of_itself_being_deposed() -> None:
    node = make_leader([1])
    node.step(append(7, 2, 2, entries(7, first=3)))
    assert (node.role, node.term, node.last_index) == (Role.FOLLOWER, 7, 3)


def test_the_log_is_kept_for_a_peer_that_is_only_slow_but_not_without_bounds() -> None:
    node = replicating(make_leader(limits=Limits(kept_entries=30)), 2, 3)
    node.log._max_entries = 4
    slow = node.last_index
    for count in range(1, 40):
        node.propose(b"x")
        carry_out(node)
        acknowledge(node, 3, node.last_index)
        assert node.log.base_index <= slow or count > 25
        assert node.log.entries_held <= 32
    assert node.log.base_index > slow


def test_the_log_after_a_snapshot_that_is_sent_is_kept_until_it_is_released() -> None:
    node = replicating(make_leader(), 3)
    node.log._max_entries = 4
    silence(node, 2)
    node.keep_log(2, node.last_index)
    kept = node.last_index
    for release in (False, True):
        if release:
            node.release_log(2)
        for _ in range(20):
            node.propose(b"x")
            carry_out(node)
            acknowledge(node, 3, node.last_index)
        carry_out(node)
        assert (node.log.base_index > kept) == release
    node.keep_log(9, 1)  # nobody
    node.release_log(9)


def test_a_silent_peer_is_offered_no_snapshot_until_it_shows_life() -> None:
    node = replicating(make_leader(), 3)
    node.log._max_entries = 4
    silence(node, 2)
    for _ in range(8):
        node.propose(b"x")
        carry_out(node)
        acknowledge(node, 3, node.last_index)
    node.report_unreachable(3)
    assert node.log.base_index > 1
    node.progress[2].paused = False
    assert [m for m in sent(node) if m.to == 2] == []
    node.step(message(MessageType.HEARTBEAT_RESPONSE, 1))
    assert [m.type for m in sent(node) if m.to == 2] == [MessageType.INSTALL_SNAPSHOT]


def test_who_is_owed_what_is_gone_and_falls_silent_again_is_not_owed_it_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its window was full while the log was cut, and opens just before its silence is noticed."""
    node = replicating(make_leader(limits=Limits(inflight_messages=2, append_bytes=1)), 2, 3)
    node.log._max_entries = 4
    window_end = node.last_index + 2
    silence(node, 2)
    for _ in range(12):
        node.propose(b"x")
        carry_out(node)
        acknowledge(node, 3, node.last_index)
    carry_out(node)
    assert node.log.base_index > window_end
    acknowledge(node, 2, window_end)
    tick(node, node.options.election_ticks)
    looks = itertools.count()
    is_owed = Progress.is_owed

    def counted(self: Progress, last_index: int, commit_index: int) -> bool:
        assert next(looks) < 100, "it is owed something for ever"
        return is_owed(self, last_index, commit_index)

    monkeypatch.setattr(Progress, "is_owed", counted)
    assert [m.type for m in sent(node) if m.to == 2] == [MessageType.HEARTBEAT] * node.options.election_ticks
    node.step(message(MessageType.HEARTBEAT_RESPONSE, 1))
    assert [m.type for m in sent(node) if m.to == 2] == [MessageType.INSTALL_SNAPSHOT]


def test_progress_notices_a_window_that_does_not_add_up() -> None:
    progress = Progress(1, max_messages=2, max_bytes=100)
    progress.acknowledged(0, 0)
    progress.sent(entries(1, data=b"abc"), 0)
    progress.check()
    for name, value in [("_inflight_bytes", 1), ("flow", Flow.PROBE)]:
        before = getattr(progress, name)
        setattr(progress, name, value)
        with pytest.raises(InvariantViolation):
            progress.check()
        setattr(progress, name, before)
