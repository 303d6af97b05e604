"""Who opened a connection: from HTTP/1.1 and HTTP/2 heads in any pieces, and from the process table."""

from __future__ import annotations

import os
import socket
import sys

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.sender import HEAD_BYTES, PREFACE, Head, owner_of_port, read_head

HTTP1 = (
    b"GET /raft/stream/message/8211f1d0f64f3269 HTTP/1.1\r\nHost: 127.0.0.1:2380\r\n"
    b"X-Etcd-Cluster-Id: 1\r\nX-Server-From: 91BC3c398fb3c146\r\n\r\n"
)
SENDER = "91bc3c398fb3c146"


def frame(kind: int, flags: int, payload: bytes, stream: int = 1) -> bytes:
    """One HTTP/2 frame."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def block(*more: tuple[str, str]) -> bytes:
    """A request's header block."""
    headers = [(":method", "POST"), (":path", "/x"), *more]
    return bytes(hpack.Encoder().encode(headers))


def http2(headers: bytes) -> bytes:
    """The beginning of an HTTP/2 connection."""
    return PREFACE + frame(4, 0, b"", 0) + headers


NAMED = block(("x-server-from", SENDER))


@pytest.mark.parametrize(
    "data",
    [
        HTTP1,
        HTTP1 + b"body",
        http2(frame(1, 0x4, NAMED)),
        http2(frame(1, 0x5, NAMED)) + frame(0, 1, b"body"),
        http2(frame(1, 0, NAMED[:5]) + frame(9, 0x4, NAMED[5:])),
        http2(frame(1, 0x8 | 0x20 | 0x4, b"\x03" + bytes(5) + NAMED + bytes(3))),
    ],
)
def test_the_sender_is_found_in_whatever_pieces_it_comes(data: bytes) -> None:
    heads = [read_head(data[:length]) for length in range(len(data) + 1)]
    assert heads[-1] == Head(complete=True, sender=SENDER)
    first = next(number for number, head in enumerate(heads) if head.complete)
    assert all(head.sender == SENDER for head in heads[first:])
    assert not any(head.sender for head in heads[:first])


@pytest.mark.parametrize(
    "data",
    [
        b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nX-Server-From: not-hex\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"A" * HEAD_BYTES,
        http2(frame(1, 0x4, block())),
        http2(frame(1, 0x4, b"\xff\xff\xff\xff\xff\xff\xff\xff")),
    ],
)
def test_a_head_without_a_sender_is_told_as_that(data: bytes) -> None:
    assert read_head(data) == Head(complete=True)


@given(st.binary(max_size=200))
def test_no_bytes_break_it(data: bytes) -> None:
    read_head(data)
    read_head(PREFACE + data)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_the_process_behind_a_connection_is_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert owner_of_port(port, {3: 2**22 + 1, 7: os.getpid()}) == 7
        assert owner_of_port(port, {3: 2**22 + 1}) is None
    assert owner_of_port(port, {7: os.getpid()}, tables=["/nowhere"]) is None
