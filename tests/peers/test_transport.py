"""Members that reach each other: messages, forwards, calls, and what happens when the network fails them."""

from __future__ import annotations

import random
from typing import Any

import pytest
import trio

from rusd.grpc import Code, StatusError
from rusd.peers import PeerError
from rusd.raft import EntryType
from rusd.replica.forwarding import Forward


async def test_messages_arrive_whole_and_in_order(kit: Any, autojump_clock: Any) -> None:
    async with kit.running() as cluster:
        a, b, c = await cluster.join(1, 2, 3)
        sent = [kit.heartbeat(1, 2, 1), kit.append(1, 2, 7), kit.append(1, 3, 7), kit.heartbeat(1, 3, 2)]
        a.transport.send(sent)
        await b.inbox.until(lambda: len(b.inbox.messages) == 2)
        await c.inbox.until(lambda: len(c.inbox.messages) == 2)
        assert b.inbox.messages == sent[:2]
        assert c.inbox.messages == sent[2:]
        assert not a.inbox.lost


async def test_what_is_sent_in_one_turn_leaves_in_it(kit: Any, autojump_clock: Any) -> None:
    async with kit.running() as cluster:
        a, b = await cluster.join(1, 2)
        before = b.server.connections
        a.transport.send([kit.heartbeat(1, 2)])
        await trio.lowlevel.checkpoint()  # the only turn that the reader gets
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
        assert len(b.inbox.messages) == 1
        assert b.server.connections == before == 1


async def test_forwards_arrive_once_with_their_senders_id(kit: Any, autojump_clock: Any) -> None:
    async with kit.running() as cluster:
        a, b = await cluster.join(1, 2)
        a.transport.forward(
            [Forward(1, 2, EntryType.NORMAL, b"write"), Forward(1, 2, EntryType.CONFIGURATION, b"")]
        )
        await b.inbox.until(lambda: len(b.inbox.forwards) == 2)
        assert b.inbox.forwards == [
            Forward(1, 2, EntryType.NORMAL, b"write"),
            Forward(1, 2, EntryType.CONFIGURATION, b""),
        ]


async def test_forwards_that_can_not_leave_are_given_back(kit: Any, autojump_clock: Any) -> None:
    async with kit.running() as cluster:
        a, b = await cluster.join(1, 2)
        there, nobody = Forward(1, 2, EntryType.NORMAL, b"write"), Forward(1, 9, EntryType.NORMAL, b"write")
        assert a.transport.forward([there, nobody]) == [nobody]
        await b.inbox.until(lambda: len(b.inbox.forwards) == 1)


async def test_appends_to_nobody_are_told_and_heartbeats_are_not(kit: Any, autojump_clock: Any) -> None:
    async with kit.running() as cluster:
        a = await cluster.start(1)
        a.transport.send([kit.heartbeat(1, 9)])
        assert not a.inbox.lost
        a.transport.send([kit.append(1, 9), kit.append(1, 9, 1)])
        assert a.inbox.lost == [9]


async def test_large_appends_arrive_in_several_parts(kit: Any, autojump_clock: Any) -> None:
    async with kit.running() as cluster:
        a, b = await cluster.join(1, 2)
        sent = [kit.append(1, 2, index, bytes(700_000)) for index in range(20)]
        a.transport.send(sent)
        await b.inbox.until(lambda: len(b.inbox.messages) == 20)
        assert b.inbox.messages == sent


async def test_an_append_that_is_larger_than_what_may_wait_leaves_all_the_same(
    kit: Any, autojump_clock: Any
) -> None:
    async with kit.running() as cluster:
        a, b = await cluster.join(1, 2)
        sent = kit.append(1, 2, 1, bytes(40_000_000))
        a.transport.send([sent])
        await b.inbox.until(lambda: len(b.inbox.messages) == 1)
        assert b.inbox.messages == [sent]
        assert not a.inbox.lost


async def test_a_lost_connection_is_told_and_made_again_within_a_heartbeat_or_two(
    kit: Any, autojump_clock: Any
) -> None:
    async with kit.running() as cluster:
        a, b = await cluster.join(1, 2)
        began = trio.current_time()
        cluster.network.reset("n1", "n2")
        await a.inbox.until(lambda: 2 in a.inbox.lost)
        assert a.logged("peer became inactive (message send to peer failed)") == 1
        await a.until_active(b)
        assert trio.current_time() - began < 0.2
        a.transport.send([kit.heartbeat(1, 2, 5)])
        await b.inbox.until(lambda: b.inbox.messages[-1:] == [kit.heartbeat(1, 2, 5)])


