"""A proxy that serves stale reads: to see that the checkers would notice a server that does.

It stands before one member's client port and hands every call on as it is, but answers some linearizable
reads with what it once heard as the answer to the same question.  ``python -m chaos --stale-reads`` puts it
there; the verdict has to be FAIL.
"""

from __future__ import annotations

import random
from collections import deque

import attrs
import trio
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from chaos.client import Address, Silence
from etcdpb import rpc_pb2, v3lock_pb2
from rusd.environment import Environment
from rusd.grpc import Call, EndOfRequests, Registry, Requests, Responses
from rusd.logs import make_logger
from rusd.net import Client, ClientStream, Flusher, Limits, Server, connect

LIES = 0.1
"""How many reads in one it answers from memory, where it can."""
MEMORY = 20


@attrs.define(eq=False)
class Liar:
    """The proxy.  ``lies`` counts the answers that came from memory."""

    environment: Environment
    target: Address
    chance: random.Random
    lies: int = 0
    _memory: dict[bytes, deque[bytes]] = attrs.Factory(dict)
    _upstream: Client | None = None

    async def serve(self, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve on a free port, which is given to ``task_status``, until cancelled."""
        log = make_logger(Silence(), self.environment.clock)
        listener = await self.environment.transport.listen("127.0.0.1", 0)
        server = Server(self._registry(), None, self.environment, log, Limits(), Flusher())
        async with (
            connect(self.environment, self.target.host, self.target.port, log) as self._upstream,
            trio.open_nursery() as nursery,
        ):
            await nursery.start(server.serve, listener)
            task_status.started(listener.address[1])

    def _registry(self) -> Registry:
        registry = Registry()
        for file in (rpc_pb2.DESCRIPTOR, v3lock_pb2.DESCRIPTOR):
            for service in file.services_by_name.values():
                for method in service.methods:
                    self._register(registry, f"/{service.full_name}/{method.name}", method)
        return registry

    def _register(self, registry: Registry, path: str, method: MethodDescriptor) -> None:
        request: type[Message] = GetMessageClass(method.input_type)
        if method.client_streaming or method.server_streaming:
            registry.stream(path, request, self._stream)
        else:
            registry.task(path, request, self._unary)

    async def _unary(self, call: Call, request: Message) -> bytes:
        assert self._upstream is not None
        asked = request.SerializeToString()
        if not isinstance(request, rpc_pb2.RangeRequest) or request.serializable:
            return await self._upstream.unary(call.path, asked)
        heard = self._memory.setdefault(asked, deque(maxlen=MEMORY))
        if heard and self.chance.random() < LIES:
            self.lies += 1
            return heard[0]
        answer = await self._upstream.unary(call.path, asked)
        heard.append(answer)
        return answer

    async def _stream(self, call: Call, requests: Requests, responses: Responses) -> None:
        assert self._upstream is not None
        async with self._upstream.stream(call.path) as upstream, trio.open_nursery() as nursery:
            nursery.start_soon(_forward, requests, upstream)
            while (payload := await upstream.receive()) is not None:
                await responses.send(payload)
            nursery.cancel_scope.cancel()


async def _forward(requests: Requests, upstream: ClientStream) -> None:
    try:
        while True:
            await upstream.send((await requests.receive()).SerializeToString())
    except EndOfRequests:
        upstream.end()
