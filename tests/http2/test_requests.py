"""Requests as a server receives them: HEADERS, CONTINUATION, DATA, trailers (RFC 9113 §6.1, §6.2, §8)."""

from __future__ import annotations

from typing import Any

import pytest

from rusd.http2 import ErrorCode, Settings, encode_static


def test_a_request_with_content_and_trailers_is_announced_in_order(make_server: Any, frames: Any) -> None:
    server = make_server()
    server.feed(frames.headers(1), frames.data(1, b"one"), frames.data(1, b"two"), frames.trailers(1))
    assert server.events == [
        ("headers", 1, frames.request, False),
        ("data", 1, b"one", False),
        ("data", 1, b"two", False),
        ("headers", 1, frames.trailer, True),
    ]


def test_an_extra_empty_data_frame_may_end_a_request(make_server: Any, frames: Any) -> None:
    server = make_server()
    server.feed(frames.headers(1), frames.data(1, b"message"), frames.data(1, b"", end=True))
    assert server.events[1:] == [("data", 1, b"message", False), ("data", 1, b"", True)]


def test_a_header_block_may_be_split_anywhere(make_server: Any, frames: Any) -> None:
    block = encode_static(frames.request)
    for cut in range(len(block) + 1):
        server = make_server()
        server.feed(
            frames.block(1, block[:cut], end=True, done=False),
            frames.continuation(1, b"", done=False),
            frames.continuation(1, block[cut:]),
        )
        assert server.events == [("headers", 1, frames.request, True)]


@pytest.mark.parametrize("intruder", ["ping", "other stream", "headers", "unknown"])
def test_nothing_may_interrupt_a_header_block(make_server: Any, frames: Any, intruder: str) -> None:
    between = {
        "ping": frames.ping(),
        "other stream": frames.continuation(3, b""),
        "headers": frames.headers(1),
        "unknown": frames.frame(0x77, 0, 1),
    }
    server = make_server()
    server.feed(frames.block(1, b"", done=False), between[intruder])
    assert server.close_code == ErrorCode.PROTOCOL_ERROR


def test_a_continuation_needs_headers_before_it(make_server: Any, frames: Any) -> None:
    server = make_server()
    server.feed(frames.headers(1), frames.continuation(1, b""))
    assert server.close_code == ErrorCode.PROTOCOL_ERROR


def test_padding_and_priority_are_taken_off(make_server: Any, frames: Any) -> None:
    server = make_server()
    block = encode_static(frames.request)
    server.feed(
        frames.frame(1, 0x4 | 0x8 | 0x20, 1, b"\x03" + bytes(5) + block + bytes(3)),
        frames.data(1, b"content", pad=200),
        frames.data(1, b"", end=True, pad=0),
    )
    assert server.events == [
        ("headers", 1, frames.request, False),
        ("data", 1, b"content", False),
        ("data", 1, b"", True),
    ]


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ((0, 8, 1, b""), ErrorCode.FRAME_SIZE_ERROR),
        ((0, 8, 1, b"\x01"), ErrorCode.PROTOCOL_ERROR),
        ((0, 8, 1, b"\x05data"), ErrorCode.PROTOCOL_ERROR),
        ((1, 0xC, 3, b"\x01"), ErrorCode.PROTOCOL_ERROR),
        ((1, 0x24, 3, b"1234"), ErrorCode.FRAME_SIZE_ERROR),
        ((0, 0, 0, b"data"), ErrorCode.PROTOCOL_ERROR),
        ((1, 4, 0, b""), ErrorCode.PROTOCOL_ERROR),
        ((1, 0, 0, b""), ErrorCode.PROTOCOL_ERROR),
        ((1, 4, 2, b""), ErrorCode.PROTOCOL_ERROR),
        ((1, 4, 3, b"\x80"), ErrorCode.COMPRESSION_ERROR),
        ((5, 4, 1, bytes(4)), ErrorCode.PROTOCOL_ERROR),
    ],
)
def test_a_broken_frame_ends_the_connection(make_server: Any, frames: Any, frame: Any, code: int) -> None:
    server = make_server()
    [*_, goaway] = server.feed(frames.headers(1), frames.frame(*frame))
    assert (goaway.kind, goaway.code, goaway.number) == ("GOAWAY", code, 1)
    assert server.close_code == code


