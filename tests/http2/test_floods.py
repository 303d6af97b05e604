"""Work for nothing: what each kind of flood comes to, and that honest traffic is none (RFC 9113 §10.5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rusd.http2 import ErrorCode, Limits, Role, Settings

LIMITS = Limits(idle_frames=20, spoilt_streams=10, period_seconds=10.0)
CALM = ErrorCode.ENHANCE_YOUR_CALM


class Time:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 50.0
        self.readings = 0

    def __call__(self) -> float:
        self.readings += 1
        return self.now


Builder = Callable[[Any, int], bytes]

# One frame that brings nothing, each time another; stream 1 is open, 3 is reset, 5 is finished.
NUISANCES: dict[str, Builder] = {
    "PING": lambda frames, n: frames.ping(),
    "PING answer": lambda frames, n: frames.ping(ack=True),
    "SETTINGS": lambda frames, n: frames.settings(),
    "SETTINGS toggling the window": lambda frames, n: frames.settings((4, 65_535 + n % 2)),
    "SETTINGS answer": lambda frames, n: frames.settings_ack(),
    "PRIORITY": lambda frames, n: frames.priority(2 * n + 101),
    "unknown type": lambda frames, n: frames.frame(0xB0 + n % 16, 0, 1, b"?"),
    "empty DATA": lambda frames, n: frames.data(1),
    "empty padded DATA": lambda frames, n: frames.data(1, pad=10),
    "DATA for a reset stream": lambda frames, n: frames.data(3, b"x"),
    "HEADERS for a reset stream": lambda frames, n: frames.trailers(3),
    "WINDOW_UPDATE of the stream": lambda frames, n: frames.window_update(1, 1),
    "WINDOW_UPDATE of the connection": lambda frames, n: frames.window_update(0, 1),
    "WINDOW_UPDATE of a closed stream": lambda frames, n: frames.window_update(5, 1),
    "RST_STREAM of a closed stream": lambda frames, n: frames.rst_stream(5),
    "GOAWAY": lambda frames, n: frames.goaway(0),
}


def with_streams(make_server: Any, frames: Any, **options: Any) -> Any:
    """A server with streams 1 (open), 3 (reset by the server) and 5 (finished)."""
    server = make_server(limits=LIMITS, **options)
    server.feed(frames.headers(1), frames.headers(3), frames.headers(5, end=True))
    server.connection.reset_stream(3, ErrorCode.CANCEL)
    server.connection.send_headers(5, frames.response, end_stream=True)
    server.output()
    return server


@pytest.mark.parametrize("name", NUISANCES)
def test_frames_that_bring_nothing_end_the_connection_in_the_end(
    make_server: Any, frames: Any, name: str
) -> None:
    server = with_streams(make_server, frames)
    for sent in range(1, 60):
        server.feed(NUISANCES[name](frames, sent))
        if server.close_code is not None:
            break
    assert server.close_code == CALM
    assert 15 <= sent <= 40


@pytest.mark.parametrize("name", NUISANCES)
def test_the_same_frames_are_fine_when_they_take_their_time(make_server: Any, frames: Any, name: str) -> None:
    clock = Time()
    server = with_streams(make_server, frames, now=clock)
    for sent in range(200):
        clock.now += 0.6
        server.feed(NUISANCES[name](frames, sent))
    assert server.close_code is None


def test_window_updates_that_follow_what_was_sent_are_no_flood(make_server: Any, frames: Any) -> None:
    """A client that gives each answer's bytes back at once, to the stream and to the connection."""
    server = make_server(limits=LIMITS)
    for stream_id in range(1, 2001, 2):
        server.feed(frames.headers(stream_id, end=True))
        server.connection.send_headers(stream_id, frames.response)
        server.connection.send_data(stream_id, bytes(40))
        server.connection.send_headers(stream_id, frames.trailer, end_stream=True)
        server.feed(frames.window_update(stream_id, 40), frames.window_update(0, 40))
    assert server.close_code is None


def test_a_window_opened_octet_by_octet_is_a_flood(make_server: Any, frames: Any) -> None:
    server = make_server(limits=LIMITS, peer=[(4, 0)])
    server.feed(frames.headers(1, end=True))
    server.connection.send_data(1, bytes(1000))
    sent = 0
    while server.close_code is None:
        server.feed(frames.window_update(1, 1))
        sent += 1
        assert sent < 60
    assert server.close_code == CALM


def test_the_clock_is_read_only_when_a_limit_is_reached(make_server: Any, frames: Any) -> None:
    clock = Time()
    server = make_server(limits=LIMITS, now=clock)
    readings = clock.readings
    server.feed(*[frames.ping()] * 15)
    assert clock.readings == readings


