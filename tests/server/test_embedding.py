"""Servers inside a program: ``rusd.serve`` and what a test can own of them."""

from __future__ import annotations

import time

import pytest
import trio
import trio.testing

import rusd
from rusd.environment import Hooks
from rusd.replica import driver
from rusd.storage import WalFailedError
from rusd.testing import (
    ApplyGate,
    FaultDisk,
    InlineThreads,
    ListSink,
    ManualClock,
    MemoryDisk,
    MemoryTransport,
    TrioClock,
    local_config,
    make_environment,
)
from tests.support.embedded import connected

NEVER = 20.0  # seconds after which a test that hangs gives up


async def test_a_server_serves_inside_its_block_and_is_gone_after_it() -> None:
    environment = make_environment()
    async with rusd.serve(local_config(), environment) as server, connected(server, environment) as etcd:
        await etcd.put(b"k", b"v")
        assert await etcd.get(b"k") == b"v"
    with pytest.raises(OSError, match="connect"):
        async with connected(server, environment):
            pass


async def test_three_servers_live_in_one_loop_and_know_nothing_of_each_other() -> None:
    async with (
        rusd.serve(local_config(), one := make_environment(seed=1)) as first,
        rusd.serve(local_config(), two := make_environment(seed=2)) as second,
        rusd.serve(local_config(), three := make_environment(seed=3)) as third,
        connected(first, one) as a,
        connected(second, two) as b,
        connected(third, three) as c,
    ):
        assert len({first.member_id, second.member_id, third.member_id}) == 3
        await a.put(b"k", b"a")
        await b.put(b"k", b"b")
        assert [await etcd.get(b"k") for etcd in (a, b, c)] == [b"a", b"b", None]


async def test_a_minute_long_lease_expires_when_the_clock_is_moved() -> None:
    clock = ManualClock()
    environment = make_environment(clock=clock)
    with trio.fail_after(NEVER):
        async with rusd.serve(local_config(), environment) as server, connected(server, environment) as etcd:
            lease = await etcd.grant(60)
            await etcd.put(b"k", b"v", lease)
            clock.advance(59.0)
            await trio.testing.wait_all_tasks_blocked()
            assert await etcd.get(b"k") == b"v"
            start = time.perf_counter()
            clock.advance(2.0)
            while await etcd.get(b"k") is not None:
                await trio.lowlevel.checkpoint()
            took = time.perf_counter() - start
    assert took < NEVER
    print(f"expired {took * 1000:.1f} ms after the clock was moved")


async def test_a_failed_sync_ends_the_server_and_loses_nothing_acknowledged() -> None:
    memory = MemoryDisk()
    disk = FaultDisk(memory)
    config = local_config(data_dir="/data")
    environment = make_environment(disk=disk)
    acknowledged: list[bytes] = []
    with trio.fail_after(NEVER):
        with pytest.RaisesGroup(WalFailedError, flatten_subgroups=True, allow_unwrapped=True):
            async with rusd.serve(config, environment) as server, connected(server, environment) as etcd:
                disk.fail("sync", nth=20)
                for number in range(1000):
                    key = b"key-%d" % number
                    await etcd.put(key, key)
                    acknowledged.append(key)
        assert 0 < len(acknowledged) < 1000
        # A power cut: only what was synced is left.
        environment = make_environment(disk=memory.crash())
        async with rusd.serve(config, environment) as server, connected(server, environment) as etcd:
            for key in acknowledged:
                assert await etcd.get(key) == key


async def test_a_power_cut_after_any_answer_loses_nothing_that_was_answered() -> None:
    config = local_config(data_dir="/data")
    disk = MemoryDisk()
    expected: dict[bytes, bytes] = {}
    with trio.fail_after(NEVER):
        for life in range(5):
            environment = make_environment(disk=disk)
            async with rusd.serve(config, environment) as server, connected(server, environment) as etcd:
                for key, value in expected.items():
                    assert await etcd.get(key) == value
                for number in range(10):
                    key, value = b"key-%d" % number, b"life-%d" % life
                    assert await etcd.put(key, value) == 2 + 10 * life + number
                    expected[key] = value
                crashed = disk.crash()
            disk = crashed