def test_a_frame_that_is_too_large_is_refused_by_its_head(make_server: Any, frames: Any) -> None:
    server = make_server()
    head = frames.data(1, bytes(16_385))[:9]
    server.feed(frames.headers(1), head)
    assert server.close_code == ErrorCode.FRAME_SIZE_ERROR


def test_a_frame_as_large_as_we_allow_is_fine(make_server: Any, frames: Any) -> None:
    server = make_server(Settings(max_frame_size=20_000))
    server.feed(frames.headers(1), frames.data(1, bytes(20_000)))
    assert server.events[-1] == ("data", 1, bytes(20_000), False)


def test_frames_of_unknown_type_and_unknown_flags_are_ignored(make_server: Any, frames: Any) -> None:
    server = make_server()
    server.feed(frames.frame(0xFE, 0xFF, 9, b"whatever"), frames.headers(1, extra=0x80), frames.priority(1))
    assert server.events == [("headers", 1, frames.request, False)]


def test_the_reserved_bit_of_a_stream_id_is_ignored(make_server: Any, frames: Any) -> None:
    server = make_server()
    server.feed(frames.frame(1, 5, 0x8000_0001, encode_static(frames.request)))
    assert server.events == [("headers", 1, frames.request, True)]


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param([(b"X-Upper", b"v")], id="upper case"),
        pytest.param([(b"x", b"a\nb")], id="line feed"),
        pytest.param([(b":path", b"/again")], id="pseudo-header twice"),
        pytest.param([(b"connection", b"close")], id="connection-specific"),
    ],
)
def test_a_malformed_request_costs_its_stream_only(make_server: Any, frames: Any, fields: Any) -> None:
    server = make_server()
    [reset] = server.feed(frames.headers(1, [*frames.request, *fields]))
    assert (reset.kind, reset.stream_id, reset.code) == ("RST_STREAM", 1, ErrorCode.PROTOCOL_ERROR)
    server.feed(frames.data(1, b"late", end=True), frames.headers(3, end=True))
    assert server.events == [("headers", 3, frames.request, True)]


@pytest.mark.parametrize(
    "trailers",
    [
        pytest.param(([(b"x", b"y")], False), id="without END_STREAM"),
        pytest.param(([(b":path", b"/")], True), id="pseudo-header"),
        pytest.param(([(b"X", b"y")], True), id="upper case"),
    ],
)
def test_malformed_trailers_reset_the_stream(make_server: Any, frames: Any, trailers: Any) -> None:
    server = make_server()
    fields, end = trailers
    [reset] = server.feed(frames.headers(1), frames.headers(1, fields, end=end))
    assert (reset.kind, reset.code) == ("RST_STREAM", ErrorCode.PROTOCOL_ERROR)
    assert server.events[-1] == ("reset", 1, ErrorCode.PROTOCOL_ERROR)
    assert server.connection.open_streams == 0


@pytest.mark.parametrize(
    ("length", "parts", "good"),
    [
        (b"6", [b"abc", b"def"], True),
        (b"0", [b""], True),
        (b"6", [b"abc"], False),
        (b"2", [b"abc"], False),
        (b"0", [b"a"], False),
    ],
)
def test_content_must_be_as_long_as_announced(
    make_server: Any, frames: Any, length: bytes, parts: list[bytes], good: bool
) -> None:
    server = make_server()
    sent = [frames.data(1, part, end=part is parts[-1]) for part in parts]
    server.feed(frames.headers(1, [*frames.request, (b"content-length", length)]), *sent)
    assert (server.events[-1][0] == "data") is good
    assert (server.events[-1] == ("reset", 1, ErrorCode.PROTOCOL_ERROR)) is not good


