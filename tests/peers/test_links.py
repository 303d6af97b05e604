"""Slow links, dead links, real sockets: what the way to a peer makes of each."""

from __future__ import annotations

import random
from typing import Any

import trio

from rusd.environment import Environment, RealClock, SocketTransport
from rusd.grpc import Registry
from rusd.logs import make_logger
from rusd.net import Flusher, Server
from rusd.net.poller import Poller
from rusd.peers import Identity, PeerTransport, peer_limits
from rusd.testing import ListSink, MemoryDisk


async def test_a_link_that_moves_now_and_then_is_not_given_up_while_much_waits(
    kit: Any, autojump_clock: Any
) -> None:
    async with kit.running() as cluster:
        a, b = await cluster.join(1, 2)
        network = cluster.network
        network.hold("n1", "n2")
        sent = [kit.append(1, 2, index, bytes(1_000_000)) for index in range(10)]
        a.transport.send(sent)
        for _ in range(10):
            await trio.sleep(3.5)  # the answers to pings wait behind all that was sent
            taken = network.let_pass("n1", "n2", 3)
            assert taken
        assert not a.inbox.lost
        network.heal()
        await b.inbox.until(lambda: len(b.inbox.messages) == 10)
        assert b.inbox.messages == sent
        assert not a.inbox.lost  # nor for the pings that came all at once


async def test_a_connection_that_takes_too_long_to_make_is_made_anew_when_the_peer_calls(
    kit: Any, autojump_clock: Any
) -> None:
    async with kit.running() as cluster:
        a, b = await cluster.start(1), await cluster.start(2)
        cluster.network.blackhole("n1", b.port)
        a.transport.set_members({2: [b.url]})
        await trio.sleep(30.3)
        attempts = len(cluster.network.attempts)
        cluster.network.heal()  # the attempt under way has been lost for good
        began = trio.current_time()
        b.transport.set_members({1: [a.url]})
        await a.until_active(b)
        assert trio.current_time() - began < 0.2
        assert len(cluster.network.attempts) == attempts + 2


async def test_urls_are_tried_in_turn(kit: Any, autojump_clock: Any) -> None:
    async with kit.running() as cluster:
        a, b = await cluster.start(1), await cluster.start(2)
        a.transport.set_members({2: ["http://127.0.0.1:1", "http://127.0.0.1:2", b.url]})
        await a.until_active(b)
        assert [port for _, name, port in cluster.network.attempts if name == "n1"] == [1, 2, b.port]


async def test_members_talk_over_sockets_with_one_poller_for_all_of_a_members_connections(kit: Any) -> None:
    """Turns are bracketed on the way in: what a message asks for is carried out at the end of the pass."""
    rounds = 200
    done = trio.Event()
    story: list[str] = []

    class Around:
        def begin_turns(self) -> None:
            story.append("(")

        def end_turns(self) -> None:
            story.append(")")

    class Box:
        def __init__(self, answer: Any) -> None:
            self.receive = answer

        def receive_forward(self, _: object) -> None: ...
        def unreachable(self, _: int) -> None: ...

    async def member(number: int, other: int, ports: dict[int, int], answer: Any, nursery: Any) -> Any:
        clock, sink = RealClock(), ListSink()
        environment = Environment(
            clock=clock,
            disk=MemoryDisk(),
            transport=SocketTransport(),
            random=random.Random(number),
            log_sink=sink,
        )
        log = make_logger(sink, clock)
        poller, limits = Poller(Around() if number == 1 else None), peer_limits(1000)
        transport = PeerTransport(
            environment,
            log,
            Identity(number, 7),
            is_removed=lambda _: False,
            on_removed=lambda: None,
            poller=poller,
            limits=limits,
        )
        registry = Registry()
        transport.register(registry)
        listener = await environment.transport.listen("127.0.0.1", 0)
        ports[number] = listener.address[1]
        server = Server(registry, None, environment, log, limits, Flusher(), poller=poller)
        nursery.start_soon(poller.run)
        await nursery.start(server.serve, listener)
        await nursery.start(transport.run, Box(answer))
        return transport

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            ports: dict[int, int] = {}
            members: dict[int, Any] = {}

            def serve_back(messages: Any) -> None:
                (message,) = messages
                story.append("m")
                if message.index == rounds:
                    done.set()
                else:
                    members[1].send([kit.append(1, 2, message.index + 1)])

            def answer(messages: Any) -> None:
                members[2].send([kit.heartbeat(2, 1, messages[0].index)])

            members[1] = await member(1, 2, ports, serve_back, nursery)
            members[2] = await member(2, 1, ports, answer, nursery)
            members[1].set_members({2: [f"http://127.0.0.1:{ports[2]}"]})
            members[2].set_members({1: [f"http://127.0.0.1:{ports[1]}"]})
            while members[1].active_since(2) is None or members[2].active_since(1) is None:
                await trio.sleep(0.001)
            story.clear()
            members[1].send([kit.append(1, 2, 0)])
            await done.wait()
            nursery.cancel_scope.cancel()
    depth = 0
    for step in story:
        depth += {"(": 1, ")": -1, "m": 0}[step]
        assert step != "m" or depth == 1
    assert story.count("m") == rounds + 1