def test_resets_spread_over_time_are_fine(make_server: Any, frames: Any) -> None:
    clock = Time()
    server = make_server(limits=LIMITS, now=clock)
    for stream_id in range(1, 201, 2):
        clock.now += 1.5
        server.feed(frames.headers(stream_id), frames.rst_stream(stream_id))
    assert server.close_code is None
    for stream_id in range(201, 261, 2):
        server.feed(frames.headers(stream_id), frames.rst_stream(stream_id))
    assert server.close_code == CALM


@pytest.mark.parametrize(
    "offence",
    [
        lambda frames, stream_id: frames.window_update(stream_id, 0),
        lambda frames, stream_id: frames.window_update(stream_id, 2**31 - 1),
        lambda frames, stream_id: frames.headers(stream_id),  # not the end, and so no trailers
        lambda frames, stream_id: frames.priority(stream_id, b"shrt"),
        lambda frames, stream_id: frames.data(stream_id, end=True) + frames.data(stream_id),
    ],
    ids=["update of nothing", "update of too much", "second headers", "short priority", "data after the end"],
)
def test_making_the_server_reset_is_no_better_than_resetting(
    make_server: Any, frames: Any, offence: Builder
) -> None:
    """CVE-2025-8671: each offence is a stream error, and costs as much as the client's own reset."""
    server = make_server(limits=LIMITS)
    for stream_id in range(1, 31, 2):
        server.feed(frames.headers(stream_id), offence(frames, stream_id))
    assert server.close_code == CALM


def test_malformed_requests_are_spoilt_streams_too(make_server: Any, frames: Any) -> None:
    server = make_server(limits=LIMITS)
    for stream_id in range(1, 31, 2):
        server.feed(frames.block(stream_id, b""))
    assert server.close_code == CALM


# -- what the owner may look at -----------------------------------------------------------------------


def test_an_unfinished_frame_is_told_from_the_next_one(make_server: Any, frames: Any) -> None:
    server = make_server()
    ping = frames.ping()
    assert server.connection.unfinished == 0
    server.feed(ping[:3])
    first = server.connection.unfinished
    server.feed(ping[3:12])
    assert first == server.connection.unfinished != 0
    server.feed(ping[12:] + ping[:5])
    assert server.connection.unfinished not in (0, first)
    server.feed(ping[5:])
    assert server.connection.unfinished == 0


def test_an_unfinished_header_block_counts_as_one_frame(make_server: Any, frames: Any) -> None:
    server = make_server()
    server.feed(frames.block(1, b"", done=False))
    block = server.connection.unfinished
    assert block
    for _ in range(3):
        server.feed(frames.continuation(1, b"", done=False))
        assert server.connection.unfinished == block


def test_opening_and_acknowledging_can_be_seen(make_endpoint: Any, frames: Any) -> None:
    server = make_endpoint(Role.SERVER, Settings())
    server.connection.initiate()
    server.feed(frames.preface)
    assert not server.connection.opened
    server.feed(frames.settings())
    assert server.connection.opened
    assert not server.connection.settings_acknowledged
    server.feed(frames.settings_ack())
    assert server.connection.settings_acknowledged


def test_queued_bytes_are_those_of_all_streams(make_server: Any, frames: Any) -> None:
    server = make_server(peer=[(4, 10)])
    server.feed(*[frames.headers(n, end=True) for n in (1, 3, 5)])
    for stream_id in (1, 3, 5):
        server.connection.send_data(stream_id, bytes(100))
    assert server.connection.queued_bytes == 270
    assert server.connection.largest_queue() == 90
    server.feed(frames.window_update(3, 50), frames.rst_stream(5))
    assert server.connection.queued_bytes == 130
    server.connection.goaway(ErrorCode.INTERNAL_ERROR)
    assert server.connection.queued_bytes == 0


def test_the_peers_limit_of_a_header_list_can_be_asked_about(make_server: Any, frames: Any) -> None:
    field = (b"name", b"value")  # 41 with its overhead
    assert make_server().connection.would_take([field] * 1000)
    limited = make_server(peer=[(6, 82)]).connection
    assert limited.would_take([field] * 2)
    assert not limited.would_take([field] * 3)


def test_moving_the_windows_of_many_streams_counts_for_more(make_server: Any, frames: Any) -> None:
    """It looks at each of them: thousands of streams, thousands of frames, and nobody else has a turn."""
    server = make_server(limits=LIMITS, now=Time())
    for stream_id in range(1, 1281, 2):
        server.feed(frames.headers(stream_id))
    assert server.connection.open_streams == 640
    toggles = [frames.settings((4, 65_535 + n % 2)) for n in range(1, 11)]
    server.feed(toggles[0])
    assert server.close_code is None
    server.feed(*toggles[1:])
    assert server.close_code == CALM
