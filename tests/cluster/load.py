"""Writers on a cluster of real processes: always so many puts under way, and what was acknowledged is kept.

A key belongs to one writer, who puts its values one after the other.  A put that was not answered may be
carried out any time later, so its key is never touched again, and nothing is said of it at the end.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import attrs
import trio

from chaos.client import Silence
from chaos.cluster import Cluster, Member
from etcdpb import rpc_pb2
from rusd.environment import real_environment
from rusd.grpc import StatusError
from rusd.logs import make_logger
from rusd.net import Client, connect

PUT, RANGE = "/etcdserverpb.KV/Put", "/etcdserverpb.KV/Range"
STATUS, HASH = "/etcdserverpb.Maintenance/Status", "/etcdserverpb.Maintenance/HashKV"
CONNECTIONS, STREAMS = 4, 16
CALL_SECONDS = 10.0
PATIENCE_SECONDS = 0.1
PAGE = 10_000


@attrs.define
class Pace:
    """How many puts there were in how many seconds."""

    puts: int
    seconds: float

    @property
    def rate(self) -> float:
        return self.puts / self.seconds

    def __str__(self) -> str:
        return f"{self.puts} puts in {self.seconds:.1f} s, {self.rate:.0f}/s"


class Load:
    """Writers, each on ``keys`` keys with values of ``value_bytes``; they prefer the member ``target``."""

    def __init__(self, cluster: Cluster, *, target: int, keys: int, value_bytes: int) -> None:
        self.target = target
        self.puts = 0
        self.unanswered = 0
        self.acknowledged: dict[bytes, bytes] = {}
        self._cluster = cluster
        self._environment = real_environment()
        self._log = make_logger(Silence(), self._environment.clock)
        self._keys = keys
        self._filling = b"." * value_bytes
        self._values = 0
        self._writers = 0

    async def run(self) -> None:
        """Write until cancelled."""
        async with trio.open_nursery() as nursery:
            for _ in range(CONNECTIONS):
                nursery.start_soon(self._connection)

    async def measure(self, seconds: float) -> Pace:
        """The pace of the next so many seconds."""
        puts, start = self.puts, trio.current_time()
        await trio.sleep(seconds)
        return Pace(self.puts - puts, trio.current_time() - start)

    async def more(self, puts: int) -> Pace:
        """Wait until so many more have been acknowledged."""
        before, start = self.puts, trio.current_time()
        while self.puts - before < puts:
            await trio.sleep(0.1)
        return Pace(self.puts - before, trio.current_time() - start)

    async def _connection(self) -> None:
        """Writers on one connection; when one of their calls fails, on a new one, perhaps elsewhere."""
        tries = 0
        while True:
            member = self._choose(tries)
            tries += 1
            try:
                async with connect(self._environment, "127.0.0.1", member.client_port, self._log) as client:
                    async with trio.open_nursery() as nursery:
                        for _ in range(STREAMS):
                            self._writers += 1
                            nursery.start_soon(self._write, client, b"%d/" % self._writers)
            except* (StatusError, OSError):
                await trio.sleep(PATIENCE_SECONDS)

    def _choose(self, tries: int) -> Member:
        running = [member for member in self._cluster.members if member.running and member.belongs]
        preferred = self._cluster.members[self.target]
        if tries % 2 == 0 and preferred in running:
            return preferred
        return running[tries // 2 % len(running)]

    async def _write(self, client: Client, prefix: bytes) -> None:
        while True:
            for number in range(self._keys):
                key = prefix + b"%d" % number
                self._values += 1
                value = b"%d%s" % (self._values, self._filling)
                request = rpc_pb2.PutRequest(key=key, value=value).SerializeToString()
                try:
                    await client.unary(PUT, request, timeout=CALL_SECONDS)
                except BaseException:  # cancelled: its neighbour's call has failed, or it is all over
                    self.unanswered += 1
                    self.acknowledged.pop(key, None)
                    raise
                self.acknowledged[key] = value
                self.puts += 1


class Calls:
    """Single questions to single members."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._environment = real_environment()
        self._log = make_logger(Silence(), self._environment.clock)

    async def ask(self, member: Member, path: str, request: bytes) -> bytes:
        """Raises :class:`StatusError`, and :class:`OSError` if nobody is there."""
        async with connect(self._environment, "127.0.0.1", member.client_port, self._log) as client:
            return await client.unary(path, request, timeout=30)

    async def status(self, member: Member) -> rpc_pb2.StatusResponse:
        answer = await self.ask(member, STATUS, rpc_pb2.StatusRequest().SerializeToString())
        return rpc_pb2.StatusResponse.FromString(answer)

    async def applied(self, member: Member) -> int:
        """How far its state is; 0 while nobody answers."""
        try:
            return (await self.status(member)).raftAppliedIndex
        except (StatusError, OSError):
            return 0

    async def leader(self) -> int:
        """Which member leads, once those that run agree."""
        while True:
            running = [member for member in self._cluster.members if member.running]
            try:
                seen = {(await self.status(member)).leader for member in running}
            except (StatusError, OSError):
                seen = set()
            for member in running:
                if seen == {member.id}:
                    return member.index
            await trio.sleep(0.1)

    async def hashes(self, revision: int, members: Sequence[Member]) -> tuple[set[int], set[int]]:
        """What these members' histories hash to, and from which revisions on they know them."""
        request = rpc_pb2.HashKVRequest(revision=revision).SerializeToString()
        hashes, compacted = set(), set()
        for member in members:
            answer = rpc_pb2.HashKVResponse.FromString(await self.ask(member, HASH, request))
            assert answer.hash_revision == revision
            hashes.add(answer.hash)
            compacted.add(answer.compact_revision)
        return hashes, compacted

    async def everything(self, member: Member) -> dict[bytes, bytes]:
        """All keys with their values, read page by page, linearizably."""
        found: dict[bytes, bytes] = {}
        key, revision = b"\0", 0
        while True:
            request = rpc_pb2.RangeRequest(key=key, range_end=b"\0", limit=PAGE, revision=revision)
            payload = await self.ask(member, RANGE, request.SerializeToString())
            answer = rpc_pb2.RangeResponse.FromString(payload)
            revision = revision or answer.header.revision
            found.update((pair.key, pair.value) for pair in answer.kvs)
            if not answer.more:
                return found
            key = answer.kvs[-1].key + b"\0"


@asynccontextmanager
async def writing(
    cluster: Cluster, target: int, *, keys: int = 100, value_bytes: int = 100
) -> AsyncIterator[Load]:
    """Writers at work; after it they have ended, and what they know is final."""
    load = Load(cluster, target=target, keys=keys, value_bytes=value_bytes)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(load.run)
        yield load
        nursery.cancel_scope.cancel()
