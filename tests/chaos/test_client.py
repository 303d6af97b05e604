"""What an error leaves open: refused, never sent, or nobody knows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio

import rusd
from chaos.client import Address, CallError, Client, Failed, Unclear, classify, opened
from chaos.history import FAILED, OK, UNKNOWN, Recorder
from chaos.model import (
    Answer,
    Compact,
    Compare,
    Delete,
    Grant,
    KeepAlive,
    KeyValue,
    Lock,
    Put,
    Range,
    Revoke,
    Txn,
    Unlock,
)
from chaos.session import Session
from rusd.environment import Environment
from rusd.grpc import Code, StatusError
from rusd.testing import MemoryTransport, local_config, make_environment

PATIENCE = 20.0


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        (Code.INVALID_ARGUMENT, "etcdserver: key is not provided", Failed),
        (Code.NOT_FOUND, "etcdserver: requested lease not found", Failed),
        (Code.OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted", Failed),
        (Code.FAILED_PRECONDITION, "etcdserver: not leader", Failed),
        (Code.RESOURCE_EXHAUSTED, "etcdserver: too many requests", Failed),
        # etcd applies a Put that overruns the quota, and then says this
        (Code.RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded", Unclear),
        (Code.UNAVAILABLE, "etcdserver: request timed out", Unclear),
        (Code.UNAVAILABLE, "etcdserver: leader changed", Unclear),
        (Code.UNAVAILABLE, "etcdserver: server stopped", Unclear),
        (Code.UNAVAILABLE, "the connection is closed", Unclear),
        (Code.DEADLINE_EXCEEDED, "context deadline exceeded", Unclear),
        (Code.CANCELLED, "context canceled", Unclear),
        (Code.UNKNOWN, "anything", Unclear),
        (Code.INTERNAL, "server closed the stream without sending trailers", Unclear),
        # made up on the way, not by etcd
        (
            Code.RESOURCE_EXHAUSTED,
            "stream terminated by RST_STREAM: FLOW_CONTROL_ERROR",
            Unclear,
        ),
        (Code.PERMISSION_DENIED, "stream terminated by RST_STREAM", Unclear),
    ],
)
def test_only_what_etcd_says_instead_of_acting_is_a_refusal(
    code: Code, text: str, expected: type[CallError]
) -> None:
    assert type(classify(StatusError(code, text))) is expected


@asynccontextmanager
async def served() -> AsyncIterator[tuple[Environment, Client]]:
    """A server in this event loop, on connections in memory, and a client of it."""
    environment = make_environment(transport=MemoryTransport())
    with trio.fail_after(PATIENCE):
        async with rusd.serve(local_config(), environment) as server:
            host, _, port = server.client_urls[0].removeprefix("http://").rpartition(":")
            async with opened([Address(host, int(port))], 0, environment) as client:
                yield environment, client


async def test_every_request_is_answered_in_the_models_terms() -> None:
    async with served() as (_, client):
        assert await client.send(Put("k", "v")) == Answer(2, results=(None,))
        found = KeyValue("k", "v", 2, 2, 1)
        assert await client.send(Range("k")) == Answer(2, results=((found,),))
        compares = tuple(
            Compare("k", target, relation, operand)
            for target, relation, operand in (
                ("value", "=", "v"),
                ("version", "<", 2),
                ("create", "!=", 1),
                ("mod", ">", 1),
                ("lease", "=", 0),
            )
        )
        txn = Txn(compares, (Put("l", "w"), Delete("k"), Range("a", "z")))
        answer = await client.send(txn)
        assert answer == Answer(3, True, (None, 1, (KeyValue("l", "w", 3, 3, 1),)))
        assert (await client.send(txn)).succeeded is False
        assert (await client.send(Grant(7, 60))).ttl == 60
        assert (await client.send(KeepAlive(7))).ttl == 60
        assert (await client.send(Lock("lock", 7))).key == "lock/7"
        assert (await client.send(Unlock("lock/7"))).revision == 5
        await client.send(Revoke(7))
        assert (await client.send(KeepAlive(7))).ttl == 0
        await client.send(Compact(4))
        with pytest.raises(Failed, match="compacted"):
            await client.send(Compact(4))


async def test_a_refusal_is_certain_and_the_connection_stays() -> None:
    async with served() as (_, client):
        with pytest.raises(Failed, match="lease not found"):
            await client.send(Put("k", "v", lease=9))
        assert (await client.send(Put("k", "v"))).revision == 2


async def test_what_was_never_sent_is_certain() -> None:
    environment = make_environment(transport=MemoryTransport())
    async with opened([Address("127.0.0.1", 1)], 0, environment) as client:
        with pytest.raises(Failed, match="not sent"):
            await client.send(Put("k", "v"))


Peer = Callable[[trio.SocketStream], Awaitable[None]]


async def deaf(stream: trio.SocketStream) -> None:
    """Takes everything, answers nothing."""
    while await stream.receive_some(65536):
        pass


async def rude(stream: trio.SocketStream) -> None:
    """Hangs up after the first bytes."""
    await stream.receive_some(65536)


@pytest.mark.parametrize("peer", [deaf, rude])
async def test_what_was_sent_and_not_answered_is_unclear(peer: Peer) -> None:
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            await nursery.start(trio.serve_listeners, peer, [listener])
            port = listener.socket.getsockname()[1]
            environment = rusd.environment.real_environment()
            async with opened([Address("127.0.0.1", port)], 0, environment) as client:
                for _ in range(2):  # the second time on a new connection
                    with pytest.raises(Unclear):
                        await client.send(Put("k", "v"), timeout=0.2)
            nursery.cancel_scope.cancel()


async def test_a_session_records_how_each_request_ended_and_moves_on() -> None:
    async with served() as (environment, client):
        recorder = Recorder(trio.current_time)
        session = Session(3, "test", client, recorder, lambda: 0.0)
        assert await session.do(Put("k", session.unique())) is not None
        assert await session.do(Put("k", session.unique(), lease=9)) is None
        with trio.move_on_after(0) as scope:
            await session.do(Put("k", session.unique()))
        assert scope.cancelled_caught
        async with opened([Address("127.0.0.1", 1), Address("127.0.0.1", 2)], 0, environment) as nowhere:
            lost = Session(4, "test", nowhere, recorder, lambda: 0.0)
            assert await lost.do(Range("k")) is None
            assert nowhere.member == 1
        first, second, third, fourth = recorder.history.operations
        assert [one.outcome for one in (first, second, third, fourth)] == [OK, FAILED, UNKNOWN, FAILED]
        assert first.request == Put("k", "3.1")
        assert first.answer == Answer(2, results=(None,))
        assert first.returned is not None
        assert third.returned is None
        assert "lease not found" in second.error
        assert len({one.id for one in recorder.history.operations}) == 4
