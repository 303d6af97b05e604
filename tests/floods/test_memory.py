"""Clients that want much and take nothing: what is held for them is bounded, and the bound is kept.

The server's budget is made small, so that the tests can fill it.
"""

from __future__ import annotations

import zlib
from typing import Any

import pytest
import trio

from etcdpb import rpc_pb2
from rusd.grpc.budget import STREAM_BYTES
from rusd.http2 import ErrorCode, encode_static
from tests.floods.conftest import FRAMES, PUT, RANGE, WATCH, Arena, Attacker, MakeArena, message, request
from tests.floods.conftest import watch_create as create

CALM = ErrorCode.ENHANCE_YOUR_CALM
TOO_MUCH = (CALM, "too much is held for this client")
MIB = 1 << 20
BUDGET = 8 * MIB
VALUE = b"v" * 500_000
RANGE_FIRST = message(rpc_pb2.RangeRequest(key=b"large"))
CONNECTION_WINDOW = 1_000_000
RECEIVE_BUFFER = 4096


async def prepare(field: Arena) -> None:
    field.budget.limit = BUDGET
    await field.etcd.put(b"large", VALUE)


def call(stream_id: int, path: str, body: bytes, **options: Any) -> bytes:
    return FRAMES.headers(stream_id, request(path)) + FRAMES.data(stream_id, body, **options)


def link_of(field: Arena) -> Any:
    """The server's link of the attacker's connection."""
    return list(field.server._parts.client_servers[-1]._connections)[-1].link  # type: ignore[attr-defined]


