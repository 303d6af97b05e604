"""PING, GOAWAY, and the guards against floods (RFC 9113 §6.7, §6.8, §10.5)."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

from rusd.http2 import ErrorCode, Limits, Role, Settings


def test_a_ping_is_answered_and_reported(make_server: Any, frames: Any) -> None:
    server = make_server()
    [answer] = server.feed(frames.ping(b"abcdefgh"))
    assert (answer.kind, answer.flags, answer.payload) == ("PING", 1, b"abcdefgh")
    assert server.events == [("ping",)]


def test_our_ping_goes_out_and_its_answer_is_reported(make_server: Any, frames: Any) -> None:
    server = make_server()
    server.connection.ping(b"12345678")
    [ping] = server.output()
    assert (ping.kind, ping.flags, ping.payload) == ("PING", 0, b"12345678")
    assert server.feed(frames.ping(b"12345678", ack=True)) == []
    assert server.events == [("ping_ack", b"12345678")]
    with pytest.raises(ValueError, match="eight"):
        server.connection.ping(b"short")


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ((6, 0, 0, b"1234567"), ErrorCode.FRAME_SIZE_ERROR),
        ((6, 0, 1, b"12345678"), ErrorCode.PROTOCOL_ERROR),
        ((7, 0, 0, b"1234567"), ErrorCode.FRAME_SIZE_ERROR),
        ((7, 0, 1, b"12345678"), ErrorCode.PROTOCOL_ERROR),
    ],
)
def test_a_broken_ping_or_goaway_ends_the_connection(
    make_server: Any, frames: Any, frame: Any, code: int
) -> None:
    server = make_server()
    server.feed(frames.frame(*frame))
    assert server.close_code == code


def test_a_clients_goaway_is_reported_and_its_streams_go_on(make_server: Any, frames: Any) -> None:
    server = make_server()
    server.feed(frames.headers(1), frames.goaway(0, 0, b"bye"), frames.data(1, b"x", end=True))
    assert server.events[1:] == [("goaway", 0, 0, b"bye"), ("data", 1, b"x", True)]


def test_after_our_goaway_open_streams_go_on_and_new_ones_are_ignored(make_server: Any, frames: Any) -> None:
    server = make_server()
    server.feed(frames.headers(1))
    server.connection.goaway(ErrorCode.NO_ERROR, b"draining")
    [goaway] = server.output()
    assert (goaway.number, goaway.code, goaway.payload[8:]) == (1, 0, b"draining")
    assert server.feed(frames.headers(3), frames.data(3, b"x", end=True)) == []
    server.feed(frames.data(1, b"y", end=True))
    assert server.events[1:] == [("data", 1, b"y", True)]
    assert not server.connection.closed


def test_a_graceful_end_announces_itself_before_it_counts(make_server: Any, frames: Any) -> None:
    server = make_server()
    server.connection.goaway(ErrorCode.NO_ERROR, last_stream_id=2**31 - 1)
    server.feed(frames.headers(1, end=True))
    assert server.events[-1][:2] == ("headers", 1)
    server.connection.goaway(ErrorCode.NO_ERROR)
    [second] = server.output()
    assert second.number == 1
    server.feed(frames.headers(3))
    assert len(server.events) == 1
    server.connection.goaway(ErrorCode.NO_ERROR, last_stream_id=99)
    [third] = server.output()
    assert third.number == 1  # it must never grow


def test_a_goaway_with_an_error_closes_at_once(make_server: Any, frames: Any) -> None:
    server = make_server()
    server.reactions["headers"] = lambda *_: server.connection.goaway(
        ErrorCode.ENHANCE_YOUR_CALM, b"too_many_pings"
    )
    [goaway] = server.feed(frames.headers(1), frames.headers(3))
    assert (goaway.code, goaway.payload[8:]) == (ErrorCode.ENHANCE_YOUR_CALM, b"too_many_pings")
    assert server.connection.closed
    assert [event[0] for event in server.events] == ["headers"]


def test_answers_that_nobody_reads_are_bounded(make_server: Any, frames: Any) -> None:
    server = make_server(limits=Limits(unsent_answers=10))
    for _ in range(5):
        server.feed(*[frames.ping()] * 5, *[frames.settings()] * 5)  # taken each time: fine
    assert server.close_code is None
    server.feed(*[frames.ping()] * 11)
    assert server.close_code == ErrorCode.ENHANCE_YOUR_CALM


def test_an_endless_header_block_is_cut(make_server: Any, frames: Any) -> None:
    server = make_server(limits=Limits(continuations=3))
    server.feed(frames.block(1, b"", done=False), *[frames.continuation(1, b"", done=False)] * 3)
    assert server.close_code is None
    server.feed(frames.continuation(1, b"", done=False))
    assert server.close_code == ErrorCode.ENHANCE_YOUR_CALM


def test_a_huge_header_block_is_cut_before_it_is_complete(make_server: Any, frames: Any) -> None:
    server = make_server(Settings(max_header_list_size=10_000))
    server.feed(frames.block(1, bytes(10_000), done=False), frames.continuation(1, bytes(10_001), done=False))
    assert server.close_code == ErrorCode.ENHANCE_YOUR_CALM


def test_rapid_resets_end_the_connection(make_server: Any, frames: Any) -> None:
    server = make_server(limits=Limits(spoilt_streams=10))
    for stream_id in range(1, 23, 2):
        assert server.close_code is None
        server.feed(frames.headers(stream_id), frames.rst_stream(stream_id))
    assert server.close_code == ErrorCode.ENHANCE_YOUR_CALM


def test_errors_that_make_the_server_reset_count_as_rapid_resets(make_server: Any, frames: Any) -> None:
    server = make_server(limits=Limits(spoilt_streams=10))
    for stream_id in range(1, 23, 2):
        server.feed(frames.headers(stream_id), frames.window_update(stream_id, 0))
    assert server.close_code == ErrorCode.ENHANCE_YOUR_CALM


def test_a_client_that_does_not_know_our_limit_yet_is_not_blamed(make_endpoint: Any, frames: Any) -> None:
    server = make_endpoint(Role.SERVER, Settings(max_concurrent_streams=1), limits=Limits(spoilt_streams=3))
    server.connection.initiate()
    server.feed(frames.preface, frames.settings(), *[frames.headers(n) for n in range(1, 21, 2)])
    assert server.close_code is None
    server.feed(frames.settings_ack(), *[frames.headers(n) for n in range(21, 41, 2)])
    assert server.close_code == ErrorCode.ENHANCE_YOUR_CALM


def test_cancelling_answered_streams_is_no_offence(make_server: Any, frames: Any) -> None:
    server = make_server(limits=Limits(spoilt_streams=10))
    for stream_id in range(1, 101, 2):
        server.feed(frames.headers(stream_id))
        server.connection.send_headers(stream_id, frames.response)
        server.feed(frames.rst_stream(stream_id))
    assert server.close_code is None


def test_finished_streams_make_up_for_cancelled_ones(make_server: Any, frames: Any) -> None:
    server = make_server(limits=Limits(spoilt_streams=3))
    for stream_id in range(1, 101, 4):
        server.feed(
            frames.headers(stream_id), frames.rst_stream(stream_id), frames.headers(stream_id + 2, end=True)
        )
        server.connection.send_headers(stream_id + 2, frames.response, end_stream=True)
    assert server.close_code is None


def test_abandoning_forgets_everything_and_breaks_the_cycle(make_endpoint: Any, frames: Any) -> None:
    server = make_endpoint(Role.SERVER, Settings())
    server.connection.initiate()
    server.feed(frames.preface, frames.settings(), frames.headers(1))
    server.connection.send_data(1, b"never sent")
    server.connection.abandon()
    assert server.connection.data_to_send() == b""
    assert server.connection.open_streams == 0
    gc.disable()
    try:
        gone = weakref.ref(server.connection)
        server.connection.receive(frames.headers(3))
        assert server.connection.advance() is False
        del server
        assert gone() is None
    finally:
        gc.enable()
