"""The sector layout: what goes in comes out, and no sector ever looks unwritten."""

from __future__ import annotations

import google_crc32c
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rusd.storage.batch import (
    CONTINUATION,
    END,
    FIRST_BYTES,
    HEADER_BYTES,
    LATER_BYTES,
    MAGIC,
    SECTOR_BYTES,
    batch_is_intact,
    body_is_intact,
    disk_size,
    encode_batch,
    has_unwritten_part,
    other_version,
    payload_of,
    read_header,
    written_sectors,
)

EDGE_LENGTHS = [
    0,
    1,
    FIRST_BYTES - 1,
    FIRST_BYTES,
    FIRST_BYTES + 1,
    FIRST_BYTES + LATER_BYTES - 1,
    FIRST_BYTES + LATER_BYTES,
    FIRST_BYTES + LATER_BYTES + 1,
    FIRST_BYTES + 7 * LATER_BYTES,
    100_000,
]


@pytest.mark.parametrize("length", EDGE_LENGTHS)
@pytest.mark.parametrize("filler", [b"\0", b"x", MAGIC[:1], CONTINUATION, END])
def test_a_payload_comes_back_from_whole_sectors(length: int, filler: bytes) -> None:
    payload = filler * length
    sectors, checksum = encode_batch(7, 12345, payload)
    data = bytes(SECTOR_BYTES) + sectors + bytes(SECTOR_BYTES)
    header = read_header(data, SECTOR_BYTES)
    assert header == (length, 7, 12345, checksum, len(sectors))
    assert disk_size(length) == len(sectors)
    assert batch_is_intact(data, SECTOR_BYTES, header)
    assert payload_of(data, SECTOR_BYTES, length) == payload


@given(st.binary(max_size=3000), st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1))
def test_any_payload_comes_back(payload: bytes, number: int, previous: int) -> None:
    sectors, _ = encode_batch(number, previous, payload)
    header = read_header(sectors)
    assert header is not None
    assert (header.number, header.previous) == (number, previous)
    assert payload_of(sectors, 0, header.length) == payload


@pytest.mark.parametrize("length", EDGE_LENGTHS)
def test_every_sector_begins_and_ends_with_a_stamp(length: int) -> None:
    sectors, _ = encode_batch(1, 0, bytes(length))
    starts = {sectors[at] for at in range(SECTOR_BYTES, len(sectors), SECTOR_BYTES)}
    assert sectors[0] == MAGIC[0]
    assert starts <= {CONTINUATION[0]}
    assert {sectors[at + SECTOR_BYTES - 1] for at in range(0, len(sectors), SECTOR_BYTES)} == {END[0]}


def test_no_flipped_bit_or_byte_turns_a_stamp_into_zero_or_zero_into_a_stamp() -> None:
    for stamp in (MAGIC[0], CONTINUATION[0], END[0]):
        assert stamp.bit_count() > 1
        assert stamp != 0xFF


def test_the_next_batch_depends_on_the_one_before() -> None:
    _, one = encode_batch(1, 0, b"a")
    _, other = encode_batch(1, 0, b"b")
    assert encode_batch(2, one, b"c")[1] != encode_batch(2, other, b"c")[1]


def test_a_flip_in_the_header_hides_it_and_one_in_the_body_is_noticed() -> None:
    sectors, _ = encode_batch(3, 99, bytes(700))
    header = read_header(sectors)
    assert header is not None
    for at in range(len(sectors)):
        damaged = bytearray(sectors)
        damaged[at] ^= 0x40
        if at < HEADER_BYTES:
            assert read_header(bytes(damaged)) is None
        else:
            assert not batch_is_intact(bytes(damaged), 0, header)


def test_the_last_byte_alone_is_not_needed() -> None:
    sectors, _ = encode_batch(3, 99, b"payload")
    header = read_header(sectors)
    assert header is not None
    cut = sectors[:-1] + b"\0"
    assert body_is_intact(cut, 0, header)
    assert not batch_is_intact(cut, 0, header)
    assert not body_is_intact(sectors[:-2], 0, header)


def test_a_payload_cannot_pass_for_a_batch() -> None:
    inner, _ = encode_batch(9, 9, b"forged" * 300)
    for shift in range(SECTOR_BYTES):
        outer, _ = encode_batch(1, 0, bytes(shift) + inner)
        found = [at for at in range(0, len(outer), SECTOR_BYTES) if read_header(outer, at)]
        assert found == [0]


def test_an_unwritten_part_shows() -> None:
    sectors, _ = encode_batch(3, 99, bytes(2000))
    assert not has_unwritten_part(sectors)
    for at in range(0, len(sectors), SECTOR_BYTES):
        assert has_unwritten_part(sectors[:at] + bytes(SECTOR_BYTES) + sectors[at + SECTOR_BYTES :])
    for cut in range(len(sectors)):
        assert has_unwritten_part(sectors[:cut].ljust(len(sectors), b"\0"))


def test_written_sectors_are_found_among_many_zeros() -> None:
    data = bytearray(5 << 20)
    data[SECTOR_BYTES] = data[(3 << 20) + 5] = data[-1] = 1
    assert list(written_sectors(bytes(data), 0)) == [SECTOR_BYTES, 3 << 20, len(data) - SECTOR_BYTES]
    assert list(written_sectors(bytes(data), 2 * SECTOR_BYTES)) == [3 << 20, len(data) - SECTOR_BYTES]


def test_a_header_of_another_version_is_told_from_damage() -> None:
    sectors, _ = encode_batch(1, 0, b"")
    assert other_version(sectors) is None
    damaged = MAGIC[:3] + b"\x02" + sectors[4:]
    assert other_version(damaged) is None
    fields = damaged[: HEADER_BYTES - 4]
    assert other_version(fields + google_crc32c.value(fields).to_bytes(4, "little")) == 2
