"""Three members, of which one is not there: the leader killed; a follower away for long, and back."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import attrs
import trio

from benchmarks.bench import ONLY, Bench, Part, milliseconds, rate
from benchmarks.generator import Flag
from benchmarks.members import Cluster, client_of, status
from benchmarks.readings import Better, Reading
from benchmarks.servers import BenchmarkError, Server, Subject
from etcdpb import rpc_pb2
from rusd.grpc import StatusError
from rusd.net import Client

FAILOVER = "A cluster of 3 members, its leader killed"
WRITES_BETWEEN = 50
TRY_SECONDS = 0.02
"""Between two puts through each of those that are left, whether or not the last ones were answered."""
CALL_SECONDS = 5.0
GIVE_UP_SECONDS = 60.0
PUT, RANGE = "/etcdserverpb.KV/Put", "/etcdserverpb.KV/Range"

WRITERS: dict[str, Flag] = {"connections": 64, "value": 256, "keys": 10_000_000, "seconds": "9m"}
WHILE_SECONDS = 4.0
POLL_SECONDS = 0.1
AWAY_SECONDS = 300.0
NEAR_ENTRIES = 5_000
"""A member that is not further behind its leader's log is there again."""


# -- kill -9 of the leader ------------------------------------------------------------------


def measure_failover(bench: Bench, subject: Subject) -> Iterator[Reading]:
    """From SIGKILL to the first put that one of the others acknowledges; nothing acknowledged may be lost."""
    with bench.cluster(subject) as cluster:
        times = trio.run(_Failover(cluster).play, bench.sizes.kills)
    row = "to the first write through another"
    yield milliseconds(FAILOVER, f"{row}, median of {len(times)}", ONLY, statistics.median(times) * 1e3)
    yield milliseconds(FAILOVER, f"{row}, longest", ONLY, max(times) * 1e3)


@attrs.define
class _Failover:
    """Kills leaders, and keeps what was acknowledged."""

    cluster: Cluster
    acknowledged: dict[bytes, bytes] = attrs.Factory(dict)
    _puts: int = 0

    async def play(self, kills: int) -> list[float]:
        """Seconds of each.  Raises :class:`BenchmarkError` if a write is lost, or none succeeds."""
        times = []
        for _ in range(kills):
            leader = await self.cluster.wait_for_leader()
            async with client_of(leader) as client:
                for _ in range(WRITES_BETWEEN):
                    if not await self._put(client):
                        raise BenchmarkError(f"{leader.subject.label}: a put failed though all were there")
            times.append(await self._kill(leader))
            leader.launch()
        await self.cluster.wait_for_leader()
        await self._check()
        return times

    async def _kill(self, leader: Server) -> float:
        """Kill the leader and put through the others until one succeeds; seconds."""
        first = trio.Event()
        others = [member for member in self.cluster.members if member is not leader]
        with trio.move_on_after(GIVE_UP_SECONDS):
            async with trio.open_nursery() as nursery:
                clients = [await nursery.start(_keep_open, other) for other in others]
                began = trio.current_time()
                leader.kill()
                for client in clients:
                    nursery.start_soon(self._keep_putting, client, first)
                await first.wait()
                seconds = trio.current_time() - began
                nursery.cancel_scope.cancel()
            return seconds
        raise BenchmarkError(f"{leader.subject.label}: no write in {GIVE_UP_SECONDS:.0f} s after a kill")

    async def _keep_putting(self, client: Client, first: trio.Event) -> None:
        async def put() -> None:
            if await self._put(client):
                first.set()

        async with trio.open_nursery() as nursery:
            while True:
                nursery.start_soon(put)
                await trio.sleep(TRY_SECONDS)

    async def _put(self, client: Client) -> bool:
        """One put, of a key that nobody else puts; whether it was acknowledged."""
        self._puts += 1
        key, value = b"%08d" % self._puts, b"value %d" % self._puts
        request = rpc_pb2.PutRequest(key=key, value=value).SerializeToString()
        try:
            await client.unary(PUT, request, timeout=CALL_SECONDS)
        except StatusError:
            return False
        self.acknowledged[key] = value
        return True

    async def _check(self) -> None:
        """Raises :class:`BenchmarkError` if something acknowledged is not there, on whichever member."""
        lost = {member.name: await self._missing_in(member) for member in self.cluster.members}
        if any(lost.values()):
            label = self.cluster.members[0].subject.label
            told = "; ".join(f"{name}: {len(keys)}" for name, keys in lost.items())
            raise BenchmarkError(
                f"{label}: of {len(self.acknowledged)} acknowledged writes some are lost, on {told}"
            )

    async def _missing_in(self, member: Server) -> list[bytes]:
        request = rpc_pb2.RangeRequest(key=b"0", range_end=b":").SerializeToString()
        async with client_of(member) as client:
            payload = await client.unary(RANGE, request, timeout=CALL_SECONDS)
        found = {pair.key: pair.value for pair in rpc_pb2.RangeResponse.FromString(payload).kvs}
        return [key for key, value in self.acknowledged.items() if found.get(key) != value]


