from __future__ import annotations

import gzip
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rusd.grpc import Code, StatusError
from rusd.grpc.framing import MessageReader, decompress, frame, frames

LIMIT = 1000


def test_a_message_is_a_flag_a_length_and_the_payload() -> None:
    assert frame(b"abc") == b"\0\0\0\0\3abc"


@given(st.lists(st.binary(max_size=60), max_size=8), st.lists(st.integers(1, 30), max_size=30))
def test_messages_come_out_whole_however_the_bytes_are_cut(payloads: list[bytes], cuts: list[int]) -> None:
    wire = b"".join(map(frame, payloads))
    reader = MessageReader(LIMIT)
    found: list[bytes] = []
    credit = 0
    for size in [*cuts, len(wire)]:
        piece, wire = wire[:size], wire[size:]
        reader.feed(piece)
        credit += reader.take_credit()
        reader.check()
        while (payload := reader.next_message()) is not None:
            found.append(payload)
        credit += reader.take_credit()
        reader.check()
    assert found == payloads
    assert credit == sum(len(frame(payload)) for payload in payloads)
    assert not reader.complete
    assert not reader.inside_message


def test_a_waiting_message_holds_its_window_back_and_an_unfinished_one_does_not() -> None:
    reader = MessageReader(LIMIT)
    reader.feed(frame(b"x" * 10)[:8])
    assert reader.take_credit() == 8
    reader.feed(frame(b"x" * 10)[8:] + frame(b"y" * 5))
    assert reader.take_credit() == 0
    assert reader.next_message() == b"x" * 10
    assert reader.take_credit() == 7
    reader.clear()
    assert reader.take_credit() == 10


def test_a_length_over_the_limit_is_refused_before_the_payload_comes() -> None:
    reader = MessageReader(LIMIT)
    reader.feed(struct.pack(">BI", 0, LIMIT + 1))
    with pytest.raises(StatusError) as caught:
        reader.next_message()
    assert caught.value.code is Code.RESOURCE_EXHAUSTED
    assert caught.value.message == "grpc: received message larger than max (1001 vs. 1000)"


def test_a_message_of_just_the_limit_is_taken() -> None:
    reader = MessageReader(LIMIT)
    reader.feed(frame(b"x" * LIMIT))
    assert reader.next_message() == b"x" * LIMIT


@given(
    st.lists(
        st.binary(max_size=40)
        | st.integers(16_000, 17_000).map(bytes)
        | st.lists(st.binary(max_size=9_000), min_size=1, max_size=4),
        max_size=12,
    ),
    st.sampled_from([b"", b"gzip"]),
)
def test_messages_framed_together_are_the_same_messages(
    payloads: list[bytes | list[bytes]], encoding: bytes
) -> None:
    chunks = frames(payloads, encoding)
    reader = MessageReader(1 << 20, encoding)
    for chunk in chunks:
        reader.feed(chunk)
    for payload in payloads:
        assert reader.next_message() == (payload if isinstance(payload, bytes) else b"".join(payload))
    assert reader.next_message() is None


def test_small_messages_share_frames_that_every_peer_takes() -> None:
    chunks = frames([b"x" * 100] * 1000)
    assert len(chunks) == 7
    assert max(map(len, chunks)) <= 16_384


def test_an_unknown_flag_is_refused() -> None:
    reader = MessageReader(LIMIT)
    reader.feed(b"\2\0\0\0\0")
    with pytest.raises(StatusError, match="unexpected payload format 2"):
        reader.next_message()


def test_a_stream_may_stop_inside_a_prefix_but_not_inside_a_payload() -> None:
    reader = MessageReader(LIMIT)
    reader.feed(b"\0\0\0")
    assert not reader.inside_message
    reader.feed(b"\0\5ab")
    assert reader.inside_message


@given(st.lists(st.binary(max_size=100), min_size=1, max_size=3))
def test_gzip_members_are_joined(parts: list[bytes]) -> None:
    assert decompress(b"".join(map(gzip.compress, parts)), b"gzip", LIMIT) == b"".join(parts)


PACKED = gzip.compress(b"hello" * 20)


@pytest.mark.parametrize(
    ("data", "encoding", "code", "text"),
    [
        (b"", b"gzip", Code.INTERNAL, "grpc: failed to decompress the message: EOF"),
        (b"notgzip", b"gzip", Code.INTERNAL, "grpc: failed to decompress the message: unexpected EOF"),
        (
            b"not gzip at all",
            b"gzip",
            Code.INTERNAL,
            "grpc: failed to decompress the message: gzip: invalid header",
        ),
        (PACKED[:-9], b"gzip", Code.INTERNAL, "grpc: failed to read decompressed data: unexpected EOF"),
        (PACKED + b"xyz", b"gzip", Code.INTERNAL, "grpc: failed to read decompressed data: unexpected EOF"),
        (
            PACKED[:-8] + b"\0" * 4 + PACKED[-4:],
            b"gzip",
            Code.INTERNAL,
            "grpc: failed to read decompressed data: gzip: invalid checksum",
        ),
        (
            gzip.compress(bytes(LIMIT + 1)),
            b"gzip",
            Code.RESOURCE_EXHAUSTED,
            f"grpc: received message after decompression larger than max {LIMIT}",
        ),
        (b"x", b"", Code.INTERNAL, "grpc: compressed flag set with identity or empty encoding"),
        (b"x", b"identity", Code.INTERNAL, "grpc: compressed flag set with identity or empty encoding"),
        (b"x", b"zstd", Code.UNIMPLEMENTED, 'grpc: Decompressor is not installed for grpc-encoding "zstd"'),
    ],
)
def test_broken_compression_is_refused_in_grpc_gos_words(
    data: bytes, encoding: bytes, code: Code, text: str
) -> None:
    with pytest.raises(StatusError) as caught:
        decompress(data, encoding, LIMIT)
    assert (caught.value.code, caught.value.message) == (code, text)


def test_a_bomb_is_not_unpacked() -> None:
    bomb = gzip.compress(bytes(50 * 1024 * 1024), 9)
    with pytest.raises(StatusError, match="larger than max"):
        decompress(bomb, b"gzip", LIMIT)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_a_status(data: bytes) -> None:
    reader = MessageReader(LIMIT, b"gzip")
    reader.feed(data)
    try:
        while reader.next_message() is not None:
            pass
    except StatusError:
        pass
    reader.clear()
    reader.take_credit()
    reader.check()
