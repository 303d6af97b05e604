"""The KV service: ranges, puts, deletes, transactions, compaction."""

from __future__ import annotations

from typing import cast

import trio

from etcdpb import rpc_pb2
from rusd.grpc import Call, Pending, Registry, Requests, Responses
from rusd.mvcc import (
    CompactedError,
    Compaction,
    DeleteResult,
    PutResult,
    Store,
    TxnResult,
    apply_txn,
    evaluate,
)
from rusd.mvcc.txn import read_only
from rusd.services import errors, validate
from rusd.services.context import Context, Limits
from rusd.services.encoding import delete_response, put_response, range_response, txn_response
from rusd.services.quota import put_cost, txn_cost
from rusd.state import Kind
from rusd.wire import LENGTH_DELIMITED, length_delimited, tag

COMPACTION_STEP_RECORDS = 1000
"""Records looked at between two checks whether a physical compaction is done."""

PINNED_PAUSE_SECONDS = 0.01
"""Between two looks whether a snapshot or a hash still needs the history that is to be removed."""

FIRST_CHUNK_KEYS = 10
"""Keys in the first chunk of a streamed range; later ones are sized by what came before."""

_NO_LIMIT = 1 << 63
_RANGE_STREAM_RESPONSE = tag(1, LENGTH_DELIMITED)


