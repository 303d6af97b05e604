"""Writing protobuf's wire format by hand, for the few messages made on every call.

rusd keeps each ``KeyValue`` as its encoded bytes and builds answers by joining
such pieces, so it needs the three primitives below and no more.  Reading is
left to protobuf.  Source: protobuf's "Encoding" specification.
"""

from __future__ import annotations

_SMALL = tuple(bytes((n,)) for n in range(128))

VARINT = 0
LENGTH_DELIMITED = 2


def varint(value: int) -> bytes:
    """``value`` as a base-128 varint; negative numbers as 64-bit two's complement."""
    if 0 <= value < 128:
        return _SMALL[value]
    if 0 < value < 0x20_0000:  # lengths and most revisions, in two or three bytes
        if value < 0x4000:
            return bytes((value & 0x7F | 0x80, value >> 7))
        return bytes((value & 0x7F | 0x80, value >> 7 & 0x7F | 0x80, value >> 14))
    if value < 0:
        value += 1 << 64
    out = bytearray()
    while value > 127:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def tag(field_number: int, wire_type: int) -> bytes:
    """The key that stands before a field's value."""
    return varint(field_number << 3 | wire_type)


def length_delimited(key: bytes, data: bytes) -> bytes:
    """A bytes, string or message field: its :func:`tag`, its length, its data."""
    return key + varint(len(data)) + data


def varint_field(key: bytes, value: int) -> bytes:
    """An integer field after its :func:`tag`; nothing for 0, as proto3 leaves defaults out."""
    return key + varint(value) if value else b""
