"""The proxy between members, on loopback: bytes pass, are held one way, break, or vanish."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import attrs
import pytest
import trio

from chaos.links import Network, Rule
from chaos.proxy import Directory, Proxy, open_listeners

PATIENCE = 10.0
A_WHILE = 0.1
HEAD = b"GET /raft HTTP/1.1\r\nX-Server-From: %x\r\n\r\n"


@attrs.define
class Bench:
    """Member 1 behind a proxy; whoever connects says that it is member 0."""

    proxy: Proxy
    port: int
    accepted: trio.MemoryReceiveChannel[trio.SocketStream]
    stack: AsyncExitStack

    @property
    def network(self) -> Network:
        return self.proxy.network

    async def dialled(self) -> trio.SocketStream:
        """A connection that has said nothing yet; closed at the end."""
        return await self.stack.enter_async_context(await trio.open_tcp_stream("127.0.0.1", self.port))

    async def connected(self) -> tuple[trio.SocketStream, trio.SocketStream]:
        """Both ends of a connection from member 0 to member 1, identified already."""
        near = await self.dialled()
        head = HEAD % 0xA0
        await near.send_all(head)
        far = await self.accepted.receive()
        assert await exactly(far, len(head)) == head
        return near, far


@asynccontextmanager
async def bench() -> AsyncIterator[Bench]:
    """A proxy that serves, and a member behind it that only accepts."""
    sender, receiver = trio.open_memory_channel[trio.SocketStream](10)

    async def accept(stream: trio.SocketStream) -> None:
        await sender.send(stream)
        await trio.sleep_forever()

    proxy = Proxy(Network(), Directory({"a0": 0, "b1": 1}))
    (listener, port), (target, target_port) = await open_listeners(2)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            await nursery.start(trio.serve_listeners, accept, [target])
            await nursery.start(proxy.serve, 1, listener, target_port)
            async with AsyncExitStack() as stack:
                yield Bench(proxy, port, receiver, stack)
            nursery.cancel_scope.cancel()


async def exactly(stream: trio.SocketStream, count: int) -> bytes:
    """So many bytes."""
    data = b""
    while len(data) < count:
        piece = await stream.receive_some(count - len(data))
        assert piece, "the connection ended"
        data += piece
    return data


async def silent(stream: trio.SocketStream) -> bool:
    """Whether nothing comes for a while."""
    with trio.move_on_after(A_WHILE) as scope:
        await stream.receive_some(1)
    return scope.cancelled_caught


async def test_bytes_and_ends_pass_both_ways() -> None:
    async with bench() as table:
        near, far = await table.connected()
        await near.send_all(b"there")
        assert await exactly(far, 5) == b"there"
        await far.send_all(b"back")
        assert await exactly(near, 4) == b"back"
        await near.send_eof()
        assert await far.receive_some(1) == b""
        await far.send_all(b"still")
        assert await exactly(near, 5) == b"still"


async def test_one_way_is_cut_while_the_other_works_and_nothing_is_lost() -> None:
    async with bench() as table:
        near, far = await table.connected()
        rule = Rule(hold=True)
        table.network.add([(0, 1)], rule)
        await near.send_all(b"held")
        assert await silent(far)
        await far.send_all(b"back")
        assert await exactly(near, 4) == b"back"
        table.network.remove([(0, 1)], rule)
        assert await exactly(far, 4) == b"held"


async def test_answers_are_cut_with_the_way_they_take() -> None:
    async with bench() as table:
        near, far = await table.connected()
        table.network.add([(1, 0)], Rule(hold=True))
        await near.send_all(b"there")
        assert await exactly(far, 5) == b"there"
        await far.send_all(b"back")
        assert await silent(near)


async def test_new_connections_are_accepted_but_get_nowhere() -> None:
    async with bench() as table:
        table.network.add([(0, 1)], Rule(hold=True))
        near = await table.dialled()
        await near.send_all(HEAD % 0xA0)
        with trio.move_on_after(A_WHILE) as scope:
            await table.accepted.receive()
        assert scope.cancelled_caught


async def test_a_rule_for_others_changes_nothing() -> None:
    async with bench() as table:
        near, far = await table.connected()
        table.network.add([(2, 1), (0, 2), (1, 2)], Rule(hold=True))
        await near.send_all(b"x")
        assert await exactly(far, 1) == b"x"


async def test_a_reset_breaks_both_ends() -> None:
    async with bench() as table:
        near, far = await table.connected()
        assert table.proxy.reset([(1, 0)]) == 0
        assert table.proxy.reset([(0, 1)]) == 1
        for end in (near, far):
            with pytest.raises(trio.BrokenResourceError):
                await end.receive_some(1)


async def test_a_half_open_connection_swallows_what_is_sent() -> None:
    async with bench() as table:
        near, far = await table.connected()
        broken = table.proxy.half_open([(0, 1)])
        assert len(broken) == 1
        with pytest.raises(trio.BrokenResourceError):
            await far.receive_some(1)
        await near.send_all(b"into the void")
        await near.send_all(b"again")
        assert await silent(near)
        assert table.proxy.drop(broken) == 1
        with pytest.raises(trio.BrokenResourceError):
            await near.receive_some(1)


async def test_a_member_that_is_down_ends_the_connection() -> None:
    async with trio.open_nursery() as nursery:
        proxy = Proxy(Network(), Directory())
        ((listener, port), (closed, closed_port)) = await open_listeners(2)
        await closed.aclose()
        await nursery.start(proxy.serve, 1, listener, closed_port)
        with trio.fail_after(PATIENCE):
            async with await trio.open_tcp_stream("127.0.0.1", port) as near:
                await near.send_all(HEAD % 0xA0)
                with contextlib.suppress(trio.BrokenResourceError):  # unread bytes make it a reset
                    assert await near.receive_some(1) == b""
        nursery.cancel_scope.cancel()
