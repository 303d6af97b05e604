"""Where syncs run, by what the disk has shown so far."""

from __future__ import annotations

from rusd.replica import SyncPolicy
from rusd.replica.sync import FAST_SYNC_SECONDS, PENALTY_FACTOR, SAMPLES, STALL_SECONDS

FAST, SLOW, STALL = FAST_SYNC_SECONDS / 2, FAST_SYNC_SECONDS * 2, STALL_SECONDS * 2


def inline(policy: SyncPolicy, now: float = 0.0) -> bool:
    return policy.inline(now, disk_is_shared=False)


def observe(policy: SyncPolicy, seconds: float, now: float = 0.0) -> None:
    policy.observe(now, seconds, disk_is_shared=False)


def test_a_new_policy_trusts_the_disk() -> None:
    assert inline(SyncPolicy())


def test_one_slow_sync_in_a_hundred_is_forgiven_and_two_are_not() -> None:
    policy = SyncPolicy()
    observe(policy, SLOW)
    assert inline(policy)
    observe(policy, SLOW)
    assert not inline(policy)


def test_slow_syncs_are_forgotten_after_enough_fast_ones() -> None:
    policy = SyncPolicy()
    for _ in range(SAMPLES):
        observe(policy, SLOW)
    for _ in range(SAMPLES - 2):
        observe(policy, FAST)
    assert not inline(policy)
    observe(policy, FAST)
    assert inline(policy)


def test_a_stall_sends_syncs_to_the_thread_for_a_hundred_times_as_long() -> None:
    policy = SyncPolicy()
    observe(policy, STALL, 100.0)
    assert not inline(policy, 100.0 + (PENALTY_FACTOR - 1) * STALL)
    assert inline(policy, 100.0 + PENALTY_FACTOR * STALL)


def test_a_disk_with_other_work_is_left_to_the_thread() -> None:
    policy = SyncPolicy()
    assert not policy.inline(0.0, disk_is_shared=True)
    assert policy.inline(0.0, disk_is_shared=False)


def test_syncs_that_share_the_disk_say_nothing_of_it() -> None:
    policy = SyncPolicy()
    for _ in range(SAMPLES):
        policy.observe(0.0, STALL, disk_is_shared=True)
    assert inline(policy)


def test_a_cluster_never_syncs_in_the_loop() -> None:
    assert not inline(SyncPolicy(allow_inline=False))
