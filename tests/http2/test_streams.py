"""The life of a stream, and frames that come too late (RFC 9113 §5.1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rusd.http2 import ErrorCode, StreamStateError
from rusd.http2.streams import NEXT, TRANSITIONS, Ending, Input, RecentlyClosed, State


def test_the_fast_table_says_what_the_readable_one_says() -> None:
    for state in State:
        for event in Input:
            assert NEXT[state][event] == TRANSITIONS.get((state, event))


def test_an_input_with_end_stream_is_the_next_number() -> None:
    for event in Input:
        if event.name.endswith("_END"):
            assert Input[event.name.removesuffix("_END")] + 1 == event


def test_no_way_leads_out_of_closed_or_back_to_idle() -> None:
    assert all(after is None for after in NEXT[State.CLOSED])
    assert State.IDLE not in TRANSITIONS.values()


def test_whoever_has_ended_sending_sends_no_more() -> None:
    for event in Input:
        sends = event.name.startswith("SEND") and event is not Input.SEND_RESET
        receives = event.name.startswith("RECEIVE") and event is not Input.RECEIVE_RESET
        if sends:
            assert NEXT[State.HALF_CLOSED_LOCAL][event] is None
        if receives:
            assert NEXT[State.HALF_CLOSED_REMOTE][event] is None


def test_a_stream_is_forgotten_when_both_sides_have_ended_it(make_server: Any, frames: Any) -> None:
    server = make_server()
    server.feed(frames.headers(1))
    server.connection.send_headers(1, frames.response)
    server.connection.send_headers(1, frames.trailer, end_stream=True)
    assert server.connection.open_streams == 1
    server.feed(frames.data(1, b"rest", end=True))
    assert server.events[-1] == ("data", 1, b"rest", True)
    assert server.connection.open_streams == 0


def test_the_answer_may_come_from_inside_the_call(make_server: Any, frames: Any) -> None:
    server = make_server()

    def answer(stream_id: int, data: bytes, _end: bool) -> None:
        server.connection.acknowledge(stream_id, len(data))
        server.connection.send_headers(stream_id, frames.response)
        server.connection.send_data(stream_id, data.upper())
        server.connection.send_headers(stream_id, frames.trailer, end_stream=True)

    server.reactions["data"] = answer
    out = server.feed(frames.headers(1), frames.data(1, b"hello", end=True))
    assert [(frame.kind, frame.flags) for frame in out] == [("HEADERS", 4), ("DATA", 0), ("HEADERS", 5)]
    assert out[1].payload == b"HELLO"
    assert server.connection.open_streams == 0


@pytest.mark.parametrize("late", ["data", "headers", "trailers"])
def test_content_after_end_stream_resets_the_stream(make_server: Any, frames: Any, late: str) -> None:
    server = make_server()
    [reset] = server.feed(frames.headers(1, end=True), getattr(frames, late)(1))
    assert (reset.kind, reset.code) == ("RST_STREAM", ErrorCode.STREAM_CLOSED)
    assert server.events[-1] == ("reset", 1, ErrorCode.STREAM_CLOSED)


def finished(server: Any, frames: Any) -> None:
    server.feed(frames.headers(1, end=True))
    server.connection.send_headers(1, frames.response, end_stream=True)


def reset_here(server: Any, frames: Any) -> None:
    server.feed(frames.headers(1))
    server.connection.reset_stream(1, ErrorCode.CANCEL)


def reset_there(server: Any, frames: Any) -> None:
    server.feed(frames.headers(1), frames.rst_stream(1))


def never_used(server: Any, frames: Any) -> None:
    server.feed(frames.headers(9))


def idle(server: Any, frames: Any) -> None:
    pass


IGNORED = ("ignored", None)
STREAM = ("stream", ErrorCode.STREAM_CLOSED)
CLOSED = ("connection", ErrorCode.STREAM_CLOSED)
PROTOCOL = ("connection", ErrorCode.PROTOCOL_ERROR)


@pytest.mark.parametrize(
    ("before", "late", "expected"),
    [
        (finished, "data", CLOSED),
        (finished, "headers", CLOSED),
        (finished, "window_update", IGNORED),
        (finished, "rst_stream", IGNORED),
        (finished, "priority", IGNORED),
        (reset_here, "data", IGNORED),
        (reset_here, "headers", IGNORED),
        (reset_here, "window_update", IGNORED),
        (reset_here, "rst_stream", IGNORED),
        (reset_there, "data", STREAM),
        (reset_there, "headers", STREAM),
        (reset_there, "window_update", IGNORED),
        (reset_there, "rst_stream", IGNORED),
        (never_used, "data", STREAM),
        (never_used, "headers", PROTOCOL),
        (never_used, "priority", IGNORED),
        (idle, "data", PROTOCOL),
        (idle, "window_update", PROTOCOL),
        (idle, "rst_stream", PROTOCOL),
        (idle, "priority", IGNORED),
    ],
)
def test_a_late_frame_is_judged_by_how_its_stream_ended(
    make_server: Any, frames: Any, before: Callable[[Any, Any], None], late: str, expected: Any
) -> None:
    server = make_server()
    before(server, frames)
    server.output()
    server.take()
    arguments = {"window_update": (1, 10), "data": (1, b"late")}.get(late, (1,))
    out = server.feed(getattr(frames, late)(*arguments))
    found = {"RST_STREAM": "stream", "GOAWAY": "connection"}
    assert [(found[frame.kind], frame.code) for frame in out] == [expected] * (expected is not IGNORED)
    assert all(event[0] == "closed" for event in server.events)


def test_late_content_gives_its_window_back(make_server: Any, frames: Any) -> None:
    server = make_server(connection_window=65_535)
    reset_here(server, frames)
    server.output()
    out = server.feed(*[frames.data(1, bytes(16_000))] * 9)
    assert sum(frame.number for frame in out if frame.kind == "WINDOW_UPDATE") >= 9 * 16_000 - 32_768


def test_the_memory_of_closed_streams_is_bounded_and_kind() -> None:
    recent = RecentlyClosed(limit=4)
    for stream_id in range(1, 41, 2):
        recent.finished.append(stream_id)
    assert recent.ending(39) is Ending.FINISHED
    assert recent.ending(1) is Ending.FORGOTTEN
    assert len(recent.finished) == 4


def test_stream_ids_must_increase(make_server: Any, frames: Any) -> None:
    server = make_server()
    server.feed(frames.headers(5), frames.headers(3))
    assert server.close_code == ErrorCode.PROTOCOL_ERROR


def test_a_reset_of_the_peer_is_reported_and_what_is_sent_later_is_dropped(
    make_server: Any, frames: Any
) -> None:
    server = make_server()
    server.feed(frames.headers(1), frames.rst_stream(1, 8))
    assert server.events[-1] == ("reset", 1, 8)
    server.connection.send_headers(1, frames.response)
    server.connection.send_data(1, b"x")
    server.connection.acknowledge(1, 0)
    server.connection.reset_stream(1, 0)
    assert server.output() == []
    assert server.connection.queued(1) == 0


def test_a_reset_drops_what_was_queued(make_server: Any, frames: Any) -> None:
    server = make_server(peer=[(4, 10)])
    server.feed(frames.headers(1))
    server.connection.send_data(1, bytes(100), end_stream=True)
    server.output()
    server.connection.reset_stream(1, ErrorCode.CANCEL)
    [reset] = server.output()
    assert reset.kind == "RST_STREAM"
    assert server.feed(frames.window_update(1, 1000), frames.window_update(0, 1000)) == []


@pytest.mark.parametrize(
    ("frame", "scope"),
    [
        (("rst_stream", (0,)), "connection"),
        (("priority", (0,)), "connection"),
        (("priority", (3, b"1234")), "connection"),
        (("priority", (1, b"1234")), "stream"),
    ],
)
def test_broken_resets_and_priorities(make_server: Any, frames: Any, frame: Any, scope: str) -> None:
    server = make_server()
    name, arguments = frame
    server.feed(frames.headers(1), getattr(frames, name)(*arguments))
    assert server.events[-1][0] == {"connection": "closed", "stream": "reset"}[scope]


def test_a_reset_of_wrong_length_ends_the_connection(make_server: Any, frames: Any) -> None:
    server = make_server()
    server.feed(frames.headers(1), frames.frame(3, 0, 1, b"123"))
    assert server.close_code == ErrorCode.FRAME_SIZE_ERROR


@pytest.mark.parametrize("window", [0, 10, 1000])
def test_sending_after_our_own_end_stream_is_an_error_of_the_caller(
    make_server: Any, frames: Any, window: int
) -> None:
    server = make_server(peer=[(4, window)])
    server.feed(frames.headers(1))
    connection = server.connection
    connection.send_data(1, bytes(100), end_stream=True)
    for attempt in (
        lambda: connection.send_data(1, b"more"),
        lambda: connection.send_data(1, b"", end_stream=True),
        lambda: connection.send_data(1, bytes(5000)),
        lambda: connection.send_headers(1, frames.trailer, end_stream=True),
    ):
        with pytest.raises(StreamStateError):
            attempt()
    connection.check()
