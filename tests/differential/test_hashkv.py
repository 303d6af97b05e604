"""HashKV against a real etcd: equal histories give the same number.

The number covers every stored byte of the history, so it proves more than any answer does: revisions, sub
revisions, tombstones and what each compaction leaves.  Each history is asked at several revisions, before
and after each of its compactions.

Histories compact with ``physical=true`` only.  etcd skips what a running removal has yet to remove, except
when nothing at all would be kept (an oddity of etcd 3.6's hash); then the number depends on how far the
removal is, on etcd itself, and comparing it would be a race.
"""

from __future__ import annotations

import random

import pytest

from etcdpb import rpc_pb2
from tests.differential.conftest import Pair
from tests.differential.generator import Generator
from tests.differential.lockstep import Lockstep
from tests.differential.pair import DifferenceError
from tests.differential.steps import Call, Step

HISTORY_KINDS = ("KV/Put", "KV/DeleteRange", "KV/Txn", "KV/Compact", "Lease/LeaseGrant", "Lease/LeaseRevoke")
FAST_SEEDS, LONG_SEEDS = range(5), range(200, 250)
STEPS = 250


def next_change(generator: Generator, lockstep: Lockstep) -> Step:
    """The generator's next step that belongs into a history."""
    while True:
        step = generator.next(lockstep.view)
        if isinstance(step, Call) and step.name in HISTORY_KINDS:
            if isinstance(step.request, rpc_pb2.CompactionRequest):
                step.request.physical = True
            return step


def hash_everywhere(lockstep: Lockstep, chance: random.Random) -> None:
    """Compare the hash of now, of the oldest readable revisions, and of some in between."""
    view = lockstep.view
    oldest = max(view.compacted, 1)
    revisions = {
        0,
        view.revision,
        oldest,
        oldest + 1,
        *(chance.randint(oldest, view.revision) for _ in range(3)),
    }
    for revision in sorted(revisions):
        lockstep.run(Call("Maintenance/HashKV", rpc_pb2.HashKVRequest(revision=revision)))


def run_history(pair: Pair, seed: str) -> None:
    """One random history on a fresh pair of servers."""
    chance = random.Random(f"hashes of {seed}")
    generator = Generator(f"history {seed}")
    with pair() as lockstep:
        try:
            hash_everywhere(lockstep, chance)
            for number in range(STEPS):
                step = next_change(generator, lockstep)
                lockstep.run(step)
                compacted = isinstance(step, Call) and step.name == "KV/Compact"
                if compacted or number % 25 == 24:
                    hash_everywhere(lockstep, chance)
        except (DifferenceError, TimeoutError) as difference:
            raise AssertionError(f"history {seed}: {difference}") from None


@pytest.mark.parametrize("seed", FAST_SEEDS)
def test_equal_histories_have_equal_hashes(pair: Pair, seed: int) -> None:
    run_history(pair, str(seed))


@pytest.mark.long
@pytest.mark.parametrize("seed", LONG_SEEDS)
def test_many_equal_histories_have_equal_hashes(pair: Pair, seed: int) -> None:
    run_history(pair, str(seed))
