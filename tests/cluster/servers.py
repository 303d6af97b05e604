"""Whole servers in one process: everything but sockets, files and time is real.

Each machine runs ``rusd.serve()`` on a disk in memory, over the network in memory, by Trio's mock
clock; clients speak gRPC to it.  What clients were told is kept, and compared at the end with the history
that the members themselves tell.
"""

from __future__ import annotations

import random
from collections.abc import Iterable

import attrs
import trio

import rusd
from etcdpb import rpc_pb2
from rusd.config import Config, parse_urls
from rusd.grpc import StatusError
from rusd.logs import make_logger
from rusd.net import connect
from rusd.storage import WalFailedError
from rusd.testing import (
    FaultDisk,
    InlineThreads,
    ListSink,
    MemoryDisk,
    MemoryTransport,
    TrioClock,
    make_environment,
)
from rusd.testing.disk import DiskStoppedError

PUT, RANGE = "/etcdserverpb.KV/Put", "/etcdserverpb.KV/Range"
WATCH, HASH = "/etcdserverpb.Watch/Watch", "/etcdserverpb.Maintenance/HashKV"
KEYS = tuple(b"k%d" % number for number in range(5))
CLIENTS = 4
FAULTS_SECONDS = 15.0
SETTLE_SECONDS = 90.0
CALL_SECONDS = 4.0


@attrs.frozen
class Told:
    """What a client was told of a key, as of a revision; ``floor`` is the newest that was known before."""

    wrote: bool
    key: bytes
    value: bytes
    floor: int
    revision: int


class Machine:
    """One machine, and the lives of its server."""

    def __init__(self, me: int, size: int, network: MemoryTransport, chance: random.Random) -> None:
        self.me = me
        self.name = f"n{me}"
        self.is_up = False
        self.sink = ListSink()
        self._network = network
        self._chance = chance
        self._disk = MemoryDisk()
        self._faults = FaultDisk(self._disk)
        self._scope = trio.CancelScope()
        self._ended = trio.Event()
        self._config = Config(
            name=self.name,
            data_dir="/data",
            listen_client_urls=parse_urls(f"http://127.0.0.1:{self.port}"),
            advertise_client_urls=parse_urls(f"http://127.0.0.1:{self.port}"),
            listen_peer_urls=parse_urls(f"http://127.0.0.1:{_peer_port(me)}"),
            initial_advertise_peer_urls=parse_urls(f"http://127.0.0.1:{_peer_port(me)}"),
            initial_cluster=",".join(
                f"n{each}=http://127.0.0.1:{_peer_port(each)}" for each in range(1, size + 1)
            ),
            snapshot_count=80,
            snapshot_catchup_entries=40,
            log_level="warn",
        )

    @property
    def port(self) -> int:
        """Of the clients."""
        return 2000 + self.me

    async def live(self) -> None:
        """One life, until :meth:`crash`."""
        self._scope, self._ended = trio.CancelScope(), trio.Event()
        self._faults = FaultDisk(self._disk)
        self.is_up = True
        environment = make_environment(
            clock=TrioClock(),
            disk=self._faults,
            transport=self._network.machine(self.name),
            seed=self._chance.getrandbits(30),
            log_sink=self.sink,
            threads=InlineThreads(lambda: self._chance.uniform(0, 0.005)),
        )
        try:
            with self._scope:
                async with rusd.serve(self._config, environment):
                    await trio.sleep_forever()
        except* (WalFailedError, DiskStoppedError):
            assert self._faults.is_stopped, "the disk was fine"
        finally:
            self.is_up = False
            self._ended.set()

    async def crash(self, survival: float | None) -> None:
        """Cut the power; ``survival`` is each unsynced page's chance, None kills the process only."""
        self._faults.is_stopped = True
        unsynced = self._disk.unsynced()
        kept = [each for each in unsynced if survival is None or self._chance.random() < survival]
        disk = self._disk.crash(kept)
        self._scope.cancel()
        await self._ended.wait()
        self._disk = disk


