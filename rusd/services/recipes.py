"""What Lock and Election are made of: a queue of keys ordered by create revision.

Both services are recipes on top of KV, run inside the server.  Everyone who
wants to hold a name puts a key of their own under ``name/``; the oldest one
holds it, and each of the others waits for the one just before it to go.  Source:
facts that etcd's ``concurrency`` package establishes on the wire (key form,
order of requests, headers); the idea is that of Chubby and ZooKeeper's lock recipe.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from etcdpb import kv_pb2, rpc_pb2
from rusd.grpc import Call, Code, LongAnswer, Pending, StatusError
from rusd.services.segments import collect

if TYPE_CHECKING:
    from rusd.services.context import Context
    from rusd.services.kv import KVService
    from rusd.services.lease import LeaseService

DEFAULT_TTL_SECONDS = 60
"""The lease of somebody who brings none."""

_PULL_BYTES = 1 << 20


class Recipes:
    """KV calls and waits on behalf of one caller's request."""

    def __init__(self, context: Context, kv: KVService, leases: LeaseService) -> None:
        self._context = context
        self._kv = kv
        self._leases = leases

    # -- calls to the services beside us ------------------------------------------------

    async def range(self, call: Call, request: rpc_pb2.RangeRequest) -> rpc_pb2.RangeResponse:
        """KV.Range."""
        return rpc_pb2.RangeResponse.FromString(await _wait(self._kv.range(call, request)))

    async def txn(self, call: Call, request: rpc_pb2.TxnRequest) -> rpc_pb2.TxnResponse:
        """KV.Txn."""
        return rpc_pb2.TxnResponse.FromString(await _wait(self._kv.txn(call, request)))

    async def delete(self, call: Call, key: bytes) -> rpc_pb2.DeleteRangeResponse:
        """KV.DeleteRange of one key."""
        request = rpc_pb2.DeleteRangeRequest(key=key)
        return rpc_pb2.DeleteRangeResponse.FromString(await _wait(self._kv.delete_range(call, request)))

    async def lease_or_new(self, call: Call, lease: int) -> int:
        """``lease``, or for 0 a new lease of :data:`DEFAULT_TTL_SECONDS`."""
        if lease:
            return lease
        request = rpc_pb2.LeaseGrantRequest(TTL=DEFAULT_TTL_SECONDS)
        answer = await _wait(self._leases.grant(call, request))
        return rpc_pb2.LeaseGrantResponse.FromString(answer).ID

    # -- the queue ------------------------------------------------------------------------

    async def first(self, call: Call, prefix: bytes) -> rpc_pb2.RangeResponse:
        """The oldest key under ``prefix``, if there is one."""
        return await self.range(call, first_request(prefix))

    async def wait_until_first(self, call: Call, prefix: bytes, create_revision: int) -> None:
        """Return once no key under ``prefix`` is older than ``create_revision``."""
        while True:
            older = await self.range(
                call,
                rpc_pb2.RangeRequest(
                    key=prefix,
                    range_end=prefix_end(prefix),
                    limit=1,
                    sort_order=rpc_pb2.RangeRequest.DESCEND,
                    sort_target=rpc_pb2.RangeRequest.CREATE,
                    max_create_revision=create_revision - 1,
                ),
            )
            if not older.kvs:
                return
            # Only the youngest of the older ones: when it goes, look again.
            async with self.follow(older.kvs[0].key, b"", older.header.revision) as events:
                while (await events.next()).type != kv_pb2.Event.DELETE:
                    pass

    def follow(self, key: bytes, range_end: bytes, start_revision: int) -> Followed:
        """The changes of a key or range from a revision on, as a context manager."""
        return Followed(self._context, key, range_end, start_revision)


class Followed:
    """A watch inside the server.  Use as ``async with``; :meth:`next` gives one event after the other."""

    def __init__(self, context: Context, key: bytes, range_end: bytes, start_revision: int) -> None:
        self._wake = trio.Event()
        self._stream = context.hub.open_stream(self._woken, header_prefix=context.header.at)
        self._stream.create(key, range_end, start_revision=start_revision)
        self._events: list[kv_pb2.Event] = []

    def _woken(self) -> None:
        self._wake.set()

    async def __aenter__(self) -> Followed:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        self._stream.close()

    async def next(self) -> kv_pb2.Event:
        """The next event.  Raises :class:`~rusd.grpc.StatusError` if history was compacted away."""
        await trio.lowlevel.checkpoint()
        while not self._events:
            self._wake = trio.Event()
            answers = self._stream.pull(_PULL_BYTES)
            if not answers and not self._stream.has_output:
                await self._wake.wait()
                continue
            await trio.lowlevel.checkpoint()
            for answer in answers:
                whole = answer if isinstance(answer, bytes) else b"".join(answer)
                response = rpc_pb2.WatchResponse.FromString(whole)
                if response.canceled:
                    raise StatusError(Code.UNKNOWN, "etcdserver: mvcc: required revision has been compacted")
                self._events.extend(response.events)
        return self._events.pop(0)


def own_key(prefix: bytes, lease: int) -> bytes:
    """The key that the holder of ``lease`` queues with."""
    return b"%s%x" % (prefix, lease)


def prefix_end(prefix: bytes) -> bytes:
    """The range_end that makes a range of everything under ``prefix``, which ends in a slash."""
    return prefix[:-1] + bytes((prefix[-1] + 1,))


def first_request(prefix: bytes) -> rpc_pb2.RangeRequest:
    """The range that finds the oldest key under ``prefix``."""
    return rpc_pb2.RangeRequest(
        key=prefix,
        range_end=prefix_end(prefix),
        limit=1,
        sort_order=rpc_pb2.RangeRequest.ASCEND,
        sort_target=rpc_pb2.RangeRequest.CREATE,
    )


def if_create_revision(key: bytes, revision: int) -> rpc_pb2.Compare:
    """The comparison "``key`` was created at ``revision``"; 0 for "does not exist"."""
    return rpc_pb2.Compare(
        key=key,
        target=rpc_pb2.Compare.CREATE,
        result=rpc_pb2.Compare.EQUAL,
        create_revision=revision,
    )


def put_op(key: bytes, value: bytes, lease: int) -> rpc_pb2.RequestOp:
    """A put inside a transaction."""
    return rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=key, value=value, lease=lease))


def get_op(key: bytes) -> rpc_pb2.RequestOp:
    """A read of one key inside a transaction."""
    return rpc_pb2.RequestOp(request_range=rpc_pb2.RangeRequest(key=key))


async def _wait(outcome: bytes | Pending | LongAnswer) -> bytes:
    """The answer of an inline handler, once it is there."""
    await trio.lowlevel.checkpoint()
    if isinstance(outcome, Pending):
        if not outcome.settled:
            done = trio.Event()
            outcome.on_settled = lambda _pending: done.set()
            await done.wait()
        outcome = outcome.result()
    if isinstance(outcome, LongAnswer):
        return await collect(outcome)
    return outcome
