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
    RangeResult,
    Store,
    TxnResult,
    evaluate,
    evaluate_steps,
    txn_steps,
)
from rusd.mvcc.ranges import read_page
from rusd.mvcc.txn import read_only
from rusd.services import errors, validate
from rusd.services.context import Answer, Context, Limits
from rusd.services.encoding import (
    LARGE_RECORDS,
    delete_response,
    delete_segments,
    large,
    put_response,
    range_response,
    range_segments,
    txn_response,
    txn_segments,
)
from rusd.services.quota import put_cost, txn_cost
from rusd.services.segments import Segments
from rusd.state import Kind
from rusd.steps import Steps, Turn, start
from rusd.wire import LENGTH_DELIMITED, length_delimited, tag

COMPACTION_STEP_RECORDS = 256
"""Records looked at between two checks whether a physical compaction is done: some four looks at each."""

PINNED_PAUSE_SECONDS = 0.01
"""Between two looks whether a snapshot or a hash still needs the history that is to be removed."""

FIRST_CHUNK_KEYS = 10
"""Keys in the first chunk of a streamed range; later ones are sized by what came before."""

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

    def range(self, _call: Call, request: rpc_pb2.RangeRequest) -> Answer | Pending:
        """Keys of a range at a revision."""
        if request.serializable:
            validate.check_range(request)
            return self._context.answer(lambda: self._range(request))
        if self._context.gate.only is not None:
            raise errors.LEARNER()
        validate.check_range(request)
        return self._context.read(lambda: self._range(request))

    def _range(self, request: rpc_pb2.RangeRequest) -> Answer:
        store = self._store
        if request.range_end and store.cost(request) > LARGE_RECORDS:
            return self._context.long_answer(lambda turn: self._range_steps(request, turn))
        result = evaluate(store, request)
        header = self._header.at(result.revision)
        if large(result):
            return self._context.long_answer(lambda turn: range_segments(header, result, turn))
        return range_response(header, result)

    def _range_steps(self, request: rpc_pb2.RangeRequest, turn: Turn) -> Steps[Segments]:
        result = yield from evaluate_steps(self._store, request, turn)
        return (yield from range_segments(self._header.at(result.revision), result, turn))

    def _read_txn(self, request: rpc_pb2.TxnRequest) -> Answer:
        turn = Turn(LARGE_RECORDS)
        steps = self._read_txn_steps(request, turn)
        result = start(steps)
        if isinstance(result, TxnResult):
            return self._txn_answer(result)
        return self._context.long_answer(lambda later: self._rest_of_txn(steps, turn, later))

    def _read_txn_steps(self, request: rpc_pb2.TxnRequest, turn: Turn) -> Steps[TxnResult]:
        """All of it reads one revision, whatever is written or compacted between the steps."""
        transaction = self._store.begin()
        pin = self._store.pin(transaction.revision)
        try:
            return (yield from txn_steps(transaction, request, self._context.machine.leases.exists, turn))
        finally:
            pin.release()

    def _rest_of_txn(self, steps: Steps[TxnResult], turn: Turn, later: Turn) -> Steps[Segments]:
        while True:
            turn.left = later.left
            try:
                next(steps)
            except StopIteration as stop:
                result: TxnResult = stop.value
                return (yield from txn_segments(self._header.at(result.revision), result, later))
            yield

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
        store, work = self._store, self._context.work
        header_revision = store.current_revision
        header = self._header.at(header_revision)
        limit = 0 if request.count_only else max(request.limit, 0)
        at = store.check_readable(request.revision)
        turn = Turn(0)
        counting = store.range_steps(request.key, request.range_end, turn, revision=at, count_only=True)
        total = (await work.run(counting, turn)).count
        if request.count_only:
            result = RangeResult([], total, False, header_revision)
            await responses.send(_chunk(range_response(header, result)))
            return
        key, size, sent = request.key, FIRST_CHUNK_KEYS, 0
        while True:
            if limit:
                size = min(size, limit - sent)
            async with work.turn():
                store.check_readable(at)  # it may have been compacted meanwhile
                records, next_key = read_page(store, key, request.range_end, at, size)
            sent += len(records)
            is_last = next_key is None or sent == total or 0 < limit == sent
            more = is_last and sent < total
            result = RangeResult(records, total if is_last else 0, more, header_revision, request.keys_only)
            encoded = range_response(header if is_last else b"", result)
            if records or is_last:  # of the past there may be nothing among so many keys
                await responses.send(_chunk(encoded))
            if next_key is None or is_last:
                return
            key = next_key
            size = min(_next_size(size, len(encoded), self._context.limits), LARGE_RECORDS)

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

    def _delete_answer(self, result: object) -> Answer:
        deleted = cast("DeleteResult", result)
        header = self._header.at(deleted.revision)
        if large(deleted):
            return self._context.long_answer(lambda turn: delete_segments(header, deleted, turn))
        return delete_response(header, deleted)

    def txn(self, _call: Call, request: rpc_pb2.TxnRequest) -> Answer | Pending:
        """Compare, then carry out one of two lists of operations."""
        context = self._context
        if not context.quota.admits_any(request.ByteSize()):
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

    def _txn_answer(self, result: object) -> Answer:
        txn = cast("TxnResult", result)
        header = self._header.at(txn.revision)
        if large(txn):
            return self._context.long_answer(lambda turn: txn_segments(header, txn, turn))
        return txn_response(header, txn)

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
        while job is not None and not job.done:
            if job.waits:
                # Trio's own time: what is waited for is another task, and a test's clock may stand still.
                await trio.sleep(PINNED_PAUSE_SECONDS)
            async with self._context.work.turn():
                job.step(COMPACTION_STEP_RECORDS)


def _serializable(request: rpc_pb2.TxnRequest) -> bool:
    """Whether every range of both branches may be answered from local state."""
    return all(
        op.request_range.serializable for branch in (request.success, request.failure) for op in branch
    )


def _chunk(range_answer: bytes) -> bytes:
    """``RangeStreamResponse``."""
    return length_delimited(_RANGE_STREAM_RESPONSE, range_answer)


def _next_size(keys: int, size: int, limits: Limits) -> int:
    """Keys in the next chunk, so that chunks come near the size that requests may have."""
    if size < limits.max_request_bytes // 2:
        return keys * 2
    if size > limits.max_request_bytes * 2:
        return max(1, keys // 2)
    return keys
