"""Whom a member listens to, and what the others hear of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio

from chaos.sender import Head, read_head
from rusd.grpc import StatusError
from rusd.logs import make_logger
from rusd.net import connect
from rusd.peers.identity import MISMATCH_TEXT, REMOVED_TEXT
from rusd.raft import Message, MessageType


class Endless:
    """Chunks that never come."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        await trio.sleep_forever()
        raise AssertionError


async def test_another_cluster_is_refused_and_that_is_said_seldom(kit: Any, autojump_clock: Any) -> None:
    async with kit.running() as cluster:
        a = await cluster.start(1)
        b = await cluster.start(2, cluster=0xC2)
        kit.introduce(a, b)
        await trio.sleep(100)
        assert a.transport.active_since(2) is None
        a.transport.send([kit.heartbeat(1, 2)])
        await trio.sleep(1)
        assert not b.inbox.messages
        refusals = b.sink.events("rejected a peer")
        assert refusals[0]["error"] == MISMATCH_TEXT
        assert refusals[0]["remote-peer-cluster-id"] == "c1"
        assert 2 <= len(refusals) <= 21
        assert 2 <= a.logged("failed to reach the peer") <= 21


async def test_an_address_that_is_now_another_members_is_refused(kit: Any, autojump_clock: Any) -> None:
    async with kit.running() as cluster:
        a = await cluster.start(1)
        b = await cluster.start(3)
        a.transport.set_members({2: [b.url]})
        a.transport.send([kit.heartbeat(1, 2)])
        await trio.sleep(1)
        assert a.transport.active_since(2) is None
        assert not b.inbox.messages


async def test_a_removed_member_is_told_so_on_its_open_stream_and_on_every_new_one(
    kit: Any, autojump_clock: Any
) -> None:
    async with kit.running() as cluster:
        a, b = await cluster.join(1, 2)
        a.removed.add(2)
        a.transport.set_members({})
        await b.inbox.until(lambda: 1 in b.inbox.lost)
        assert b.told_removed == [None]
        await trio.sleep(20)
        assert len(b.told_removed) >= 2
        assert a.sink.events("rejected a peer")[0]["error"] == REMOVED_TEXT
        assert a.transport.active_since(2) is None


async def test_a_removed_member_is_no_stranger_that_is_called_back(kit: Any, autojump_clock: Any) -> None:
    async with kit.running() as cluster:
        a = await cluster.start(1)
        b = await cluster.start(2)
        b.transport.set_members({1: [a.url]})
        await a.until_active(b)
        a.removed.add(2)
        a.transport.set_members({})
        await trio.sleep(1)
        attempts = [attempt for attempt in cluster.network.attempts if attempt[1] == "n1"]
        await trio.sleep(20)
        assert attempts == [attempt for attempt in cluster.network.attempts if attempt[1] == "n1"]


async def test_a_peer_with_a_certificate_is_not_spoken_to_in_the_clear(kit: Any, autojump_clock: Any) -> None:
    async with kit.running() as cluster:
        a, b = await cluster.start(1), await cluster.start(2)
        a.transport.set_members({2: [b.url.replace("http:", "https:")]})
        await trio.sleep(10)
        assert not [attempt for attempt in cluster.network.attempts if attempt[1] == "n1"]
        assert "http only" in a.sink.events("failed to reach the peer")[0]["error"]


async def test_the_first_bytes_of_every_connection_name_the_sender_to_a_proxy(
    kit: Any, autojump_clock: Any
) -> None:
    async with kit.running() as cluster:
        a = await cluster.start(0xA1)
        listener = await a.environment.transport.listen("127.0.0.1", 0)
        a.transport.set_members({2: [f"http://127.0.0.1:{listener.address[1]}"]})
        channel = await listener.accept()
        await channel.wait_readable()
        assert read_head(channel.try_receive(100_000)) == Head(complete=True, sender="a1")
        channel.close()
        async with trio.open_nursery() as nursery:
            message = Message(type=MessageType.INSTALL_SNAPSHOT, from_=0xA1, to=2, term=1)
            nursery.start_soon(a.transport.send_snapshot, message, b"", Endless())
            for _ in range(2):  # a stream of messages and a snapshot, in any order
                channel = await listener.accept()
                await channel.wait_readable()
                assert read_head(channel.try_receive(100_000)).sender == "a1"
            nursery.cancel_scope.cancel()
        listener.close()


async def test_what_can_not_be_read_ends_the_stream_and_reaches_nobody(kit: Any, autojump_clock: Any) -> None:
    async with kit.running() as cluster:
        a, b = await cluster.join(1, 2)
        channel = a.transport._channels[2]
        channel.send(b"\x01garbage", small=True)
        await a.inbox.until(lambda: 2 in a.inbox.lost)
        assert not b.inbox.messages
        assert b.logged("a peer sent what can't be read") == 1
        await a.until_active(b)
        a.transport.send([kit.heartbeat(1, 2)])
        await b.inbox.until(lambda: len(b.inbox.messages) == 1)


async def test_a_defect_behind_the_inbox_ends_the_stream_and_no_other(kit: Any, autojump_clock: Any) -> None:
    async with kit.running() as cluster:
        a, b, c = await cluster.join(1, 2, 3)

        def fail(_: object) -> None:
            b.inbox.on_messages = lambda _: None
            raise KeyError("defect")

        b.inbox.on_messages = fail
        a.transport.send([kit.heartbeat(1, 2)])
        await a.inbox.until(lambda: 2 in a.inbox.lost)
        assert b.logged("handler failed") == 1
        assert c.transport.active_since(2) is not None
        await a.until_active(b)


async def test_a_client_without_a_name_is_refused_every_method(kit: Any, autojump_clock: Any) -> None:
    async def never(*_: object) -> bytes:
        raise AssertionError("this must not be reached")

    async with kit.running() as cluster:
        a = await cluster.start(1, calls={"Never": never})
        log = make_logger(a.sink, a.environment.clock)
        async with connect(a.environment, "127.0.0.1", a.port, log) as client:
            for method in ("Messages", "Snapshot", "Never"):
                for metadata in ((), (("x-server-from", b"zz"),), (("x-server-from", b"1" * 99),)):
                    async with client.stream(f"/rusdpb.Peer/{method}", metadata) as stream:
                        await stream.send(b"")
                        with pytest.raises(StatusError, match="incompatible server version"):
                            await stream.receive()