def test_an_announced_length_needs_content(make_server: Any, frames: Any) -> None:
    server = make_server()
    announcing = [*frames.request, (b"content-length", b"1")]
    [reset] = server.feed(frames.headers(1, announcing, end=True))
    assert (reset.kind, reset.code) == ("RST_STREAM", ErrorCode.PROTOCOL_ERROR)
    [reset] = server.feed(frames.headers(3, announcing), frames.trailers(3))
    assert (reset.kind, reset.code) == ("RST_STREAM", ErrorCode.PROTOCOL_ERROR)


def test_a_header_list_over_our_limit_costs_its_stream_only(make_server: Any, frames: Any) -> None:
    server = make_server(Settings(max_header_list_size=1000))
    [reset] = server.feed(frames.headers(1, [*frames.request, (b"x", b"v" * 700)]))
    assert (reset.kind, reset.code) == ("RST_STREAM", ErrorCode.FRAME_SIZE_ERROR)
    server.feed(frames.headers(3), frames.headers(3, [(b"x", b"v" * 1000)], end=True))
    assert server.events[-1] == ("reset", 3, ErrorCode.FRAME_SIZE_ERROR)
    server.feed(frames.headers(5))
    assert server.events[-1][:2] == ("headers", 5)


def test_streams_beyond_the_limit_are_refused_and_may_be_tried_again(make_server: Any, frames: Any) -> None:
    server = make_server(Settings(max_concurrent_streams=2))
    [refused] = server.feed(frames.headers(1), frames.headers(3), frames.headers(5))
    assert (refused.stream_id, refused.code) == (5, ErrorCode.REFUSED_STREAM)
    server.connection.send_headers(1, frames.trailer, end_stream=True)
    server.feed(frames.data(1, b"", end=True), frames.headers(7))
    assert server.events[-1][:2] == ("headers", 7)
    assert server.connection.open_streams == 2


def test_a_refused_stream_keeps_the_header_table_in_step(make_server: Any, frames: Any) -> None:
    server = make_server(Settings(max_concurrent_streams=1))
    indexing = bytes.fromhex("828684418cf1e3c2e5f23a6ba0ab90f4ff")
    server.feed(frames.headers(1, end=True), frames.block(3, indexing, end=True))
    server.connection.reset_stream(1, ErrorCode.CANCEL)
    server.feed(frames.block(5, b"\x82\x86\x84\xbe", end=True))
    assert (b":authority", b"www.example.com") in server.events[-1][2]


def test_a_budget_bounds_one_call_and_says_if_more_is_there(make_server: Any, frames: Any) -> None:
    server = make_server()
    server.connection.receive(
        b"".join(frames.headers(n, end=True) for n in (1, 3, 5)) + frames.headers(7)[:12]
    )
    assert server.connection.advance(2) is True
    assert len(server.events) == 2
    assert server.connection.advance(2) is False
    assert len(server.events) == 3


def test_what_a_callback_raises_passes_and_the_frame_counts_as_parsed(make_server: Any, frames: Any) -> None:
    server = make_server()
    server.reactions["data"] = lambda *_: 1 / 0
    server.connection.receive(frames.headers(1) + frames.data(1, b"x") + frames.headers(3))
    with pytest.raises(ZeroDivisionError):
        server.connection.advance()
    assert server.connection.advance() is False
    assert server.events[-1][:2] == ("headers", 3)


def test_nothing_is_parsed_once_the_connection_is_closed(make_server: Any, frames: Any) -> None:
    server = make_server()
    server.feed(frames.headers(1), frames.data(0, b""), frames.headers(3))
    assert [event[0] for event in server.take()] == ["headers", "closed"]
    assert server.feed(frames.headers(5), frames.ping()) == []
    server.connection.send_headers(1, frames.response)
    server.connection.send_data(1, b"x", end_stream=True)
    server.connection.reset_stream(1, 8)
    server.connection.ping(b"12345678")
    server.connection.goaway(0)
    assert server.output() == []
    assert server.events == []
