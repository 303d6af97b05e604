"""One server in the test's own event loop, on connections in memory, and every call by its name.

``async with running(...) as etcd`` gives an :class:`Etcd`: ``await etcd.call("KV/Put", request)`` is a
unary call, ``etcd.open("Watch/Watch")`` a stream.  Time stands still unless ``etcd.clock`` is advanced, so
nothing here depends on how fast the machine is.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio
import trio.testing
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

import rusd
from etcdpb import health_pb2, rpc_pb2, v3election_pb2, v3lock_pb2
from rusd.environment import Disk, Environment, Hooks
from rusd.grpc import StatusError
from rusd.logs import make_logger
from rusd.net import Client, connect
from rusd.testing import ListSink, ManualClock, MemoryTransport, local_config, make_environment

NEVER = 20.0
"""Seconds after which a test that hangs gives up."""


def _methods() -> dict[str, tuple[str, type[Message]]]:
    found = {}
    for module in (rpc_pb2, v3lock_pb2, v3election_pb2, health_pb2):
        for service in module.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                path = f"/{service.full_name}/{method.name}"
                found[f"{service.name}/{method.name}"] = (path, GetMessageClass(method.output_type))
    return found


METHODS = _methods()


class Stream:
    """A streaming call: requests and answers as messages."""

    def __init__(self, stream: Any, answer: type[Message]) -> None:
        self._stream = stream
        self._answer = answer

    async def send(self, request: Message) -> None:
        await self._stream.send(request.SerializeToString())

    def end(self) -> None:
        self._stream.end()

    async def receive(self) -> Any:
        """The next answer; None at the end of a stream that ended well."""
        payload = await self._stream.receive()
        return None if payload is None else self._answer.FromString(payload)

    async def is_silent(self) -> bool:
        """Whether no answer is under way: everybody waits, and nothing has come."""
        with trio.move_on_after(NEVER) as scope:
            async with trio.open_nursery() as nursery:

                async def look() -> None:
                    await trio.testing.wait_all_tasks_blocked()
                    scope.cancel()

                nursery.start_soon(look)
                await self.receive()
                nursery.cancel_scope.cancel()
        return scope.cancelled_caught


@attrs.frozen
class Etcd:
    """A running server and a client of it."""

    server: rusd.Server
    client: Client
    environment: Environment
    clock: ManualClock
    sink: ListSink

    async def call(self, name: str, request: Message) -> Any:
        """A unary call.  Raises :class:`StatusError`."""
        path, answer = METHODS[name]
        return answer.FromString(await self.client.unary(path, request.SerializeToString()))

    async def refused(self, name: str, request: Message) -> tuple[str, str]:
        """Code and text of a call that must fail."""
        try:
            answer = await self.call(name, request)
        except StatusError as error:
            return error.code.name, error.message
        raise AssertionError(f"{name} ended well: {answer}")

    @asynccontextmanager
    async def open(self, name: str, request: Message | None = None) -> AsyncIterator[Stream]:
        """A stream; with a ``request`` one whose client has nothing more to say."""
        path, answer = METHODS[name]
        async with self.client.stream(path) as raw:
            stream = Stream(raw, answer)
            if request is not None:
                await stream.send(request)
                stream.end()
            yield stream

    # -- calls that nearly every test makes

    async def put(self, key: bytes, value: bytes = b"", **fields: Any) -> int:
        """The revision."""
        answer = await self.call("KV/Put", rpc_pb2.PutRequest(key=key, value=value, **fields))
        return int(answer.header.revision)

    async def get(self, key: bytes, range_end: bytes = b"", **fields: Any) -> Any:
        return await self.call("KV/Range", rpc_pb2.RangeRequest(key=key, range_end=range_end, **fields))

    async def value(self, key: bytes) -> bytes | None:
        kvs = (await self.get(key)).kvs
        return kvs[0].value if kvs else None

    async def delete(self, key: bytes, range_end: bytes = b"", **fields: Any) -> Any:
        request = rpc_pb2.DeleteRangeRequest(key=key, range_end=range_end, **fields)
        return await self.call("KV/DeleteRange", request)

    async def grant(self, ttl: int, lease: int = 0) -> int:
        """The lease's id."""
        answer = await self.call("Lease/LeaseGrant", rpc_pb2.LeaseGrantRequest(TTL=ttl, ID=lease))
        return int(answer.ID)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Let others run until ``condition`` holds."""
        while not condition():
            await trio.lowlevel.checkpoint()

    async def pass_time(self, seconds: float) -> None:
        """Move the clock and let everybody do what is due."""
        self.clock.advance(seconds)
        await trio.testing.wait_all_tasks_blocked()


@asynccontextmanager
async def running(
    *,
    clock: ManualClock | None = None,
    disk: Disk | None = None,
    hooks: Hooks | None = None,
    seed: int = 0,
    seconds: float = NEVER,
    **settings: Any,
) -> AsyncIterator[Etcd]:
    """A server with ``settings`` (fields of ``Config``); on ``disk`` if one is given, else in memory.

    It gives up after ``seconds``.
    """
    clock, sink = clock or ManualClock(), ListSink()
    if disk is not None:
        settings.setdefault("data_dir", "/data")
    environment = make_environment(
        clock=clock, disk=disk, transport=MemoryTransport(), seed=seed, hooks=hooks, log_sink=sink
    )
    with trio.fail_after(seconds):
        async with rusd.serve(local_config(**settings), environment) as server:
            host, _, port = server.client_urls[0].removeprefix("http://").rpartition(":")
            log = make_logger(sink, clock)
            async with connect(environment, host, int(port), log) as client:
                yield Etcd(server, client, environment, clock, sink)