async def test_a_restarted_peer_is_reached_at_once_because_it_calls_first(
    kit: Any, autojump_clock: Any
) -> None:
    async with kit.running() as cluster:
        a, b = await cluster.join(1, 2)
        b.stop()
        await trio.sleep(60)
        assert a.transport.active_since(2) is None
        attempts = len(cluster.network.attempts)
        assert attempts < 60 / 0.25 + 20
        assert a.logged("failed to reach the peer") <= 60 / 5 + 2
        began = trio.current_time()
        b = await cluster.start(2, port=b.port)
        b.transport.set_members({1: [a.url]})
        await b.until_active(a)
        await a.until_active(b)
        assert trio.current_time() - began < 0.1


async def test_a_silent_network_is_noticed_and_messages_flow_soon_after_it_speaks_again(
    kit: Any, autojump_clock: Any
) -> None:
    async with kit.running() as cluster:
        a, b = await cluster.join(1, 2)
        cluster.network.partition("n1", "n2")
        began = trio.current_time()
        await a.inbox.until(lambda: 2 in a.inbox.lost)
        assert 4 < trio.current_time() - began < 6
        await trio.sleep(600)
        cluster.network.heal()
        began = trio.current_time()
        await a.until_active(b)
        await b.until_active(a)
        assert trio.current_time() - began < 0.2
        await trio.sleep(10)
        assert a.server.connections == b.server.connections == 1  # the old ones are gone, on both sides


async def test_one_way_silence_is_noticed_by_both(kit: Any, autojump_clock: Any) -> None:
    async with kit.running() as cluster:
        a, b = await cluster.join(1, 2)
        cluster.network.hold("n1", "n2")
        await trio.sleep(8)
        assert a.transport.active_since(2) is None
        assert b.transport.active_since(1) is None


async def test_a_peer_that_takes_nothing_costs_a_bounded_amount_of_memory(
    kit: Any, autojump_clock: Any
) -> None:
    async with kit.running() as cluster:
        a, _ = await cluster.join(1, 2)
        cluster.network.hold("n1", "n2")
        most = 0
        for index in range(200):
            a.transport.send([kit.append(1, 2, index, bytes(1_000_000))])
            most = max(most, a.transport.held_bytes)
        assert 30_000_000 < most < 34_000_000
        assert a.inbox.lost.count(2) > 150
        a.transport.send([kit.heartbeat(1, 2)])  # small ones still find room
        assert a.inbox.lost.count(2) < 180
        await trio.sleep(10)
        assert a.transport.held_bytes == 0  # given up, and with it what waited


async def test_a_peer_that_moves_is_followed(kit: Any, autojump_clock: Any) -> None:
    async with kit.running() as cluster:
        a, b = await cluster.join(1, 2)
        b.stop()
        await trio.sleep(1)
        b = await cluster.start(2)
        a.transport.set_members({2: ["http://127.0.0.1:1", b.url]})
        began = trio.current_time()
        await a.until_active(b)
        assert trio.current_time() - began < 0.5
        a.transport.send([kit.heartbeat(1, 2, 3)])
        await b.inbox.until(lambda: b.inbox.messages == [kit.heartbeat(1, 2, 3)])


async def test_a_member_that_is_none_any_more_is_not_reached(kit: Any, autojump_clock: Any) -> None:
    async with kit.running() as cluster:
        a, b, c = await cluster.join(1, 2, 3)
        a.transport.set_members({3: [c.url]})
        a.transport.send([kit.heartbeat(1, 2), kit.heartbeat(1, 3)])
        await c.inbox.until(lambda: len(c.inbox.messages) == 1)
        await trio.sleep(5)
        assert b.inbox.messages == []
        assert a.transport.active_since(2) is None


async def test_the_members_may_be_known_before_anything_runs(kit: Any, autojump_clock: Any) -> None:
    async with kit.running() as cluster:
        a = await cluster.start(1)
        a.transport.set_members({1: [a.url], 2: ["http://127.0.0.1:40000"]})
        b = await cluster.start(2, port=40000)
        b.transport.set_members({1: [a.url]})
        await a.until_active(b)


