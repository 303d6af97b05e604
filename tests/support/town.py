"""A cluster of whole servers inside the test's own event loop, under Trio's mock clock.

``async with town("a", "b", "c") as town`` gives a :class:`Town`; its servers have been found serving,
with a leader.  Network and disks are in memory, so an election takes no time that anybody notices.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio
from google.protobuf.message import Message

import rusd
from etcdpb import rpc_pb2
from rusd.config import parse_urls
from rusd.environment import Environment
from rusd.grpc import StatusError
from rusd.logs import make_logger
from rusd.net import Client, connect
from rusd.testing import (
    InlineThreads,
    ListSink,
    MemoryDisk,
    MemoryTransport,
    TrioClock,
    local_config,
    make_environment,
)
from tests.support.inprocess import METHODS, Stream

NEVER = 300.0
"""Mock seconds after which a test that hangs gives up."""


@attrs.define
class House:
    """One member: where it lives, and its server while it runs."""

    name: str
    port: int
    environment: Environment
    sink: ListSink
    disk: MemoryDisk
    scope: trio.CancelScope | None = None
    server: rusd.Server | None = None
    client: Client | None = None
    ended: trio.Event = attrs.field(factory=trio.Event)
    failure: BaseException | None = None

    @property
    def peer_url(self) -> str:
        return f"http://127.0.0.1:{self.port + 1}"

    @property
    def id(self) -> int:
        assert self.server is not None
        return self.server.member_id

    async def call(self, name: str, request: Message, **options: Any) -> Any:
        """A unary call.  Raises :class:`StatusError`."""
        assert self.client is not None, f"{self.name} does not run"
        path, answer = METHODS[name]
        return answer.FromString(await self.client.unary(path, request.SerializeToString(), **options))

    async def refused(self, name: str, request: Message) -> tuple[str, str]:
        """Code and text of a call that must fail."""
        try:
            answer = await self.call(name, request)
        except StatusError as error:
            return error.code.name, error.message
        raise AssertionError(f"{name} ended well: {answer}")

    @asynccontextmanager
    async def open(self, name: str, **options: Any) -> AsyncIterator[Stream]:
        """A stream."""
        assert self.client is not None
        path, answer = METHODS[name]
        async with self.client.stream(path, **options) as raw:
            yield Stream(raw, answer)

    async def put(self, key: bytes, value: bytes = b"", **fields: Any) -> None:
        await self.call("KV/Put", rpc_pb2.PutRequest(key=key, value=value, **fields))

    async def value(self, key: bytes, **fields: Any) -> bytes | None:
        answer = await self.call("KV/Range", rpc_pb2.RangeRequest(key=key, **fields))
        return answer.kvs[0].value if answer.kvs else None

    async def status(self) -> Any:
        return await self.call("Maintenance/Status", rpc_pb2.StatusRequest())

    async def members(self, *, linearizable: bool = True) -> list[Any]:
        request = rpc_pb2.MemberListRequest(linearizable=linearizable)
        return list((await self.call("Cluster/MemberList", request)).members)


class Town:
    """The members, by name."""

    def __init__(self, nursery: trio.Nursery, settings: dict[str, Any]) -> None:
        self.nursery = nursery
        self._settings = settings
        self._transport = MemoryTransport()
        self._clock = TrioClock()
        self._founders: tuple[str, ...] = ()
        self.houses: dict[str, House] = {}

    def __getitem__(self, name: str) -> House:
        return self.houses[name]

    def build(self, name: str) -> House:
        """A place for a member, with nothing on its disk."""
        number = len(self.houses)
        sink, disk = ListSink(), MemoryDisk()
        environment = make_environment(
            clock=self._clock,
            disk=disk,
            transport=self._transport,
            seed=number,
            log_sink=sink,
            threads=InlineThreads(),
        )
        house = self.houses[name] = House(name, 20_000 + 10 * number, environment, sink, disk)
        return house

    async def found(self, names: Sequence[str]) -> None:
        """Start a cluster of these, all at once, and return when each of them serves."""
        self._founders = tuple(names)
        for name in names:
            self.build(name)
        async with trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(self.start, name)

    async def start(self, name: str, **settings: Any) -> House:
        """Run a member, and return when it serves."""
        house = self.houses[name]
        house.ended, house.failure = trio.Event(), None
        await self.nursery.start(self._run, house, settings)
        return house

    async def stop(self, name: str) -> None:
        """End a member without a goodbye: what it had written stays."""
        house = self.houses[name]
        assert house.scope is not None
        house.scope.cancel()
        await house.ended.wait()

    def cluster(self, *names: str) -> str:
        """``--initial-cluster`` of these members."""
        return ",".join(f"{name}={self.houses[name].peer_url}" for name in names)

    async def leader(self) -> House:
        """The member that leads, once one does and those that run agree on it."""
        while True:
            running = [house for house in self.houses.values() if house.client is not None]
            seen = {(await house.status()).leader for house in running}
            for house in running:
                if seen == {house.id}:
                    return house
            await trio.sleep(0.1)

    async def followers(self) -> list[House]:
        """The others that run."""
        leader = await self.leader()
        return [house for house in self.houses.values() if house.client is not None and house is not leader]

    async def _run(self, house: House, settings: dict[str, Any], task_status: trio.TaskStatus[None]) -> None:
        url = parse_urls(f"http://127.0.0.1:{house.port}")
        peer_url = parse_urls(house.peer_url)
        config = local_config(
            **{
                "name": house.name,
                "data_dir": "/data",
                "listen_client_urls": url,
                "advertise_client_urls": url,
                "listen_peer_urls": peer_url,
                "initial_advertise_peer_urls": peer_url,
                "initial_cluster": self.cluster(*self._founders),
                "log_level": "info",
                **self._settings,
                **settings,
            }
        )
        log = make_logger(house.sink, self._clock)
        house.scope = trio.CancelScope()
        try:
            with house.scope:
                async with (
                    rusd.serve(config, house.environment) as house.server,
                    connect(house.environment, "127.0.0.1", house.port, log) as house.client,
                ):
                    task_status.started()
                    await trio.sleep_forever()
        except Exception as error:
            house.failure = error
            if house.client is None:  # it never served: whoever started it wants to know
                raise
        finally:
            house.client = None
            house.ended.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Let time pass until ``condition`` holds."""
        while not condition():
            await trio.sleep(0.05)


@asynccontextmanager
async def town(*names: str, **settings: Any) -> AsyncIterator[Town]:
    """A cluster whose founders are called ``names``; ``settings`` are fields of ``Config`` for all."""
    with trio.fail_after(NEVER):
        async with trio.open_nursery() as nursery:
            made = Town(nursery, settings)
            await made.found(names)
            yield made
            nursery.cancel_scope.cancel()
