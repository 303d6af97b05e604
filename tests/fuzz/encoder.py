"""A peer's HPACK encoder (RFC 7541), small and quick: most of a run would otherwise go into the library's.

Indexes everything it can, as most clients do, so the decoder's dynamic table is in use all the time.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hpack.table import HeaderTable

Field = tuple[bytes, bytes]

_STATIC: Final[dict[Field, int]] = {
    (bytes(name), bytes(value)): number for number, (name, value) in enumerate(HeaderTable.STATIC_TABLE, 1)
}
_FIRST_DYNAMIC: Final = 62
_huffman: Final = lru_cache(1000)(HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH).encode)


class Encoder:
    """The sending side's state."""

    def __init__(self) -> None:
        self._table: list[Field] = []  # the newest one in front
        self._used = 0
        self._limit = 4096
        self._announce = b""

    def resize(self, limit: int) -> None:
        """The decoder's SETTINGS_HEADER_TABLE_SIZE; takes effect with the next block."""
        self._limit = min(4096, limit)
        self._evict()
        self._announce = integer(0x20, 0x1F, self._limit)

    def encode(self, fields: Iterable[Field], *, huffman: bool = False) -> bytes:
        parts = [self._announce]
        self._announce = b""
        for field in fields:
            index = _STATIC.get(field)
            if index is None and field in self._table:
                index = _FIRST_DYNAMIC + self._table.index(field)
            if index is not None:
                parts.append(integer(0x80, 0x7F, index))
                continue
            parts += (b"\x40", string(field[0], huffman), string(field[1], huffman))
            self._table.insert(0, field)
            self._used += 32 + len(field[0]) + len(field[1])
            self._evict()
        return b"".join(parts)

    def _evict(self) -> None:
        while self._used > self._limit:
            name, value = self._table.pop()
            self._used -= 32 + len(name) + len(value)


def string(value: bytes, huffman: bool) -> bytes:
    """A string literal (section 5.2)."""
    if not huffman:
        return integer(0, 0x7F, len(value)) + value
    coded: bytes = _huffman(value)
    return integer(0x80, 0x7F, len(coded)) + coded


def integer(pattern: int, mask: int, value: int) -> bytes:
    """An integer behind the bits of ``pattern`` (section 5.1)."""
    if value < mask:
        return bytes((pattern | value,))
    out = bytearray((pattern | mask,))
    value -= mask
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
