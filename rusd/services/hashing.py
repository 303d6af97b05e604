"""Working a HashKV out, some records a turn."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rusd.longwork import LongWork
    from rusd.mvcc import HashKv, HashKvJob

HASH_STEP_RECORDS = 1000
"""Records hashed before others get their turn."""


async def finish_hash(job: HashKvJob, work: LongWork) -> HashKv:
    """Run ``job`` to its end, in turns with other long work."""
    try:
        while job.result is None:
            async with work.turn():
                job.step(HASH_STEP_RECORDS)
    finally:
        job.close()
    return job.result