async def test_writes_wait_while_applies_are_held_back() -> None:
    gate = ApplyGate()
    environment = make_environment(hooks=gate)
    with trio.fail_after(NEVER):
        async with rusd.serve(local_config(), environment) as server, connected(server, environment) as etcd:
            await etcd.put(b"k", b"before")
            gate.close()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(etcd.put, b"k", b"after")
                await gate.waiting.wait()
                # On disk and committed, but not applied: only a serializable read does not wait for it.
                assert await etcd.get(b"k", serializable=True) == b"before"
                gate.open()
            assert await etcd.get(b"k") == b"after"


async def test_a_server_whose_state_is_seconds_behind_its_log_is_ready_all_the_same(
    autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It tells its name through the log again and again; an earlier try that gets through will do."""
    monkeypatch.setattr(driver, "APPLY_BUDGET", 1)

    class Late(Hooks):
        async def before_apply(self, first_index: int, last_index: int) -> None:
            await trio.sleep(3)  # each entry

    environment = make_environment(
        clock=TrioClock(), transport=MemoryTransport(), threads=InlineThreads(), hooks=Late()
    )
    with trio.fail_after(30):
        async with rusd.serve(local_config(), environment) as server:
            assert server.client_urls


async def test_a_taken_port_is_one_clear_error_and_leaves_nothing_behind() -> None:
    disk = MemoryDisk()
    first = make_environment()
    async with rusd.serve(local_config(), first) as server:
        taken = rusd.config.parse_urls(server.client_urls[0])
        config = local_config(listen_client_urls=taken, advertise_client_urls=taken, data_dir="/data")
        with pytest.raises(rusd.StartError, match=r"listen tcp 127.0.0.1:\d+: bind: address already in use"):
            async with rusd.serve(config, make_environment(disk=disk)):
                raise AssertionError("it started")
    assert not disk.exists("/data")


async def test_a_locked_data_directory_is_refused() -> None:
    disk = MemoryDisk()
    config = local_config(data_dir="/data")
    async with rusd.serve(config, make_environment(disk=disk)):
        with pytest.raises(rusd.StartError, match="another process uses this data directory"):
            async with rusd.serve(config, make_environment(disk=disk)):
                raise AssertionError("it started")


async def test_ids_and_members_survive_a_restart_on_other_ports() -> None:
    disk = MemoryDisk()
    config = local_config(data_dir="/data")
    async with rusd.serve(config, make_environment(disk=disk)) as server:
        ids = server.member_id, server.cluster_id
    async with rusd.serve(config, make_environment(disk=disk)) as server:
        assert (server.member_id, server.cluster_id) == ids


async def test_no_error_is_logged_in_a_whole_life() -> None:
    sink = ListSink()
    environment = make_environment(log_sink=sink)
    async with rusd.serve(local_config(), environment) as server, connected(server, environment) as etcd:
        await etcd.put(b"k", b"v")
        await server.drain(0.0)
    assert [event for event in sink.events() if event["level"] in ("error", "fatal")] == []


async def test_a_server_needs_no_socket_when_the_transport_is_in_memory() -> None:
    environment = make_environment(transport=MemoryTransport())
    with trio.fail_after(NEVER):
        async with rusd.serve(local_config(), environment) as server, connected(server, environment) as etcd:
            await etcd.put(b"k", b"v")
            assert await etcd.get(b"k") == b"v"


async def test_checkpoints_make_a_restart_remember_how_long_a_lease_had_left() -> None:
    disk, clock = MemoryDisk(), ManualClock()
    config = local_config(data_dir="/data", feature_gates={"LeaseCheckpoint": True})
    with trio.fail_after(NEVER):
        environment = make_environment(disk=disk, clock=clock)
        async with rusd.serve(config, environment) as server, connected(server, environment) as etcd:
            lease = await etcd.grant(3600)
            clock.advance(3000.0)
            while await etcd.remaining(lease) > 601:
                await trio.lowlevel.checkpoint()
            # The checkpoint is proposed by a task of its own; it is there once a write after it is.
            await trio.testing.wait_all_tasks_blocked(0.01)
            await etcd.put(b"k", b"v")
        environment = make_environment(disk=disk, clock=clock)
        async with rusd.serve(config, environment) as server, connected(server, environment) as etcd:
            assert 590 < await etcd.remaining(lease) <= 602  # and an election time-out on top
