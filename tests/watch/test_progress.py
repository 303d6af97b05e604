"""Progress notifications: on request and periodic, never ahead of what they speak of."""

from __future__ import annotations

import pytest

from rusd.watch.stream import MAX_PROGRESS_MARKS


def test_a_progress_request_has_one_answer_for_the_whole_stream(world) -> None:
    client = world.client()
    client.watch(b"a")
    client.watch(b"b")
    world.put(b"c")
    client.drain()
    client.stream.request_progress()
    (progress,) = client.drain()
    assert (progress.watch_id, progress.header.revision) == (-1, 2)
    assert not (progress.created or progress.canceled or progress.events)


def test_a_progress_request_without_watchers_has_no_answer(world) -> None:
    client = world.client()
    client.stream.request_progress()
    assert not client.stream.has_output


def test_a_progress_request_while_a_watcher_reads_history_has_no_answer_now_or_later(world) -> None:
    world.put(b"k")
    client = world.client()
    client.watch(b"k")
    client.watch(b"k", start_revision=2)
    client.stream.request_progress()
    assert all(response.watch_id != -1 for response in client.drain())


def test_a_progress_request_before_a_start_revision_has_no_answer(world) -> None:
    client = world.client()
    client.watch(b"k", start_revision=2)  # the next revision
    client.drain()
    client.stream.request_progress()
    assert not client.stream.has_output
    world.put(b"k")
    client.stream.request_progress()
    assert [response.watch_id for response in client.drain()] == [0, -1]


def test_progress_goes_out_behind_the_events_up_to_its_revision(world) -> None:
    client = world.client()
    client.watch(b"k")
    client.drain()
    world.put(b"k")
    client.stream.request_progress()
    world.put(b"k")
    responses = client.drain(budget=1)
    assert [(response.watch_id, response.header.revision) for response in responses] == [
        (0, 2),
        (-1, 2),
        (0, 3),
    ]


def test_progress_is_dropped_if_a_watcher_with_older_events_joins_before_it_is_out(world) -> None:
    for _ in range(1500):
        world.put(b"k")
    client = world.client()
    client.watch(b"k")
    client.drain()
    world.put(b"k")
    client.stream.request_progress()
    client.watch(b"k", start_revision=2)
    assert all(response.watch_id != -1 for response in client.drain())


def test_unread_progress_answers_are_bounded(world) -> None:
    client = world.client()
    client.watch(b"k")
    world.put(b"k")
    for _ in range(2 * MAX_PROGRESS_MARKS):
        client.stream.request_progress()
    world.hub.check()
    assert sum(response.watch_id == -1 for response in client.drain()) == MAX_PROGRESS_MARKS
    world.put(b"k")
    client.stream.request_progress()  # there is room again
    assert [response.watch_id for response in client.drain()] == [0, -1]


def test_periodic_progress_is_for_idle_watchers_that_asked(world) -> None:
    client = world.client()
    client.watch(b"a", progress_notify=True)
    client.watch(b"b")
    client.drain()
    world.put(b"c")
    client.stream.tick_progress()
    (progress,) = client.drain()
    assert (progress.watch_id, progress.header.revision) == (0, 2)
    assert not progress.events


def test_a_watcher_that_had_events_skips_one_tick(world) -> None:
    client = world.client()
    client.watch(b"a", progress_notify=True)
    world.put(b"a")
    client.drain()
    client.stream.tick_progress()
    assert client.drain() == []
    client.stream.tick_progress()
    assert [response.watch_id for response in client.drain()] == [0]


def test_periodic_progress_skips_watchers_that_read_history_or_wait_for_a_revision(world) -> None:
    world.put(b"k")
    client = world.client()
    client.watch(b"k", start_revision=2, progress_notify=True)
    client.watch(b"k", start_revision=9, progress_notify=True)
    client.stream.tick_progress()
    assert all(response.created or response.events for response in client.drain())


@pytest.mark.parametrize("events_pending", [False, True])
def test_a_client_that_takes_nothing_is_told_of_its_progress_once(world, events_pending: bool) -> None:
    client = world.client()
    client.watch(b"k")
    for _ in range(3):
        client.watch(b"idle", progress_notify=True)
    client.drain()
    for _ in range(2):  # it is told again once it has taken that
        if events_pending:
            world.put(b"k")
        for _ in range(50):
            client.stream.tick_progress()
            world.hub.check()
        responses = client.drain(budget=1)
        assert [response.watch_id for response in responses if not response.events] == [1, 2, 3]
        world.hub.check()


@pytest.mark.parametrize("ask", ["tick_progress", "request_progress"])
def test_progress_costs_no_look_at_what_is_pending(world, ask: str) -> None:
    class Unseen(list):
        def __iter__(self):
            raise AssertionError("looked through")

    client = world.client()
    client.watch(b"k")
    client.watch(b"idle", progress_notify=True)
    client.drain()
    for _ in range(10):
        world.put(b"k")
    client.stream._pending = Unseen(client.stream._pending)
    getattr(client.stream, ask)()
    assert len(client.stream._pending) == 11


def test_periodic_progress_of_a_cancelled_watcher_is_not_sent(world) -> None:
    client = world.client()
    client.watch(b"k")
    idle = client.watch(b"idle", progress_notify=True)
    client.drain()
    world.put(b"k")
    client.stream.tick_progress()
    client.stream.cancel(idle)
    responses = client.drain()
    assert [(response.watch_id, response.canceled) for response in responses] == [(idle, True), (0, False)]
