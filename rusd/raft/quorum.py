"""Majority arithmetic: who has won, and how far a majority agrees.

Pure functions over sets of replica ids.  Any two majorities of the same set
share a member; every safety argument of Raft rests on that.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Set
from enum import Enum


class VoteResult(Enum):
    """How an election stands."""

    PENDING = "pending"
    WON = "won"
    LOST = "lost"


def majority(size: int) -> int:
    """The smallest number of members that is more than half of ``size``."""
    return size // 2 + 1


def has_majority(voters: Set[int], present: Collection[int]) -> bool:
    """Whether ``present`` holds a majority of ``voters``; others in it do not count.

    Without voters there is no majority: nobody may decide anything.
    """
    count = sum(1 for voter in voters if voter in present)
    return count >= majority(len(voters))


def tally(voters: Set[int], votes: Mapping[int, bool]) -> VoteResult:
    """The state of an election in which ``votes`` says who granted and who refused."""
    needed = majority(len(voters))
    granted = sum(1 for voter in voters if votes.get(voter) is True)
    if granted >= needed:
        return VoteResult.WON
    refused = sum(1 for voter in voters if votes.get(voter) is False)
    if len(voters) - refused < needed:
        return VoteResult.LOST
    return VoteResult.PENDING


def majority_match(voters: Collection[int], match: Callable[[int], int]) -> int:
    """The highest index that a majority of ``voters`` has reached; ``match`` gives each one's.

    With the matches in descending order this is the one a majority in: with
    five voters at 9, 7, 5, 3 and 1, three of them hold everything up to 5.
    """
    if not voters:
        return 0
    matches = sorted(map(match, voters), reverse=True)
    return matches[majority(len(matches)) - 1]