class KVService:
    """etcdserverpb.KV."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._header = context.header

    @property
    def _store(self) -> Store:
        return self._context.machine.store  # another one once a snapshot was installed

    def register(self, registry: Registry) -> None:
        """Make the service's methods known."""
        service = "/etcdserverpb.KV/"
        registry.inline(service + "Range", rpc_pb2.RangeRequest, self.range)
        registry.stream(service + "RangeStream", rpc_pb2.RangeRequest, self.range_stream, single_request=True)
        registry.inline(service + "Put", rpc_pb2.PutRequest, self.put)
        registry.inline(service + "DeleteRange", rpc_pb2.DeleteRangeRequest, self.delete_range)
        registry.inline(service + "Txn", rpc_pb2.TxnRequest, self.txn)
        registry.task(service + "Compact", rpc_pb2.CompactionRequest, self.compact)

    # -- reads -----------------------------------------------------------------------

    def range(self, _call: Call, request: rpc_pb2.RangeRequest) -> bytes | Pending:
        """Keys of a range at a revision."""
        validate.check_range(request)
        if request.serializable:
            return self._context.answer(lambda: self._range(request))
        return self._context.read(lambda: self._range(request))

    def _range(self, request: rpc_pb2.RangeRequest) -> bytes:
        result = evaluate(self._store, request)
        return range_response(self._header.at(result.revision), result)

    def _read_txn(self, request: rpc_pb2.TxnRequest) -> bytes:
        result = apply_txn(self._store.begin(), request, self._context.machine.leases.exists)
        return txn_response(self._header.at(result.revision), result)

    async def range_stream(self, _call: Call, requests: Requests, responses: Responses) -> None:
        """A range in chunks, all of the revision at which it began (an addition of etcd 3.7).

        Only the last chunk has a header, ``more`` and ``count``.
        """
        request = await requests.receive()
        validate.check_range_stream(request)
        try:
            if not request.serializable:
                await self._context.replica.wait_linearizable()
            await self._send_chunks(request, responses)
        except errors.REFUSALS as error:
            raise errors.from_state(error) from error

    async def _send_chunks(self, request: rpc_pb2.RangeRequest, responses: Responses) -> None:
        store = self._store
        header_revision = store.current_revision
        header = self._header.at(header_revision)
        if request.count_only:
            await responses.send(_chunk(range_response(header, evaluate(store, request))))
            return
        total = request.limit if request.limit > 0 else _NO_LIMIT
        request.revision = max(request.revision, 0) or header_revision
        request.ClearField("sort_order")  # what was let through means key order
        request.ClearField("sort_target")
        request.limit = min(FIRST_CHUNK_KEYS, total)
        count = 0
        while True:
            result = evaluate(store, request)
            count += len(result.records)
            if not result.more or count == total:
                # What was not sent is counted too: `count` tells the size of the whole range.
                result.count = count - len(result.records) + result.count
                await responses.send(_chunk(range_response(header, result)))
                return
            request.key = result.records[-1].key + b"\0"
            result.count, result.more = 0, False
            encoded = range_response(b"", result)
            await responses.send(_chunk(encoded))
            request.limit = min(_next_limit(request.limit, len(encoded), self._context.limits), total - count)

    # -- writes ----------------------------------------------------------------------

    def put(self, _call: Call, request: rpc_pb2.PutRequest) -> Pending:
        """Set a key."""
        if (refused := self._context.check_quota(put_cost(request))) is not None:
            return refused
        validate.check_put(request)
        return self._context.propose(Kind.PUT, request, self._put_answer)

    def _put_answer(self, result: object) -> bytes:
        put = cast("PutResult", result)
        return put_response(self._header.at(put.revision), put)

    def delete_range(self, _call: Call, request: rpc_pb2.DeleteRangeRequest) -> Pending:
        """Delete the keys of a range."""
        validate.check_delete_range(request)
        return self._context.propose(Kind.DELETE_RANGE, request, self._delete_answer)

    def _delete_answer(self, result: object) -> bytes:
        deleted = cast("DeleteResult", result)
        return delete_response(self._header.at(deleted.revision), deleted)

    def txn(self, _call: Call, request: rpc_pb2.TxnRequest) -> bytes | Pending:
        """Compare, then carry out one of two lists of operations."""
        context = self._context
        cost = txn_cost(request)
        if cost and (refused := context.check_quota(cost)) is not None:
            return refused
        validate.check_txn(request, context.limits.max_txn_ops)
        if not read_only(request):
            return context.propose(Kind.TXN, request, self._txn_answer)
        # A transaction that only reads needs no place in the log; it is as recent as its ranges ask for.
        if _serializable(request):
            return context.answer(lambda: self._read_txn(request))
        return context.read(lambda: self._read_txn(request))

    def _txn_answer(self, result: object) -> bytes:
        txn = cast("TxnResult", result)
        return txn_response(self._header.at(txn.revision), txn)

    # -- compaction ------------------------------------------------------------------

    async def compact(self, _call: Call, request: rpc_pb2.CompactionRequest) -> bytes:
        """Give up history.  With ``physical`` the answer, an error too, waits until it is removed."""
        context = self._context
        job: Compaction | None = None
        try:
            job = cast("Compaction", await context.replica.propose_and_wait(Kind.COMPACT, request))
        except CompactedError as error:
            if request.physical:
                await self._wait_until_removed(self._store.last_compaction)
            raise errors.from_state(error) from error
        except errors.REFUSALS as error:
            raise errors.from_state(error) from error
        if request.physical:
            await self._wait_until_removed(job)
        return self._header.now()

    async def _wait_until_removed(self, job: Compaction | None) -> None:
        """Help with the removal until it is done; while something pins the history, wait for that."""
        while job is not None and not job.step(COMPACTION_STEP_RECORDS):
            if self._context.machine.store.pins:
                # Trio's own time: what is waited for is another task, and a test's clock may stand still.
                await trio.sleep(PINNED_PAUSE_SECONDS)
            else:
                await trio.lowlevel.checkpoint()


def _serializable(request: rpc_pb2.TxnRequest) -> bool:
    """Whether every range of both branches may be answered from local state."""
    return all(
        op.request_range.serializable for branch in (request.success, request.failure) for op in branch
    )


def _chunk(range_answer: bytes) -> bytes:
    """``RangeStreamResponse``."""
    return length_delimited(_RANGE_STREAM_RESPONSE, range_answer)


def _next_limit(limit: int, size: int, limits: Limits) -> int:
    """Keys in the next chunk, so that chunks come near the size that requests may have."""
    if size < limits.max_request_bytes // 2:
        return limit * 2
    if size > limits.max_request_bytes * 2:
        return max(1, limit // 2)
    return limit
