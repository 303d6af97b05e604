"""A node that breaks one rule is found out by the network.

The rarer stories are told step by step beside the rule's own tests: figure 8
and the leader's early count in ``test_replication``, reads in ``test_reads``,
overlapping changes in ``test_membership``.
"""

from __future__ import annotations

import pytest

from rusd.raft import Message, Node
from rusd.raft.errors import InvariantViolation
from tests.raft.history import SafetyViolation
from tests.raft.mutants import (
    AnswersEarly,
    CountsItselfEarly,
    ReadsTooSoon,
    SkipsTheConsistencyCheck,
    TruncatesWithoutConflict,
    VotesForAnyLog,
    VotesTwice,
)
from tests.raft.network import Network
from tests.raft.test_network import ROUGH

MAX_SEEDS = 150


@pytest.mark.parametrize(
    "mutant",
    [
        VotesTwice,
        VotesForAnyLog,
        SkipsTheConsistencyCheck,
        TruncatesWithoutConflict,
        AnswersEarly,
        ReadsTooSoon,
    ],
)
def test_the_network_finds_a_broken_rule(mutant: type[Node]) -> None:
    for seed in range(MAX_SEEDS):
        network = Network(
            3 + 2 * (seed % 2), seed, node_class=mutant, chances=ROUGH, pre_vote=False, check_quorum=False
        )
        try:
            network.run(1500)
        except (SafetyViolation, InvariantViolation):
            return
    raise AssertionError(f"{mutant.__name__} went unnoticed through {MAX_SEEDS} seeds")


def test_an_early_count_loses_what_was_committed() -> None:
    """10.2.1: the leader and one follower of three hold an entry; the leader's disk does not.

    The leader crashes and forgets; then it and the third, who never heard of the
    entry, are a majority.
    """
    with pytest.raises(SafetyViolation):
        _crash_before_the_disk_is_done(CountsItselfEarly)
    _crash_before_the_disk_is_done(Node)


def _crash_before_the_disk_is_done(node_class: type[Node]) -> None:
    network = Network(3, seed=1, node_class=node_class, check_quorum=False, pre_vote=False)
    leader = network.elect(1)
    network.side = frozenset({3})
    leader.propose(b"x")
    network.hosts[1].pump()
    for kept in [m for m in network.pool if m.to == 2]:
        network.deliver(kept)
    network.hosts[2].sync()
    replies: list[Message] = [m for m in network.pool if m.to == 1]
    network.pool = []
    for reply in replies:
        network.deliver(reply)
    network.hosts[1].crash(written=False)
    network.hosts[1].start()
    network.pool = []
    network.side = frozenset({2})
    for _ in range(3):
        network.node(3).campaign()
        network.after(network.hosts[3])
        network.settle()
    network.side = frozenset()
    network.recover()