async def _keep_open(member: Server, task_status: trio.TaskStatus[Client]) -> None:
    async with client_of(member) as client:
        task_status.started(client)
        await trio.sleep_forever()


# -- a follower that was away ---------------------------------------------------------------


def measure_catch_up(bench: Bench, subject: Subject) -> Iterator[Reading]:
    """A member is killed, misses writes and is started again; they go on all the time, and how fast?"""
    missed = bench.sizes.missed
    table = f"A cluster of 3 members, one away for {missed:,} writes"
    with bench.cluster(subject) as cluster:
        leader = cluster.leader()
        absent = cluster.followers()[0]
        with bench.generator.keep_running(leader, "put", **WRITERS):
            writes = _Writes(leader)
            writes.wait_for(missed // 20)
            before = writes.rate_of_a_while()
            yield rate(table, "PUT 64x1, all there", ONLY, before)
            absent.kill()
            writes.wait_for(missed)
            yield rate(table, "PUT 64x1, one away", ONLY, writes.rate_of_a_while())
            with _busy_process():
                beside = writes.rate_of_a_while()
            yield rate(table, "PUT 64x1, one away, and a process that computes", ONLY, beside)
            absent.launch()
            meanwhile, seconds = writes.rate_until(lambda: _is_near(absent, leader))
            yield rate(table, "PUT 64x1, while it catches up", ONLY, meanwhile)
            after = writes.rate_of_a_while()
            yield rate(table, "PUT 64x1, all there again", ONLY, after)
        share = 2 * meanwhile / (before + after)
        yield Reading(table, "of the rate with all there", ONLY, "", Better.HIGHER, share)
        yield milliseconds(table, "from its start until it is there again", ONLY, seconds * 1e3)


@attrs.define
class _Writes:
    """How fast a leader's log grows while somebody else writes."""

    _leader: Server

    def wait_for(self, writes: int) -> None:
        """Until so many more are applied."""
        end = self._applied() + writes
        self._wait_until(lambda: self._applied() >= end, AWAY_SECONDS, f"not {writes} writes")

    def rate_of_a_while(self) -> float:
        """Writes a second of the next while."""
        began = time.monotonic()
        return self.rate_until(lambda: time.monotonic() - began > WHILE_SECONDS)[0]

    def rate_until(self, over: Callable[[], bool]) -> tuple[float, float]:
        """Writes a second until ``over()``, and the seconds that took."""
        began, first = time.monotonic(), self._applied()
        self._wait_until(over, GIVE_UP_SECONDS, "not caught up")
        last = self._applied()
        seconds = time.monotonic() - began
        return (last - first) / seconds, seconds

    def _wait_until(self, over: Callable[[], bool], patience: float, failure: str) -> None:
        """Raises :class:`BenchmarkError` after ``patience`` seconds."""
        deadline = time.monotonic() + patience
        while not over():
            if time.monotonic() > deadline:
                raise BenchmarkError(f"{self._leader.subject.label}: {failure} in {patience:.0f} s")
            time.sleep(POLL_SECONDS)

    def _applied(self) -> int:
        found = trio.run(status, self._leader)
        if found is None:
            raise BenchmarkError(f"{self._leader.subject.label}: the leader does not answer")
        return found.applied


@contextlib.contextmanager
def _busy_process() -> Iterator[None]:
    """What a third process costs the others on a machine with few processors, whatever it does."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        try:
            yield
        finally:
            process.kill()


def _is_near(member: Server, leader: Server) -> bool:
    member.check()
    own, its = trio.run(status, member, POLL_SECONDS), trio.run(status, leader)
    return own is not None and its is not None and own.applied >= its.applied - NEAR_ENTRIES


PARTS = (
    Part("failover", "three members: kill -9 of the leader, 20 times", measure_failover, heavy=True),
    Part(
        "catch-up",
        "three members: one away for 200,000 writes, and back while they go on",
        measure_catch_up,
        heavy=True,
    ),
)
