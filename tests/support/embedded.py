"""Servers inside the test's own event loop, and a client for them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import rusd
from etcdpb import rpc_pb2
from rusd.environment import Environment
from rusd.logs import make_logger
from rusd.net import Client, connect


class Etcd:
    """The few calls these tests make, through rusd's own client."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def put(self, key: bytes, value: bytes, lease: int = 0) -> int:
        """Returns the revision."""
        request = rpc_pb2.PutRequest(key=key, value=value, lease=lease)
        answer = await self.client.unary("/etcdserverpb.KV/Put", request.SerializeToString())
        return rpc_pb2.PutResponse.FromString(answer).header.revision

    async def get(self, key: bytes, *, serializable: bool = False) -> bytes | None:
        request = rpc_pb2.RangeRequest(key=key, serializable=serializable)
        answer = await self.client.unary("/etcdserverpb.KV/Range", request.SerializeToString())
        kvs = rpc_pb2.RangeResponse.FromString(answer).kvs
        return kvs[0].value if kvs else None

    async def remaining(self, lease: int) -> int:
        """Seconds the lease has left."""
        request = rpc_pb2.LeaseTimeToLiveRequest(ID=lease)
        answer = await self.client.unary("/etcdserverpb.Lease/LeaseTimeToLive", request.SerializeToString())
        return rpc_pb2.LeaseTimeToLiveResponse.FromString(answer).TTL

    async def grant(self, ttl: int) -> int:
        request = rpc_pb2.LeaseGrantRequest(TTL=ttl)
        answer = await self.client.unary("/etcdserverpb.Lease/LeaseGrant", request.SerializeToString())
        return rpc_pb2.LeaseGrantResponse.FromString(answer).ID


@asynccontextmanager
async def connected(server: rusd.Server, environment: Environment) -> AsyncIterator[Etcd]:
    host, _, port = server.client_urls[0].removeprefix("http://").rpartition(":")
    log = make_logger(environment.log_sink, environment.clock)
    async with connect(environment, host, int(port), log) as client:
        yield Etcd(client)
