"""Workloads on leases, on locks, and on keys guarded by locks."""

from __future__ import annotations

import itertools
import random

import trio

from chaos.model import Answer, Compare, Grant, KeepAlive, Lock, Put, Range, Revoke, Txn, Unlock
from chaos.session import Session
from chaos.workloads.base import Workload

LEASE_PREFIX = "leased/"
LOCK = "lock"
GUARDED_PREFIX = "guarded/"
LOCK_PATIENCE_SECONDS = 4.0
_IDS_PER_PROCESS = 1_000_000


def lease_ids(process: int) -> itertools.count[int]:
    """Ids for the leases of one client; nobody else uses them."""
    return itertools.count(process * _IDS_PER_PROCESS + 1)


async def play_leases(session: Session, chance: random.Random) -> None:
    """Makes a lease with two keys, renews it for a while, then revokes it or lets it run out."""
    for lease in lease_ids(session.process):
        await session.pace()
        granted = await session.do(Grant(lease, chance.choice((2, 3, 5))))
        renewals = chance.randrange(4)
        revoke = chance.random() < 0.4
        if granted is None:
            continue
        for name in ("x", "y"):
            await session.do(Put(f"{LEASE_PREFIX}{session.process}/{name}", session.unique(), lease))
        for _ in range(renewals):
            await trio.sleep(granted.ttl / 3)
            await session.do(KeepAlive(lease))
        if revoke:
            await session.do(Revoke(lease))
        elif chance.random() < 0.3:
            await trio.sleep(granted.ttl + 1)
            await session.do(KeepAlive(lease))  # too late: it may answer only that the lease is gone


async def play_locks(session: Session, chance: random.Random) -> None:
    """Takes a lock and writes while it is held; the write is on the condition that the lock's key is there.

    Now and then the holder falls asleep for longer than its lease lives, wakes up, and writes all the same:
    the fault that fencing is for.
    """
    for lease in lease_ids(session.process):
        await session.pace()
        granted = await session.do(Grant(lease, chance.choice((2, 3))))
        writes, sleeps = chance.randint(1, 4), chance.random() < 0.25
        leave = chance.random()
        if granted is None:
            continue
        locked = await session.do(Lock(LOCK, lease), timeout=LOCK_PATIENCE_SECONDS)
        if locked is None:
            await session.do(Revoke(lease))
            continue
        for _ in range(writes):
            await session.do(KeepAlive(lease))
            if not await _guarded_write(session, locked):
                break
            await trio.sleep(chance.uniform(0.02, 0.2))
        if sleeps:
            await trio.sleep(granted.ttl * chance.uniform(0.9, 2))
            await _guarded_write(session, locked)
        if leave < 0.6:
            await session.do(Unlock(locked.key))
        elif leave < 0.9:
            await session.do(Revoke(lease))


async def _guarded_write(session: Session, locked: Answer) -> bool:
    """Write on the condition that the lock's key is there; whether it may be worth trying again."""
    answer = await session.do(
        Txn(
            (Compare(locked.key, "create", ">", 0),),
            (Put(f"{GUARDED_PREFIX}value", session.unique()),),
            (Range(locked.key),),
        ),
        note=f"guard:{locked.key}",
    )
    return answer is not None and answer.succeeded


WORKLOADS = (
    Workload("lease", "leases that are renewed, revoked, or run out, with keys on them", 2, play_leases),
    Workload("lock", "locks, and writes that hold only while the lock is held", 3, play_locks),
)
