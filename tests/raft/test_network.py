"""Whole clusters under seeded faults: figure 3's properties at every step, progress once the faults stop.

A failing seed replays exactly: ``Network(size, seed, ...).run(steps)``.
"""

from __future__ import annotations

from typing import Any

import pytest

from rusd.raft import Role
from tests.raft.builders import silence
from tests.raft.network import Chances, Network

CALM = Chances(drop=2, duplicate=2, crash=0, partition=0, skew=0, transfer=0)
ROUGH = Chances(
    deliver=400,
    drop=40,
    duplicate=30,
    tick=60,
    sync=120,
    propose=60,
    read=30,
    crash=8,
    restart=20,
    partition=6,
    heal=8,
    compact=4,
    skew=12,
)
CHANGING = Chances(change=12, crash=3, skew=6, partition=3)


def run(size: int, seeds: range, steps: int, chances: Chances, **options: Any) -> Network:
    """Run each seed and let it recover; returns the last one."""
    for seed in seeds:
        network = Network(size, seed, chances=chances, **options)
        try:
            network.run(steps)
            network.recover()
        except Exception as error:
            error.add_note(f"size {size}, seed {seed}, {steps} steps, {chances}, {options}")
            raise
    return network


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_a_calm_network_gets_work_done(size: int) -> None:
    network = run(size, range(3), 2000, CALM)
    assert len(network.history.applied_entries) > 50
    assert network.history.reads_answered > 3


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_clusters_are_safe_in_a_rough_world(size: int) -> None:
    run(size, range(20), 1500, ROUGH)


@pytest.mark.parametrize("size", [3, 5])
def test_clusters_are_safe_without_the_thesis_additions(size: int) -> None:
    """PreVote and CheckQuorum are there for calm; safety must not depend on them."""
    run(size, range(100, 115), 1500, ROUGH, pre_vote=False, check_quorum=False)


@pytest.mark.parametrize("pre_vote", [True, False])
def test_clusters_are_safe_while_their_members_change(pre_vote: bool) -> None:
    run(6, range(200, 215), 2000, CHANGING, voters=3, pre_vote=pre_vote)


def test_followers_that_fell_behind_get_snapshots() -> None:
    network = Network(3, seed=5, log_limit=8)
    leader = network.elect(1)
    network.side = frozenset({3})
    silence(leader, 3)
    for _ in range(60):
        leader.propose(b"x")
        network.after(network.hosts[1])
        network.settle()
    assert leader.log.base_index > network.node(3).last_index
    network.recover()
    assert network.hosts[3].disk.base.index > 0
    assert network.node(3).applied_index == network.node(1).applied_index


def test_leadership_moves_on_request_without_an_election_timeout() -> None:
    network = Network(3, seed=5)
    network.elect(1).transfer_leadership(3)
    network.after(network.hosts[1])
    network.settle()
    assert network.node(3).role is Role.LEADER
    assert {network.node(me).leader_id for me in (1, 2, 3)} == {3}


def test_a_server_that_was_cut_off_returns_without_disturbing_anyone() -> None:
    """Thesis 9.6: with PreVote its term has not moved."""
    network = Network(3, seed=5)
    leader = network.elect(1)
    term = leader.term
    network.side = frozenset({3})
    for _ in range(100):
        for me in (1, 2, 3):
            network.beat(me)
        network.settle()
    network.side = frozenset()
    for _ in range(20):
        for me in (1, 2, 3):
            network.beat(me)
        network.settle()
    assert (leader.role, leader.term, network.node(3).term) == (Role.LEADER, term, term)
    assert network.node(3).leader_id == 1


def test_the_same_seed_gives_the_same_history() -> None:
    histories = []
    for _ in range(2):
        network = Network(3, seed=11, chances=ROUGH)
        network.run(1500)
        histories.append((network.history.leaders, network.history.applied_entries))
    assert histories[0] == histories[1]
