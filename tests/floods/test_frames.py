"""Floods of frames: each ends its own connection, with a reason, and nobody else notices."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest
import trio

from rusd.http2 import ErrorCode, encode_static
from tests.floods.conftest import FRAMES, PUT, WATCH, Arena, Attacker, MakeArena, request

CALM = ErrorCode.ENHANCE_YOUR_CALM
BRINGS_NOTHING = (CALM, "too many frames that bring nothing")
RESETS = (CALM, "too many streams reset")

Frames = Iterator[bytes]


def ids() -> Iterator[int]:
    return itertools.count(1, 2)


def once_then(first: bytes, frames: Callable[[int], bytes]) -> Frames:
    yield first
    yield from map(frames, itertools.count())


def bomb() -> Frames:
    """A table entry of 4 kB, referenced a thousand times: 4 MB of header list in one kilobyte."""
    value = b"x" * 4000
    entry = (
        b"\x40\x01a\x7f"
        + (len(value) - 127 & 0x7F | 0x80).to_bytes(1, "big")
        + bytes(((len(value) - 127) >> 7,))
    )
    for stream_id in ids():
        yield FRAMES.block(stream_id, encode_static(request(PUT)) + entry + value + b"\xbe" * 1000)


def small_bombs() -> Frames:
    """Header lists over the limit, but not so far that the connection has to go at once."""
    block = encode_static([*request(PUT), (b"a", bytes(70_000).replace(b"\0", b"x"))])
    parts = [block[start : start + 16_000] for start in range(0, len(block), 16_000)]
    for stream_id in ids():
        yield FRAMES.block(stream_id, parts[0], done=False) + b"".join(
            FRAMES.continuation(stream_id, part, done=part is parts[-1]) for part in parts[1:]
        )


ATTACKS: dict[str, tuple[Callable[[], Frames], tuple[int, str]]] = {
    "rapid reset of a write": (
        lambda: (FRAMES.headers(n, request(PUT)) + FRAMES.rst_stream(n) for n in ids()),
        RESETS,
    ),
    "rapid reset of a watch": (
        lambda: (FRAMES.headers(n, request(WATCH)) + FRAMES.rst_stream(n) for n in ids()),
        RESETS,
    ),
    "made you reset by a window update": (
        lambda: (FRAMES.headers(n, request(WATCH)) + FRAMES.window_update(n, 0) for n in ids()),
        RESETS,
    ),
    "made you reset by an overflow": (
        lambda: (FRAMES.headers(n, request(PUT)) + FRAMES.window_update(n, 2**31 - 1) for n in ids()),
        RESETS,
    ),
    "malformed requests": (lambda: (FRAMES.block(n, b"") for n in ids()), RESETS),
    "fields of no length": (
        lambda: (FRAMES.block(n, encode_static(request(PUT)) + b"\x00\x00\x00" * 100) for n in ids()),
        RESETS,
    ),
    "CONTINUATION without end": (
        lambda: once_then(
            FRAMES.block(1, b"", done=False), lambda _: FRAMES.continuation(1, b"", done=False)
        ),
        (CALM, "header block too large"),
    ),
    "a header block without end": (
        lambda: once_then(
            FRAMES.block(1, b"", done=False), lambda _: FRAMES.continuation(1, bytes(16_000), done=False)
        ),
        (CALM, "header block too large"),
    ),
    "HPACK bomb": (bomb, (CALM, "header list more than twice as large as our limit")),
    "header lists over the limit": (small_bombs, RESETS),
    "PING": (lambda: itertools.repeat(FRAMES.ping()), (CALM, "too_many_pings")),
    "PING answers": (lambda: itertools.repeat(FRAMES.ping(ack=True)), BRINGS_NOTHING),
    "SETTINGS": (lambda: itertools.repeat(FRAMES.settings()), BRINGS_NOTHING),
    "SETTINGS that toggle the window": (
        lambda: (FRAMES.settings((4, n % 2 * 65_535)) for n in itertools.count()),
        BRINGS_NOTHING,
    ),
    "SETTINGS that toggle the table": (
        lambda: (FRAMES.settings((1, n % 2 * 4096)) for n in itertools.count()),
        BRINGS_NOTHING,
    ),
    "PRIORITY": (lambda: (FRAMES.priority(n) for n in ids()), BRINGS_NOTHING),
    "unknown frames": (lambda: itertools.repeat(FRAMES.frame(0xEE, 0, 0, bytes(100))), BRINGS_NOTHING),
    "empty DATA": (
        lambda: once_then(FRAMES.headers(1, request(WATCH)), lambda _: FRAMES.data(1)),
        BRINGS_NOTHING,
    ),
    "padding alone": (
        lambda: once_then(FRAMES.headers(1, request(WATCH)), lambda _: FRAMES.data(1, pad=255)),
        BRINGS_NOTHING,
    ),
    "WINDOW_UPDATE of one octet": (
        lambda: once_then(FRAMES.headers(1, request(WATCH)), lambda n: FRAMES.window_update(n % 2, 1)),
        BRINGS_NOTHING,
    ),
    "RST_STREAM of a closed stream": (
        lambda: once_then(
            FRAMES.headers(1, request(WATCH)) + FRAMES.rst_stream(1), lambda _: FRAMES.rst_stream(1)
        ),
        BRINGS_NOTHING,
    ),
    "GOAWAY": (lambda: itertools.repeat(FRAMES.goaway(0)), BRINGS_NOTHING),
    "a frame size below the least": (
        lambda: iter([FRAMES.settings((5, 1))]),
        (ErrorCode.PROTOCOL_ERROR, "bad MAX_FRAME_SIZE"),
    ),
    "a frame larger than allowed": (
        lambda: iter([FRAMES.frame(0, 0, 1, bytes(16_385))]),
        (ErrorCode.FRAME_SIZE_ERROR, "frame too large"),
    ),
    "noise": (
        lambda: iter([b"\xff" * 1000]),
        (ErrorCode.FRAME_SIZE_ERROR, "frame too large"),
    ),
}

FRAMES_SENT_AT_MOST = 10_000


@pytest.mark.parametrize("name", ATTACKS)
async def test_a_flood_ends_its_connection_and_nobody_else_notices(arena: MakeArena, name: str) -> None:
    frames, goodbye = ATTACKS[name]
    async with arena() as field:
        attacker = await field.connect()

        async def attack() -> None:
            await run(field, attacker, itertools.islice(frames(), FRAMES_SENT_AT_MOST))

        await field.under(attack)
        assert attacker.goodbye == goodbye
        await field.gone()
        assert field.budget.total <= 1 << 20
        field.budget.check()


async def run(field: Arena, attacker: Attacker, frames: Frames) -> None:
    """Send and read side by side; both end with the connection, which the server keeps for a second only."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(attacker.read)
        await attacker.repeat(frames)
        while not attacker.ended:
            before = field.calls
            field.clock.advance(0.5)
            while field.calls == before and not attacker.ended:
                await trio.lowlevel.checkpoint()
