"""The judges of the targets find what they are there for: each broken rule is caught."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from tests.fuzz import call_server, headers
from tests.fuzz.peer_view import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    PeerView,
    SeenStream,
    frame,
)

REQUEST = frame(HEADERS, END_HEADERS, 1, b"\x82\x84\x86")
ANSWER = frame(HEADERS, END_HEADERS, 1, b"\x88")


@pytest.fixture
def make_view() -> Callable[..., PeerView]:
    def make(*entries: tuple[int, int], window: int = 65_535) -> PeerView:
        view = PeerView(client=False, window=window, stream_window=65_535)
        payload = b"".join(struct.pack(">HI", *entry) for entry in entries)
        view.sent(PREFACE + frame(SETTINGS, 0, 0, payload) + REQUEST)
        return view

    return make


def test_a_good_answer_passes(make_view: Callable[..., PeerView]) -> None:
    view = make_view((4, 10))
    view.received(frame(SETTINGS, ACK, 0) + ANSWER + frame(DATA, END_STREAM, 1, bytes(10)))
    view.settled()
    assert view.streams[1].ended
    assert view.streams[1].sections == [[(b":status", b"200")]]


@pytest.mark.parametrize(
    "output",
    [
        ANSWER + frame(DATA, 0, 1, bytes(16_385)),
        ANSWER + frame(DATA, 0, 1, bytes(16_000)) * 5,
        frame(SETTINGS, ACK, 0) + ANSWER + frame(DATA, 0, 1, bytes(11)),
        frame(SETTINGS, ACK, 0) * 2,
        frame(DATA, 0, 1),
        ANSWER + frame(DATA, END_STREAM, 1) + frame(DATA, 0, 1),
        frame(RST_STREAM, 0, 1, bytes(4)) + ANSWER,
        frame(RST_STREAM, 0, 1, bytes(4)) * 2,
        frame(HEADERS, END_HEADERS, 3, b"\x88"),
        frame(HEADERS, 0, 1, b"\x88") + frame(PING, 0, 0, bytes(8)),
        frame(CONTINUATION, END_HEADERS, 1, b"\x88"),
        frame(PING, ACK, 0, bytes(8)),
        frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\1"),
        frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\1"),
        frame(GOAWAY, 0, 0, b"\0\0\0\0\0\0\0\1") + ANSWER,
        ANSWER[:-1],
        frame(11, 0, 0),
    ],
)
def test_each_broken_rule_is_noticed(make_view: Callable[..., PeerView], output: bytes) -> None:
    with pytest.raises(AssertionError):
        make_view((4, 10)).received(output)


def test_an_answer_after_the_peers_reset_is_noticed(make_view: Callable[..., PeerView]) -> None:
    view = make_view()
    view.sent(frame(RST_STREAM, 0, 1, bytes(4)))
    view.received(ANSWER)  # may have crossed it
    with pytest.raises(AssertionError):
        view.received(frame(DATA, 0, 1))


def test_what_is_left_unanswered_is_noticed(make_view: Callable[..., PeerView]) -> None:
    view = make_view()
    with pytest.raises(AssertionError, match="SETTINGS"):
        view.settled()


@pytest.mark.parametrize(
    ("trailers", "data"),
    [
        ([(b"grpc-status", b"0")], b""),
        ([(b"grpc-status", b"17"), (b"grpc-message", b"")], b""),
        ([(b"grpc-status", b"0"), (b"grpc-message", b"\n")], b"\0\0\0\0\0"),
        ([(b"grpc-status", b"0"), (b"grpc-message", b"")], b"\0\0\0\0\1"),
        ([(b"grpc-status", b"0"), (b"grpc-message", b"")], b""),
        ([(b"grpc-status", b"1"), (b"grpc-message", b"")], b"\0\0\0\0\0"),
    ],
)
def test_a_bad_end_of_a_call_is_noticed(trailers: list[tuple[bytes, bytes]], data: bytes) -> None:
    stream = SeenStream()
    stream.data = data
    stream.sections = [[(b":status", b"200"), (b"content-type", b"application/grpc")], trailers]
    with pytest.raises((AssertionError, ValueError, struct.error)):
        call_server.judge(stream, b"/t.T/Echo")


def test_decoders_that_differ_are_noticed() -> None:
    both = headers.Both(2000)
    both.ours.decode(b"\x40\1a\1b")  # theirs has not heard of it
    with pytest.raises(AssertionError, match="refused there only"):
        both.decode(b"\xbe")
