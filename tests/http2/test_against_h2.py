"""The ``h2`` library as the other end, in both roles.

Both ends run in this process, joined by byte strings.  h2 is strict about what it receives, so
that it takes what we send is worth as much as that we understand it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rusd.http2 import ErrorCode, Role, Settings

h2_connection = pytest.importorskip("h2.connection")
h2_config = pytest.importorskip("h2.config")
h2_events = pytest.importorskip("h2.events")

WINDOW, FRAME, TABLE = 4, 5, 1


class Pair:
    """Our endpoint and h2's, and what h2 has seen."""

    def __init__(self, ours: Any, h2_is_client: bool) -> None:
        self.ours = ours
        self.theirs = h2_connection.H2Connection(
            h2_config.H2Configuration(client_side=h2_is_client, header_encoding=None)
        )
        self.seen: list[Any] = []
        ours.connection.initiate()
        self.theirs.initiate_connection()
        self.run()

    def run(self) -> None:
        """Carry bytes to and fro until both are silent.  h2 consumes what it gets at once."""
        while True:
            to_us = self.theirs.data_to_send()
            self.ours.connection.receive(to_us)
            while self.ours.connection.advance(3):
                pass
            self.ours.connection.check()
            to_them = self.ours.connection.data_to_send()
            if not to_us and not to_them:
                return
            for event in self.theirs.receive_data(to_them):
                self.seen.append(event)
                if isinstance(event, h2_events.DataReceived) and event.flow_controlled_length:
                    self.theirs.acknowledge_received_data(event.flow_controlled_length, event.stream_id)

    def body(self, stream_id: int) -> bytes:
        """What h2 received on that stream."""
        return b"".join(
            event.data
            for event in self.seen
            if isinstance(event, h2_events.DataReceived) and event.stream_id == stream_id
        )

    def of(self, kind: str) -> Iterator[Any]:
        return (event for event in self.seen if type(event).__name__ == kind)


def test_h2_calls_us(make_endpoint: Any, frames: Any) -> None:
    pair = Pair(make_endpoint(Role.SERVER, Settings(max_concurrent_streams=50)), h2_is_client=True)

    def answer(stream_id: int, data: bytes, end: bool) -> None:
        pair.ours.connection.acknowledge(stream_id, len(data))
        if end:
            pair.ours.connection.send_headers(stream_id, frames.response)
            pair.ours.connection.send_data(stream_id, b"answer")
            pair.ours.connection.send_headers(stream_id, frames.trailer, end_stream=True)

    pair.ours.reactions["data"] = answer
    for round_ in range(20):
        fields = [*frames.request, (b"grpc-timeout", b"%dm" % round_)]
        for _ in range(20):
            stream_id = pair.theirs.get_next_available_stream_id()
            pair.theirs.send_headers(stream_id, fields)
            pair.theirs.send_data(stream_id, b"question" * 1000, pad_length=round_)
            pair.theirs.send_data(stream_id, b"", end_stream=True)
            pair.run()
            assert pair.body(stream_id) == b"answer"
        assert pair.ours.events[-3][2] == fields
    assert len(list(pair.of("TrailersReceived"))) == 400
    assert len(list(pair.of("StreamEnded"))) == 400
    assert pair.ours.connection.open_streams == 0


def test_we_call_h2(make_endpoint: Any, frames: Any) -> None:
    pair = Pair(make_endpoint(Role.CLIENT, Settings(initial_window_size=100_000)), h2_is_client=False)
    for _ in range(50):
        stream_id = pair.ours.connection.open_stream(frames.request)
        pair.ours.connection.send_data(stream_id, b"question" * 20_000, end_stream=True)
        pair.run()
        assert pair.body(stream_id) == b"question" * 20_000
        assert pair.ours.take() == [("window", stream_id)]
        [request] = [event for event in pair.of("RequestReceived") if event.stream_id == stream_id]
        assert [tuple(field) for field in request.headers] == frames.request
        pair.theirs.send_headers(stream_id, [*frames.response, (b"x-n", b"%d" % stream_id)])
        pair.theirs.send_data(stream_id, b"answer")
        pair.theirs.send_headers(stream_id, frames.trailer, end_stream=True)
        pair.run()
        assert [event[0] for event in pair.ours.take()] == ["headers", "data", "headers"]
    assert pair.ours.connection.open_streams == 0


