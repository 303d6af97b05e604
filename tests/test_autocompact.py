"""Automatic compaction: the two schedules alone, and at work in a server whose clock is moved."""

from __future__ import annotations

import pytest

from etcdpb.rpc_pb2 import CompactionRequest, RangeRequest
from rusd.autocompact import PeriodicSchedule, RevisionSchedule, make_schedule
from rusd.config import Retention
from tests.support.inprocess import Etcd, running

MINUTE = 60.0
HOUR = 3600.0


def due_at(schedule: PeriodicSchedule, minutes: int, revision_of: object) -> dict[int, int]:
    """When (in minutes) and to what a schedule compacts a store whose revision is a function of time."""
    found = {}
    step = round(schedule.interval / MINUTE)
    for minute in range(0, minutes, step):
        schedule.sample(revision_of(minute))  # type: ignore[operator]
        now = (minute + step) * MINUTE
        target = schedule.due(now, revision_of(minute + step))  # type: ignore[operator]
        if target:
            found[minute + step] = target
            schedule.done(now, target)
    return found


# -- schedules -----------------------------------------------------------------------------------


def test_an_hour_is_kept_and_looked_at_every_six_minutes() -> None:
    schedule = PeriodicSchedule(HOUR, 0.0)
    assert schedule.interval == 6 * MINUTE
    # The first after one whole hour, to where the store was at its beginning.
    assert due_at(schedule, 200, lambda minute: minute + 1) == {60: 1, 120: 55, 180: 115}


def test_a_longer_period_is_compacted_every_hour() -> None:
    schedule = PeriodicSchedule(3 * HOUR, 0.0)
    assert schedule.interval == 6 * MINUTE
    assert due_at(schedule, 310, lambda minute: minute + 1) == {180: 1, 240: 55, 300: 115}


def test_a_short_period_is_compacted_as_often_as_it_is_long() -> None:
    schedule = PeriodicSchedule(10 * MINUTE, 0.0)
    assert schedule.interval == MINUTE
    assert due_at(schedule, 31, lambda minute: minute + 1) == {10: 1, 20: 10, 30: 20}


def test_a_store_that_does_not_move_is_not_compacted_twice() -> None:
    assert due_at(PeriodicSchedule(HOUR, 0.0), 400, lambda _minute: 5) == {60: 5}


def test_a_compaction_that_failed_is_tried_at_the_next_look() -> None:
    schedule = PeriodicSchedule(10 * MINUTE, 0.0)
    for minute in range(10):
        schedule.sample(minute + 1)
    assert schedule.due(10 * MINUTE, 11) == 1
    schedule.sample(11)
    assert schedule.due(11 * MINUTE, 12) == 1


@pytest.mark.parametrize("period", [0.3, 0.7, 1.1, 90.0, 5400.0, 86400.0])
def test_samples_reach_back_one_period_whatever_floats_do(period: float) -> None:
    schedule = PeriodicSchedule(period, 0.0)
    assert schedule._samples.maxlen == round(period / schedule.interval) + 1


def test_a_number_of_revisions_is_kept() -> None:
    schedule = RevisionSchedule(100)
    assert schedule.interval == 300.0
    assert schedule.due(0.0, 100) == 0
    assert schedule.due(0.0, 101) == 1
    assert schedule.due(0.0, 250) == 150
    schedule.done(0.0, 150)
    assert schedule.due(0.0, 250) == 0
    assert schedule.due(0.0, 251) == 151


def test_without_retention_there_is_no_schedule() -> None:
    assert make_schedule("periodic", Retention(), 0.0) is None
    assert make_schedule("revision", Retention(), 0.0) is None
    assert isinstance(make_schedule("periodic", Retention(seconds=5.0), 0.0), PeriodicSchedule)
    assert isinstance(make_schedule("revision", Retention(revisions=5), 0.0), RevisionSchedule)


# -- at work -----------------------------------------------------------------------------------------


async def compacted_below(etcd: Etcd, revision: int) -> bool:
    """Whether what stands before ``revision`` can't be read any more, and that itself can."""
    await etcd.get(b"k", revision=revision)
    refused = await etcd.refused("KV/Range", RangeRequest(key=b"k", revision=revision - 1))
    return refused == ("OUT_OF_RANGE", "etcdserver: mvcc: required revision has been compacted")


async def test_revisions_beyond_the_retention_are_given_up_every_five_minutes() -> None:
    async with running(auto_compaction_mode="revision", auto_compaction_retention="10") as etcd:
        for _ in range(30):
            await etcd.put(b"k")
        await etcd.pass_time(299)
        await etcd.get(b"k", revision=2)
        await etcd.pass_time(2)
        assert await compacted_below(etcd, 21)
        for _ in range(5):
            await etcd.put(b"k")
        await etcd.pass_time(301)
        assert await compacted_below(etcd, 26)


async def test_history_older_than_the_period_is_given_up() -> None:
    async with running(auto_compaction_mode="periodic", auto_compaction_retention="10m") as etcd:
        for _ in range(10):
            await etcd.put(b"k")  # one a minute
            await etcd.pass_time(MINUTE)
        await etcd.get(b"k", revision=2)  # the store was at 1 when the period began
        for _ in range(10):
            await etcd.put(b"k")
            await etcd.pass_time(MINUTE)
        assert await compacted_below(etcd, 10)  # where it was after nine minutes: a tenth is kept on top


async def test_somebody_elses_compaction_does_no_harm() -> None:
    async with running(auto_compaction_mode="revision", auto_compaction_retention="10") as etcd:
        for _ in range(30):
            await etcd.put(b"k")
        await etcd.call("KV/Compact", CompactionRequest(revision=25))
        await etcd.pass_time(301)
        for _ in range(20):
            await etcd.put(b"k")
        await etcd.pass_time(301)
        assert await compacted_below(etcd, 41)
        assert etcd.sink.events() == []


async def test_without_the_flag_nothing_is_compacted() -> None:
    async with running() as etcd:
        for _ in range(30):
            await etcd.put(b"k")
        for _ in range(5):
            await etcd.pass_time(HOUR)
        await etcd.get(b"k", revision=2)
