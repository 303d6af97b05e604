"""How often peers are tried, and spoken of."""

from __future__ import annotations

import random

from rusd.peers import Timing
from rusd.peers.pacing import Backoff, Seldom


def test_pauses_grow_to_a_limit_and_begin_anew_after_a_success() -> None:
    timing = Timing(first_pause=1, longest_pause=8)
    backoff = Backoff(random.Random(1), timing)
    for most in (1, 2, 4, 8, 8, 8):
        assert most / 2 <= backoff.pause() <= most
    backoff.reset()
    assert backoff.pause() <= 1


def test_two_peers_do_not_pause_alike() -> None:
    one, other = (Backoff(random.Random(seed), Timing()) for seed in (1, 2))
    assert [one.pause() for _ in range(5)] != [other.pause() for _ in range(5)]


def test_a_thing_is_said_once_in_so_many_seconds_each_by_itself() -> None:
    seldom = Seldom(5.0)
    assert [now for now in range(12) if seldom.permits("a", now)] == [0, 5, 10]
    assert seldom.permits("b", 11)


def test_the_memory_of_what_was_said_is_bounded() -> None:
    seldom = Seldom(5.0)
    for thing in range(10_000):
        assert seldom.permits(thing, 0.0)
    assert len(seldom._said) <= 256