async def test_a_stranger_can_be_answered_at_the_url_it_names(kit: Any, autojump_clock: Any) -> None:
    async with kit.running() as cluster:
        a = await cluster.start(1)
        b = await cluster.start(2)
        b.transport.set_members({1: [a.url]})
        await b.until_active(a)
        await a.until_active(b)
        a.transport.send([kit.heartbeat(1, 2)])
        await b.inbox.until(lambda: len(b.inbox.messages) == 1)
        b.stop()
        await trio.sleep(5)
        a.transport.send([kit.append(1, 2)])
        attempts = len(cluster.network.attempts)
        await trio.sleep(60)
        assert len(cluster.network.attempts) == attempts  # forgotten with its last stream


async def test_going_away_makes_a_peer_let_go(kit: Any, autojump_clock: Any) -> None:
    async with kit.running() as cluster:
        a, b = await cluster.join(1, 2)
        began = trio.current_time()
        await b.server.drain(trio.current_time() + 60)
        assert trio.current_time() - began < 1
        assert a.transport.active_since(2) is None


# -- calls --------------------------------------------------------------------------------


async def test_a_call_is_answered_by_the_peers_handler(kit: Any, autojump_clock: Any) -> None:
    async def reverse(sender: int, payload: bytes) -> bytes:
        return b"%d:" % sender + payload[::-1]

    async with kit.running() as cluster:
        a, _ = await cluster.join(1, 2, calls={"Reverse": reverse})
        assert await a.transport.call(2, "Reverse", b"abc", 5) == b"1:cba"
        assert await a.transport.call(2, "Reverse", b"", 5) == b"1:"


async def test_a_handlers_status_is_the_callers_and_everything_else_a_peer_error(
    kit: Any, autojump_clock: Any
) -> None:
    async def refuse(_: int, payload: bytes) -> bytes:
        raise StatusError(Code.UNAVAILABLE, "etcdserver: no leader")

    async def hang(*_: object) -> bytes:
        await trio.sleep_forever()
        return b""

    async with kit.running() as cluster:
        a, b = await cluster.join(1, 2, calls={"Refuse": refuse, "Hang": hang})
        with pytest.raises(StatusError, match="no leader") as caught:
            await a.transport.call(2, "Refuse", b"", 5)
        assert caught.value.code is Code.UNAVAILABLE
        began = trio.current_time()
        with pytest.raises(PeerError, match=r"in time|deadline"):
            await a.transport.call(2, "Hang", b"", 3)
        assert trio.current_time() - began == pytest.approx(3)
        with pytest.raises(PeerError, match="no member"):
            await a.transport.call(7, "Hang", b"", 3)
        b.stop()
        await a.inbox.until(lambda: 2 in a.inbox.lost)
        with pytest.raises(PeerError, match="in time"):
            await a.transport.call(2, "Refuse", b"", 3)


async def test_a_call_waits_for_a_peer_that_comes_back_in_time(kit: Any, autojump_clock: Any) -> None:
    async def echo(_: int, payload: bytes) -> bytes:
        return payload

    async with kit.running() as cluster:
        a, b = await cluster.join(1, 2, calls={"Echo": echo})
        b.stop()
        await a.inbox.until(lambda: 2 in a.inbox.lost)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: cluster.start(2, port=b.port, calls={"Echo": echo}))
            assert await a.transport.call(2, "Echo", b"there", 5) == b"there"


@pytest.mark.parametrize("seed", range(8))
async def test_who_is_turned_away_knows_it_before_its_open_calls_fail(
    seed: int, kit: Any, autojump_clock: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(trio._core._run, "_ALLOW_DETERMINISTIC_SCHEDULING", True)
    monkeypatch.setattr(trio._core._run, "_r", random.Random(seed))
    asked = trio.Event()

    async def hang(*_: object) -> bytes:
        asked.set()
        await trio.sleep_forever()
        return b""

    async with kit.running() as cluster:
        a, b = await cluster.join(1, 2, calls={"Hang": hang})

        async def remove() -> None:
            await asked.wait()
            b.removed.add(1)
            b.transport.set_members({})

        async with trio.open_nursery() as nursery:
            nursery.start_soon(remove)
            with pytest.raises(PeerError):
                await a.transport.call(2, "Hang", b"", 5)
            assert a.told_removed
