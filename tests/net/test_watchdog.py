"""Time-outs of an HTTP/2 connection: one client that dawdles, one clock that a test moves."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from rusd.grpc import Deadlines
from rusd.http2 import PREFACE, ErrorCode
from rusd.net import Limits
from rusd.net.watchdog import Watchdog
from rusd.testing import ManualClock

SETTINGS = bytes.fromhex("000000040000000000")
SETTINGS_ACK = bytes.fromhex("000000040100000000")
PING_ACK_HEAD = bytes.fromhex("000008060100000000")
HEADERS_WITHOUT_END = bytes.fromhex("000000010000000001")
CONTINUATION = bytes.fromhex("000000090000000001")
CALM, TIMEOUT = ErrorCode.ENHANCE_YOUR_CALM, ErrorCode.SETTINGS_TIMEOUT

LIMITS = Limits(
    opening_timeout=10.0,
    settings_timeout=30.0,
    frame_timeout=30.0,
    keepalive_interval=100.0,
    keepalive_timeout=20.0,
)


class Peer:
    """The other end of a served connection, frame by frame."""

    def __init__(self, channel: Any, clock: ManualClock) -> None:
        self.channel = channel
        self.clock = clock
        self.frames: list[tuple[int, int, bytes]] = []  # (type, flags, payload)
        self.closed = False
        self._data = b""

    async def send(self, data: bytes) -> None:
        assert self.channel.try_send(data) == len(data)
        await self.settle()

    async def wait(self, seconds: float, step: float = 1.0) -> None:
        """Let time pass as it does: a little at a time, everybody running in between."""
        end = self.clock.monotonic() + seconds
        while (left := end - self.clock.monotonic()) > 1e-6:
            self.clock.advance(min(step, left))
            await self.settle()

    async def until_pinged(self) -> None:
        for _ in range(200):
            if self.pings:
                return
            await self.wait(1.0)
        raise AssertionError("no ping came")

    async def settle(self) -> None:
        await trio.testing.wait_all_tasks_blocked()
        while not self.closed and (part := self.channel.try_receive(1 << 20)) is not None:
            self.closed = part == b""
            self._data += part
        while len(self._data) >= 9:
            length = int.from_bytes(self._data[:3], "big")
            kind, flags = self._data[3], self._data[4]
            self.frames.append((kind, flags, self._data[9 : 9 + length]))
            self._data = self._data[9 + length :]

    @property
    def goodbye(self) -> tuple[int, bytes] | None:
        """Code and debug data of the GOAWAY, if one came."""
        found = [payload for kind, _, payload in self.frames if kind == 7]
        return (struct.unpack_from(">I", found[-1], 4)[0], found[-1][8:]) if found else None

    @property
    def pings(self) -> list[bytes]:
        return [payload for kind, flags, payload in self.frames if kind == 6 and not flags]


@asynccontextmanager
async def peer(
    serve: Any, service: Any, network: Any, first: bytes = PREFACE + SETTINGS + SETTINGS_ACK, **limits: float
) -> AsyncIterator[Peer]:
    clock = ManualClock()
    async with serve(
        service.registry, transport=network, clock=clock, limits=attrs.evolve(LIMITS, **limits)
    ) as running:
        peer = Peer(await running.connect(), clock)
        await peer.send(first)
        yield peer
        peer.channel.close()


async def test_a_client_must_say_settings_in_time(serve: Any, service: Any, network: Any) -> None:
    async with peer(serve, service, network, first=PREFACE) as client:
        for octet in SETTINGS[:-1]:
            await client.send(bytes((octet,)))
            await client.wait(1.0)
        assert client.goodbye is None
        await client.wait(3.0)
        assert client.goodbye == (TIMEOUT, b"no SETTINGS frame in time")
        await client.wait(1.0)
        assert client.closed


async def test_a_client_must_acknowledge_our_settings_in_time(serve: Any, service: Any, network: Any) -> None:
    async with peer(serve, service, network, first=PREFACE + SETTINGS) as client:
        await client.wait(39.0)
        assert client.goodbye is None
        await client.wait(1.0)
        assert client.goodbye == (TIMEOUT, b"SETTINGS not acknowledged in time")
        await client.wait(1.0)
        assert client.closed


async def test_a_client_in_good_order_is_left_alone(serve: Any, service: Any, network: Any) -> None:
    async with peer(serve, service, network) as client:
        await client.wait(99.0)
        assert client.goodbye is None
        assert client.pings == []


async def test_a_frame_must_be_complete_in_time(serve: Any, service: Any, network: Any) -> None:
    """Dribbled bytes: each one is progress, and yet there is none."""
    async with peer(serve, service, network) as client:
        await client.send((16_000).to_bytes(3, "big") + bytes.fromhex("000000000001"))
        dribbled = 0
        while client.goodbye is None:
            await client.send(b"x")
            await client.wait(1.0)
            dribbled += 1
            assert dribbled <= 46
        assert client.goodbye == (CALM, b"frame not complete in time")
        assert dribbled >= 30
        await client.wait(1.0)
        assert client.closed


async def test_frequent_keepalives_give_a_frame_no_less_time(serve: Any, service: Any, network: Any) -> None:
    async with peer(serve, service, network, keepalive_interval=2.0) as client:
        await client.send((16_000).to_bytes(3, "big") + bytes.fromhex("000000000001"))
        dribbled = 0
        while client.goodbye is None:
            await client.send(b"x")
            await client.wait(1.0, step=0.5)
            dribbled += 1
            assert dribbled <= 46
        assert client.goodbye == (CALM, b"frame not complete in time")
        assert dribbled >= 30


async def test_a_header_block_must_be_complete_in_time_however_many_frames_it_has(
    serve: Any, service: Any, network: Any
) -> None:
    async with peer(serve, service, network) as client:
        await client.send(HEADERS_WITHOUT_END)
        for _ in range(9):
            await client.wait(5.0)
            await client.send(CONTINUATION)
        assert client.goodbye == (CALM, b"frame not complete in time")


async def test_slow_frames_that_arrive_are_fine(serve: Any, service: Any, network: Any) -> None:
    async with peer(serve, service, network) as client:
        for octet in SETTINGS * 10:
            await client.send(bytes((octet,)))
            await client.wait(2.0)
        assert client.goodbye is None


async def test_time_this_process_stood_still_is_not_held_against_anybody(
    serve: Any, service: Any, network: Any
) -> None:
    async with peer(serve, service, network) as client:
        await client.send(SETTINGS[:5])
        await client.wait(20.0)
        await client.wait(3600.0, step=3600.0)
        await client.send(SETTINGS[5:])
        assert client.goodbye is None


# -- keepalive ----------------------------------------------------------------------------------------


async def test_a_quiet_client_is_pinged_and_lives_if_it_answers(
    serve: Any, service: Any, network: Any
) -> None:
    async with peer(serve, service, network) as client:
        for _ in range(3):
            await client.until_pinged()
            await client.send(PING_ACK_HEAD + client.pings[-1])
            client.frames.clear()
        assert client.goodbye is None
        assert not client.closed


async def test_a_client_that_is_not_there_any_more_is_found_out(
    serve: Any, service: Any, network: Any
) -> None:
    async with peer(serve, service, network) as client:
        await client.until_pinged()
        pinged_at = client.clock.monotonic()
        assert 100.0 <= pinged_at - 1000.0 <= 130.0
        await client.wait(19.0)
        assert not client.closed
        await client.wait(1.0)
        assert client.closed


async def test_any_byte_is_a_sign_of_life(serve: Any, service: Any, network: Any) -> None:
    async with peer(serve, service, network) as client:
        await client.until_pinged()
        await client.send(SETTINGS)
        await client.wait(60.0)
        assert not client.closed


@pytest.mark.parametrize("off", ["keepalive_interval", "keepalive_timeout"])
async def test_keepalive_can_be_switched_off(serve: Any, service: Any, network: Any, off: str) -> None:
    async with peer(serve, service, network, **{off: 0.0}) as client:
        await client.wait(1000.0, step=10.0)
        assert client.pings == []
        assert not client.closed


async def test_an_answer_may_wait_while_this_process_stands_still(
    serve: Any, service: Any, network: Any
) -> None:
    async with peer(serve, service, network) as client:
        await client.until_pinged()
        await client.wait(600.0, step=600.0)
        assert not client.closed
        await client.send(PING_ACK_HEAD + client.pings[-1])
        await client.wait(30.0)
        assert not client.closed


# -- alone --------------------------------------------------------------------------------------------


class Stub:
    """A connection and its traffic, as a watchdog sees them."""

    closed = False
    opened = settings_acknowledged = True
    unfinished = 0
    turns = 0
    paused = False

    def ping(self, payload: bytes) -> None: ...


def watch(
    stub: Any, clock: ManualClock, deadlines: Deadlines, **changes: float
) -> tuple[Watchdog, list[tuple[int, str]]]:
    ended: list[tuple[int, str]] = []
    dog = Watchdog(
        stub,
        stub,
        clock=clock,
        deadlines=deadlines,
        limits=attrs.evolve(LIMITS, **{"keepalive_interval": 0.0, **changes}),
        wrote=lambda: None,
        end=lambda code, reason: ended.append((code, reason)),
        give_up=lambda reason: ended.append((0, reason)),
    )
    dog.start()
    return dog, ended


def pass_time(clock: ManualClock, deadlines: Deadlines, seconds: int) -> None:
    for _ in range(seconds):
        clock.advance(1.0)
        deadlines.expire(clock.monotonic())


async def test_what_is_not_read_from_a_client_is_not_its_fault() -> None:
    stub, clock, deadlines = Stub(), ManualClock(), Deadlines()
    stub.settings_acknowledged = False
    stub.unfinished, stub.paused = 7, True
    _, ended = watch(stub, clock, deadlines)
    pass_time(clock, deadlines, 90)
    assert ended == []
    stub.paused = False
    pass_time(clock, deadlines, 75)
    assert set(ended) == {
        (CALM, "frame not complete in time"),
        (TIMEOUT, "SETTINGS not acknowledged in time"),
    }


async def test_an_answer_to_a_ping_that_is_not_read_is_not_missed() -> None:
    stub, clock, deadlines = Stub(), ManualClock(), Deadlines()
    stub.paused = True
    _, ended = watch(stub, clock, deadlines, keepalive_interval=10.0, keepalive_timeout=5.0)
    pass_time(clock, deadlines, 60)
    assert ended == []
    stub.paused = False
    pass_time(clock, deadlines, 6)
    assert ended == [(0, "keepalive ping not acked within timeout 5s")]


async def test_a_stopped_watchdog_leaves_nothing_behind() -> None:
    stub, clock, deadlines = Stub(), ManualClock(), Deadlines()
    dog, ended = watch(stub, clock, deadlines)
    pass_time(clock, deadlines, 15)
    dog.stop()
    assert len(deadlines) == 0
    pass_time(clock, deadlines, 300)
    assert ended == []
