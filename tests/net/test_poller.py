"""The task that reads for all idle connections."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from rusd.environment import SocketChannel
from rusd.net.poller import Poller
from rusd.testing import MemoryTransport

pytestmark = pytest.mark.skipif(not hasattr(select, "epoll"), reason="no epoll here")


@pytest.fixture
def pairs() -> Iterator[list[tuple[SocketChannel, socket.socket]]]:
    sockets = [socket.socketpair() for _ in range(2)]
    yield [(SocketChannel(ours), theirs) for ours, theirs in sockets]
    for ours, theirs in sockets:
        ours.close()
        theirs.close()


Pairs = list[tuple[SocketChannel, socket.socket]]


async def test_a_turn_is_called_for_all_that_comes_until_it_declines(
    nursery: trio.Nursery, pairs: Pairs
) -> None:
    poller = Poller()
    nursery.start_soon(poller.run)
    channel, peer = pairs[0]
    seen: list[bytes | None] = []
    called = trio.Event()

    def turn() -> bool:
        seen.append(channel.try_receive(100))
        called.set()
        return seen[-1] != b"last"

    attended: list[bool] = []

    async def attend() -> None:
        attended.append(await poller.attend(channel, turn))

    nursery.start_soon(attend)
    await wait_all_tasks_blocked()
    peer.send(b"first")
    await called.wait()
    assert (seen, attended) == ([b"first"], [])
    peer.send(b"last")
    with trio.fail_after(5):
        while not attended:
            await trio.lowlevel.checkpoint()
    peer.send(b"more")
    await wait_all_tasks_blocked(0.01)
    assert (seen, attended) == ([b"first", b"last"], [True])


async def test_what_an_earlier_turn_closed_gets_no_turn(nursery: trio.Nursery, pairs: Pairs) -> None:
    poller = Poller()
    nursery.start_soon(poller.run)
    turns: list[int] = []
    ended: list[int] = []

    async def attend(mine: int) -> None:
        def turn() -> bool:
            turns.append(mine)
            other = pairs[1 - mine][0]
            poller.forget(other)
            other.close()
            poller.forget(pairs[mine][0])  # closing oneself and declining is one ending, not two
            pairs[mine][0].close()
            return False

        assert await poller.attend(pairs[mine][0], turn)
        ended.append(mine)

    for _, peer in pairs:
        peer.send(b"x")
    with trio.fail_after(5):
        async with trio.open_nursery() as tasks:
            tasks.start_soon(attend, 0)
            tasks.start_soon(attend, 1)
    assert len(turns) == 1
    assert sorted(ended) == [0, 1]


async def test_a_cancelled_task_gets_no_more_turns(nursery: trio.Nursery, pairs: Pairs) -> None:
    poller = Poller()
    nursery.start_soon(poller.run)
    channel, peer = pairs[0]
    with trio.CancelScope() as scope:
        scope.cancel()
        await poller.attend(channel, lambda: pytest.fail("called"))
    peer.send(b"x")
    await wait_all_tasks_blocked(0.01)
    assert channel.try_receive(10) == b"x"


async def test_without_a_descriptor_the_caller_waits_by_itself(nursery: trio.Nursery) -> None:
    poller = Poller()
    nursery.start_soon(poller.run)
    transport = MemoryTransport()
    listener = await transport.listen("127.0.0.1", 0)
    channel = await transport.connect(*listener.address)
    assert not await poller.attend(channel, lambda: pytest.fail("called"))


async def test_when_the_poller_ends_every_task_goes_on_by_itself(nursery: trio.Nursery, pairs: Pairs) -> None:
    poller = Poller()
    channel = pairs[0][0]
    async with trio.open_nursery() as running:
        running.start_soon(poller.run)
        await wait_all_tasks_blocked()
        nursery.start_soon(poller.attend, channel, lambda: pytest.fail("called"))
        await wait_all_tasks_blocked()
        running.cancel_scope.cancel()
    assert not await poller.attend(channel, lambda: pytest.fail("called"))


async def test_waiting_awake_is_given_up_where_nothing_comes(nursery: trio.Nursery, pairs: Pairs) -> None:
    poller = Poller()
    channel, peer = pairs[0]
    turns = 0

    def turn() -> bool:
        nonlocal turns
        turns += 1
        return channel.try_receive(1) != b"!"

    looks = Looks(poller)
    nursery.start_soon(poller.run)
    nursery.start_soon(poller.attend, channel, turn)
    await wait_all_tasks_blocked()
    for number in range(1, 41):
        peer.send(b"x")
        with trio.fail_after(5):
            while turns < number:
                await trio.lowlevel.checkpoint()
        await wait_all_tasks_blocked()
    # Each wait in vain takes a hundred looks or so; of forty passes only five waited.
    assert 100 < looks.count < 40 * 100 / 4


async def test_others_have_their_time_between_long_turns_and_nobody_is_passed_over(
    nursery: trio.Nursery, pairs: Pairs
) -> None:
    time = 0.0
    passes = 0
    turns: list[tuple[int, int]] = []
    enough = trio.Event()

    def turn(mine: int) -> bool:  # a long one, and there is more to read after it
        nonlocal time
        time += 1.0
        turns.append((mine, passes))
        if len(turns) == 8:
            enough.set()
        return len(turns) < 8

    async def count() -> None:
        nonlocal passes
        while True:
            await trio.lowlevel.checkpoint()
            passes += 1

    poller = Poller(now=lambda: time)
    for mine, (_, peer) in enumerate(pairs):
        peer.send(b"x")
        nursery.start_soon(poller.attend, pairs[mine][0], lambda mine=mine: turn(mine))
    await wait_all_tasks_blocked()
    nursery.start_soon(count)
    nursery.start_soon(poller.run)
    with trio.fail_after(5):
        await enough.wait()
    assert [mine for mine, _ in turns[:8]] in ([0, 1] * 4, [1, 0] * 4)
    assert len({number for _, number in turns[:8]}) > 3  # in each pass of the event loop the order is another
    nursery.cancel_scope.cancel()


class Looks:
    """Counts how often the poller looks at its epoll."""

    def __init__(self, poller: Poller) -> None:
        self.count = 0
        self._epoll = poller._epoll
        poller._epoll = self  # type: ignore[assignment]

    def poll(self, timeout: float, most: int) -> list[tuple[int, int]]:
        self.count += 1
        assert self._epoll is not None
        return self._epoll.poll(timeout, most)

    def __getattr__(self, name: str) -> object:
        return getattr(self._epoll, name)
