"""Header compression (RFC 7541): a decoder for the hot path, an encoder without state.

The static table and the Huffman code come from the ``hpack`` library; its own decoder takes five to ten
times as long as the one here, most of it in calls per field.  Three things make the difference: a
table entry is found by one list index, sizes are kept with entries, and Huffman strings are decoded by
the octet (:mod:`rusd.http2.huffman`).  Whole blocks are not cached: a client that sends a deadline
changes the dynamic table on each call.

The encoder uses the static table and literals without indexing only.  So blocks may be made once and
sent on any connection, in any order.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from hpack.exceptions import HPACKDecodingError
from hpack.table import HeaderTable

from rusd.http2.errors import ConnectionViolationError, ErrorCode
from rusd.http2.fields import is_sound, is_sound_value
from rusd.http2.huffman import decode_huffman

Field = tuple[bytes, bytes]
_Entry = tuple[Field, int]  # a field and its size

FIELD_OVERHEAD: Final = 32
"""Octets added to name and value in the size of an entry (§4.1) and of a header list (RFC 9113 §6.5.2)."""

DEFAULT_TABLE_SIZE: Final = 4096
_FIRST_DYNAMIC: Final = 62
_MAX_INTEGER_SHIFT: Final = 28  # five octets: beyond every length that could be meant

_STATIC_FIELDS: Final[tuple[Field, ...]] = tuple(
    (bytes(name), bytes(value)) for name, value in HeaderTable.STATIC_TABLE
)
_STATIC_INDEX: Final[dict[Field, int]] = {field: i for i, field in enumerate(_STATIC_FIELDS, 1)}
_STATIC_NAME: Final[dict[bytes, int]] = {
    field[0]: i for i, field in reversed(list(enumerate(_STATIC_FIELDS, 1)))
}
_STATIC_ENTRIES: Final[tuple[_Entry, ...]] = (
    ((b"", b""), -1),  # index 0 is not used (§6.1)
    *((field, FIELD_OVERHEAD + len(field[0]) + len(field[1])) for field in _STATIC_FIELDS),
)
_SENSITIVE: Final = frozenset({b"authorization", b"cookie", b"proxy-authorization", b"set-cookie"})

TABLE_SIZE_ZERO: Final = b"\x20"
"""A dynamic table size update to 0 (§6.3)."""


class Decoder:
    """The receiving side's state: the dynamic table.

    After :meth:`decode`, ``oversized`` says whether the header list was larger than
    ``max_list_size`` (it is then cut short; beyond twice that size decoding fails), ``unsound``
    whether a field was not well-formed.
    """

    __slots__ = (
        "_entries",
        "_limit",
        "_must_shrink",
        "_table_size",
        "_unsound_entries",
        "_used",
        "max_list_size",
        "oversized",
        "unsound",
    )

    def __init__(self, max_list_size: int) -> None:
        self.max_list_size = max_list_size
        self.oversized = False
        self.unsound = False
        self._entries: list[_Entry] = list(_STATIC_ENTRIES)  # newest dynamic entry at _FIRST_DYNAMIC
        self._used = 0  # size of the dynamic entries
        self._table_size = DEFAULT_TABLE_SIZE  # as last set by the encoder
        self._limit = DEFAULT_TABLE_SIZE  # the encoder may not go beyond
        self._must_shrink = False
        self._unsound_entries = 0

    def set_limit(self, limit: int) -> None:
        """The peer has acknowledged our SETTINGS_HEADER_TABLE_SIZE ``limit`` (§4.2)."""
        self._limit = limit
        self._must_shrink = self._table_size > limit

    def decode(self, block: bytes) -> list[Field]:
        """The fields of one whole header block.

        Raises :class:`ConnectionViolationError` (COMPRESSION_ERROR, or ENHANCE_YOUR_CALM for a
        list far too large): the table is unusable then.
        """
        self.oversized = self.unsound = False
        try:
            return self._decode(block)
        except IndexError:
            # Every read past the end of the block, and every index past the table, ends here.
            raise _broken("header block cut short, or an index beyond the table") from None
        except HPACKDecodingError:
            raise _broken("bad Huffman code") from None

    def _decode(self, block: bytes) -> list[Field]:  # noqa: PLR0912  (one straight loop)
        # One straight loop, because it runs for each field of each request.  A gRPC request's eight
        # fields take 2 µs if all are indexed, 5 µs with a new grpc-timeout (the library: 20 µs).
        fields: list[Field] = []
        append = fields.append
        entries = self._entries
        position = 0
        end = len(block)
        room = self.max_list_size
        if self._must_shrink and (not block or block[0] & 0xE0 != 0x20):
            raise _broken("no table size update after our limit went down")
        while position < end:
            octet = block[position]
            position += 1
            if octet >= 0x80:  # indexed field (§6.1)
                if octet == 0xFF:
                    index, position = _integer(block, position, 0x7F)
                else:
                    index = octet & 0x7F
                field, size = entries[index]
                room -= size
                if room >= 0:
                    append(field)
                elif room < -self.max_list_size:
                    raise _too_large()
                if not index:
                    raise _broken("index 0")
                continue
            if octet & 0xE0 == 0x20:  # table size update (§6.3)
                size, position = self._prefixed(block, position, octet, 0x1F)
                if fields or room != self.max_list_size:
                    raise _broken("table size update after a field")
                self._resize(size)
                continue

            # A literal: name by index or as a string, then the value (§6.2).
            mask = 0x3F if octet >= 0x40 else 0x0F
            index = octet & mask
            if index == mask:
                index, position = _integer(block, position, mask)
            if index:
                name = entries[index][0][0]
            else:
                name, position = self._string(block, position)
            value, position = self._string(block, position)
            field = (name, value)
            size = FIELD_OVERHEAD + len(name) + len(value)
            room -= size
            if room >= 0:
                append(field)
            elif room < -self.max_list_size:
                raise _too_large()
            # A name from the table was looked at when it came into it.
            sound = is_sound_value(value) if index and not self._unsound_entries else is_sound(name, value)
            if not sound:
                self.unsound = True
            if octet >= 0x40:
                self._add((field, size), sound)
        if room < 0:
            self.oversized = True
        if self._unsound_entries and not self.unsound:
            self.unsound = not all(is_sound(*field) for field in fields)
        return fields

    def _string(self, block: bytes, position: int) -> tuple[bytes, int]:
        """The string literal at ``position`` (§5.2) and the position after it."""
        length = block[position]
        position += 1
        huffman = length & 0x80
        length &= 0x7F
        if length == 0x7F:
            length, position = _integer(block, position, 0x7F)
        stop = position + length
        raw = block[position:stop]
        if len(raw) != length:
            raise _broken("string longer than its block")
        return (decode_huffman(raw) if huffman else raw), stop

    def _prefixed(self, block: bytes, position: int, octet: int, mask: int) -> tuple[int, int]:
        value = octet & mask
        return _integer(block, position, mask) if value == mask else (value, position)

    def _add(self, entry: _Entry, sound: bool) -> None:
        """Put ``entry`` into the dynamic table (§4.4); one larger than the table empties it."""
        self._used += entry[1]
        self._entries.insert(_FIRST_DYNAMIC, entry)
        if not sound:
            self._unsound_entries += 1
        if self._used > self._table_size:
            self._evict()

    def _resize(self, size: int) -> None:
        if size > self._limit:
            raise _broken("table size update beyond our limit")
        self._must_shrink = False
        self._table_size = size
        self._evict()

    def _evict(self) -> None:
        """Drop the oldest entries until the rest fits (§4.3)."""
        entries = self._entries
        while self._used > self._table_size:
            (name, value), size = entries.pop()
            self._used -= size
            if self._unsound_entries and not is_sound(name, value):
                self._unsound_entries -= 1

    def check(self) -> None:
        """Verify the invariants."""
        dynamic = self._entries[_FIRST_DYNAMIC:]
        assert self._used == sum(size for _, size in dynamic)
        assert self._used <= self._table_size
        assert self._unsound_entries == sum(not is_sound(*field) for field, _ in dynamic)


def _integer(block: bytes, position: int, prefix: int) -> tuple[int, int]:
    """The rest of an integer whose prefix was all ones (§5.1), and the position after it."""
    value = prefix
    shift = 0
    while True:
        octet = block[position]
        position += 1
        value += (octet & 0x7F) << shift
        if octet < 0x80:
            return value, position
        shift += 7
        if shift > _MAX_INTEGER_SHIFT:
            raise _broken("integer too long")


def _broken(reason: str) -> ConnectionViolationError:
    return ConnectionViolationError(ErrorCode.COMPRESSION_ERROR, reason)


def _too_large() -> ConnectionViolationError:
    return ConnectionViolationError(
        ErrorCode.ENHANCE_YOUR_CALM, "header list more than twice as large as our limit"
    )


def encode_static(headers: Iterable[Field]) -> bytes:
    """A header block for ``headers`` that neither needs nor changes the dynamic table.

    Names must be lower-case already.  Fields that carry credentials are marked never to
    be indexed (§7.1.3), so that proxies don't either.
    """
    out = bytearray()
    for name, value in headers:
        index = _STATIC_INDEX.get((name, value))
        if index is not None:
            out.append(0x80 | index)  # all static indices fit the 7-bit prefix
            continue
        pattern = 0x10 if name in _SENSITIVE else 0x00
        _append_integer(out, pattern, 0x0F, _STATIC_NAME.get(name, 0))
        if name not in _STATIC_NAME:
            _append_integer(out, 0, 0x7F, len(name))
            out += name
        _append_integer(out, 0, 0x7F, len(value))
        out += value
    return bytes(out)


def _append_integer(out: bytearray, pattern: int, mask: int, value: int) -> None:
    """Append ``value`` with a prefix of ``mask`` and the bits of ``pattern`` before it (§5.1)."""
    if value < mask:
        out.append(pattern | value)
        return
    out.append(pattern | mask)
    value -= mask
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
