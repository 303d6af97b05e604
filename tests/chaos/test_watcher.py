"""The tool's own watchers: they write down what they are told, and resume where they stopped."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

import rusd
from chaos.client import Address, Client, opened
from chaos.history import Delivery, Recorder, Watch, WatchEnd
from chaos.liar import Liar
from chaos.model import Compact, Put, Range
from chaos.watching import Watcher
from rusd.environment import Environment
from rusd.testing import MemoryTransport, local_config, make_environment

PATIENCE = 20.0


@asynccontextmanager
async def served() -> AsyncIterator[tuple[Environment, Address, Client, Client]]:
    """A server in this event loop and two clients of it."""
    environment = make_environment(transport=MemoryTransport())
    with trio.fail_after(PATIENCE):
        async with rusd.serve(local_config(), environment) as server:
            host, _, port = server.client_urls[0].removeprefix("http://").rpartition(":")
            address = Address(host, int(port))
            async with opened([address], 0, environment) as one, opened([address], 0, environment) as other:
                yield environment, address, one, other


async def until(watcher: Watcher, revision: int) -> None:
    """Watch until ``revision`` has come."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watcher.run)
        while watcher.next <= revision:
            await trio.sleep(0.001)
        nursery.cancel_scope.cancel()


async def test_a_watcher_resumes_where_it_stopped() -> None:
    async with served() as (_, _, writer, client):
        recorder = Recorder(trio.current_time)
        watcher = Watcher("w", recorder, client)
        for value in ("1", "2"):
            await writer.send(Put("k", value))
        await until(watcher, 3)
        await writer.send(Put("k", "3"))
        await until(watcher, 4)
        told = [event.kv.value for one in recorder.history.of(Delivery) for event in one.events]
        assert told == ["1", "2", "3"]
        assert [watch.start for watch in recorder.history.of(Watch)] == [2, 4]
        assert [end.reason for end in recorder.history.of(WatchEnd)] == ["cancelled"] * 2


async def test_a_watcher_goes_on_after_a_compaction() -> None:
    async with served() as (_, _, writer, client):
        for number in range(5):
            await writer.send(Put("k", str(number)))
        await writer.send(Compact(5))
        recorder = Recorder(trio.current_time)
        watcher = Watcher("w", recorder, client)
        await until(watcher, 6)
        assert next(end.compacted for end in recorder.history.of(WatchEnd)) == 5
        told = [event.kv.mod for one in recorder.history.of(Delivery) for event in one.events]
        assert told == [5, 6]


async def test_a_watcher_that_naps_is_told_everything_after_it() -> None:
    async with served() as (_, _, writer, client):
        recorder = Recorder(trio.current_time)
        watcher = Watcher("w", recorder, client, nap=0.2)
        await writer.send(Put("k", "1"))
        await until(watcher, 2)
        (watch,), (delivery,) = recorder.history.of(Watch), recorder.history.of(Delivery)
        assert [event.kv.value for event in delivery.events] == ["1"]
        assert delivery.at - watch.at >= 0.2


async def test_progress_is_written_down_and_taken_as_a_bookmark_where_wanted() -> None:
    async with served() as (_, _, writer, client):
        recorder = Recorder(trio.current_time)
        await writer.send(Put("other", "x"))
        watcher = Watcher("w", recorder, client, key="k", end="", bookmarks=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watcher.run)
            while watcher.next < 3:
                await watcher.ask_progress()
                await trio.sleep(0.001)
            nursery.cancel_scope.cancel()
        assert {(one.revision, one.events) for one in recorder.history.of(Delivery)} == {(2, ())}


async def test_an_impatient_watcher_asks_before_it_is_told_anything() -> None:
    async with served() as (_, _, writer, client):
        recorder = Recorder(trio.current_time)
        for value in ("1", "2"):
            await writer.send(Put("k", value))
        watcher = Watcher("w", recorder, client, bookmarks=True, impatient=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watcher.run)
            while len(recorder.history.of(Delivery)) < 2:
                await trio.sleep(0.001)
            nursery.cancel_scope.cancel()
        told = [(one.revision, len(one.events)) for one in recorder.history.of(Delivery)]
        assert told == [(3, 2), (3, 0)]  # the answer to an early question comes after what it speaks of


class Always:
    """Chance that always says yes."""

    def random(self) -> float:
        return 0.0


async def test_the_liar_answers_from_memory_and_passes_everything_else_on() -> None:
    async with served() as (environment, address, writer, _), trio.open_nursery() as nursery:
        liar = Liar(environment, address, Always())  # type: ignore[arg-type]
        port: int = await nursery.start(liar.serve)
        async with opened([Address("127.0.0.1", port)], 0, environment) as client:
            await client.send(Put("k", "old"))
            honest = await client.send(Range("k"))
            await writer.send(Put("k", "new"))
            assert await client.send(Range("k")) == honest
            assert liar.lies == 1
            fresh = await client.send(Range("k", serializable=True))
            assert fresh.revision == 3
            recorder = Recorder(trio.current_time)
            await until(Watcher("w", recorder, client), 3)
            assert len(recorder.history.of(Delivery)) >= 1
        nursery.cancel_scope.cancel()
