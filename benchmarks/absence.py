"""Three members, of which one is not there: the leader killed; a follower away for long, and back."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

import attrs
import trio

from benchmarks.bench import ONLY, Bench, Part, milliseconds, rate
from benchmarks.generator import Flag, Outcome
from benchmarks.members import Cluster, Through, client_of, status
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

WRITERS: dict[str, Flag] = {"connections": 64, "value": 256, "keys": 1_000_000}
WINDOW_SECONDS = 1.0
WINDOWS = 4
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
        for member in self.cluster.members:
            await self._check(member)
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

    async def _check(self, member: Server) -> None:
        """Raises :class:`BenchmarkError` if something acknowledged is not there."""
        request = rpc_pb2.RangeRequest(key=b"0", range_end=b":").SerializeToString()
        async with client_of(member) as client:
            payload = await client.unary(RANGE, request, timeout=CALL_SECONDS)
        found = {pair.key: pair.value for pair in rpc_pb2.RangeResponse.FromString(payload).kvs}
        lost = [key for key, value in self.acknowledged.items() if found.get(key) != value]
        if lost:
            raise BenchmarkError(f"{member.subject.label}: {len(lost)} acknowledged writes lost, {lost[0]!r}")


async def _keep_open(member: Server, task_status: trio.TaskStatus[Client]) -> None:
    async with client_of(member) as client:
        task_status.started(client)
        await trio.sleep_forever()


# -- a follower that was away ---------------------------------------------------------------


def measure_catch_up(bench: Bench, subject: Subject) -> Iterator[Reading]:
    """A member is killed, misses writes and is started again; they go on, and how fast?"""
    missed = bench.sizes.missed
    table = f"A cluster of 3 members, one away for {missed:,} writes"
    with bench.cluster(subject) as cluster:
        leader = cluster.leader()
        absent = cluster.followers()[0]
        writing = _Writing(bench, cluster.through(leader))
        writing.rate(calls=missed // 20)
        yield rate(table, "PUT 64x1, all there", ONLY, writing.windows())
        absent.kill()
        writing.rate(calls=missed)
        away = writing.windows()
        yield rate(table, "PUT 64x1, one away", ONLY, away)

        began = time.monotonic()
        absent.launch()
        rates = []
        while not _is_near(absent, leader):
            if time.monotonic() - began > GIVE_UP_SECONDS:
                raise BenchmarkError(f"{subject.label}: not caught up in {GIVE_UP_SECONDS:.0f} s")
            rates.append(writing.window())
        seconds = time.monotonic() - began
        meanwhile = statistics.mean(rates) if rates else None
        yield rate(table, "PUT 64x1, while it catches up", ONLY, meanwhile)
        share = meanwhile / away if meanwhile is not None else None
        yield Reading(table, "of what it was before", ONLY, "", Better.HIGHER, share)
        yield milliseconds(table, "from its start until it is there again", ONLY, seconds * 1e3)


@attrs.define
class _Writing:
    """Puts, each of a new key, in runs that follow each other."""

    _bench: Bench
    _target: Through
    _runs: int = 0

    def rate(self, **flags: Flag) -> float:
        """Puts a second of one run."""
        self._runs += 1
        flags = {**WRITERS, "prefix": f"{self._runs}/", **flags}
        outcome: Outcome = self._bench.generator.run(self._target, "put", **flags)
        return outcome.rate

    def window(self) -> float:
        """Puts a second of the next moment."""
        return self.rate(seconds=f"{WINDOW_SECONDS}s")

    def windows(self) -> float:
        """Puts a second of the next while."""
        return statistics.mean(self.window() for _ in range(WINDOWS))


def _is_near(member: Server, leader: Server) -> bool:
    member.check()
    own, its = trio.run(status, member), trio.run(status, leader)
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
