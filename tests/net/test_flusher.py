from __future__ import annotations

import itertools
from typing import Any

import trio
import trio.testing
from google.protobuf.wrappers_pb2 import StringValue

from rusd.net import Flusher, connect
from rusd.signal import Signal
from rusd.testing.transport import MemoryChannel, MemoryTransport


class Connection:
    """Counts its sends; may mark another while it sends."""

    def __init__(self, flusher: Flusher | None = None, other: Connection | None = None) -> None:
        self.sends = 0
        self._flusher = flusher
        self._other = other

    def flush(self) -> None:
        self.sends += 1
        if self._flusher is not None and self._other is not None:
            self._flusher.mark(self._other)
            self._other = None


def test_each_marked_connection_is_sent_from_once() -> None:
    flusher = Flusher()
    first, second, clean = Connection(), Connection(), Connection()
    for connection in (first, second, first, first):
        flusher.mark(connection)
    flusher.flush()
    flusher.flush()
    assert (first.sends, second.sends, clean.sends) == (1, 1, 0)


def test_what_is_marked_during_a_flush_is_flushed_too() -> None:
    flusher = Flusher()
    second = Connection()
    first = Connection(flusher, second)
    flusher.mark(first)
    flusher.flush()
    assert (first.sends, second.sends) == (1, 1)


async def test_what_nobody_flushes_is_flushed_by_the_task() -> None:
    flusher = Flusher()
    connection = Connection()
    async with trio.open_nursery() as nursery:
        flusher.mark(connection)  # before the task runs
        nursery.start_soon(flusher.run)
        nursery.start_soon(flusher.run)
        for round_number in range(1, 4):
            await trio.testing.wait_all_tasks_blocked()
            assert connection.sends == round_number
            flusher.mark(connection)
        await trio.testing.wait_all_tasks_blocked()
        assert connection.sends == 4
        nursery.cancel_scope.cancel()


async def test_one_task_ending_leaves_the_work_to_the_others() -> None:
    flusher = Flusher()
    connection = Connection()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(flusher.run)
        async with trio.open_nursery() as short:
            short.start_soon(flusher.run)
            await trio.testing.wait_all_tasks_blocked()
            flusher.mark(connection)  # wakes the younger one
            short.cancel_scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert connection.sends == 1
        flusher.mark(connection)
        await trio.testing.wait_all_tasks_blocked()
        assert connection.sends == 2
        nursery.cancel_scope.cancel()


async def test_a_task_that_ends_with_marks_left_hands_them_to_another() -> None:
    flusher = Flusher()
    connection = Connection()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(flusher.run)
        await trio.testing.wait_all_tasks_blocked()
        flusher.expect()  # and no flush follows
        flusher.mark(connection)
        await trio.testing.wait_all_tasks_blocked()
        assert connection.sends == 0
        async with trio.open_nursery() as short:
            short.start_soon(flusher.run)  # would flush in its first turn
            short.cancel_scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert connection.sends == 1
        flusher.mark(connection)
        await trio.testing.wait_all_tasks_blocked()
        assert connection.sends == 2
        nursery.cancel_scope.cancel()


async def test_marks_of_a_broken_promise_to_flush_wait_for_the_next_flush() -> None:
    flusher = Flusher()
    first, second = Connection(), Connection()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(flusher.run)
        await trio.testing.wait_all_tasks_blocked()
        flusher.expect()
        flusher.mark(first)
        flusher.mark(second)
        flusher.expect()
        flusher.flush()
        assert (first.sends, second.sends) == (1, 1)
        nursery.cancel_scope.cancel()


async def test_many_answers_of_one_connection_leave_in_one_send(
    serve: Any, service: Any, network: Any, encode: Any, monkeypatch: Any
) -> None:
    async with (
        serve(service.registry, transport=network) as running,
        connect(running.environment, "127.0.0.1", running.port, running.log) as client,
        trio.open_nursery() as nursery,
    ):
        for number in range(50):
            nursery.start_soon(client.unary, "/test.Test/Later", encode(str(number)))
        await trio.testing.wait_all_tasks_blocked()
        sends: list[int] = []
        original = MemoryChannel.try_send

        def counted(channel: MemoryChannel, data: bytes) -> int:
            sends.append(len(data))
            return original(channel, data)

        monkeypatch.setattr(MemoryChannel, "try_send", counted)
        service.settle()
        assert sends == []
        running.flusher.flush()
        assert len(sends) == 1


async def test_a_ring_is_remembered_and_rings_melt_into_one() -> None:
    wake = Signal()
    wake.set()
    wake.set()
    await wake.wait()
    with trio.move_on_after(0) as scope:
        await wake.wait()
    assert scope.cancelled_caught
    rung = []

    async def waiter() -> None:
        await wake.wait()
        rung.append(True)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(waiter)
        await trio.testing.wait_all_tasks_blocked()
        assert not rung
        wake.set()
    assert rung


async def test_a_writer_that_flushes_while_it_is_being_flushed_keeps_the_order(
    serve: Any, service: Any, encode: Any, monkeypatch: Any
) -> None:
    """On a socket that is full at one moment and not at the next, as real ones are."""
    network = MemoryTransport(buffer_bytes=1 << 24)
    original = MemoryChannel.try_send
    calls = itertools.count()

    def moody(channel: MemoryChannel, data: bytes) -> int:
        return original(channel, data[: len(data) // 2] if next(calls) % 2 else data)

    monkeypatch.setattr(MemoryChannel, "try_send", moody)
    sent = 0

    async def pour(call: Any, requests: Any, responses: Any) -> None:
        def more() -> None:
            nonlocal sent
            while responses.writable and sent < 200:
                responses.send_nowait(encode(f"{sent} " + "x" * 20_000))
                sent += 1
            running.flusher.flush()

        responses.on_writable(more)
        more()
        await trio.sleep_forever()

    service.registry.stream("/test.Test/Pour", StringValue, pour)
    async with (
        serve(service.registry, transport=network) as running,
        connect(running.environment, "127.0.0.1", running.port, running.log) as client,
        client.stream("/test.Test/Pour") as stream,
    ):
        for number in range(200):
            answer = StringValue.FromString(await stream.receive())
            assert answer.value.startswith(f"{number} ")
