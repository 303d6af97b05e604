"""Configurations: thesis chapter 4, one rule at a time."""

from __future__ import annotations

import random
from typing import Any

import pytest

from rusd.raft import (
    Change,
    ChangeKind,
    ChangeRefused,
    Configuration,
    Entry,
    EntryType,
    HardState,
    InvariantViolation,
    Log,
    Node,
    NotLeader,
    Role,
    bootstrap,
    changed,
    decode_configuration,
    encode_configuration,
)
from tests.raft.builders import acknowledge, append, carry_out, entries, make_leader, make_node, silence, tick
from tests.raft.history import SafetyViolation
from tests.raft.mutants import ChangesAtAnyTime
from tests.raft.network import Network

ADD, LEARN, REMOVE = ChangeKind.ADD_VOTER, ChangeKind.ADD_LEARNER, ChangeKind.REMOVE


def configuration(voters: set[int], learners: set[int] | None = None) -> Configuration:
    return Configuration(frozenset(voters), frozenset(learners or set()))


def configuration_entry(term: int, index: int, voters: set[int]) -> Entry:
    return Entry(term, index, EntryType.CONFIGURATION, encode_configuration(configuration(voters)))


def settled_leader(**kwargs: Any) -> Node:
    node = make_leader(**kwargs)
    for peer in node.progress:
        acknowledge(node, peer, node.last_index)
    carry_out(node)
    return node


# -- values -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "member", "voters", "learners"),
    [
        (ADD, 4, {1, 2, 4}, {3}),
        (ADD, 3, {1, 2, 3}, set()),
        (LEARN, 4, {1, 2}, {3, 4}),
        (REMOVE, 1, {2}, {3}),
        (REMOVE, 3, {1, 2}, set()),
    ],
)
def test_a_change_is_a_single_step(
    kind: ChangeKind, member: int, voters: set[int], learners: set[int]
) -> None:
    assert changed(configuration({1, 2}, {3}), Change(kind, member)) == configuration(voters, learners)


@pytest.mark.parametrize(
    ("kind", "member"), [(ADD, 1), (ADD, 0), (LEARN, 1), (LEARN, 3), (REMOVE, 9), (REMOVE, 0)]
)
def test_a_change_that_makes_no_sense_is_refused(kind: ChangeKind, member: int) -> None:
    with pytest.raises(ChangeRefused):
        changed(configuration({1, 2}, {3}), Change(kind, member))


def test_the_last_voter_is_never_removed() -> None:
    with pytest.raises(ChangeRefused):
        changed(configuration({1}, {2}), Change(REMOVE, 1))


@pytest.mark.parametrize(
    "value", [configuration(set()), configuration({1}), configuration({1, 2**64 - 1}, {7, 8})]
)
def test_a_configuration_is_read_as_it_was_written(value: Configuration) -> None:
    assert decode_configuration(encode_configuration(value, b"urls")) == (value, b"urls")


@pytest.mark.parametrize("data", [b"", b"\0" * 7, encode_configuration(configuration({1, 2}))[:-1]])
def test_a_malformed_configuration_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="too short"):
        decode_configuration(data)


def test_a_new_cluster_begins_with_one_entry_per_member() -> None:
    hard_state, first = bootstrap([(5, b"five"), (3, b"three")])
    assert hard_state == HardState(term=1, vote=0, commit=2)
    assert [(entry.term, entry.index, entry.type) for entry in first] == [
        (1, 1, EntryType.CONFIGURATION),
        (1, 2, EntryType.CONFIGURATION),
    ]
    assert decode_configuration(first[1].data) == (configuration({3, 5}), b"three")


@pytest.mark.parametrize("members", [[], [(1, b""), (1, b"")], [(0, b"")]])
def test_a_cluster_of_nobody_or_of_twins_is_refused(members: list[tuple[int, bytes]]) -> None:
    with pytest.raises((ValueError, ChangeRefused)):
        bootstrap(members)


# -- rules --------------------------------------------------------------------------------


