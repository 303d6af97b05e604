"""The KV service over a whole server: answers, headers, refusals, streams, compaction."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from etcdpb import rpc_pb2
from etcdpb.rpc_pb2 import (
    CompactionRequest,
    Compare,
    DeleteRangeRequest,
    HashKVRequest,
    PutRequest,
    RangeRequest,
    RequestOp,
    TxnRequest,
)
from rusd.config import parse_urls
from rusd.grpc import StatusError
from rusd.testing import ApplyGate
from tests.support.inprocess import Etcd, running

COMPACTED = ("OUT_OF_RANGE", "etcdserver: mvcc: required revision has been compacted")
FUTURE = ("OUT_OF_RANGE", "etcdserver: mvcc: required revision is a future revision")
KEY = ("INVALID_ARGUMENT", "etcdserver: key is not provided")
ALL = b"\0"


def put(key: bytes, value: bytes = b"", **more: object) -> RequestOp:
    return RequestOp(request_put=PutRequest(key=key, value=value, **more))  # type: ignore[arg-type]


def get(key: bytes, end: bytes = b"", **more: object) -> RequestOp:
    return RequestOp(request_range=RangeRequest(key=key, range_end=end, **more))  # type: ignore[arg-type]


# -- headers ------------------------------------------------------------------------------


async def test_each_answer_has_the_revision_that_etcd_gives_it() -> None:
    async with running() as etcd:
        assert (await etcd.get(b"k")).header.revision == 1
        assert await etcd.put(b"k", b"1") == 2
        assert await etcd.put(b"k", b"2") == 3
        assert (await etcd.get(b"k", revision=2)).header.revision == 3  # not the historical one
        assert (await etcd.delete(b"none")).header.revision == 3
        assert (await etcd.delete(b"k")).header.revision == 4
        answer = await etcd.call("KV/Compact", CompactionRequest(revision=3))
        assert answer.header.revision == 4
        assert answer.header.member_id == etcd.server.member_id
        assert answer.header.cluster_id == etcd.server.cluster_id
        assert answer.header.raft_term == 2


async def test_answers_inside_a_transaction_have_headers_of_their_own() -> None:
    async with running() as etcd:
        await etcd.put(b"a")
        inner = RequestOp(request_txn=TxnRequest(success=[get(b"a")]))
        delete = RequestOp(request_delete_range=DeleteRangeRequest(key=b"none"))
        request = TxnRequest(success=[get(b"a"), delete, put(b"b"), get(b"b"), delete, inner])
        answer = await etcd.call("KV/Txn", request)
        assert answer.header.revision == 3
        revisions = [
            getattr(op, op.WhichOneof("response")).header.revision
            for op in answer.responses  # type: ignore[arg-type]
        ]
        assert revisions == [2, 2, 3, 3, 3, 0]
        assert answer.responses[5].response_txn.responses[0].response_range.header.revision == 3
        assert answer.responses[0].response_range.header.member_id == 0


# -- ranges ----------------------------------------------------------------------------------


async def test_history_can_be_read_until_it_is_compacted() -> None:
    async with running() as etcd:
        for number in range(2, 6):
            await etcd.put(b"k", b"%d" % number)
        assert (await etcd.get(b"k", revision=3)).kvs[0].value == b"3"
        assert await etcd.refused("KV/Range", RangeRequest(key=b"k", revision=6)) == FUTURE
        await etcd.call("KV/Compact", CompactionRequest(revision=4))
        assert (await etcd.get(b"k", revision=4)).kvs[0].value == b"4"
        assert await etcd.refused("KV/Range", RangeRequest(key=b"k", revision=3)) == COMPACTED
        assert await etcd.refused("KV/Txn", TxnRequest(success=[get(b"k", revision=3)])) == COMPACTED
        assert await etcd.refused("KV/Txn", TxnRequest(success=[put(b"k"), get(b"k", revision=9)])) == FUTURE
        assert (await etcd.get(b"k", revision=-1)).kvs[0].value == b"5"


async def test_what_is_wrong_with_a_request_is_said_before_it_is_logged() -> None:
    async with running() as etcd:
        for name, request in (
            ("KV/Range", RangeRequest()),
            ("KV/Put", PutRequest()),
            ("KV/DeleteRange", DeleteRangeRequest()),
            ("KV/Txn", TxnRequest(compare=[Compare()])),
        ):
            assert await etcd.refused(name, request) == KEY
        status = await etcd.call("Maintenance/Status", rpc_pb2.StatusRequest())
        assert await etcd.refused("KV/Put", PutRequest()) == KEY
        assert (await etcd.call("Maintenance/Status", rpc_pb2.StatusRequest())).raftIndex == status.raftIndex


async def test_a_put_is_refused_for_its_lease_before_its_key() -> None:
    async with running() as etcd:
        request = PutRequest(key=b"none", ignore_value=True, lease=5)
        no_lease = ("NOT_FOUND", "etcdserver: requested lease not found")
        no_key = ("INVALID_ARGUMENT", "etcdserver: key not found")
        assert await etcd.refused("KV/Put", request) == no_lease
        assert await etcd.refused("KV/Put", PutRequest(key=b"none", ignore_lease=True)) == no_key
        op = RequestOp(request_put=request)
        assert await etcd.refused("KV/Txn", TxnRequest(success=[op])) == no_key  # the other way round there


@pytest.mark.parametrize("size", [1_572_864 - 17, 1_572_864 - 16])
async def test_a_request_may_be_as_large_as_the_flag_says(size: int) -> None:
    """Less what etcd's log puts around it: 17 bytes for this member's id."""
    peer = parse_urls("http://localhost:2380")
    settings = {
        "initial_advertise_peer_urls": peer,
        "initial_cluster": "default=http://localhost:2380",
        "explicit": frozenset({"initial-advertise-peer-urls", "initial-cluster"}),
    }
    async with running(**settings) as etcd:
        request = PutRequest(key=b"k")
        request.value = bytes(size - request.ByteSize() - 4)
        assert request.ByteSize() == size
        if size == 1_572_864 - 17:
            await etcd.call("KV/Put", request)
        else:
            too_large = ("INVALID_ARGUMENT", "etcdserver: request is too large")
            assert await etcd.refused("KV/Put", request) == too_large


async def test_a_transaction_that_only_reads_takes_no_place_in_the_log() -> None:
    async with running() as etcd:
        await etcd.put(b"k", b"v")
        before = (await etcd.call("Maintenance/Status", rpc_pb2.StatusRequest())).raftIndex
        answer = await etcd.call("KV/Txn", TxnRequest(success=[get(b"k")], failure=[get(b"z")]))
        assert answer.responses[0].response_range.kvs[0].value == b"v"
        assert (await etcd.call("KV/Txn", TxnRequest())).succeeded
        after = (await etcd.call("Maintenance/Status", rpc_pb2.StatusRequest())).raftIndex
        assert after == before


async def test_linearizable_reads_wait_for_what_is_committed_and_serializable_ones_do_not() -> None:
    gate = ApplyGate()
    async with running(hooks=gate) as etcd:
        await etcd.put(b"k", b"old")
        gate.close()
        seen: list[bytes] = []

        async def read(name: str, request: object) -> None:
            answer = await etcd.call(name, request)  # type: ignore[arg-type]
            kvs = answer.kvs if name == "KV/Range" else answer.responses[0].response_range.kvs
            seen.append(kvs[0].value)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(etcd.put, b"k", b"new")
            await gate.waiting.wait()
            await read("KV/Range", RangeRequest(key=b"k", serializable=True))
            await read("KV/Txn", TxnRequest(success=[get(b"k", serializable=True)]))
            assert seen == [b"old", b"old"]
            nursery.start_soon(read, "KV/Range", RangeRequest(key=b"k"))
            nursery.start_soon(read, "KV/Txn", TxnRequest(success=[get(b"k")]))
            await trio.testing.wait_all_tasks_blocked()
            assert len(seen) == 2
            gate.open()
        assert seen[2:] == [b"new", b"new"]


async def test_writes_and_reads_that_wait_too_long_are_given_up() -> None:
    gate = ApplyGate()
    async with running(hooks=gate) as etcd:
        gate.close()
        timed_out = ("UNAVAILABLE", "etcdserver: request timed out")
        failed: list[tuple[str, str]] = []

        async def expect_timeout(name: str, request: object) -> None:
            failed.append(await etcd.refused(name, request))  # type: ignore[arg-type]

        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect_timeout, "KV/Put", PutRequest(key=b"k"))
            await gate.waiting.wait()
            nursery.start_soon(expect_timeout, "KV/Range", RangeRequest(key=b"k"))
            await trio.testing.wait_all_tasks_blocked()
            await etcd.pass_time(0.5)
            await etcd.pass_time(6.0)
            assert failed == []
            await etcd.pass_time(1.5)
        assert failed == [timed_out, timed_out]
        gate.open()
        assert (await etcd.get(b"k")).count == 1  # it was only late


# -- RangeStream --------------------------------------------------------------------------------


async def stream(etcd: Etcd, **fields: object) -> list[rpc_pb2.RangeResponse]:
    chunks = []
    request = RangeRequest(key=ALL, range_end=ALL, **fields)  # type: ignore[arg-type]
    async with etcd.open("KV/RangeStream", request) as answers:
        while (answer := await answers.receive()) is not None:
            chunks.append(answer.range_response)
    return chunks


async def test_a_streamed_range_is_the_range_in_pieces() -> None:
    async with running() as etcd:
        for number in range(100):
            await etcd.put(b"k%03d" % number, b"v" * 10)
        whole = await etcd.get(ALL, ALL)
        chunks = await stream(etcd)
        assert len(chunks) > 2
        assert [kv for chunk in chunks for kv in chunk.kvs] == list(whole.kvs)
        assert all(not chunk.HasField("header") and not chunk.count for chunk in chunks[:-1])
        assert chunks[-1].header == whole.header
        assert (chunks[-1].count, chunks[-1].more) == (100, False)


@pytest.mark.parametrize("limit", [1, 9, 10, 11, 30, 99, 100, 101])
async def test_a_streamed_range_knows_its_limit(limit: int) -> None:
    async with running() as etcd:
        await fill(etcd, 100)
        whole = await etcd.get(ALL, ALL, limit=limit)
        chunks = await stream(etcd, limit=limit)
        assert [kv for chunk in chunks for kv in chunk.kvs] == list(whole.kvs)
        assert (chunks[-1].count, chunks[-1].more) == (100, limit < 100)


@pytest.mark.parametrize(
    "fields",
    [
        {"keys_only": True},
        {"count_only": True},
        {"limit": -5},
        {"revision": -1},
        {"sort_target": 3},  # without an order it means nothing
        {"sort_order": 1},
        {"serializable": True},
        {"revision": 60},
    ],
)
async def test_a_streamed_range_takes_the_options_of_a_range(fields: dict[str, int]) -> None:
    async with running() as etcd:
        await fill(etcd, 60, shuffled=True)
        asked = {name: value for name, value in fields.items() if name != "sort_target"}
        whole = await etcd.get(ALL, ALL, **asked)
        chunks = await stream(etcd, **fields)
        assert [kv for chunk in chunks for kv in chunk.kvs] == list(whole.kvs)
        assert chunks[-1].count == whole.count


async def test_a_streamed_range_does_not_see_later_writes() -> None:
    async with running() as etcd:
        await fill(etcd, 25)
        request = RangeRequest(key=ALL, range_end=ALL)
        async with etcd.open("KV/RangeStream", request) as answers:
            first = (await answers.receive()).range_response
            await etcd.put(b"zzz")
            keys = [kv.key for kv in first.kvs]
            while (answer := await answers.receive()) is not None:
                keys += [kv.key for kv in answer.range_response.kvs]
        assert len(keys) == 25


async def test_a_streamed_range_of_the_past_goes_on_where_many_keys_came_later() -> None:
    async with running() as etcd:
        await fill(etcd, 15)
        revision = (await etcd.get(ALL)).header.revision
        for number in range(30):
            await etcd.put(b"a%03d" % number)  # more than a chunk's, all before the first that was there
        chunks = await stream(etcd, revision=revision)
        assert sum(len(chunk.kvs) for chunk in chunks) == 15
        assert all(chunk.kvs for chunk in chunks)
        assert (chunks[-1].count, chunks[-1].more) == (15, False)


async def test_a_streamed_range_is_refused_as_a_range_is() -> None:
    async with running() as etcd:
        for fields in ({"revision": 9}, {"sort_order": 2}, {"sort_order": 9}):
            with pytest.raises(StatusError):
                await stream(etcd, **fields)


async def fill(etcd: Etcd, count: int, *, shuffled: bool = False) -> None:
    """``count`` keys in one transaction each hundred."""
    numbers = [(number * 37) % count if shuffled else number for number in range(count)]
    for number in dict.fromkeys(numbers):
        await etcd.put(b"k%03d" % number, b"v")


# -- compaction ------------------------------------------------------------------------------------


async def test_a_compaction_is_between_the_last_one_and_now() -> None:
    async with running() as etcd:
        await etcd.put(b"k")
        assert await etcd.refused("KV/Compact", CompactionRequest(revision=3)) == FUTURE
        await etcd.call("KV/Compact", CompactionRequest(revision=0))  # once, on a store never compacted
        assert await etcd.refused("KV/Compact", CompactionRequest(revision=0)) == COMPACTED
        await etcd.call("KV/Compact", CompactionRequest(revision=2))
        assert await etcd.refused("KV/Compact", CompactionRequest(revision=2)) == COMPACTED


async def test_a_physical_compaction_answers_when_the_old_is_gone() -> None:
    async with running() as etcd:
        for _ in range(50):
            await etcd.put(b"k", b"v" * 4096)
        before = await status(etcd)
        await etcd.call("KV/Compact", CompactionRequest(revision=51, physical=True))
        after = await status(etcd)
        assert after.dbSizeInUse < before.dbSizeInUse / 5
        assert after.dbSize == before.dbSize  # until it is defragmented
        request = CompactionRequest(revision=51, physical=True)
        assert await etcd.refused("KV/Compact", request) == COMPACTED


async def test_a_logical_compaction_is_carried_out_in_the_background() -> None:
    async with running() as etcd:
        for _ in range(50):
            await etcd.put(b"k", b"v" * 4096)
        before = await status(etcd)
        await etcd.call("KV/Compact", CompactionRequest(revision=51))
        for _ in range(10):
            await etcd.pass_time(0.01)
        assert (await status(etcd)).dbSizeInUse < before.dbSizeInUse / 5
        (line,) = etcd.sink.events("finished scheduled compaction") or [None]
        assert line is None  # it is an info line, and the level here is warn


async def test_a_hash_before_and_after_the_removal_is_the_same() -> None:
    async with running() as etcd:
        for number in range(20):
            await etcd.put(b"k%d" % (number % 3), b"%d" % number)
        await etcd.call("KV/Compact", CompactionRequest(revision=11))
        before = await etcd.call("Maintenance/HashKV", HashKVRequest(revision=15))
        for _ in range(10):
            await etcd.pass_time(0.01)
        after = await etcd.call("Maintenance/HashKV", HashKVRequest(revision=15))
        assert before == after
        assert before.compact_revision == 11


async def status(etcd: Etcd) -> rpc_pb2.StatusResponse:
    return await etcd.call("Maintenance/Status", rpc_pb2.StatusRequest())  # type: ignore[no-any-return]


# -- many at once --------------------------------------------------------------------------------------


async def test_of_concurrent_compare_and_swaps_one_wins() -> None:
    async with running() as etcd:
        won: list[int] = []

        async def swap(number: int) -> None:
            answer = await etcd.call(
                "KV/Txn",
                TxnRequest(
                    compare=[Compare(key=b"k", target=Compare.VERSION, version=0)],
                    success=[put(b"k", b"%d" % number)],
                ),
            )
            if answer.succeeded:
                won.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(30):
                nursery.start_soon(swap, number)
        assert len(won) == 1
        assert await etcd.value(b"k") == b"%d" % won[0]


async def test_concurrent_puts_have_revisions_of_their_own() -> None:
    async with running() as etcd:
        revisions: list[int] = []

        async def write(number: int) -> None:
            revisions.append(await etcd.put(b"k%d" % number))

        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(write, number)
        assert sorted(revisions) == list(range(2, 102))
