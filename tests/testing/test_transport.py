from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from rusd.testing.transport import MemoryTransport, channel_pair


async def test_bytes_arrive_in_order_and_the_end_after_them() -> None:
    one, other = channel_pair("a:1", "b:2")
    assert (one.peer, other.peer) == ("b:2", "a:1")
    assert other.try_receive(10) is None
    assert one.try_send(b"hello ") == 6
    assert one.try_send(b"world") == 5
    one.close()
    await other.wait_readable()
    assert other.try_receive(5) == b"hello"
    assert other.try_receive(100) == b" world"
    await other.wait_readable()
    assert other.try_receive(100) == b""


async def test_a_full_buffer_takes_nothing_until_it_is_read() -> None:
    one, other = channel_pair(buffer_bytes=4)
    assert one.try_send(b"abcdef") == 4
    assert one.try_send(b"ef") == 0
    waited = []

    async def write() -> None:
        await one.wait_writable()
        waited.append(one.try_send(b"ef"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        await trio.testing.wait_all_tasks_blocked()
        assert not waited
        assert other.try_receive(3) == b"abc"
    assert waited == [2]
    assert other.try_receive(10) == b"def"


async def test_sending_to_a_closed_end_is_a_broken_pipe() -> None:
    one, other = channel_pair()
    other.close()
    await one.wait_writable()
    with pytest.raises(BrokenPipeError):
        one.try_send(b"x")


async def test_closing_wakes_those_who_wait() -> None:
    one, _ = channel_pair(buffer_bytes=1)
    one.try_send(b"x")
    errors = []

    async def wait(what: Any) -> None:
        try:
            await what()
        except trio.ClosedResourceError as error:
            errors.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait, one.wait_readable)
        nursery.start_soon(wait, one.wait_writable)
        await trio.testing.wait_all_tasks_blocked()
        one.close()
    assert len(errors) == 2
    one.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        one.try_send(b"x")


async def test_a_reset_breaks_both_ends_and_loses_what_was_on_the_way() -> None:
    one, other = channel_pair()
    one.try_send(b"lost")
    one.reset()
    for end in (one, other):
        await end.wait_readable()
        await end.wait_writable()
        with pytest.raises(ConnectionResetError):
            end.try_receive(10)
        with pytest.raises(ConnectionResetError):
            end.try_send(b"x")


async def test_ports_are_given_out_and_taken_back() -> None:
    network = MemoryTransport()
    first, second = await network.listen("127.0.0.1", 0), await network.listen("localhost", 0)
    assert first.address[1] != second.address[1]
    with pytest.raises(OSError, match="in use"):
        await network.listen("127.0.0.1", first.address[1])
    first.close()
    await network.listen("127.0.0.1", first.address[1])


async def test_connecting_reaches_the_listener_by_any_of_its_names() -> None:
    network = MemoryTransport()
    listener = await network.listen("0.0.0.0", 2379)
    for host in ("localhost", "127.0.0.1", "10.0.0.1"):
        here = await network.connect(host, 2379)
        there = await listener.accept()
        assert here.peer.endswith(":2379")
        assert there.peer.startswith("127.0.0.1:")
        here.try_send(host.encode())
        assert there.try_receive(100) == host.encode()


async def test_where_nobody_listens_connections_are_refused() -> None:
    network = MemoryTransport()
    with pytest.raises(ConnectionRefusedError):
        await network.connect("127.0.0.1", 1)
    listener = await network.listen("127.0.0.1", 1)
    waiting = await network.connect("127.0.0.1", 1)
    listener.close()
    with pytest.raises(ConnectionResetError):
        waiting.try_receive(1)
    with pytest.raises(ConnectionRefusedError):
        await network.connect("127.0.0.1", 1)


async def test_closing_a_listener_wakes_its_accept() -> None:
    network = MemoryTransport()
    listener = await network.listen("127.0.0.1", 0)

    async def accept() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await listener.accept()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept)
        await trio.testing.wait_all_tasks_blocked()
        listener.close()


async def test_what_is_sent_over_a_cut_link_waits_until_it_is_healed() -> None:
    network = MemoryTransport()
    server, client = network.machine("server"), network.machine("client")
    listener = await server.listen("127.0.0.1", 0)
    here = await client.connect(*listener.address)
    there = await listener.accept()
    network.part([("client", "server")])
    assert here.try_send(b"question") == 8
    assert there.try_receive(100) is None
    assert there.try_send(b"news") == 4  # the other direction is whole
    await here.wait_readable()
    assert here.try_receive(100) == b"news"
    here.close()
    with trio.move_on_after(0.01) as waiting:
        await there.wait_readable()
    assert waiting.cancelled_caught  # not even the end arrives
    network.heal()
    await there.wait_readable()
    assert there.try_receive(100) == b"question"
    assert there.try_receive(100) == b""


async def test_nobody_answers_who_connects_over_a_cut_link() -> None:
    network = MemoryTransport()
    listener = await network.machine("server").listen("127.0.0.1", 0)
    network.part([("server", "client")])
    with trio.move_on_after(0.01) as waiting:
        await network.machine("client").connect(*listener.address)
    assert waiting.cancelled_caught
    await network.machine("other").connect(*listener.address)
    network.heal()
    await network.machine("client").connect(*listener.address)
