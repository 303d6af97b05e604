"""Windows in both directions (RFC 9113 §5.2, §6.9)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rusd.http2 import ErrorCode, Role, Settings
from rusd.http2.windows import MAX_WINDOW, FlowControl

WINDOW, FRAME = 4, 5  # settings


def sizes(out: Any) -> list[int]:
    return [len(frame.payload) for frame in out if frame.kind == "DATA"]


# -- sending ---------------------------------------------------------------


def test_data_goes_as_far_as_the_stream_window_and_on_with_updates(make_server: Any, frames: Any) -> None:
    server = make_server(peer=[(WINDOW, 10)])
    server.feed(frames.headers(1))
    server.connection.send_data(1, b"0123456789abcdef", end_stream=True)
    [first] = server.output()
    assert (first.payload, first.flags) == (b"0123456789", 0)
    assert server.connection.queued(1) == 6
    [second] = server.feed(frames.window_update(1, 4))
    assert (second.payload, second.flags) == (b"abcd", 0)
    [third] = server.feed(frames.window_update(1, 4))
    assert (third.payload, third.flags) == (b"ef", 1)
    assert server.connection.queued(1) == 0


def test_no_frame_is_larger_than_the_peer_allows(make_server: Any, frames: Any) -> None:
    server = make_server(peer=[(WINDOW, 1 << 20)])
    server.feed(frames.headers(1), frames.window_update(0, 1 << 20))
    server.connection.send_data(1, bytes(40_000))
    assert sizes(server.output()) == [16_384, 16_384, 7232]
    server.feed(frames.settings((FRAME, 30_000)))
    server.connection.send_data(1, bytes(40_000), end_stream=True)
    assert sizes(server.output()) == [30_000, 10_000]


def test_a_long_header_block_is_continued(make_server: Any, frames: Any) -> None:
    server = make_server()
    server.feed(frames.headers(1))
    server.connection.send_headers(1, [(b":status", b"200"), (b"x", b"v" * 40_000)], end_stream=True)
    out = server.output()
    assert [(frame.kind, frame.flags) for frame in out] == [
        ("HEADERS", 1),
        ("CONTINUATION", 0),
        ("CONTINUATION", 4),
    ]
    assert max(len(frame.payload) for frame in out) == 16_384


def test_trailers_wait_behind_queued_data(make_server: Any, frames: Any) -> None:
    server = make_server(peer=[(WINDOW, 3)])
    server.feed(frames.headers(1, end=True))
    server.connection.send_headers(1, frames.response)
    server.connection.send_data(1, b"abcd")
    server.connection.send_data(1, b"ef")
    server.connection.send_headers(1, frames.trailer, end_stream=True)
    assert [frame.kind for frame in server.output()] == ["HEADERS", "DATA"]
    out = server.feed(frames.window_update(1, 100))
    assert [(frame.kind, frame.payload) for frame in out[:2]] == [("DATA", b"d"), ("DATA", b"ef")]
    assert (out[2].kind, out[2].flags) == ("HEADERS", 5)
    assert server.connection.open_streams == 0


def test_an_empty_end_needs_no_window_but_keeps_its_place(make_server: Any, frames: Any) -> None:
    server = make_server(peer=[(WINDOW, 0)])
    server.feed(frames.headers(1), frames.headers(3))
    server.connection.send_data(1, b"", end_stream=True)
    assert [(frame.kind, frame.flags) for frame in server.output()] == [("DATA", 1)]
    server.connection.send_data(3, b"x")
    server.connection.send_data(3, b"", end_stream=True)
    assert server.output() == []
    out = server.feed(frames.window_update(3, 1))
    assert [(frame.payload, frame.flags) for frame in out] == [(b"x", 0), (b"", 1)]


def test_empty_data_without_an_end_is_not_sent(make_server: Any, frames: Any) -> None:
    server = make_server()
    server.feed(frames.headers(1))
    server.connection.send_data(1, b"")
    assert server.output() == []


def test_a_smaller_initial_window_makes_windows_negative(make_server: Any, frames: Any) -> None:
    server = make_server(peer=[(WINDOW, 100)])
    server.feed(frames.headers(1))
    server.connection.send_data(1, bytes(80))
    server.output()
    server.feed(frames.settings((WINDOW, 30)))  # the window is 20 - 70 = -50
    server.connection.send_data(1, bytes(10))
    assert server.output() == []
    assert sizes(server.feed(frames.window_update(1, 50))) == []
    assert sizes(server.feed(frames.window_update(1, 1))) == [1]
    assert sizes(server.feed(frames.settings((WINDOW, 35)))) == [5]
    assert sizes(server.feed(frames.settings((WINDOW, 100)))) == [4]


def test_bare_ends_pass_a_negative_window(make_server: Any, frames: Any) -> None:
    server = make_server(peer=[(WINDOW, 100)])
    server.feed(frames.headers(1))
    server.connection.send_data(1, bytes(80))
    server.feed(frames.settings((WINDOW, 0)))
    server.connection.send_data(1, b"", end_stream=True)
    assert [(frame.kind, frame.flags) for frame in server.output()] == [("DATA", 1)]


def test_streams_share_the_connection_window_in_turns(make_server: Any, frames: Any) -> None:
    server = make_server(peer=[(WINDOW, 1 << 20)])
    server.feed(frames.headers(1), frames.headers(3), frames.headers(5))
    server.connection.send_data(1, bytes(65_535))
    server.output()
    for stream_id in (1, 3, 5):
        server.connection.send_data(stream_id, bytes(20_000))
    out = server.feed(frames.window_update(0, 50_000))
    assert [(frame.stream_id, len(frame.payload)) for frame in out] == [
        (1, 16_384),
        (3, 16_384),
        (5, 16_384),
        (1, 50_000 - 3 * 16_384),
    ]
    out = server.feed(frames.window_update(0, 1 << 20))
    assert sum(sizes(out)) == 10_000


def test_a_stream_without_window_does_not_stop_the_others(make_server: Any, frames: Any) -> None:
    server = make_server(peer=[(WINDOW, 10)])
    server.feed(frames.headers(1), frames.headers(3))
    server.connection.send_data(1, bytes(50))
    server.connection.send_data(3, bytes(5))
    assert sizes(server.output()) == [10, 5]


def test_the_caller_hears_when_the_queue_is_short_again(make_server: Any, frames: Any) -> None:
    server = make_server(peer=[(WINDOW, 0)], low_water_mark=100)
    server.feed(frames.headers(1))
    server.connection.send_data(1, bytes(99))
    server.feed(frames.window_update(1, 9))
    assert ("window", 1) not in server.events
    server.connection.send_data(1, bytes(60))  # 150 wait
    server.feed(frames.window_update(1, 50))
    assert ("window", 1) not in server.events
    server.feed(frames.window_update(1, 1))
    assert server.take()[-1] == ("window", 1)
    server.feed(frames.window_update(1, 1))
    assert server.events == []


def test_a_caller_that_refills_from_on_window_does_not_recurse(make_server: Any, frames: Any) -> None:
    server = make_server(peer=[(WINDOW, 0)], low_water_mark=10)
    server.feed(frames.headers(1), frames.window_update(0, 1 << 30))
    left = 5000

    def refill(stream_id: int) -> None:
        nonlocal left
        while left and server.connection.queued(stream_id) < 10:
            left -= 1
            server.connection.send_data(stream_id, bytes(20))

    refill(1)
    out = server.feed(frames.window_update(1, 1 << 30))
    server.reactions["window"] = refill
    server.connection.send_data(1, bytes(20))
    server.feed(frames.settings((WINDOW, 5)))
    assert sum(sizes(out)) == 20
    refill(1)
    assert left == 0


@pytest.mark.parametrize(("stream_id", "kind"), [(0, "closed"), (1, "reset")])
@pytest.mark.parametrize(
    ("increment", "code"),
    [(0, ErrorCode.PROTOCOL_ERROR), (MAX_WINDOW, ErrorCode.FLOW_CONTROL_ERROR)],
)
def test_a_bad_update_ends_the_stream_or_the_connection(
    make_server: Any, frames: Any, stream_id: int, kind: str, increment: int, code: int
) -> None:
    server = make_server()
    server.feed(frames.headers(1), frames.window_update(stream_id, increment))
    event = server.events[-1]
    assert event[0] == kind
    assert code in event


def test_an_update_of_wrong_length_ends_the_connection(make_server: Any, frames: Any) -> None:
    server = make_server()
    server.feed(frames.frame(8, 0, 0, b"12345"))
    assert server.close_code == ErrorCode.FRAME_SIZE_ERROR


def test_settings_that_overflow_a_window_end_the_connection(make_server: Any, frames: Any) -> None:
    server = make_server()
    server.feed(frames.headers(1), frames.window_update(1, MAX_WINDOW - 65_535))
    assert server.close_code is None
    server.feed(frames.settings((WINDOW, 65_536)))
    assert server.close_code == ErrorCode.FLOW_CONTROL_ERROR


def test_an_output_limit_holds_data_back_in_its_stream(make_server: Any, frames: Any) -> None:
    server = make_server(peer=[(WINDOW, 1 << 20)], output_limit=1000, low_water_mark=2000)
    server.feed(frames.headers(1, end=True), frames.window_update(0, 1 << 20))
    server.connection.send_headers(1, frames.response)
    server.connection.send_data(1, bytes(4500))
    server.connection.send_headers(1, frames.trailer, end_stream=True)
    assert server.connection.queued(1) == 3500
    assert sizes(server.output()) == [1000]
    assert sizes(server.output()) == [1000]
    assert server.take()[-1][0] == "headers"
    assert sizes(server.output()) == [1000]
    assert server.take() == [("window", 1)]
    assert sizes(server.output()) == [1000]
    assert [frame.kind for frame in server.output()] == ["DATA", "HEADERS"]
    assert server.output() == []


def test_a_stream_that_another_ones_data_took_along_hears_of_it(make_server: Any, frames: Any) -> None:
    server = make_server(peer=[(WINDOW, 1 << 20)], output_limit=40_000, low_water_mark=10_000)
    server.feed(frames.headers(1), frames.headers(3), frames.window_update(0, 1 << 20))
    server.connection.send_data(1, bytes(60_000))
    assert sum(sizes(server.output())) == 40_000
    assert server.connection.queued(1) == 20_000  # congested: the caller waits
    server.take()
    server.connection.send_data(3, bytes(20_000))  # more than a frame: all that wait have a turn
    assert server.connection.queued(1) == server.connection.queued(3) == 0
    server.connection.check()
    assert sum(sizes(server.output())) == 40_000
    server.connection.check()
    assert server.output() == []
    assert server.take() == [("window", 1)]


@settings(max_examples=100)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from([1, 3, 5]), st.sampled_from([0, 100, 17_000, 55_000])), max_size=30
    )
)
def test_whoever_was_made_to_wait_hears_when_to_go_on(
    make_server: Any, frames: Any, steps: list[tuple[int, int]]
) -> None:
    server = make_server(peer=[(WINDOW, 1 << 30)], output_limit=40_000, low_water_mark=10_000)
    server.feed(*map(frames.headers, (1, 3, 5)), frames.window_update(0, 1 << 30))
    connection = server.connection
    waiting = set()

    def go_on(stream_id: int) -> None:
        if connection.queued(stream_id) < 10_000:
            waiting.discard(stream_id)

    server.reactions["window"] = go_on
    for stream_id, size in steps:
        if size:
            connection.send_data(stream_id, bytes(size))
        else:
            connection.data_to_send()
        if connection.queued(stream_id) >= 10_000:
            waiting.add(stream_id)
        connection.check()
    while connection.data_to_send():
        connection.check()
    assert not waiting


# -- receiving -------------------------------------------------------------


def test_consumed_bytes_are_announced_in_batches(make_server: Any, frames: Any) -> None:
    server = make_server(connection_window=65_535)
    server.feed(frames.headers(1), *[frames.data(1, bytes(8000))] * 8)
    server.connection.acknowledge(1, 32_000)
    assert server.output() == []
    server.connection.acknowledge(1, 1000)
    updates = server.output()
    assert {(frame.stream_id, frame.number) for frame in updates} == {(0, 33_000), (1, 33_000)}
    server.connection.check()


def test_unconsumed_bytes_stop_the_peer(make_server: Any, frames: Any) -> None:
    server = make_server()
    full = [frames.data(1, bytes(16_384))] * 3 + [frames.data(1, bytes(16_383))]
    assert server.feed(frames.headers(1), *full) == []
    [reset] = server.feed(frames.data(1, b"x"))
    assert (reset.kind, reset.code) == ("RST_STREAM", ErrorCode.FLOW_CONTROL_ERROR)
    assert server.events[-1] == ("reset", 1, ErrorCode.FLOW_CONTROL_ERROR)


def test_the_connection_window_holds_for_all_streams_together(make_server: Any, frames: Any) -> None:
    server = make_server(Settings(initial_window_size=1 << 20), connection_window=70_000)
    server.feed(frames.headers(1), frames.headers(3))
    server.feed(*[frames.data(1, bytes(10_000)), frames.data(3, bytes(10_000))] * 3)
    server.feed(frames.data(3, bytes(10_000)))
    assert server.close_code is None
    server.feed(frames.data(1, b"x"))
    assert server.close_code == ErrorCode.FLOW_CONTROL_ERROR


def test_padding_counts_and_is_given_back_at_once(make_server: Any, frames: Any) -> None:
    server = make_server(connection_window=65_535)
    server.feed(frames.headers(1))
    out = server.feed(*[frames.data(1, b"", pad=255)] * 400)  # 102,400 octets of nothing
    assert server.close_code is None
    assert sum(frame.number for frame in out if not frame.stream_id) >= 102_400 - 32_768


def test_what_a_closed_stream_did_not_consume_goes_back_to_the_connection(
    make_server: Any, frames: Any
) -> None:
    server = make_server(connection_window=65_535)
    for stream_id in range(1, 41, 2):
        server.feed(
            frames.headers(stream_id), frames.data(stream_id, bytes(10_000)), frames.rst_stream(stream_id)
        )
        server.connection.acknowledge(stream_id, 10_000)  # too late; must not count twice
    assert server.close_code is None


def test_an_ended_request_gets_no_more_stream_window(make_server: Any, frames: Any) -> None:
    server = make_server(connection_window=65_535)
    body = [frames.data(1, bytes(10_000))] * 4
    server.feed(frames.headers(1), *body, frames.data(1, b"", end=True))
    server.connection.acknowledge(1, 40_000)
    assert [frame.stream_id for frame in server.output()] == [0]


def test_consuming_more_than_was_delivered_is_an_error_of_the_caller(make_server: Any, frames: Any) -> None:
    server = make_server()
    server.feed(frames.headers(1), frames.data(1, b"12345"))
    with pytest.raises(ValueError, match="delivered"):
        server.connection.acknowledge(1, 6)
    server.connection.acknowledge(1, 5)
    server.connection.check()


def test_a_smaller_window_of_ours_binds_the_peer_only_once_acknowledged(
    make_endpoint: Any, frames: Any
) -> None:
    server = make_endpoint(Role.SERVER, Settings(initial_window_size=1000))
    server.connection.initiate()
    server.feed(frames.preface, frames.settings(), frames.headers(1), frames.data(1, bytes(5000)))
    server.feed(frames.settings_ack())
    assert server.events[-1][0] == "data"
    server.connection.acknowledge(1, 5000)  # the window is 1000 - 5000, then 1000 again
    assert [frame.number for frame in server.output() if frame.stream_id] == [5000]
    server.feed(frames.data(1, bytes(1000)))
    assert server.events[-1][0] == "data"
    server.feed(frames.data(1, b"x"))
    assert server.events[-1] == ("reset", 1, ErrorCode.FLOW_CONTROL_ERROR)


def test_a_window_that_shrinks_to_what_was_consumed_is_announced(make_endpoint: Any, frames: Any) -> None:
    server = make_endpoint(Role.SERVER, Settings(initial_window_size=1000))
    server.connection.initiate()
    server.feed(frames.preface, frames.settings(), frames.headers(1), frames.data(1, bytes(1000)))
    server.connection.acknowledge(1, 1000)
    assert server.output() == []
    [update] = server.feed(frames.settings_ack())  # else the peer would wait for ever
    assert (update.kind, update.stream_id, update.number) == ("WINDOW_UPDATE", 1, 1000)


# -- arithmetic ------------------------------------------------------------


@given(
    st.integers(0, MAX_WINDOW),
    st.lists(st.tuples(st.sampled_from(["receive", "consume", "resize"]), st.integers(0, 100_000))),
)
def test_no_byte_of_a_receive_window_is_lost(limit: int, steps: list[tuple[str, int]]) -> None:
    flow = FlowControl(0, limit)
    announced, received = limit, 0
    for step, amount in steps:
        if step == "receive" and flow.receive_window > 0:
            length = min(amount, flow.receive_window)
            flow.receive_window -= length
            flow.delivered += length
            received += length
        elif step == "consume":
            announced += flow.consume(min(amount, flow.delivered))
        elif step == "resize":
            announced += amount - flow.receive_limit
            flow.resize_receive_window(amount)
            announced += flow.consume(0)
        flow.check()
        assert flow.receive_window == announced - received
        assert not flow.returned or flow.returned * 2 < flow.receive_limit  # never a stuck peer


@given(st.integers(-MAX_WINDOW, MAX_WINDOW), st.integers(0, MAX_WINDOW))
def test_a_send_window_never_passes_its_maximum(window: int, increment: int) -> None:
    flow = FlowControl(window, 0)
    fits = window + increment <= MAX_WINDOW
    assert flow.widen_send_window(increment) is fits
    assert flow.send_window == (window + increment if fits else window)
