"""Clients that take their time, or are not there any more: a clock ends them, and nobody else notices."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable, Iterator
from functools import partial

import pytest
import trio

from rusd.http2 import ErrorCode
from tests.floods.conftest import FRAMES, PUT, WATCH, Attacker, MakeArena, request

CALM, TIMEOUT = ErrorCode.ENHANCE_YOUR_CALM, ErrorCode.SETTINGS_TIMEOUT
OPENING = FRAMES.preface + FRAMES.settings()
OPENED = OPENING + FRAMES.settings_ack()
HALF_A_BLOCK = FRAMES.block(1, b"", done=False)


def octets(data: bytes) -> Iterator[bytes]:
    for octet in data:
        yield bytes((octet,))


# What is said at once, what is said second by second, after how many seconds at most it ends, and how.
DAWDLERS: dict[str, tuple[bytes, Callable[[], Iterator[bytes]], int, tuple[int, str] | None]] = {
    "silence": (b"", lambda: iter(()), 11, None),
    "a preface octet by octet": (b"", lambda: octets(FRAMES.preface), 11, None),
    "settings octet by octet": (
        FRAMES.preface,
        lambda: octets(FRAMES.settings(*[(4, 65_535)] * 10)),
        12,
        (TIMEOUT, "no SETTINGS frame in time"),
    ),
    "no answer to our settings": (
        OPENING,
        lambda: iter(()),
        42,
        (TIMEOUT, "SETTINGS not acknowledged in time"),
    ),
    "a frame octet by octet": (
        OPENED,
        lambda: octets(FRAMES.data(1, bytes(1000))),
        47,
        (CALM, "frame not complete in time"),
    ),
    "a header block frame by frame": (
        OPENED + HALF_A_BLOCK,
        lambda: (FRAMES.continuation(1, b"", done=False) if n % 3 == 0 else b"" for n in range(90)),
        47,
        (CALM, "frame not complete in time"),
    ),
    "HTTP/1.1 octet by octet": (b"GET /health HTTP/1.1\r\n", lambda: octets(b"x-y: z\r\n" * 100), 302, None),
}


@pytest.mark.parametrize("name", DAWDLERS)
async def test_whoever_dawdles_is_ended_in_time(arena: MakeArena, name: str) -> None:
    at_once, later, seconds, goodbye = DAWDLERS[name]
    async with arena() as field:
        attacker = await field.connect_raw()

        async def attack() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(attacker.read)
                await attacker.send(at_once)
                pieces = later()
                passed = 0
                while not attacker.ended:
                    assert passed <= seconds, "it is still there"
                    await attacker.send(next(pieces, b""))
                    await field.pass_time(1)
                    passed += 1

        await field.under(attack)
        assert attacker.goodbye == goodbye
        await field.gone()


PING_ACK = bytes((0, 0, 8, 6, 1, 0, 0, 0, 0))  # the head of the frame


# -- keepalive, by etcd's flags ---------------------------------------------------------------------------


async def test_pings_are_judged_by_the_flag(arena: MakeArena) -> None:
    async with arena(grpc_keepalive_min_time=20.0) as field:
        attacker = await field.connect()
        await attacker.send(FRAMES.headers(1, request(WATCH)))

        async def attack() -> None:
            for number, apart in enumerate((20, 20, 20, 20, 19, 19, 19), 1):
                assert attacker.goodbye is None
                await attacker.send(FRAMES.ping())
                await attacker.read_until(lambda data, number=number: data.count(PING_ACK) >= number)
                await field.pass_time(apart)
            await attacker.send(FRAMES.ping())
            await attacker.read_until(lambda data: data.count(PING_ACK) >= 8)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(attacker.read)
                while not attacker.ended:
                    await field.pass_time(1)

        await field.under(attack)
        assert attacker.goodbye == (CALM, "too_many_pings")


async def test_a_client_that_vanished_is_found_out_by_the_flags(arena: MakeArena) -> None:
    """Half-open: its machine lost power, say, and the system's own keepalive has not noticed yet."""
    async with arena(grpc_keepalive_interval=8.0, grpc_keepalive_timeout=3.0) as field:
        attacker = await field.connect()

        async def attack() -> None:
            await field.pass_time(14)

        await field.under(attack)
        await field.gone()
        [entry] = field.sink.events("closing a connection")
        assert entry["reason"] == "keepalive ping not acked within timeout 3s"
        await attacker.read()
        assert FRAMES.parse(attacker.data)[-1].kind == "PING"


async def test_a_client_that_answers_its_pings_stays(arena: MakeArena) -> None:
    async with arena(grpc_keepalive_interval=8.0, grpc_keepalive_timeout=3.0) as field:
        client = await field.connect()

        async def answer() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(answer_pings, client)
                await field.pass_time(60)
                nursery.cancel_scope.cancel()

        await field.under(answer)
        assert field.connections == 2
        assert len([frame for frame in FRAMES.parse(client.data) if frame.kind == "PING"]) >= 3


async def answer_pings(client: Attacker) -> None:
    for count in itertools.count(1):
        await client.read_until(partial(has_pings, count))
        await client.send(FRAMES.ping(b"rusd-kal", ack=True))


def has_pings(count: int, data: bytes) -> bool:
    return data.count(b"rusd-kal") >= count


# -- messages -------------------------------------------------------------------------------------------


async def test_a_message_octet_by_octet_holds_up_nobody(arena: MakeArena) -> None:
    """Its frames are whole, and it may take as long as its client's deadline allows."""
    async with arena() as field:
        attacker = await field.connect()
        fields = request(PUT, (b"grpc-timeout", b"50S"))
        body = struct.pack(">BI", 0, 1000) + bytes(1000)

        async def attack() -> None:
            await attacker.send(FRAMES.headers(1, fields))
            for octet in octets(body[:60]):
                await attacker.send(FRAMES.data(1, octet))
                await field.pass_time(1)
            await attacker.read_until(lambda data: b"context deadline exceeded" in data)

        await field.under(attack)
        assert attacker.goodbye is None
