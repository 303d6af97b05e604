"""The Lock service: mutual exclusion by name."""

from __future__ import annotations

import contextlib

import trio

from etcdpb import rpc_pb2, v3lock_pb2
from rusd.grpc import Call, Code, Registry, StatusError
from rusd.services.recipes import Recipes, first_request, get_op, if_create_revision, own_key, put_op

CLEAN_UP_SECONDS = 5.0
"""How long giving up one's place in the queue may take after the caller has gone."""


class LockService:
    """v3lockpb.Lock."""

    def __init__(self, recipes: Recipes) -> None:
        self._recipes = recipes

    def register(self, registry: Registry) -> None:
        """Make the service's methods known."""
        registry.task("/v3lockpb.Lock/Lock", v3lock_pb2.LockRequest, self.lock)
        registry.task("/v3lockpb.Lock/Unlock", v3lock_pb2.UnlockRequest, self.unlock)

    async def lock(self, call: Call, request: v3lock_pb2.LockRequest) -> bytes:
        """Return once the caller holds the name; the answer names the key that proves it."""
        try:
            lease = await self._recipes.lease_or_new(call, request.lease)
            header, key = await self._acquire(call, request.name + b"/", lease)
        except StatusError as error:
            raise as_unknown(error) from error
        return v3lock_pb2.LockResponse(header=header, key=key).SerializeToString()

    async def unlock(self, call: Call, request: v3lock_pb2.UnlockRequest) -> bytes:
        """Delete the key that :meth:`lock` answered; one that is gone is fine."""
        try:
            answer = await self._recipes.delete(call, request.key)
        except StatusError as error:
            raise as_unknown(error) from error
        return v3lock_pb2.UnlockResponse(header=answer.header).SerializeToString()

    async def _acquire(self, call: Call, prefix: bytes, lease: int) -> tuple[rpc_pb2.ResponseHeader, bytes]:
        recipes = self._recipes
        key = own_key(prefix, lease)
        find_owner = rpc_pb2.RequestOp(request_range=first_request(prefix))
        queued = await recipes.txn(
            call,
            rpc_pb2.TxnRequest(
                compare=[if_create_revision(key, 0)],
                success=[put_op(key, b"", lease), find_owner],
                failure=[get_op(key), find_owner],
            ),
        )
        own_revision = queued.header.revision
        if not queued.succeeded:
            own_revision = queued.responses[0].response_range.kvs[0].create_revision
        owner = queued.responses[1].response_range.kvs
        if not owner or owner[0].create_revision == own_revision:
            return queued.header, key
        try:
            await recipes.wait_until_first(call, prefix, own_revision)
            own = await recipes.range(call, rpc_pb2.RangeRequest(key=key))
        except BaseException:
            # Whoever stops waiting must not keep others waiting.
            with trio.move_on_after(CLEAN_UP_SECONDS, shield=True), contextlib.suppress(StatusError):
                await recipes.delete(call, key)
            raise
        if not own.kvs:
            raise StatusError(Code.UNKNOWN, "mutex: session is expired")
        return own.header, key


def as_unknown(error: StatusError) -> StatusError:
    """The error as etcd's in-process client passes it on: the same text, without its code."""
    return StatusError(Code.UNKNOWN, error.message)
