"""The Trio half: what reaches the disk before anybody is answered, inline and in a thread."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from etcdpb import rpc_pb2
from rusd.config import validate
from rusd.environment import Hooks
from rusd.logs import make_logger
from rusd.member import open_member
from rusd.mvcc import LeaseNotFoundError
from rusd.replica import Core, Replica, RequestTimeoutError, StoppedError, SyncPolicy, WalFailedError
from rusd.state import Kind, StateMachine
from rusd.testing import (
    ApplyGate,
    FaultDisk,
    ListSink,
    ManualClock,
    MemoryDisk,
    local_config,
    make_environment,
)

NEVER = 20.0
REQUEST_TIMEOUT = 7.0

both_paths = pytest.mark.parametrize("inline", [True, False], ids=["inline", "thread"])


class Syncs(Hooks):
    """Counts syncs; holds those in a thread back while closed."""

    def __init__(self) -> None:
        self.count = 0
        self.begun = threading.Event()
        self._open = threading.Event()
        self._open.set()

    def close(self) -> None:
        self.begun.clear()
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    def before_sync(self, batch_number: int) -> None:
        self.count += 1
        assert batch_number == self.count
        self.begun.set()
        if not self._open.wait(NEVER):
            raise AssertionError("held back for ever")


class Running:
    """A replica over a real log, with the outcomes of what was proposed to it."""

    def __init__(self, replica: Replica, machine: StateMachine, clock: ManualClock, sink: ListSink) -> None:
        self.replica = replica
        self.machine = machine
        self.clock = clock
        self.sink = sink
        self.slices = 0
        self.answered: list[int] = []
        self.errors: list[Exception] = []

    def put(self, number: int) -> None:
        def settle(_result: object, error: Exception | None) -> None:
            if error is None:
                self.answered.append(number)
            else:
                self.errors.append(error)

        request = rpc_pb2.PutRequest(key=b"%d" % number, value=b"v")
        self.replica.propose(Kind.PUT, request, settle)

    async def until(self, count: int) -> None:
        while len(self.answered) + len(self.errors) < count:
            await trio.sleep(0.0005)  # a thread is at work: there is nothing else to wait for


@asynccontextmanager
async def running(
    disk: Any, *, inline: bool = True, hooks: Hooks | None = None, seed: int = 0
) -> AsyncIterator[Running]:
    clock, sink = ManualClock(), ListSink()
    environment = make_environment(clock=clock, disk=disk, hooks=hooks, log_sink=sink, seed=seed)
    log = make_logger(sink, clock)
    machine = StateMachine()
    member = open_member(validate(local_config(data_dir="/data"), []), environment, machine, log)
    core = Core(member.node, machine, member=member.member_id, boot=seed)
    run: Running

    def after_apply() -> None:
        run.slices += 1

    replica = Replica(
        core,
        member.wal,
        environment,
        log,
        tick_interval=0.1,
        request_timeout=REQUEST_TIMEOUT,
        after_apply=after_apply,
        policy=SyncPolicy(allow_inline=inline),
    )
    run = Running(replica, machine, clock, sink)
    try:
        with trio.fail_after(NEVER):
            async with trio.open_nursery() as nursery:
                await nursery.start(replica.run)
                await replica.campaign()
                try:
                    yield run
                finally:
                    replica.stop()
                    nursery.cancel_scope.cancel()
    finally:
        member.close()


@both_paths
async def test_what_is_proposed_in_one_turn_is_one_batch(*, inline: bool) -> None:
    hooks = Syncs()
    async with running(MemoryDisk(), inline=inline, hooks=hooks) as run:
        before = hooks.count
        for number in range(100):
            run.put(number)
        await run.until(100)
        assert hooks.count == before + 1
        assert run.answered == list(range(100))


async def test_what_is_proposed_during_a_sync_is_the_next_batch() -> None:
    hooks = Syncs()
    async with running(MemoryDisk(), inline=False, hooks=hooks) as run:
        hooks.close()
        run.put(0)
        await trio.to_thread.run_sync(hooks.begun.wait, NEVER)
        before = hooks.count
        for number in range(1, 200):
            run.put(number)
            if number % 20 == 0:
                await trio.testing.wait_all_tasks_blocked()
        assert run.answered == []  # one sync outstanding, and nothing is answered before it returns
        assert hooks.count == before
        hooks.open()
        await run.until(200)
        assert hooks.count == before + 1
        assert run.answered == list(range(200))


@both_paths
async def test_nothing_is_answered_before_it_is_on_disk(*, inline: bool) -> None:
    disk = MemoryDisk()
    async with running(disk, inline=inline) as run:
        for number in range(30):
            run.put(number)
            await run.until(number + 1)
            after = disk.crash()
            recovered = StateMachine()
            config = validate(local_config(data_dir="/data"), [])
            environment = make_environment(disk=after)
            member = open_member(config, environment, recovered, make_logger(ListSink(), environment.clock))
            member.close()
            assert member.wal.last_index >= run.replica.core.applied_index


@both_paths
@pytest.mark.parametrize("operation", ["sync", "write"])
async def test_a_failed_write_or_sync_ends_it_and_answers_nobody(*, inline: bool, operation: Any) -> None:
    disk = FaultDisk(memory := MemoryDisk())
    run = None
    with pytest.RaisesGroup(WalFailedError, flatten_subgroups=True, allow_unwrapped=True):
        async with running(disk, inline=inline) as run:
            for number in range(10):
                run.put(number)
            await run.until(10)
            for nth in range(1, 6):  # the first ones may hit zero-filling, which does no harm
                disk.fail(operation, nth)
            for number in range(10, 20):
                run.put(number)
            await trio.sleep_forever()
    assert run is not None
    assert run.answered == list(range(10))
    assert [event["level"] for event in run.sink.events() if event["level"] == "fatal"] == ["fatal"]
    async with running(memory.crash(), seed=1) as recovered:
        keys = [record.key for record in recovered.machine.store.range(b"\0", b"\0").records]
        assert set(keys) >= {b"%d" % number for number in range(10)}


@both_paths
async def test_after_a_restart_all_that_was_answered_is_there_once(*, inline: bool) -> None:
    disk = MemoryDisk()
    for life in range(4):
        async with running(disk, inline=inline, seed=life) as run:
            assert run.machine.store.current_revision == 1 + 25 * life
            for number in range(25):
                run.put(number)
            await run.until(25)
            run.replica.core.check()
        disk = disk.crash()


async def test_a_cancelled_replica_lets_a_started_write_end() -> None:
    hooks, disk = Syncs(), MemoryDisk()
    async with trio.open_nursery() as nursery:
        async with running(disk, inline=False, hooks=hooks) as run:
            hooks.close()
            run.put(1)
            await trio.to_thread.run_sync(hooks.begun.wait, NEVER)
            nursery.start_soon(trio.to_thread.run_sync, hooks.open)
    assert [type(error) for error in run.errors] == [StoppedError]  # it was told: unknown
    async with running(disk.crash(), seed=1) as recovered:
        assert recovered.machine.store.get(b"1") is not None


async def test_a_stopped_replica_takes_nothing() -> None:
    async with running(MemoryDisk()) as run:
        run.replica.stop()
        with pytest.raises(StoppedError):
            run.put(1)
        with pytest.raises(StoppedError):
            await run.replica.wait_linearizable()


async def test_applies_that_are_held_back_hold_back_answers_and_nothing_else() -> None:
    gate = ApplyGate()
    async with running(MemoryDisk(), hooks=gate) as run:
        gate.close()
        run.put(1)
        await gate.waiting.wait()
        node = run.replica.core.node
        assert node.commit_index > run.replica.core.applied_index
        run.put(2)
        await trio.testing.wait_all_tasks_blocked()
        assert node.commit_index == run.replica.core.applied_index + 2
        gate.open()
        await run.until(2)


async def test_a_call_is_given_up_after_its_time() -> None:
    gate = ApplyGate()
    async with running(MemoryDisk(), hooks=gate) as run:
        gate.close()
        run.put(1)
        await gate.waiting.wait()
        for seconds in (0.5, REQUEST_TIMEOUT - 1, 1.0):
            assert run.errors == []
            run.clock.advance(seconds)
            await trio.testing.wait_all_tasks_blocked()
        assert [type(error) for error in run.errors] == [RequestTimeoutError]
        gate.open()


async def test_many_entries_are_applied_in_slices() -> None:
    async with running(MemoryDisk()) as run:
        before = run.slices
        for number in range(1000):
            run.put(number)
        await run.until(1000)
        assert run.slices - before >= 4


async def test_propose_and_wait_gives_the_result_or_raises_what_was_wrong() -> None:
    async with running(MemoryDisk()) as run:
        result: Any = await run.replica.propose_and_wait(Kind.PUT, rpc_pb2.PutRequest(key=b"k"))
        assert result.revision == 2
        with pytest.raises(LeaseNotFoundError):
            await run.replica.propose_and_wait(Kind.PUT, rpc_pb2.PutRequest(key=b"k", lease=5))


async def test_work_on_the_log_takes_its_turn_between_batches() -> None:
    hooks = Syncs()
    async with running(MemoryDisk(), inline=False, hooks=hooks) as run:
        seen: list[tuple[int, int]] = []
        hooks.close()
        run.put(1)
        await trio.to_thread.run_sync(hooks.begun.wait, NEVER)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                run.replica.with_log, lambda wal: seen.append((wal.last_index, threading.get_ident()))
            )
            run.put(2)
            await trio.testing.wait_all_tasks_blocked()
            assert seen == []
            hooks.open()
        await run.until(2)
        assert seen[0][1] != threading.get_ident()
        with pytest.raises(OSError, match="no"):
            await run.replica.with_log(_fail)
        run.put(3)
        await run.until(3)  # a failed job harms nobody


def _fail(_wal: object) -> None:
    raise OSError("no")
