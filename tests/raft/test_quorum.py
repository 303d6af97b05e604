"""Majority arithmetic, as tables."""

from __future__ import annotations

import itertools

import pytest

from rusd.raft.quorum import VoteResult, has_majority, majority, majority_match, tally


@pytest.mark.parametrize(("size", "needed"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (6, 4), (7, 4)])
def test_a_majority_is_more_than_half(size: int, needed: int) -> None:
    assert majority(size) == needed


def test_any_two_majorities_share_a_member() -> None:
    for size in range(1, 7):
        groups = list(itertools.combinations(range(size), majority(size)))
        assert all(set(one) & set(other) for one in groups for other in groups)


def test_majorities_of_configurations_one_server_apart_share_a_member() -> None:
    """Thesis 4.1: why changing a single server at a time is safe."""
    for size in range(1, 6):
        old = itertools.combinations(range(size), majority(size))
        new = list(itertools.combinations(range(size + 1), majority(size + 1)))
        assert all(set(one) & set(other) for one in old for other in new)


@pytest.mark.parametrize(
    ("voters", "present", "result"),
    [
        (set(), {1, 2}, False),
        ({1}, set(), False),
        ({1}, {1}, True),
        ({1, 2}, {1}, False),
        ({1, 2, 3}, {1, 3}, True),
        ({1, 2, 3}, {1, 7, 8, 9}, False),
        ({1, 2, 3, 4}, {1, 2}, False),
    ],
)
def test_only_voters_count_for_a_majority(voters: set[int], present: set[int], result: bool) -> None:
    assert has_majority(voters, present) is result


WON, LOST, PENDING = VoteResult.WON, VoteResult.LOST, VoteResult.PENDING


@pytest.mark.parametrize(
    ("size", "granted", "refused", "result"),
    [
        (1, {1}, set(), WON),
        (1, set(), set(), PENDING),
        (2, {1}, set(), PENDING),
        (2, {1}, {2}, LOST),
        (3, {1}, {2}, PENDING),
        (3, {1, 2}, set(), WON),
        (3, {1}, {2, 3}, LOST),
        (4, {1, 2}, {3}, PENDING),
        (4, {1, 2}, {3, 4}, LOST),
        (5, {1, 2, 3}, {4, 5}, WON),
        (5, {1}, {2, 3, 4}, LOST),
        (3, {1, 8, 9}, set(), PENDING),
        (3, {1, 2}, {7, 8, 9}, WON),
    ],
)
def test_an_election_is_won_lost_or_pending(
    size: int, granted: set[int], refused: set[int], result: VoteResult
) -> None:
    votes = dict.fromkeys(granted, True) | dict.fromkeys(refused, False)
    assert tally(set(range(1, size + 1)), votes) is result


@pytest.mark.parametrize(
    ("matches", "agreed"),
    [
        ([], 0),
        ([4], 4),
        ([4, 9], 4),
        ([4, 9, 7], 7),
        ([0, 0, 9], 0),
        ([9, 7, 5, 3], 5),
        ([9, 7, 5, 3, 1], 5),
        ([3, 3, 3, 8, 8], 3),
    ],
)
def test_a_majority_agrees_up_to_its_lowest_member(matches: list[int], agreed: int) -> None:
    for order in itertools.permutations(matches):
        assert majority_match(range(len(order)), order.__getitem__) == agreed
