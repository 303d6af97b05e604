"""Long work takes turns: one slice in a pass, nobody left out, nothing left behind."""

from __future__ import annotations

import gc

import pytest
import trio
import trio.testing

from rusd.garbage import Collector
from rusd.longwork import TURN_RECORDS, LongWork
from rusd.steps import PAGE, Steps, Turn


async def test_jobs_take_turns_and_each_gets_its_result() -> None:
    work = LongWork()
    log: list[str] = []

    def job(name: str, turn: Turn) -> Steps[str]:
        for _ in range(3):
            assert turn.left == TURN_RECORDS
            log.append(name)
            yield
        return name.upper()

    results: list[str] = []

    async def run(name: str) -> None:
        turn = Turn(0)
        results.append(await work.run(job(name, turn), turn))

    async with trio.open_nursery() as nursery:
        for name in "abc":
            nursery.start_soon(run, name)
    assert sorted(results) == ["A", "B", "C"]
    for start in (0, 3, 6):
        assert sorted(log[start : start + 3]) == ["a", "b", "c"]


async def test_others_run_between_any_two_slices() -> None:
    work = LongWork()
    passes = slices = 0

    def job() -> Steps[None]:
        nonlocal slices
        for _ in range(20):
            slices += 1
            yield

    async def count() -> None:
        nonlocal passes
        while True:
            passes += 1
            assert slices <= passes + 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count)
        async with trio.open_nursery() as jobs:
            for _ in range(5):
                jobs.start_soon(work.run, job(), Turn(0))
        nursery.cancel_scope.cancel()
    assert slices == 100


async def test_a_job_that_is_cancelled_is_closed_and_others_go_on() -> None:
    work = LongWork()
    closed = trio.Event()

    def endless() -> Steps[None]:
        try:
            while True:
                yield
        finally:
            closed.set()

    def short() -> Steps[int]:
        yield
        return 7

    async with trio.open_nursery() as nursery:
        nursery.start_soon(work.run, endless(), Turn(0))
        await trio.lowlevel.checkpoint()
        assert await work.run(short(), Turn(0)) == 7
        nursery.cancel_scope.cancel()
    assert closed.is_set()
    assert await work.run(short(), Turn(0)) == 7


async def test_what_is_discarded_is_emptied_bit_by_bit() -> None:
    slices = 0

    def after_slice() -> None:
        nonlocal slices
        slices += 1

    work = LongWork(after_slice)
    size = 200 * PAGE
    collections = [list(range(size)), dict.fromkeys(range(size)), set(range(size))]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(work.clean_up)
        for collection in collections:
            work.discard(collection)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert not any(collections)
    assert slices > 10


@pytest.fixture
def collector() -> Collector:
    """With the collector as it was, afterwards."""
    collector = Collector()
    yield collector
    gc.enable()
    gc.unfreeze()


def test_young_garbage_is_collected_and_what_survives_is_left_alone(collector: Collector) -> None:
    gc.collect()
    kept = [[] for _ in range(5000)]
    for _ in range(2000):
        cycle: list[object] = []
        cycle.append(cycle)
    del cycle
    frozen = gc.get_freeze_count()
    collector.before_io_wait(0.0)
    assert gc.get_freeze_count() >= frozen + len(kept)
    assert gc.get_count()[0] < 1000
    assert gc.collect() < 2000  # the cycles are gone


def test_few_new_objects_are_not_looked_at(collector: Collector) -> None:
    collector.collect()
    frozen = gc.get_freeze_count()
    collector.before_io_wait(0.0)
    assert gc.get_freeze_count() == frozen