def test_a_configuration_is_in_effect_when_it_is_appended() -> None:
    """4.1: the new configuration takes effect on each server as soon as it is added to its log."""
    leader = settled_leader()
    leader.propose_configuration(Change(ADD, 4))
    assert leader.commit_index < leader.last_index
    assert leader.configuration.voters == {1, 2, 3, 4}
    assert set(leader.progress) == {2, 3, 4}
    follower = make_node([1])
    follower.step(append(1, 1, 1, [configuration_entry(1, 2, {1, 2, 3, 4})]))
    assert follower.configuration.voters == {1, 2, 3, 4}


def test_a_configuration_is_committed_by_its_own_majority() -> None:
    """4.1: a majority of the *new* configuration commits its entry."""
    node = settled_leader()
    _, index = node.propose_configuration(Change(ADD, 4))
    carry_out(node)
    acknowledge(node, 2, index)
    assert node.commit_index < index
    acknowledge(node, 4, index)
    assert node.commit_index == index


def test_a_truncated_configuration_is_rolled_back() -> None:
    """4.1: if its entry is removed, the server falls back to the configuration before it."""
    node = make_node([1])
    node.step(
        append(1, 1, 1, [configuration_entry(1, 2, {1, 2, 3, 4}), configuration_entry(1, 3, {1, 2, 3})])
    )
    node.step(append(2, 2, 1, entries(2, first=3)))
    assert node.configuration.voters == {1, 2, 3, 4}
    node.step(append(3, 1, 1, entries(3, first=2)))
    assert node.configuration.voters == {1, 2, 3}
    node.check()


def test_a_restart_takes_the_latest_configuration_in_the_log() -> None:
    """4.1: the latest in the log, whether it is committed or not."""
    hard_state, first = bootstrap([(1, b""), (2, b"")])
    log = Log([*first, configuration_entry(1, 3, {1})])
    node = Node(1, log, hard_state, Configuration(), applied=0, random=random.Random(1))
    assert node.configuration.voters == {1}
    assert node.configuration_at(2).voters == {1, 2}
    assert node.configuration_at(0).voters == set()


def test_one_change_at_a_time() -> None:
    """4.1: no new change while the last configuration entry is not committed."""
    node = settled_leader()
    _, index = node.propose_configuration(Change(ADD, 4))
    with pytest.raises(ChangeRefused):
        node.propose_configuration(Change(ADD, 5))
    carry_out(node)
    for peer in (2, 3):
        acknowledge(node, peer, index)
    node.propose_configuration(Change(ADD, 5))
    assert node.configuration.voters == {1, 2, 3, 4, 5}


def test_no_change_before_the_leader_has_committed_in_its_term() -> None:
    """The correction to 4.1: else two leaders' changes could both count majorities that do not meet."""
    node = make_leader()
    with pytest.raises(ChangeRefused):
        node.propose_configuration(Change(ADD, 4))
    acknowledge(node, 2, 1)
    node.propose_configuration(Change(ADD, 4))


def test_only_a_leader_changes_the_configuration() -> None:
    with pytest.raises(NotLeader):
        make_node().propose_configuration(Change(ADD, 4))


def test_a_learner_is_promoted_in_one_step_and_keeps_its_progress() -> None:
    """4.2.1: a new server first catches up without a vote."""
    node = settled_leader()
    _, index = node.propose_configuration(Change(LEARN, 4))
    carry_out(node)
    for peer in (2, 4):
        acknowledge(node, peer, index)
    carry_out(node)
    node.propose_configuration(Change(ADD, 4))
    assert node.progress[4].match == index
    assert node.configuration == configuration({1, 2, 3, 4})


def test_a_removed_leader_steps_down_when_that_is_committed() -> None:
    """4.2.2: it manages a cluster that does not include itself until then, and does not count itself."""
    node = settled_leader()
    _, index = node.propose_configuration(Change(REMOVE, 1))
    carry_out(node)
    acknowledge(node, 2, index)
    assert (node.role, node.commit_index) == (Role.LEADER, index - 1)
    acknowledge(node, 3, index)
    assert (node.role, node.leader_id, node.commit_index) == (Role.FOLLOWER, 0, index)
    tick(node, 100)
    assert node.role is Role.FOLLOWER


