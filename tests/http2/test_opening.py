"""How a connection begins: preface and SETTINGS (RFC 9113 §3.4, §6.5)."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from rusd.http2 import PREFACE, ErrorCode, Role, Settings

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_STREAMS, INITIAL_WINDOW, MAX_FRAME, MAX_LIST = range(1, 7)


def entries(payload: bytes) -> dict[int, int]:
    return dict(struct.iter_unpack(">HI", payload))


def test_a_server_begins_with_settings_and_its_connection_window(make_endpoint: Any, frames: Any) -> None:
    settings = Settings(max_concurrent_streams=7, initial_window_size=1 << 20, max_frame_size=1 << 15)
    server = make_endpoint(Role.SERVER, settings, connection_window=1 << 21)
    server.connection.initiate()
    first, second = server.output()
    assert (first.kind, first.flags) == ("SETTINGS", 0)
    assert entries(first.payload) == {
        MAX_STREAMS: 7,
        INITIAL_WINDOW: 1 << 20,
        MAX_FRAME: 1 << 15,
        MAX_LIST: 65_536,
    }
    assert (second.kind, second.stream_id, second.number) == ("WINDOW_UPDATE", 0, (1 << 21) - 65_535)


def test_a_client_begins_with_the_preface_and_refuses_pushes(make_endpoint: Any, frames: Any) -> None:
    client = make_endpoint(Role.CLIENT, Settings(header_table_size=0), connection_window=65_535)
    client.connection.initiate()
    data = client.connection.data_to_send()
    assert data.startswith(PREFACE)
    [settings] = frames.parse(data)
    assert entries(settings.payload) == {HEADER_TABLE_SIZE: 0, ENABLE_PUSH: 0, MAX_LIST: 65_536}


@pytest.mark.parametrize("options", [{"initial_window_size": 1 << 31}, {"max_frame_size": 100}])
def test_settings_that_the_rfc_forbids_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="out of range"):
        Settings(**options)


def test_a_connection_window_below_the_initial_one_is_refused(make_endpoint: Any) -> None:
    with pytest.raises(ValueError, match="65,535"):
        make_endpoint(Role.SERVER, Settings(), connection_window=65_534)


def test_the_preface_may_come_in_pieces(make_endpoint: Any, frames: Any) -> None:
    server = make_endpoint(Role.SERVER, Settings())
    for octet in PREFACE + frames.settings():
        server.feed(bytes((octet,)))
    assert server.feed(frames.headers(1)) == []
    assert server.events[0][:2] == ("headers", 1)


def test_a_wrong_preface_is_refused_at_its_first_wrong_octet(make_endpoint: Any) -> None:
    server = make_endpoint(Role.SERVER, Settings())
    [goaway] = server.feed(b"PRI * HTTP/1")
    assert (goaway.kind, goaway.code) == ("GOAWAY", ErrorCode.PROTOCOL_ERROR)
    assert server.connection.closed


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("first", ["ping", "settings_ack", "headers"])
def test_the_first_frame_must_be_settings(make_endpoint: Any, frames: Any, role: Role, first: str) -> None:
    endpoint = make_endpoint(role, Settings())
    arguments = (1,) if first == "headers" else ()
    preface = PREFACE if role is Role.SERVER else b""
    endpoint.feed(preface, getattr(frames, first)(*arguments))
    assert endpoint.close_code == ErrorCode.PROTOCOL_ERROR


def test_settings_are_acknowledged_and_kept(make_server: Any, frames: Any) -> None:
    server = make_server()
    [ack] = server.feed(frames.settings((MAX_STREAMS, 5), (MAX_FRAME, 20_000), (MAX_LIST, 9), (99, 1)))
    assert (ack.kind, ack.flags, ack.payload) == ("SETTINGS", 1, b"")
    peer = server.connection.peer_settings
    assert (peer.max_concurrent_streams, peer.max_frame_size, peer.max_header_list_size) == (5, 20_000, 9)


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ((4, 0, 1, b""), ErrorCode.PROTOCOL_ERROR),
        ((4, 0, 0, b"12345"), ErrorCode.FRAME_SIZE_ERROR),
        ((4, 1, 0, b"123456"), ErrorCode.FRAME_SIZE_ERROR),
        ((4, 0, 0, struct.pack(">HI", ENABLE_PUSH, 2)), ErrorCode.PROTOCOL_ERROR),
        ((4, 0, 0, struct.pack(">HI", INITIAL_WINDOW, 1 << 31)), ErrorCode.FLOW_CONTROL_ERROR),
        ((4, 0, 0, struct.pack(">HI", MAX_FRAME, 16_383)), ErrorCode.PROTOCOL_ERROR),
        ((4, 0, 0, struct.pack(">HI", MAX_FRAME, 1 << 24)), ErrorCode.PROTOCOL_ERROR),
    ],
)
def test_broken_settings_end_the_connection(make_server: Any, frames: Any, frame: Any, code: int) -> None:
    server = make_server()
    [goaway] = server.feed(frames.frame(*frame))
    assert (goaway.kind, goaway.code) == ("GOAWAY", code)
    assert server.close_code == code


def test_a_server_may_not_enable_push(make_client: Any, frames: Any) -> None:
    client = make_client()
    client.feed(frames.settings((ENABLE_PUSH, 1)))
    assert client.close_code == ErrorCode.PROTOCOL_ERROR


def test_an_acknowledgement_that_was_not_asked_for_changes_nothing(make_server: Any, frames: Any) -> None:
    server = make_server()
    assert server.feed(frames.settings_ack(), frames.settings_ack()) == []
    assert server.close_code is None


def test_a_peer_that_shrinks_the_header_table_is_told_that_we_did(make_server: Any, frames: Any) -> None:
    server = make_server()
    server.feed(frames.settings((HEADER_TABLE_SIZE, 100)), frames.headers(1), frames.headers(3))
    server.connection.send_headers(1, frames.response)
    server.connection.send_headers(3, frames.response)
    first, second = server.output()
    assert first.payload[0] == 0x20  # the table's size is 0 from here on
    assert second.payload == first.payload[1:]


def test_our_header_table_size_holds_once_it_is_acknowledged(make_endpoint: Any, frames: Any) -> None:
    server = make_endpoint(Role.SERVER, Settings(header_table_size=0))
    server.connection.initiate()
    indexing = bytes.fromhex("828684418cf1e3c2e5f23a6ba0ab90f4ff")
    server.feed(PREFACE, frames.settings(), frames.block(1, indexing, end=True))
    server.feed(frames.settings_ack())
    server.feed(frames.block(3, b"\x20" + indexing, end=True))
    assert [event[0] for event in server.events] == ["headers", "headers"]
    server.feed(frames.block(5, b"\x3f\x01" + indexing, end=True))
    assert server.close_code == ErrorCode.COMPRESSION_ERROR
