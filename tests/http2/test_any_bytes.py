"""Whatever bytes come, in whatever pieces: nothing is raised, and pieces make no difference."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import hpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rusd.http2 import PREFACE, Limits, Role, Settings

LIMITS = Limits(continuations=3, unsent_answers=20, spoilt_streams=5)
OURS = Settings(max_concurrent_streams=3, max_header_list_size=2000)

random_frames = st.builds(
    lambda kind, flags, stream_id, payload: (
        len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream_id.to_bytes(4, "big") + payload
    ),
    st.integers(0, 11),
    st.sampled_from([0, 1, 4, 5, 8, 9, 0x20, 0x2D]),
    st.sampled_from([0, 0, 1, 1, 2, 3, 5, 7, 2**31 + 1]),
    st.one_of(
        st.binary(max_size=40),
        st.sampled_from([bytes(4), bytes(8), b"\0\0\0\1", b"\x82\x86\x84", b"\0\4\0\0\0\7"]),
    ),
)


def session() -> bytes:
    """A valid session from a client, with every kind of frame."""
    encoder = hpack.Encoder()

    def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
        return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream_id.to_bytes(4, "big") + payload

    def request(number: int) -> bytes:
        fields = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/etcdserverpb.KV/Range"),
            ("te", "trailers"),
            ("grpc-timeout", f"{number}S"),
        ]
        return bytes(encoder.encode(fields))

    block = request(1)
    return b"".join(
        (
            PREFACE,
            frame(4, 0, 0, b"\0\3\0\0\0\x64\0\4\0\0\1\0"),
            frame(4, 1, 0),
            frame(8, 0, 0, b"\0\1\0\0"),
            frame(1, 0, 1, block[:7]),
            frame(9, 4, 1, block[7:]),
            frame(0, 0, 1, b"hello"),
            frame(0, 9, 1, b"\3abc\0\0\0"),
            frame(6, 0, 0, b"12345678"),
            frame(1, 0x25, 3, bytes(5) + request(2)),
            frame(2, 0, 3, bytes(5)),
            frame(1, 4, 5, request(3)),
            frame(8, 0, 5, b"\0\0\1\0"),
            frame(3, 0, 5, b"\0\0\0\x08"),
            frame(4, 0, 0, b"\0\4\0\0\0\5"),
            frame(1, 5, 7, request(4)),
            frame(7, 0, 0, bytes(8) + b"bye"),
        )
    )


SESSION = session()


def echo(endpoint: Any) -> None:
    """Answer everything from inside the calls, as a server does."""
    connection = endpoint.connection

    def on_headers(stream_id: int, _headers: Any, end: bool) -> None:
        if end:
            connection.send_headers(stream_id, [(b":status", b"200")])
            connection.send_data(stream_id, bytes(300))
            connection.send_headers(stream_id, [(b"grpc-status", b"0")], end_stream=True)

    def on_data(stream_id: int, data: bytes, end: bool) -> None:
        connection.acknowledge(stream_id, len(data))
        on_headers(stream_id, [], end)

    endpoint.reactions.update(headers=on_headers, data=on_data)


def replay(make_endpoint: Any, role: Role, pieces: list[bytes], budget: int = 256) -> tuple[list[Any], bytes]:
    """Feed the pieces; returns the events and everything that was sent."""
    endpoint = make_endpoint(role, OURS, limits=LIMITS)
    endpoint.connection.initiate()
    if role is Role.CLIENT:
        for _ in range(3):
            endpoint.connection.open_stream([(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/")])
    else:
        echo(endpoint)
    for piece in pieces:
        endpoint.connection.receive(piece)
        while endpoint.connection.advance(budget):
            pass
        endpoint.connection.check()
        assert endpoint.connection._available <= 16_384 + 9
    return endpoint.events, endpoint.connection.data_to_send()


def cut(data: bytes, places: list[int]) -> list[bytes]:
    bounds = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:stop] for start, stop in pairwise(bounds)]


cuts = st.lists(st.integers(0, 10_000), max_size=8)


def test_the_session_is_valid(make_endpoint: Any) -> None:
    events, _ = replay(make_endpoint, Role.SERVER, [SESSION])
    assert [event[0] for event in events] == [
        "headers",
        "data",
        "data",
        "ping",
        "headers",
        "headers",
        "reset",
        "headers",
        "goaway",
    ]


@pytest.mark.parametrize("budget", [1, 2, 256])
def test_the_session_may_come_octet_by_octet(make_endpoint: Any, budget: int) -> None:
    whole = replay(make_endpoint, Role.SERVER, [SESSION])
    assert replay(make_endpoint, Role.SERVER, [bytes((octet,)) for octet in SESSION], budget) == whole


@pytest.mark.parametrize("role", list(Role))
@given(data=st.binary(max_size=300), places=cuts)
@settings(max_examples=150, deadline=None)
def test_any_bytes_at_all(make_endpoint: Any, role: Role, data: bytes, places: list[int]) -> None:
    prefix = PREFACE if role is Role.SERVER else b""
    for start in (b"", prefix + bytes.fromhex("000000040000000000")):
        whole = replay(make_endpoint, role, [start + data])
        assert replay(make_endpoint, role, cut(start + data, places), budget=1) == whole


@pytest.mark.parametrize("role", list(Role))
@given(sequence=st.lists(random_frames, max_size=25), places=cuts)
@settings(max_examples=300, deadline=None)
def test_any_frames_in_any_order(
    make_endpoint: Any, role: Role, sequence: list[bytes], places: list[int]
) -> None:
    start = (PREFACE if role is Role.SERVER else b"") + bytes.fromhex("000000040000000000")
    data = start + b"".join(sequence)
    whole = replay(make_endpoint, role, [data])
    assert replay(make_endpoint, role, cut(data, places), budget=2) == whole


@given(
    changes=st.lists(st.tuples(st.integers(0, len(SESSION) - 1), st.integers(0, 255)), max_size=4),
    removed=st.tuples(st.integers(0, len(SESSION)), st.integers(0, 12)),
    places=cuts,
)
@settings(max_examples=300, deadline=None)
def test_any_mutation_of_a_valid_session(
    make_endpoint: Any, changes: list[tuple[int, int]], removed: tuple[int, int], places: list[int]
) -> None:
    mutated = bytearray(SESSION)
    for place, octet in changes:
        mutated[place] = octet
    start, length = removed
    del mutated[start : start + length]
    whole = replay(make_endpoint, Role.SERVER, [bytes(mutated)])
    assert replay(make_endpoint, Role.SERVER, cut(bytes(mutated), places)) == whole