def test_who_holds_the_only_copy_of_its_own_removal_can_still_be_elected() -> None:
    """4.2.2: such a server may be needed until the entry is committed; its own vote does not count."""
    network = Network(2, seed=1)
    network.elect(1).propose_configuration(Change(REMOVE, 1))
    network.hosts[1].pump()
    network.pool = []  # host 2 never hears of it
    network.hosts[1].sync()
    network.hosts[1].crash(written=True)
    network.hosts[1].start()
    assert network.node(1).configuration.voters == {2}
    network.node(2).campaign()
    network.after(network.hosts[2])
    network.settle()
    assert network.leader() is None  # its log is shorter, and it needs the other's vote
    network.recover()
    assert network.node(2).role is Role.LEADER
    assert network.node(2).configuration.voters == {2}
    network.node(1).campaign()
    assert network.node(1).role is Role.FOLLOWER


def test_the_second_of_two_can_be_removed_while_it_is_down() -> None:
    node = settled_leader(voters=(1, 2))
    node.propose_configuration(Change(REMOVE, 2))
    committed = carry_out(node).committed
    assert committed[-1].type is EntryType.CONFIGURATION
    assert node.is_sole_leader


def test_the_configuration_survives_trimming() -> None:
    hard_state, first = bootstrap([(1, b"")])
    node = Node(1, Log(first, max_entries=4), hard_state, Configuration(), applied=0, random=random.Random(1))
    node.campaign()
    carry_out(node)
    node.propose_configuration(Change(LEARN, 2))
    silence(node, 2)
    for _ in range(20):
        node.propose(b"x")
        carry_out(node)
    assert node.log.base_index > 3
    assert node.configuration == configuration({1}, {2})
    assert node.configuration_at(node.applied_index) == configuration({1}, {2})
    with pytest.raises(LookupError):
        node.configuration_at(1)


def test_a_malformed_configuration_entry_stops_the_replica() -> None:
    node = make_node([1])
    with pytest.raises((ValueError, InvariantViolation)):
        node.step(append(1, 1, 1, [Entry(1, 2, EntryType.CONFIGURATION, b"?")]))


def two_leaders_change_the_configuration(node_class: type[Node]) -> None:
    """The story that corrected 4.1, with four servers.

    Host 1 adds host 5, and only host 5 hears of it.  Host 2, elected meanwhile by
    2, 3 and 4, removes host 1, which is committed by 2 and 3.  Then host 1
    restarts, is elected by 1, 4 and 5, and knows nothing of what was committed.
    """
    network = Network(5, seed=1, voters=4, node_class=node_class, check_quorum=False, pre_vote=False)
    network.elect(1)
    network.side = frozenset({1, 5})
    network.node(1).propose_configuration(Change(ADD, 5))
    network.after(network.hosts[1])
    network.settle()

    second = network.node(2)
    second.campaign()
    network.after(network.hosts[2])
    network.settle_until(lambda: second.role is Role.LEADER)
    network.pool = []  # its first entry reaches nobody
    network.side = frozenset({1, 4, 5})
    try:
        second.propose_configuration(Change(REMOVE, 1))
    except ChangeRefused:
        return
    network.after(network.hosts[2])
    network.beat(2)
    network.settle()

    network.hosts[1].crash(written=True)
    network.hosts[1].start()
    for _ in range(3):
        network.node(1).campaign()
        network.after(network.hosts[1])
        network.settle()


def test_why_a_leader_commits_in_its_own_term_before_it_changes_the_configuration() -> None:
    two_leaders_change_the_configuration(Node)
    with pytest.raises(SafetyViolation):
        two_leaders_change_the_configuration(ChangesAtAnyTime)