def test_a_large_answer_passes_small_windows(make_endpoint: Any, frames: Any) -> None:
    pair = Pair(make_endpoint(Role.SERVER, Settings()), h2_is_client=True)
    pair.theirs.update_settings({WINDOW: 1000, FRAME: 20_000})
    body = bytes(range(256)) * 4000
    for stream_id in (1, 3, 5):
        pair.theirs.send_headers(stream_id, frames.request, end_stream=True)
    pair.run()
    for stream_id in (1, 3, 5):
        pair.ours.connection.send_headers(stream_id, frames.response)
        pair.ours.connection.send_data(stream_id, body)
        pair.ours.connection.send_headers(stream_id, frames.trailer, end_stream=True)
    pair.run()
    assert all(pair.body(stream_id) == body for stream_id in (1, 3, 5))
    assert pair.ours.connection.open_streams == 0


def test_h2_without_a_header_table_takes_our_blocks(make_endpoint: Any, frames: Any) -> None:
    pair = Pair(make_endpoint(Role.SERVER, Settings()), h2_is_client=True)
    pair.theirs.update_settings({TABLE: 0})
    for stream_id in (1, 3):
        pair.theirs.send_headers(stream_id, frames.request, end_stream=True)
        pair.run()
        pair.ours.connection.send_headers(stream_id, frames.response, end_stream=True)
        pair.run()
    assert len(list(pair.of("StreamEnded"))) == 2


def test_resets_pings_and_the_end_are_understood(make_endpoint: Any, frames: Any) -> None:
    pair = Pair(make_endpoint(Role.SERVER, Settings()), h2_is_client=True)
    pair.theirs.ping(b"12345678")
    pair.ours.connection.ping(b"abcdefgh")
    for stream_id in (1, 3):
        pair.theirs.send_headers(stream_id, frames.request)
    pair.run()
    pair.theirs.reset_stream(1, ErrorCode.CANCEL)
    pair.ours.connection.reset_stream(3, ErrorCode.REFUSED_STREAM)
    pair.run()
    assert ("ping_ack", b"abcdefgh") in pair.ours.events
    assert ("reset", 1, ErrorCode.CANCEL) in pair.ours.events
    assert [event.error_code for event in pair.of("StreamReset")] == [ErrorCode.REFUSED_STREAM]
    pair.ours.connection.goaway(ErrorCode.NO_ERROR, b"bye")
    pair.run()
    [end] = pair.of("ConnectionTerminated")
    assert (end.last_stream_id, end.additional_data) == (3, b"bye")


sends = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 40_000)), max_size=10)


@given(sends, st.integers(200, 70_000), st.integers(16_384, 30_000), st.none() | st.integers(200, 30_000))
@settings(max_examples=40, deadline=None)
def test_any_mix_of_answers_arrives_whole_and_in_order(
    make_endpoint: Any,
    frames: Any,
    sends: list[tuple[int, int]],
    window: int,
    frame_size: int,
    output_limit: int | None,
) -> None:
    ours = make_endpoint(Role.SERVER, Settings(), output_limit=output_limit)
    pair = Pair(ours, h2_is_client=True)
    pair.theirs.update_settings({WINDOW: window, FRAME: frame_size})
    streams = [1, 3, 5, 7, 9]
    for stream_id in streams:
        pair.theirs.send_headers(stream_id, frames.request, end_stream=True)
    pair.run()
    expected = dict.fromkeys(streams, b"")
    for stream_id in streams:
        ours.connection.send_headers(stream_id, frames.response)
    for number, (which, length) in enumerate(sends):
        data = bytes((number,)) * length
        ours.connection.send_data(streams[which], data)
        expected[streams[which]] += data
        if number % 3 == 2:
            pair.run()
    for stream_id in streams:
        ours.connection.send_headers(stream_id, frames.trailer, end_stream=True)
    pair.run()
    assert {stream_id: pair.body(stream_id) for stream_id in streams} == expected
    assert ours.connection.open_streams == 0
