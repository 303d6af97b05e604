"""The client role (RFC 9113 §5.1.1, §8.1)."""

from __future__ import annotations

from typing import Any

import pytest

from rusd.http2 import ErrorCode, NoNewStreamsError


def test_requests_get_odd_ids_in_order(make_client: Any, frames: Any) -> None:
    client = make_client()
    assert [client.connection.open_stream(frames.request, end_stream=True) for _ in range(3)] == [1, 3, 5]
    assert [(frame.kind, frame.flags, frame.stream_id) for frame in client.output()] == [
        ("HEADERS", 5, 1),
        ("HEADERS", 5, 3),
        ("HEADERS", 5, 5),
    ]


def test_a_response_with_content_and_trailers_is_announced_and_forgotten(
    make_client: Any, frames: Any
) -> None:
    client = make_client()
    stream_id = client.connection.open_stream(frames.request)
    client.connection.send_data(stream_id, b"question", end_stream=True)
    client.feed(
        frames.headers(1, [(b":status", b"103")]),
        frames.headers(1, frames.response),
        frames.data(1, b"answer"),
        frames.trailers(1),
    )
    assert [(event[0], *event[2:]) for event in client.events] == [
        ("headers", [(b":status", b"103")], False),
        ("headers", frames.response, False),
        ("data", b"answer", False),
        ("headers", frames.trailer, True),
    ]
    assert client.connection.open_streams == 0


def test_trailers_alone_may_be_the_whole_response(make_client: Any, frames: Any) -> None:
    client = make_client()
    client.connection.open_stream(frames.request, end_stream=True)
    client.feed(frames.headers(1, [*frames.response, (b"grpc-status", b"12")], end=True))
    assert client.events[-1][3] is True
    assert client.connection.open_streams == 0


def test_an_early_answer_leaves_the_stream_until_we_end_it(make_client: Any, frames: Any) -> None:
    client = make_client()
    client.connection.open_stream(frames.request)
    client.feed(frames.headers(1, frames.response, end=True))
    assert client.connection.open_streams == 1
    client.connection.send_data(1, b"", end_stream=True)
    assert client.connection.open_streams == 0


@pytest.mark.parametrize(
    "build",
    [
        pytest.param(lambda f: f.data(1, b"early"), id="content before the response"),
        pytest.param(lambda f: f.headers(1, [(b"x", b"y")]), id="no status"),
        pytest.param(lambda f: f.headers(1, [(b":status", b"100")], end=True), id="informational end"),
        pytest.param(lambda f: f.headers(1, f.response) + f.headers(1, f.response), id="two responses"),
        pytest.param(
            lambda f: f.headers(1, [*f.response, (b"content-length", b"2")]) + f.data(1, b"x", end=True),
            id="wrong length",
        ),
    ],
)
def test_a_malformed_response_resets_its_stream(make_client: Any, frames: Any, build: Any) -> None:
    client = make_client()
    client.connection.open_stream(frames.request)
    client.output()
    [reset] = client.feed(build(frames))
    assert (reset.kind, reset.code) == ("RST_STREAM", ErrorCode.PROTOCOL_ERROR)
    assert client.events[-1] == ("reset", 1, ErrorCode.PROTOCOL_ERROR)


def test_a_length_without_content_may_answer_a_head_request(make_client: Any, frames: Any) -> None:
    client = make_client()
    client.connection.open_stream(frames.request, end_stream=True)
    client.feed(frames.headers(1, [*frames.response, (b"content-length", b"5")], end=True))
    assert client.events[-1][0] == "headers"


@pytest.mark.parametrize("stream_id", [2, 3])
def test_a_server_opens_no_streams(make_client: Any, frames: Any, stream_id: int) -> None:
    client = make_client()
    client.connection.open_stream(frames.request)
    client.feed(frames.headers(stream_id, frames.response))
    assert client.close_code == ErrorCode.PROTOCOL_ERROR


def test_the_servers_limit_of_streams_is_kept(make_client: Any, frames: Any) -> None:
    client = make_client(peer=[(3, 1)])
    client.connection.open_stream(frames.request, end_stream=True)
    with pytest.raises(NoNewStreamsError):
        client.connection.open_stream(frames.request)
    client.feed(frames.headers(1, frames.response, end=True))
    assert client.connection.open_stream(frames.request) == 3


def test_a_goaway_refuses_what_the_server_has_not_seen(make_client: Any, frames: Any) -> None:
    client = make_client()
    for _ in range(3):
        client.connection.open_stream(frames.request, end_stream=True)
    client.feed(frames.goaway(1, 0, b"bye"), frames.headers(1, frames.response, end=True))
    assert client.events[:3] == [
        ("reset", 3, ErrorCode.REFUSED_STREAM),
        ("reset", 5, ErrorCode.REFUSED_STREAM),
        ("goaway", 1, 0, b"bye"),
    ]
    assert client.events[3][:2] == ("headers", 1)
    with pytest.raises(NoNewStreamsError):
        client.connection.open_stream(frames.request)


def test_a_goaway_survives_resets_from_inside_its_calls(make_client: Any, frames: Any) -> None:
    client = make_client()
    for _ in range(3):
        client.connection.open_stream(frames.request)
    client.reactions["reset"] = lambda *_: client.connection.reset_stream(5, ErrorCode.CANCEL)
    client.feed(frames.goaway(1))
    assert [event[:2] for event in client.events] == [("reset", 3), ("goaway", 1)]


def test_answers_to_a_cancelled_call_are_ignored(make_client: Any, frames: Any) -> None:
    client = make_client()
    client.connection.open_stream(frames.request, end_stream=True)
    client.connection.reset_stream(1, ErrorCode.CANCEL)
    client.output()
    assert client.feed(frames.headers(1, frames.response), frames.data(1, b"late"), frames.trailers(1)) == []
    assert client.events == []


def test_a_server_opens_none_either_and_ids_run_out(make_server: Any, make_client: Any, frames: Any) -> None:
    with pytest.raises(NoNewStreamsError):
        make_server().connection.open_stream(frames.request)
    client = make_client()
    client.connection._next_stream_id = 2**31 - 1
    assert client.connection.open_stream(frames.request) == 2**31 - 1
    with pytest.raises(NoNewStreamsError):
        client.connection.open_stream(frames.request)


def test_a_closed_connection_opens_no_streams(make_client: Any, frames: Any) -> None:
    client = make_client()
    client.feed(frames.frame(6, 0, 1, b""))
    assert client.connection.closed
    with pytest.raises(NoNewStreamsError):
        client.connection.open_stream(frames.request)


def test_requests_respect_the_servers_windows(make_client: Any, frames: Any) -> None:
    client = make_client(peer=[(4, 5)])
    client.connection.open_stream(frames.request)
    client.connection.send_data(1, b"0123456789", end_stream=True)
    assert client.output()[-1].payload == b"01234"
    [rest] = client.feed(frames.window_update(1, 5))
    assert (rest.payload, rest.flags) == (b"56789", 1)
