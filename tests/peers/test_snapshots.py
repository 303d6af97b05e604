"""Snapshots between members: whole or not at all, and never faster than the slower of the two."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import trio
import trio.testing

from rusd.peers import PeerError, snapshots
from rusd.peers.snapshots import PIECE_BYTES
from rusd.raft import Configuration, Message, MessageType, Snapshot

INSTALL = Message(
    type=MessageType.INSTALL_SNAPSHOT,
    from_=1,
    to=2,
    term=4,
    index=90,
    snapshot=Snapshot(100, 3, Configuration(frozenset({1, 2}))),
)


class Chunks:
    """Hands out chunks and counts how many were asked for."""

    def __init__(self, *chunks: bytes) -> None:
        self._chunks = list(chunks)
        self.asked = 0

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        await trio.lowlevel.checkpoint()
        if self.asked < len(self._chunks):
            self.asked += 1
            return self._chunks[self.asked - 1]
        raise StopAsyncIteration


async def test_a_snapshot_arrives_as_it_was_sent_chunk_by_chunk(kit: Any, autojump_clock: Any) -> None:
    sent = [b"a" * 10, b"b" * PIECE_BYTES, b"c" * (3 * PIECE_BYTES + 1), b"", b"d" * (2 * PIECE_BYTES)]
    async with kit.running() as cluster:
        a, b = await cluster.join(1, 2)
        await a.transport.send_snapshot(INSTALL, b"header", Chunks(*sent))
        assert b.inbox.snapshots == [(INSTALL, b"header", sent)]
        assert not b.inbox.messages
        await trio.sleep(5)
        assert b.server.connections == 1  # its connection is gone, that of the messages stays


async def test_it_is_not_sent_before_the_receiver_has_stored_it(kit: Any, autojump_clock: Any) -> None:
    stored = trio.Event()

    async def take(_message: Message, _header: bytes, chunks: AsyncIterator[bytes]) -> None:
        async for _ in chunks:
            pass
        await stored.wait()

    async with kit.running() as cluster:
        a, b = await cluster.join(1, 2)
        b.inbox.take_snapshot = take
        async with trio.open_nursery() as nursery:
            done = trio.Event()

            async def send() -> None:
                await a.transport.send_snapshot(INSTALL, b"", Chunks(b"x" * 100))
                done.set()

            nursery.start_soon(send)
            await trio.sleep(60)
            assert not done.is_set()
            stored.set()
            await done.wait()


async def test_chunks_are_asked_for_only_as_the_receiver_takes_them(kit: Any, autojump_clock: Any) -> None:
    taken = 0

    async def take(_message: Message, _header: bytes, chunks: AsyncIterator[bytes]) -> None:
        nonlocal taken
        async for chunk in chunks:
            taken += len(chunk)
            await trio.sleep(1)

    async with kit.running() as cluster:
        a, b = await cluster.join(1, 2)
        b.inbox.take_snapshot = take
        chunks = Chunks(*[bytes(1_000_000)] * 40)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(a.transport.send_snapshot, INSTALL, b"", chunks)
            await trio.sleep(9.5)
            assert 9 <= taken / 1_000_000 <= 10
            assert chunks.asked * 1_000_000 - taken < 8_000_000
        assert taken == 40_000_000


async def test_messages_go_on_beside_a_snapshot(kit: Any, autojump_clock: Any) -> None:
    async def take(_message: Message, _header: bytes, chunks: AsyncIterator[bytes]) -> None:
        await chunks.__anext__()
        await trio.sleep(8)
        async for _ in chunks:
            pass

    async with kit.running() as cluster:
        a, b = await cluster.join(1, 2)
        b.inbox.take_snapshot = take
        async with trio.open_nursery() as nursery:
            nursery.start_soon(a.transport.send_snapshot, INSTALL, b"", Chunks(*[bytes(1_000_000)] * 20))
            await trio.sleep(4)
            a.transport.send([kit.heartbeat(1, 2)])
            began = trio.current_time()
            await b.inbox.until(lambda: len(b.inbox.messages) == 1)
            assert trio.current_time() == began


async def refused(node: Any, chunks: AsyncIterator[bytes]) -> str:
    with pytest.raises(PeerError) as caught:
        await node.transport.send_snapshot(INSTALL, b"", chunks)
    return str(caught.value)


async def test_what_the_receiver_says_against_it_is_what_the_sender_hears(
    kit: Any, autojump_clock: Any
) -> None:
    async def take(*_: object) -> None:
        raise PeerError("not wanted: it is older than the log")

    async with kit.running() as cluster:
        a, b = await cluster.join(1, 2)
        b.inbox.take_snapshot = take
        chunks = Chunks(*[bytes(1_000_000)] * 100)
        assert "not wanted: it is older than the log" in await refused(a, chunks)
        assert chunks.asked < 100
        assert a.transport.active_since(2) is not None


async def test_a_defect_of_the_receiver_is_an_error_of_the_sender_and_no_end_of_either(
    kit: Any, autojump_clock: Any
) -> None:
    async def take(*_: object) -> None:
        raise KeyError("defect")

    async with kit.running() as cluster:
        a, b = await cluster.join(1, 2)
        b.inbox.take_snapshot = take
        assert "KeyError" in await refused(a, Chunks(b"x"))
        b.inbox.take_snapshot = None
        await a.transport.send_snapshot(INSTALL, b"", Chunks(b"x"))


async def test_what_fails_in_the_sender_leaves_the_receiver_with_nothing_whole(
    kit: Any, autojump_clock: Any
) -> None:
    ends: list[str] = []
    begun = trio.Event()

    async def take(_message: Message, _header: bytes, chunks: AsyncIterator[bytes]) -> None:
        begun.set()
        try:
            async for _ in chunks:
                pass
        except BaseException as error:
            ends.append(type(error).__name__)
            raise

    async def broken() -> AsyncIterator[bytes]:
        yield b"x"
        await begun.wait()  # a call that ends at once may never reach the receiver
        raise OSError("disk")

    async with kit.running() as cluster:
        a, b = await cluster.join(1, 2)
        b.inbox.take_snapshot = take
        with pytest.raises(OSError, match="disk"):
            await a.transport.send_snapshot(INSTALL, b"", broken())
        await trio.sleep(1)
        assert len(ends) == 1
        assert ends[0] in ("PeerError", "Cancelled")


async def test_broken_half_way_neither_side_waits_for_long(kit: Any, autojump_clock: Any) -> None:
    ended: list[float] = []

    async def take(_message: Message, _header: bytes, chunks: AsyncIterator[bytes]) -> None:
        try:
            async for _ in chunks:
                await trio.sleep(0.1)
        finally:
            ended.append(trio.current_time())

    async with kit.running() as cluster:
        a, b = await cluster.join(1, 2)
        b.inbox.take_snapshot = take

        async def breaking(how: Callable[[], None]) -> None:
            async with trio.open_nursery() as nursery:

                async def later() -> None:
                    await trio.sleep(2)
                    how()

                nursery.start_soon(later)
                began = trio.current_time()
                await refused(a, Chunks(*[bytes(1_000_000)] * 200))
                assert trio.current_time() - began < 2 + 6

        await breaking(lambda: cluster.network.reset("n1", "n2"))
        await trio.sleep(1)
        assert len(ended) == 1
        await breaking(lambda: cluster.network.partition("n1", "n2"))
        await trio.sleep(10)
        assert len(ended) == 2
        assert ended[1] - ended[0] < 20
        cluster.network.heal()
        b.inbox.take_snapshot = None
        await a.until_active(b)
        await a.transport.send_snapshot(INSTALL, b"", Chunks(b"x"))
        assert len(b.inbox.snapshots) == 1


async def test_a_receiver_that_takes_nothing_is_given_up(kit: Any, autojump_clock: Any) -> None:
    async def take(*_: object) -> None:
        await trio.sleep_forever()

    async with kit.running() as cluster:
        a, b = await cluster.join(1, 2)
        b.inbox.take_snapshot = take
        began = trio.current_time()
        assert "takes nothing" in await refused(a, Chunks(*[bytes(1_000_000)] * 50))
        assert trio.current_time() - began < 20
        assert "not answered" in await refused(a, Chunks(b"x"))


async def test_only_a_few_are_received_at_a_time(kit: Any, autojump_clock: Any) -> None:
    async def take(*_: object) -> None:
        await trio.sleep(60)

    async with kit.running() as cluster:
        nodes = await cluster.join(1, 2, 3, 4)
        nodes[1].inbox.take_snapshot = take
        errors: list[str] = []

        async def send(node: Any) -> None:
            try:
                await node.transport.send_snapshot(INSTALL, b"", Chunks(b"x"))
            except PeerError as error:
                errors.append(str(error))

        async with trio.open_nursery() as nursery:
            for node in (nodes[0], nodes[2], nodes[3]):
                nursery.start_soon(send, node)
        assert errors == ["too many snapshots are being received"]


async def test_nobody_to_send_it_to_is_said_at_once(kit: Any, autojump_clock: Any) -> None:
    async with kit.running() as cluster:
        a = await cluster.start(1)
        assert "no member" in await refused(a, Chunks())
        a.transport.set_members({2: ["http://127.0.0.1:4"]})
        assert "refused" in await refused(a, Chunks())
        a.transport.set_members({2: ["https://127.0.0.1:4"]})
        assert "http only" in await refused(a, Chunks())


class _Sent:
    def __init__(self, payloads: list[bytes]) -> None:
        self._payloads = payloads

    async def next_payload(self) -> bytes:
        return self._payloads.pop(0)


@pytest.mark.parametrize("changed", [None, 0, 1, 2])
async def test_where_a_chunk_ends_is_as_sure_as_what_is_in_it(changed: int | None) -> None:
    pieces = snapshots.Pieces(b"head", piece_bytes=2)
    payloads = [bytearray(piece) for chunk in (b"abcd", b"ef") for piece in pieces.of(chunk)]
    if changed is not None:
        payloads[changed][1] ^= 1
    sent = _Sent([*map(bytes, payloads), pieces.end()])
    chunks = snapshots.Chunks(sent, snapshots.Pieces(b"head").checksum)
    if changed is None:
        assert [chunk async for chunk in chunks] == [b"abcd", b"ef"]
        return
    with pytest.raises(PeerError, match="damaged or lost"):
        [chunk async for chunk in chunks]