class Servers:
    """One cluster of whole servers under one seed."""

    def __init__(self, seed: int, size: int = 3) -> None:
        self.chance = random.Random(seed)
        self.network = MemoryTransport()
        self.machines = [
            Machine(me, size, self.network, random.Random(self.chance.random())) for me in range(1, size + 1)
        ]
        self.told: list[Told] = []
        self.newest = 1
        self.refused: dict[str, int] = {}
        self.crashes = 0
        self._number = 0
        sink = ListSink()
        self._environment = make_environment(clock=TrioClock(), transport=self.network.machine("client"))
        self._log = make_logger(sink, self._environment.clock)

    async def go(self) -> None:
        """Raises :class:`AssertionError` if something does not hold."""
        async with trio.open_nursery() as lives:
            for machine in self.machines:
                lives.start_soon(machine.live)
            async with trio.open_nursery() as clients:
                for _ in range(CLIENTS):
                    clients.start_soon(self._client, random.Random(self.chance.random()))
                await trio.sleep(4.0)  # until there is a leader
                with trio.move_on_after(FAULTS_SECONDS):
                    await self._play_faults(lives)
                clients.cancel_scope.cancel()
            await self._settle(lives)
            lives.cancel_scope.cancel()

    # -- clients ----------------------------------------------------------------------

    async def _call(
        self, machine: Machine, path: str, payload: bytes, timeout: float = CALL_SECONDS
    ) -> bytes:
        """Raises :class:`StatusError`, and :class:`OSError` if nobody is there."""
        with trio.fail_after(2 * timeout):
            async with connect(self._environment, "127.0.0.1", machine.port, self._log) as client:
                return await client.unary(path, payload, timeout=timeout)

    async def _client(self, chance: random.Random) -> None:
        while True:
            machine, key = chance.choice(self.machines), chance.choice(KEYS)
            try:
                if chance.random() < 0.6:
                    await self._put(machine, key)
                else:
                    await self._get(machine, key)
            except StatusError as error:
                self.refused[error.message] = self.refused.get(error.message, 0) + 1
            except (OSError, trio.TooSlowError):
                pass  # nobody there
            await trio.sleep(chance.uniform(0, 0.1))

    async def _put(self, machine: Machine, key: bytes) -> None:
        self._number += 1
        value, floor = b"v%d" % self._number, self.newest
        request = rpc_pb2.PutRequest(key=key, value=value)
        answer = rpc_pb2.PutResponse.FromString(await self._call(machine, PUT, request.SerializeToString()))
        self._tell(Told(True, key, value, floor, answer.header.revision))

    async def _get(self, machine: Machine, key: bytes) -> None:
        floor = self.newest
        request = rpc_pb2.RangeRequest(key=key)
        answer = rpc_pb2.RangeResponse.FromString(
            await self._call(machine, RANGE, request.SerializeToString())
        )
        value = answer.kvs[0].value if answer.kvs else b""
        self._tell(Told(False, key, value, floor, answer.header.revision))

    def _tell(self, told: Told) -> None:
        self.told.append(told)
        self.newest = max(self.newest, told.revision)

    # -- faults -----------------------------------------------------------------------

    async def _play_faults(self, lives: trio.Nursery) -> None:
        chance = self.chance
        while True:
            await trio.sleep(chance.uniform(0.2, 2.0))
            await chance.choice((self._part, self._part_one_way, self._crash, self._crash))(lives)

    async def _part(self, _lives: trio.Nursery) -> None:
        names = [machine.name for machine in self.machines]
        away = set(self.chance.sample(names, self.chance.randint(1, len(names) // 2)))
        self.network.part((a, b) for a in names for b in names if (a in away) != (b in away))
        await trio.sleep(self.chance.uniform(0.5, 5.0))
        self.network.heal()

    async def _part_one_way(self, _lives: trio.Nursery) -> None:
        names = [machine.name for machine in self.machines]
        deaf = self.chance.choice(names)
        self.network.part((other, deaf) for other in names if other != deaf)
        await trio.sleep(self.chance.uniform(0.5, 4.0))
        self.network.heal()

    async def _crash(self, lives: trio.Nursery) -> None:
        victims = self.machines if self.chance.random() < 0.15 else [self.chance.choice(self.machines)]
        for machine in victims:
            if machine.is_up:
                self.crashes += 1
                await machine.crash(self.chance.choice((None, 0.0, 0.5)))
        await trio.sleep(self.chance.choice((0.1, 1.0, 4.0)))
        for machine in victims:
            if not machine.is_up:
                lives.start_soon(machine.live)

    # -- the end ----------------------------------------------------------------------

    async def _settle(self, lives: trio.Nursery) -> None:
        self.network.heal()
        for machine in self.machines:
            if not machine.is_up:
                lives.start_soon(machine.live)
        with trio.fail_after(SETTLE_SECONDS):
            while not await self._answers_everywhere():
                await trio.sleep(0.2)
            histories = [await self._history(machine) for machine in self.machines]
            hashes = {await self._hash(machine, len(histories[0]) + 1) for machine in self.machines}
        assert all(history == histories[0] for history in histories)
        assert len(hashes) == 1
        self._check(histories[0])

    async def _answers_everywhere(self) -> bool:
        try:
            for machine in self.machines:
                await self._put(machine, b"last")
            for machine in self.machines:
                await self._get(machine, b"last")
        except (StatusError, OSError, trio.TooSlowError):
            return False
        return True

    async def _history(self, machine: Machine) -> list[tuple[bytes, bytes]]:
        """All that was ever put, in order of its revision: 2 is the first."""
        create = rpc_pb2.WatchCreateRequest(key=b"\0", range_end=b"\0", start_revision=1)
        request = rpc_pb2.WatchRequest(create_request=create).SerializeToString()
        history: list[tuple[bytes, bytes]] = []
        async with connect(self._environment, "127.0.0.1", machine.port, self._log) as client:
            async with client.stream(WATCH) as stream:
                await stream.send(request)
                while len(history) + 1 < self.newest:
                    payload = await stream.receive()
                    assert payload is not None
                    for event in rpc_pb2.WatchResponse.FromString(payload).events:
                        history.append((event.kv.key, event.kv.value))
                        assert event.kv.mod_revision == len(history) + 1
        return history

    async def _hash(self, machine: Machine, revision: int) -> tuple[int, int, int]:
        request = rpc_pb2.HashKVRequest(revision=revision).SerializeToString()
        answer = rpc_pb2.HashKVResponse.FromString(await self._call(machine, HASH, request))
        return answer.hash, answer.compact_revision, answer.hash_revision

    def _check(self, history: list[tuple[bytes, bytes]]) -> None:
        """Each call was answered as of a moment between its beginning and its end; nothing happened twice."""
        values = [value for _, value in history]
        assert len(set(values)) == len(values), "a write happened twice"
        for told in self.told:
            assert told.revision > told.floor or (not told.wrote and told.revision == told.floor), told
            if told.wrote:
                assert history[told.revision - 2] == (told.key, told.value), told
            else:
                assert told.value == _newest(history[: told.revision - 1], told.key), told


def _newest(history: Iterable[tuple[bytes, bytes]], key: bytes) -> bytes:
    return next((value for each, value in reversed(list(history)) if each == key), b"")


def _peer_port(me: int) -> int:
    return 3000 + me