async def until_ended(field: Arena, attacker: Attacker, send: Any) -> None:
    """Read until the server has closed, sending beside it; the clock gives it the second it takes."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(attacker.read)
        await send()
        while not attacker.ended:
            field.clock.advance(0.5)
            await trio.sleep(0)


async def test_answers_behind_a_closed_window(arena: MakeArena) -> None:
    async with arena() as field:
        await prepare(field)
        attacker = await field.connect((4, 0))  # INITIAL_WINDOW_SIZE
        heaviest = 0

        async def attack() -> None:
            async def send() -> None:
                nonlocal heaviest
                for stream_id in range(1, 2001, 2):
                    await attacker.send(call(stream_id, RANGE, RANGE_FIRST, end=True))
                    heaviest = max(heaviest, field.budget.total)
                    await trio.sleep(0)
                    if attacker.ended:
                        return

            await until_ended(field, attacker, send)

        await field.under(attack)
        assert attacker.goodbye == TOO_MUCH
        assert heaviest <= BUDGET
        await field.gone()
        assert field.budget.total < MIB


async def test_answers_behind_a_window_of_one_octet(arena: MakeArena) -> None:
    async with arena() as field:
        await prepare(field)
        attacker = await field.connect((4, 1))

        async def attack() -> None:
            async def send() -> None:
                await attacker.send(*[call(n, RANGE, RANGE_FIRST, end=True) for n in range(1, 201, 2)])

            await until_ended(field, attacker, send)

        await field.under(attack)
        assert attacker.goodbye == TOO_MUCH


async def test_requests_that_never_end(arena: MakeArena) -> None:
    """Many streams, each with nearly a whole message."""
    body = message(rpc_pb2.PutRequest(key=b"k", value=bytes(MIB)))
    parts = [body[start : start + 16_000] for start in range(0, len(body) - 16_000, 16_000)]
    async with arena() as field:
        await prepare(field)
        attacker = await field.connect()

        async def attack() -> None:
            async def send() -> None:
                for stream_id in range(1, 201, 2):
                    await attacker.send(FRAMES.headers(stream_id, request(PUT)))
                    await attacker.repeat((FRAMES.data(stream_id, part) for part in parts), batch=4)
                    if attacker.ended:
                        return

            await until_ended(field, attacker, send)

        await field.under(attack)
        assert attacker.goodbye == TOO_MUCH
        await field.gone()
        assert field.budget.total < MIB


async def test_streams_that_say_nothing(arena: MakeArena) -> None:
    """Nobody else holds anything worth mentioning: that is no licence."""
    async with arena() as field:
        field.budget.limit = BUDGET
        attacker = await field.connect()
        headers = request(WATCH)

        async def attack() -> None:
            async def send() -> None:
                await attacker.repeat(FRAMES.headers(n, headers) for n in range(1, 10_001, 2))

            await until_ended(field, attacker, send)

        await field.under(attack)
        assert attacker.goodbye == TOO_MUCH
        assert BUDGET // STREAM_BYTES < 5_000


@pytest.mark.parametrize("end", [True, False], ids=["closed", "open"])
async def test_small_answers_that_are_not_read(arena: MakeArena, end: bool) -> None:
    """A few octets each, and a stream that stays for their sake."""
    async with arena() as field:
        field.budget.limit = BUDGET
        attacker = await field.connect((4, 0))
        nothing = message(rpc_pb2.RangeRequest(key=b"nothing"))

        async def attack() -> None:
            async def send() -> None:
                await attacker.repeat(call(n, RANGE, nothing, end=end) for n in range(1, 10_001, 2))

            await until_ended(field, attacker, send)

        await field.under(attack)
        assert attacker.goodbye == TOO_MUCH


async def test_streams_beyond_the_limit_are_refused(arena: MakeArena) -> None:
    async with arena(max_concurrent_streams=10) as field:
        attacker = await field.connect()

        async def attack() -> None:
            async def send() -> None:
                await attacker.repeat(FRAMES.headers(n, request(WATCH)) for n in range(1, 4_001, 2))

            await until_ended(field, attacker, send)

        await field.under(attack)
        assert attacker.goodbye == (CALM, "too many streams reset")


async def test_many_connections_share_one_budget(arena: MakeArena) -> None:
    """None of them holds much; the heaviest go, the victim stays."""
    async with arena() as field:
        await prepare(field)
        attackers = [await field.connect((4, 0)) for _ in range(30)]

        async def attack() -> None:
            for attacker in attackers:
                await attacker.send(call(1, RANGE, RANGE_FIRST, end=True))
            while field.budget.evicted < 14:
                await trio.sleep(0)

        await field.under(attack)
        assert field.budget.total <= BUDGET
        field.clock.advance(2.0)
        while field.connections > 31 - 14:
            await trio.sleep(0)


async def test_a_watcher_behind_a_closed_window(arena: MakeArena) -> None:
    """It has a position in history, and no queue: what it does not read is not kept for it."""
    async with arena() as field:
        await prepare(field)
        attacker = await field.connect((4, 0))
        await attacker.send(FRAMES.headers(1, request(WATCH)), FRAMES.data(1, create(b"watched")))

        async def attack() -> None:
            for _ in range(200):
                await field.etcd.put(b"watched", bytes(50_000))

        await field.under(attack)
        http2 = link_of(field)._http2
        assert http2.open_streams == 1
        assert 0 < http2.queued_bytes < 4 * MIB
        assert not attacker.ended


async def test_a_watcher_that_does_not_take_its_bytes_from_the_socket(arena: MakeArena) -> None:
    """The windows are wide open, the socket is full: bounded memory, and in the end a time-out."""
    async with arena() as field:
        await prepare(field)
        attacker = await field.connect((4, 2**31 - 1), receive_buffer=RECEIVE_BUFFER)
        await attacker.send(
            FRAMES.window_update(0, 2**30),
            FRAMES.headers(1, request(WATCH)),
            FRAMES.data(1, create(b"watched")),
        )
        held = 0

        async def attack() -> None:
            nonlocal held
            for _ in range(300):
                await field.etcd.put(b"watched", bytes(50_000))
                link = link_of(field)
                held = max(held, link.left_bytes + link._http2.queued_bytes)
            await field.pass_time(31)

        await field.under(attack)
        assert MIB // 4 < held < 5 * MIB
        await field.gone()
        assert field.sink.events("closing a connection that takes no data")


async def test_answers_that_are_not_taken_from_the_socket(arena: MakeArena) -> None:
    async with arena() as field:
        await prepare(field)
        attacker = await field.connect((4, 2**31 - 1), receive_buffer=RECEIVE_BUFFER)
        await attacker.send(FRAMES.window_update(0, 2**30))

        async def attack() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(
                    attacker.repeat, (call(n, RANGE, RANGE_FIRST, end=True) for n in range(1, 100_001, 2))
                )
                await field.pass_time(31)
                nursery.cancel_scope.cancel()

        await field.under(attack)
        await field.gone()
        assert field.budget.total <= BUDGET


async def test_a_gzip_bomb_is_unpacked_no_further_than_a_message_may_be(arena: MakeArena) -> None:
    """64 megabytes of nothing in 64 kilobytes: refused once two of them have come out."""
    packer = zlib.compressobj(9, wbits=31)
    packed = b"".join(packer.compress(bytes(MIB)) for _ in range(64)) + packer.flush()
    body = message(packed, 1)
    async with arena() as field:
        attacker = await field.connect()

        async def attack() -> None:
            fields = request(PUT, (b"grpc-encoding", b"gzip"))
            for stream_id in range(1, 11, 2):
                await attacker.send(FRAMES.headers(stream_id, fields))
                for start in range(0, len(body), 16_000):
                    await attacker.send(FRAMES.data(stream_id, body[start : start + 16_000]))
                await attacker.send(FRAMES.data(stream_id, end=True))
            await attacker.send(FRAMES.ping())
            await attacker.read_until(lambda data: b"12345678" in data)

        await field.under(attack)
        assert attacker.data.count(b"received message after decompression larger than max 2097152") == 5
        assert field.budget.total < MIB


async def test_a_header_table_of_large_entries_stays_as_large_as_we_said(arena: MakeArena) -> None:
    async with arena() as field:
        attacker = await field.connect()
        block = encode_static(request("/no.Such/Method"))

        async def attack() -> None:
            for stream_id in range(1, 401, 2):
                entry = b"\x40\x01b\x7f\x81\x1e" + bytes((0x21 + stream_id % 90,)) * 3968
                await attacker.send(FRAMES.block(stream_id, block + entry, end=True))
            await attacker.send(FRAMES.ping())
            await attacker.read_until(lambda data: b"12345678" in data)
            decoder = link_of(field)._http2._decoder
            decoder.check()
            assert decoder._used <= 4096

        await field.under(attack)
        assert attacker.goodbye is None
