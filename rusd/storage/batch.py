"""The WAL's unit of writing: bytes in, whole 512-byte sectors out, and back.

Not the meaning of those bytes (:mod:`rusd.storage.record`) and no file.  The
layout exists to tell three things apart when the end of a log does not read
as it should: a write that was still under way at a crash (drop it, nobody
was told), a bit that flipped later (refuse, somebody was), and nothing at all.

A batch begins on a sector boundary and fills whole sectors, so that no later
write touches the sector of a batch that is already acknowledged::

    first sector:  magic 4 │ length 4 │ number 8 │ previous 4 │ checksum 4 │ header checksum 4
                   │ 483 bytes │ END
    each later:    CONTINUATION │ 510 bytes │ END

``length`` counts the payload, which is cut into those 483- and 510-byte
pieces and padded with zeros.  Three properties follow.

*   **No sector of a complete batch is all zeros, or all zeros but for one
    byte**, whatever the payload: each begins and ends with a stamp.  Space not
    yet written reads as zeros.  So a missing sector shows, a sector that was
    written only in part shows (it has no ``END``), and damage to one byte
    never looks like either.
*   **The header stands for itself.**  ``header checksum`` covers the fields
    before it, so length and number can be believed, or not, before the payload
    is there.  A payload can never pass for a header: its sectors begin with
    ``CONTINUATION``.
*   **Batches are a chain.**  ``checksum`` is CRC-32C (RFC 3720, B.4) over
    everything after the header but the last byte, begun from ``previous``,
    the checksum of the batch before.

The batch's very last byte is outside the checksum: all content is there
without it, so a write cut short by that one byte still counts as whole.  That
leaves no single byte whose loss drops an acknowledged batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

import google_crc32c

SECTOR_BYTES = 512
FORMAT_VERSION = 1
MAGIC_NAME = b"RWB"
MAGIC = MAGIC_NAME + bytes((FORMAT_VERSION,))

# The stamps are neither one bit away from zero nor all ones: a flipped bit, or
# a flipped byte, turns neither a stamp into zero nor zero into a stamp.
CONTINUATION = b"\xc3"
END = b"\xe7"
_SEAM = END + CONTINUATION

_FIELDS = Struct("<4sIQII")
_CHECKSUM = Struct("<I")
HEADER_BYTES = _FIELDS.size + _CHECKSUM.size
FIRST_BYTES = SECTOR_BYTES - HEADER_BYTES - 1  # of payload in the first sector
LATER_BYTES = SECTOR_BYTES - 2  # and in each later one

_ZERO_SECTOR = bytes(SECTOR_BYTES)

_extend = google_crc32c.extend
_value = google_crc32c.value


class Header(NamedTuple):
    """The verified header of a batch."""

    length: int  # of the payload, in bytes
    number: int
    previous: int  # checksum of the batch before
    checksum: int
    size: int  # on disk, in bytes: whole sectors


def disk_size(length: int) -> int:
    """The bytes on disk of a batch with ``length`` bytes of payload."""
    if length <= FIRST_BYTES:
        return SECTOR_BYTES
    return SECTOR_BYTES * (1 + (length - FIRST_BYTES + LATER_BYTES - 1) // LATER_BYTES)


def encode_batch(number: int, previous: int, payload: bytes) -> tuple[bytes, int]:
    """The sectors of a batch, and its checksum, to be ``previous`` of the next one.

    ``number`` is 64 bits, ``payload`` below 4 GiB.  O(size).
    """
    length = len(payload)
    if length <= FIRST_BYTES:
        body = payload.ljust(FIRST_BYTES, b"\0")
    else:
        pieces = [payload[at : at + LATER_BYTES] for at in range(FIRST_BYTES, length, LATER_BYTES)]
        pieces[-1] = pieces[-1].ljust(LATER_BYTES, b"\0")
        pieces.insert(0, payload[:FIRST_BYTES])
        body = _SEAM.join(pieces)
    checksum = _extend(previous, body)
    fields = _FIELDS.pack(MAGIC, length, number, previous, checksum)
    return b"".join((fields, _CHECKSUM.pack(_value(fields)), body, END)), checksum


def read_header(data: bytes, offset: int = 0) -> Header | None:
    """The header at ``offset`` of ``data``, or ``None`` if there is no undamaged one of this version."""
    end = offset + _FIELDS.size
    if len(data) < end + _CHECKSUM.size or data[offset : offset + 4] != MAGIC:
        return None
    if _CHECKSUM.unpack_from(data, end)[0] != _value(data[offset:end]):
        return None
    _, length, number, previous, checksum = _FIELDS.unpack_from(data, offset)
    return Header(length, number, previous, checksum, disk_size(length))


def other_version(data: bytes) -> int | None:
    """The format version if ``data`` begins with an undamaged header of another version, else ``None``."""
    end = _FIELDS.size
    if len(data) < HEADER_BYTES or data[:3] != MAGIC_NAME or data[3] == FORMAT_VERSION:
        return None
    if _CHECKSUM.unpack_from(data, end)[0] != _value(data[:end]):
        return None
    return data[3]


def body_is_intact(data: bytes, offset: int, header: Header) -> bool:
    """Whether all of the batch at ``offset`` but its last byte is as it was written."""
    end = offset + header.size - 1
    if end > len(data):
        return False
    # int(): the module has no type information
    return int(_extend(header.previous, data[offset + HEADER_BYTES : end])) == header.checksum


def batch_is_intact(data: bytes, offset: int, header: Header) -> bool:
    """Whether every byte of the batch at ``offset`` is as it was written."""
    end = offset + header.size
    return body_is_intact(data, offset, header) and data[end - 1 : end] == END


def payload_of(data: bytes, offset: int, length: int) -> bytes:
    """The ``length`` bytes of payload of the intact batch at ``offset``."""
    start = offset + HEADER_BYTES
    if length <= FIRST_BYTES:
        return data[start : start + length]
    first = offset + SECTOR_BYTES + 1  # behind the stamp of the second sector
    pieces = [data[start : start + FIRST_BYTES]]
    pieces += [data[at : at + LATER_BYTES] for at in range(first, offset + disk_size(length), SECTOR_BYTES)]
    padding = FIRST_BYTES + LATER_BYTES * (len(pieces) - 1) - length
    if padding:
        pieces[-1] = pieces[-1][:-padding]
    return b"".join(pieces)


def is_zero(data: bytes) -> bool:
    """Whether ``data`` holds zeros only (or nothing)."""
    return data == bytes(len(data))


def written_sectors(data: bytes, offset: int) -> Iterator[int]:
    """Where, from ``offset`` on, the sectors stand that are not all zeros."""
    block = 1 << 20  # zeros are compared in big steps, as there may be many MiB of them
    for start in range(offset, len(data), block):
        part = data[start : start + block]
        if is_zero(part):
            continue
        for at in range(0, len(part), SECTOR_BYTES):
            if part[at : at + SECTOR_BYTES] != _ZERO_SECTOR:
                yield start + at


def has_unwritten_part(data: bytes) -> bool:
    """Whether ``data``, the sectors of a damaged batch, ends in zero or has a sector of zeros."""
    if data[-1] == 0:
        return True
    return any(data[at : at + SECTOR_BYTES] == _ZERO_SECTOR for at in range(0, len(data), SECTOR_BYTES))
