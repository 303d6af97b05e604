"""Feeds: calls whose messages are taken in the turn in which they come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rusd.grpc import Call, Code, Registry, StatusError


class Feed:
    """Writes down what comes; ``end`` ends the call."""

    def __init__(self, call: Call, end: Callable[[StatusError], None]) -> None:
        self.call = call
        self.end = end
        self.taken: list[bytes] = []
        self.over = 0
        self.error: Exception | None = None

    def receive(self, payload: bytes) -> None:
        self.taken.append(payload)
        if self.error is not None:
            raise self.error

    def ended(self) -> None:
        self.over += 1


@pytest.fixture
def feeds(registry: Registry) -> list[Feed]:
    """All feeds that were opened at ``/test.Test/Feed``; ``/test.Test/Closed`` lets nobody in."""
    opened: list[Feed] = []

    def open_feed(call: Call, end: Callable[[StatusError], None]) -> Feed:
        opened.append(Feed(call, end))
        return opened[-1]

    def refuse(call: Call, end: Callable[[StatusError], None]) -> Feed:
        raise StatusError(Code.PERMISSION_DENIED, "not you")

    def crash(call: Call, end: Callable[[StatusError], None]) -> Feed:
        raise KeyError("defect")

    registry.feed("/test.Test/Feed", open_feed)
    registry.feed("/test.Test/Closed", refuse)
    registry.feed("/test.Test/Crash", crash)
    return opened


def begin(pair: Any) -> int:
    return int(pair.request(path=b"/test.Test/Feed", end=False))


def test_the_client_hears_at_once_that_it_is_let_in(pair: Any, feeds: list[Feed]) -> None:
    stream = pair.streams[begin(pair)]
    assert stream.fields[b":status"] == b"200"
    assert not stream.ended
    assert len(feeds) == 1
    assert not pair.started  # no task


def test_or_that_it_is_not(pair: Any, feeds: list[Feed]) -> None:
    stream = pair.streams[pair.request(path=b"/test.Test/Closed", end=False)]
    assert stream.status == (Code.PERMISSION_DENIED, "not you")
    assert pair.server.open_calls == 0
    stream = pair.streams[pair.request(path=b"/test.Test/Crash", end=False)]
    assert stream.status[0] == Code.UNKNOWN
    assert len(pair.crashes) == 1


def test_messages_are_taken_as_they_come_however_they_are_cut(
    pair: Any, feeds: list[Feed], message: Any
) -> None:
    stream_id = begin(pair)
    payloads = [b"one", b"", b"three" * 1000, b"four"]
    wire = b"".join(message(payload) for payload in payloads)
    for payload in payloads:
        pair.send(stream_id, message(payload))
    pair.send(stream_id, wire)
    for position in range(0, len(wire), 7):
        pair.send(stream_id, wire[position : position + 7])
    assert feeds[0].taken == payloads * 3
    assert not feeds[0].over


def test_what_is_taken_is_given_back_to_the_clients_window(
    pair: Any, feeds: list[Feed], message: Any
) -> None:
    stream_id = begin(pair)
    for _ in range(100):
        pair.send(stream_id, message(bytes(50_000)))
    assert len(feeds[0].taken) == 100
    assert pair.client.queued(stream_id) == 0


def test_a_client_that_has_said_all_is_answered_well(pair: Any, feeds: list[Feed], message: Any) -> None:
    stream_id = begin(pair)
    pair.send(stream_id, message(b"last"), end=True)
    assert pair.streams[stream_id].status == (0, "")
    assert feeds[0].taken == [b"last"]
    assert feeds[0].over == 1


def test_even_if_that_was_nothing(pair: Any, feeds: list[Feed]) -> None:
    stream_id = pair.request(path=b"/test.Test/Feed", end=True)
    assert pair.streams[stream_id].status == (0, "")
    assert feeds[0].over == 1


def test_an_end_inside_a_message_is_an_error(pair: Any, feeds: list[Feed], message: Any) -> None:
    stream_id = begin(pair)
    pair.send(stream_id, message(b"abc")[:-1], end=True)
    assert pair.streams[stream_id].status == (Code.INTERNAL, "unexpected EOF")
    assert feeds[0].taken == []
    assert feeds[0].over == 1


def test_no_more_is_taken_once_the_call_has_ended(pair: Any, feeds: list[Feed], message: Any) -> None:
    stream_id = begin(pair)
    feeds[0].error = StatusError(Code.INVALID_ARGUMENT, "what is this")
    pair.send(stream_id, message(b"a") + message(b"b"))
    pair.send(stream_id, message(b"c"))
    assert feeds[0].taken == [b"a"]
    assert feeds[0].over == 1
    assert pair.streams[stream_id].status == (Code.INVALID_ARGUMENT, "what is this")


def test_a_defect_ends_the_call_and_is_told_to_the_host(pair: Any, feeds: list[Feed], message: Any) -> None:
    stream_id = begin(pair)
    feeds[0].error = KeyError("defect")
    pair.send(stream_id, message(b"a"))
    assert pair.streams[stream_id].status[0] == Code.UNKNOWN
    assert [type(error) for error in pair.crashes] == [KeyError]
    assert feeds[0].over == 1


def test_the_server_may_end_it_at_any_time_and_only_once(pair: Any, feeds: list[Feed]) -> None:
    stream_id = begin(pair)
    feeds[0].end(StatusError(Code.ABORTED, "enough"))
    feeds[0].end(StatusError(Code.ABORTED, "more than enough"))
    pair.exchange()
    assert pair.streams[stream_id].status == (Code.ABORTED, "enough")
    assert feeds[0].over == 1


def test_a_message_that_is_too_large_ends_it(pair: Any, feeds: list[Feed], message: Any) -> None:
    stream_id = begin(pair)
    pair.send(stream_id, message(bytes(3_000_000)))
    assert pair.streams[stream_id].status[0] == Code.RESOURCE_EXHAUSTED
    assert feeds[0].taken == []
    assert feeds[0].over == 1


def test_a_client_that_goes_or_resets_is_an_end_too(pair: Any, feeds: list[Feed]) -> None:
    first, _ = begin(pair), begin(pair)
    pair.client.reset_stream(first, 8)
    pair.exchange()
    assert [feed.over for feed in feeds] == [1, 0]
    pair.server.lost()
    assert [feed.over for feed in feeds] == [1, 1]


def test_a_deadline_holds_for_feeds(pair: Any, feeds: list[Feed]) -> None:
    stream_id = pair.request(path=b"/test.Test/Feed", end=False, grpc_timeout=b"5S")
    pair.pass_time(6)
    assert pair.streams[stream_id].status[0] == Code.DEADLINE_EXCEEDED
    assert feeds[0].over == 1
