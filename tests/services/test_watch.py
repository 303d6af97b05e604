"""The Watch service: what reaches a client, when, and what its requests do to others."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, cast

import pytest
import trio
import trio.testing

from etcdpb import kv_pb2, rpc_pb2
from etcdpb.rpc_pb2 import (
    CompactionRequest,
    RequestOp,
    TxnRequest,
    WatchCancelRequest,
    WatchCreateRequest,
    WatchProgressRequest,
    WatchRequest,
)
from rusd.grpc import Code, StatusError
from rusd.services.watch import WatchService, _Client
from rusd.watch import WatchStream
from tests.support.inprocess import Etcd, Stream, running

INTERVAL = 600.0
ALL = b"\0"


def create(key: bytes = b"k", range_end: bytes = b"", **fields: Any) -> WatchRequest:
    return WatchRequest(create_request=WatchCreateRequest(key=key, range_end=range_end, **fields))


def cancel(watch_id: int) -> WatchRequest:
    return WatchRequest(cancel_request=WatchCancelRequest(watch_id=watch_id))


PROGRESS = WatchRequest(progress_request=WatchProgressRequest())


async def watch(stream: Stream, *arguments: Any, **fields: Any) -> rpc_pb2.WatchResponse:
    """Create a watch and return the answer to that."""
    await stream.send(create(*arguments, **fields))
    answer: rpc_pb2.WatchResponse = await stream.receive()
    assert answer.created
    return answer


async def values(stream: Stream, count: int) -> list[bytes]:
    """The values of the next ``count`` events."""
    found: list[bytes] = []
    while len(found) < count:
        found += [event.kv.value for event in (await stream.receive()).events]
    return found


async def test_events_come_with_the_revision_that_made_them() -> None:
    async with running() as etcd, etcd.open("Watch/Watch") as stream:
        answer = await watch(stream, prev_kv=True)
        assert (answer.watch_id, answer.header.revision) == (0, 1)
        await etcd.put(b"k", b"1")
        await etcd.put(b"other", b"x")
        await etcd.put(b"k", b"2")
        await etcd.delete(b"k")
        first, second, third = [await stream.receive() for _ in range(3)]
        assert [response.header.revision for response in (first, second, third)] == [2, 4, 5]
        assert first.header.member_id == etcd.server.member_id
        assert not first.events[0].HasField("prev_kv")
        assert second.events[0].prev_kv.value == b"1"
        deleted = third.events[0]
        assert deleted.type == kv_pb2.Event.DELETE
        assert (deleted.kv.key, deleted.kv.mod_revision, deleted.kv.version) == (b"k", 5, 0)
        assert deleted.prev_kv.value == b"2"


async def test_events_leave_with_the_answer_that_caused_them() -> None:
    async with running() as etcd, etcd.open("Watch/Watch") as stream:
        await watch(stream)
        await etcd.put(b"k", b"v")
        assert not await stream.is_silent()


async def test_a_watch_replays_history_and_goes_on_live() -> None:
    async with running() as etcd:
        for number in range(1500):
            await etcd.put(b"k", b"%d" % number)
        async with etcd.open("Watch/Watch") as stream:
            await watch(stream, start_revision=2)
            await etcd.put(b"k", b"1500")
            assert await values(stream, 1501) == [b"%d" % number for number in range(1501)]


async def test_a_watch_of_the_future_waits_for_it() -> None:
    async with running() as etcd, etcd.open("Watch/Watch") as stream:
        await watch(stream, start_revision=4)
        await etcd.put(b"k", b"2")
        await etcd.put(b"k", b"3")
        assert await stream.is_silent()
        await etcd.put(b"k", b"4")
        assert await values(stream, 1) == [b"4"]


async def test_a_transaction_is_one_response() -> None:
    async with running() as etcd, etcd.open("Watch/Watch") as stream:
        await watch(stream, ALL, ALL)
        puts = [RequestOp(request_put=rpc_pb2.PutRequest(key=b"k%d" % number)) for number in range(5)]
        await etcd.call("KV/Txn", TxnRequest(success=puts))
        response = await stream.receive()
        assert [event.kv.key for event in response.events] == [b"k%d" % number for number in range(5)]
        assert {event.kv.mod_revision for event in response.events} == {2}


async def test_many_watches_share_a_stream_and_filters_are_theirs() -> None:
    async with running() as etcd, etcd.open("Watch/Watch") as stream:
        ids = {}
        for name, filters in (("all", []), ("puts", [1]), ("deletes", [0]), ("odd", [7])):
            ids[(await watch(stream, filters=filters)).watch_id] = name
        await etcd.put(b"k")
        await etcd.delete(b"k")
        seen = []
        for _ in range(6):
            response = await stream.receive()
            seen.append((ids[response.watch_id], response.events[0].type))
        assert sorted(seen) == [("all", 0), ("all", 1), ("deletes", 1), ("odd", 0), ("odd", 1), ("puts", 0)]
        assert await stream.is_silent()


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"start_revision": -1}, "etcdserver: mvcc: required revision has been compacted"),
        ({"range_end": b"a"}, "mvcc: watcher range is empty"),
        ({"watch_id": 5}, "mvcc: duplicate watch ID provided on the WatchStream"),
    ],
)
async def test_a_watch_that_is_refused_leaves_the_stream_open(fields: dict[str, Any], reason: str) -> None:
    async with running() as etcd, etcd.open("Watch/Watch") as stream:
        assert (await watch(stream, watch_id=5)).watch_id == 5
        refused = await watch(stream, **fields)
        assert (refused.canceled, refused.watch_id, refused.cancel_reason) == (True, -1, reason)
        await etcd.put(b"k", b"v")
        assert await values(stream, 1) == [b"v"]


async def test_a_cancelled_watch_says_so_and_is_silent() -> None:
    async with running() as etcd, etcd.open("Watch/Watch") as stream:
        await watch(stream)
        await watch(stream, b"other")
        await stream.send(cancel(0))
        answer = await stream.receive()
        assert (answer.canceled, answer.watch_id, answer.cancel_reason) == (True, 0, "")
        await stream.send(cancel(0))  # no more
        await etcd.put(b"k")
        await etcd.put(b"other", b"v")
        assert await values(stream, 1) == [b"v"]


async def test_a_compaction_ends_watches_of_older_history_and_no_others() -> None:
    async with running() as etcd:
        for _ in range(9):
            await etcd.put(b"k")
        await etcd.call("KV/Compact", CompactionRequest(revision=8))
        async with etcd.open("Watch/Watch") as stream:
            assert not (await watch(stream, start_revision=3)).canceled
            answer = await stream.receive()
            assert (answer.canceled, answer.compact_revision, answer.watch_id) == (True, 8, 0)
            assert (answer.header.revision, answer.cancel_reason) == (0, "")
            await watch(stream, start_revision=8)
            assert len((await stream.receive()).events) == 3


async def test_an_oversized_response_is_split_if_the_client_asked_for_that() -> None:
    async with running() as etcd, etcd.open("Watch/Watch") as stream:
        await watch(stream, ALL, ALL, fragment=True, prev_kv=True)
        await watch(stream, ALL, ALL, prev_kv=True)
        for version in range(2):
            puts = [
                RequestOp(request_put=rpc_pb2.PutRequest(key=b"%d" % number, value=b"%d" % version * 350_000))
                for number in range(4)
            ]
            await etcd.call("KV/Txn", TxnRequest(success=puts))
        parts: dict[int, list[tuple[int, bool]]] = {0: [], 1: []}
        while sum(count for kind in parts.values() for count, _ in kind) < 16:
            response = await stream.receive()
            parts[response.watch_id].append((len(response.events), response.fragment))
        assert parts[1] == [(4, False), (4, False)]
        assert parts[0][0] == (4, False)
        assert [fragment for _, fragment in parts[0][1:]] == [True] * (len(parts[0]) - 2) + [False]
        assert len(parts[0]) > 2


# -- progress ---------------------------------------------------------------------------------


async def test_progress_on_request_is_one_answer_for_the_stream() -> None:
    async with running() as etcd, etcd.open("Watch/Watch") as stream:
        await stream.send(PROGRESS)  # no watch yet: no answer
        await watch(stream)
        await watch(stream, b"other")
        await etcd.put(b"unseen")
        await stream.send(PROGRESS)
        answer = await stream.receive()
        assert (answer.watch_id, answer.header.revision, len(answer.events)) == (-1, 2, 0)
        assert await stream.is_silent()


async def test_progress_on_request_comes_after_the_events_it_speaks_of() -> None:
    async with running() as etcd, etcd.open("Watch/Watch") as stream:
        await watch(stream)
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(etcd.put, b"k", b"%d" % number)
            nursery.start_soon(stream.send, PROGRESS)
        last = 1
        while (response := await stream.receive()).events:
            last = response.header.revision
        assert response.header.revision == last


async def test_an_idle_watch_is_told_now_and_then_how_far_it_is() -> None:
    async with running() as etcd, etcd.open("Watch/Watch") as stream:
        await watch(stream, progress_notify=True)
        await watch(stream, b"silent")
        await etcd.put(b"other")
        await etcd.pass_time(INTERVAL * 0.99)
        assert await stream.is_silent()
        await etcd.pass_time(INTERVAL * 0.12)  # with the jitter
        answer = await stream.receive()
        assert (answer.watch_id, answer.header.revision, len(answer.events)) == (0, 2, 0)
        await etcd.pass_time(INTERVAL * 1.11)
        assert (await stream.receive()).watch_id == 0
        assert await stream.is_silent()


async def test_a_busy_watch_is_left_out_once() -> None:
    async with running() as etcd, etcd.open("Watch/Watch") as stream:
        await watch(stream, progress_notify=True)
        await etcd.put(b"k")
        await stream.receive()
        await etcd.pass_time(INTERVAL * 1.11)
        assert await stream.is_silent()
        await etcd.pass_time(INTERVAL * 1.11)
        assert not (await stream.receive()).events


async def test_a_stream_that_opens_later_has_an_interval_of_its_own() -> None:
    async with running() as etcd, etcd.open("Watch/Watch") as first:
        await watch(first, progress_notify=True)
        await etcd.pass_time(INTERVAL * 0.5)
        async with etcd.open("Watch/Watch") as second:
            await watch(second, progress_notify=True)
            await etcd.pass_time(INTERVAL * 0.61)
            assert not (await first.receive()).events
            assert await second.is_silent()
            await etcd.pass_time(INTERVAL * 0.5)
            assert not (await second.receive()).events


async def test_the_interval_is_the_flags() -> None:
    async with running(watch_progress_notify_interval=1.0) as etcd, etcd.open("Watch/Watch") as stream:
        await watch(stream, progress_notify=True)
        await etcd.pass_time(1.11)
        assert not (await stream.receive()).events


# -- streams that end, and slow ones ---------------------------------------------------------------


async def test_a_client_that_has_nothing_more_to_ask_still_gets_events() -> None:
    async with running() as etcd, etcd.open("Watch/Watch") as stream:
        await watch(stream)
        stream.end()
        await trio.testing.wait_all_tasks_blocked()
        await etcd.put(b"k", b"v")
        assert await values(stream, 1) == [b"v"]


async def test_a_stream_that_ends_takes_its_watches_along() -> None:
    async with running() as etcd:
        for _ in range(3):
            async with etcd.open("Watch/Watch") as stream:
                await watch(stream)
                await watch(stream, start_revision=99)
            await trio.testing.wait_all_tasks_blocked()
        await etcd.put(b"k")  # nobody is there: nothing goes wrong
        assert etcd.sink.events() == []


async def test_requests_that_ask_for_nothing_are_ignored() -> None:
    async with running() as etcd, etcd.open("Watch/Watch") as stream:
        await stream.send(WatchRequest())
        await stream.send(cancel(77))
        assert (await watch(stream)).watch_id == 0


async def test_a_slow_watcher_loses_nothing_and_holds_nobody_up() -> None:
    async with running() as etcd, etcd.open("Watch/Watch") as slow, etcd.open("Watch/Watch") as quick:
        await watch(slow)
        await watch(quick)
        for number in range(200):
            await etcd.put(b"k", b"%d" % number + b"." * 20_000)  # more than any window holds
            await values(quick, 1)
        expected = [b"%d" % number + b"." * 20_000 for number in range(200)]
        assert await values(slow, 200) == expected


async def test_a_client_that_asks_faster_than_it_reads_gets_every_answer() -> None:
    async with running() as etcd, etcd.open("Watch/Watch") as stream:
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                for _ in range(5000):
                    await stream.send(create(start_revision=-1))

            nursery.start_soon(ask)
            for _ in range(5000):
                assert (await stream.receive()).canceled


# -- what goes wrong in one stream -----------------------------------------------------------------


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch) -> list[WatchService]:
    """The services made during the test: one for each server."""
    made = []
    original = WatchService.__init__

    def init(service: WatchService, *arguments: Any, **options: Any) -> None:
        original(service, *arguments, **options)
        made.append(service)

    monkeypatch.setattr(WatchService, "__init__", init)
    return made


def spoil(service: WatchService, monkeypatch: pytest.MonkeyPatch, method: str) -> WatchStream:
    """Make ``method`` raise for the stream that has a watch with id 13."""
    [victim] = [stream for stream in service._context.hub.streams if 13 in stream.watchers]
    original = getattr(WatchStream, method)

    def spoilt(stream: WatchStream, *arguments: Any) -> Any:
        if stream is victim:
            raise LookupError("a bug in the output")
        return original(stream, *arguments)

    monkeypatch.setattr(WatchStream, method, spoilt)
    return victim


async def assert_failed(etcd: Etcd, service: WatchService, stream: Stream) -> None:
    """``stream`` has ended with UNKNOWN, said so in the log once, and left nothing behind."""
    with pytest.raises(StatusError) as caught:
        await stream.receive()
    assert caught.value.code is Code.UNKNOWN
    [event] = etcd.sink.events()
    assert (event["level"], event["msg"]) == ("error", "watch stream failed")
    assert event["error"] == "a bug in the output"
    assert "LookupError" in event["stacktrace"]
    hub = service._context.hub
    hub.check()
    assert hub.stream_count == hub.watcher_count == 1


async def test_a_bug_in_the_output_of_one_stream_ends_that_stream_alone(
    services: list[WatchService], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running() as etcd, etcd.open("Watch/Watch") as broken, etcd.open("Watch/Watch") as sound:
        await watch(broken, watch_id=13)
        await watch(sound)
        spoil(services[0], monkeypatch, "pull")
        assert await etcd.put(b"k", b"1") == 2
        await assert_failed(etcd, services[0], broken)
        assert await etcd.put(b"k", b"2") == 3
        assert await values(sound, 2) == [b"1", b"2"]


async def test_a_stream_that_fails_in_the_turn_of_another_does_not_end_that_one(
    services: list[WatchService], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running() as etcd, etcd.open("Watch/Watch") as broken, etcd.open("Watch/Watch") as sound:
        await watch(broken, watch_id=13)
        victim = spoil(services[0], monkeypatch, "pull")
        victim.request_progress()  # has something to say, and the other's request gives it its turn
        await watch(sound)
        await assert_failed(etcd, services[0], broken)
        await etcd.put(b"k", b"v")
        assert await values(sound, 1) == [b"v"]


async def test_a_stream_that_failed_sends_nothing_more(
    services: list[WatchService], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running() as etcd, etcd.open("Watch/Watch") as broken, etcd.open("Watch/Watch") as sound:
        await watch(broken, watch_id=13)
        await watch(sound)
        with monkeypatch.context() as patch:
            victim = spoil(services[0], patch, "pull")
            victim.request_progress()
            services[0].pump()
        services[0].queue.extend(services[0]._clients)
        services[0].pump()  # works again, and its handler has not ended yet: this would follow a gap
        await assert_failed(etcd, services[0], broken)
        await etcd.put(b"k", b"v")
        assert await values(sound, 1) == [b"v"]


async def test_periodic_progress_that_fails_for_one_stream_reaches_the_others(
    services: list[WatchService], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running() as etcd, etcd.open("Watch/Watch") as broken, etcd.open("Watch/Watch") as sound:
        await watch(broken, watch_id=13, progress_notify=True)
        await watch(sound, progress_notify=True)
        spoil(services[0], monkeypatch, "tick_progress")
        await etcd.pass_time(INTERVAL * 1.11)
        await assert_failed(etcd, services[0], broken)
        for _ in range(2):
            assert not (await sound.receive()).events
            await etcd.pass_time(INTERVAL * 1.11)


async def test_of_very_many_streams_those_that_have_to_wait_hear_everything_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("rusd.services.watch.PUMP_MICROSECONDS", 2)
    async with running() as etcd, contextlib.AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(etcd.open("Watch/Watch")) for _ in range(7)]
        for stream in streams:
            await watch(stream)
        for number in range(5):
            await etcd.put(b"k", b"%d" % number)
        for stream in streams:
            assert await values(stream, 5) == [b"0", b"1", b"2", b"3", b"4"]


class Draining:
    """The responses of a client that is full after each message, and has room again soon."""

    def __init__(self) -> None:
        self.writable = True
        self.told: Callable[[], None] = lambda: None
        self.turns = 0

    def send_many_nowait(self, _messages: Any) -> None:
        self.writable = False
        self.turns += 1

    def on_writable(self, callback: Any) -> None:
        self.told = callback

    def drain(self) -> None:
        if not self.writable:
            self.writable = True
            self.told()


async def test_who_reads_history_has_one_turn_to_the_others_one(
    services: list[WatchService], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rusd.services.watch.PUMP_MICROSECONDS", 1)  # a turn in each pass
    monkeypatch.setattr("rusd.watch.catchup.SLICE_STEPS", 100)
    monkeypatch.setattr("rusd.watch.catchup.BATCH_REVISIONS", 10)
    async with running() as etcd:
        for number in range(3000):
            await etcd.put(b"k", b"%d" % number)
        [service] = services
        outs = [Draining(), Draining()]
        clients = [(_Client(service, service._context, cast("Any", out)), out) for out in outs]
        for client, _ in clients:
            client.stream.create(b"k", start_revision=2)
        for _ in range(12):
            service.give_turns()
            for _, out in clients:
                out.drain()
        assert len(service.queue) == 2
        assert [out.turns for _, out in clients] == [6, 6]
        for client, _ in clients:
            client.stream.close()
