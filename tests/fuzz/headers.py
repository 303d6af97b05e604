"""Target: the HPACK decoder and encoder, beside those of the ``hpack`` library.

The input is a list of header blocks with changes of the table's limit between them, either raw or made by
the library's encoder and then, perhaps, damaged.  Asserted: both decoders give the same fields and hold the
same dynamic table, or both refuse the block; what our encoder makes both decode to what went in; a field is
*unsound* where a plain reading of RFC 9113 section 8.2.1 says so.

Known differences, which end the comparison: integers that take more than five octets are refused here.
"""

from __future__ import annotations

import hpack

from rusd.http2.errors import ConnectionViolationError, ErrorCode
from rusd.http2.hpack import Decoder, encode_static
from tests.fuzz.source import Source

Fields = list[tuple[bytes, bytes]]

LIST_LIMITS = (100, 2000, 65_536, 0)
TABLE_LIMITS = (4096, 0, 31, 32, 33, 66, 100, 200, 8192, 65_536)
NAMES = (
    b":method",
    b":path",
    b":authority",
    b":status",
    b"content-type",
    b"grpc-timeout",
    b"te",
    b"authorization",
    b"x",
    b"",
    b":nonsense",
    b"Upper",
    b"sp ace",
    b"\xc3\xa9",
)
VALUES = (
    b"POST",
    b"/etcdserverpb.KV/Range",
    b"200",
    b"application/grpc",
    b"trailers",
    b"",
    b" led",
    b"ended\t",
    b"line\n",
    b"nul\0",
    b"\xff\xfe",
    b"v" * 40,
    b"w" * 300,
)
_PSEUDO = (b":method", b":scheme", b":path", b":authority", b":status")


class Both:
    """Our decoder and the library's, in step."""

    def __init__(self, list_limit: int) -> None:
        self._list_limit = list_limit
        self.ours = Decoder(list_limit)
        # Beyond twice the limit we refuse a block; up to there we cut the list short.
        self.theirs = hpack.Decoder(max_header_list_size=2 * list_limit)

    def set_limit(self, limit: int) -> None:
        self.ours.set_limit(limit)
        self.theirs.max_allowed_table_size = limit

    def decode(self, block: bytes) -> Fields | None:
        """The fields, if they agree on them; ``None`` if both refuse, or differ as they may."""
        refusal = ours = code = None
        try:
            ours = self.ours.decode(block)
        except ConnectionViolationError as error:
            code, refusal = error.code, error.reason
        theirs = self._decode_theirs(block)
        if ours is None:
            assert code in (ErrorCode.COMPRESSION_ERROR, ErrorCode.ENHANCE_YOUR_CALM)
            assert theirs is None or refusal == "integer too long", f"refused here only: {refusal}"
            return None
        assert theirs is not None, "refused there only"
        self._compare(ours, theirs)
        return ours

    def _decode_theirs(self, block: bytes) -> Fields | None:
        try:
            fields = self.theirs.decode(block, raw=True)
        except hpack.HPACKError:
            return None
        return [(bytes(name), bytes(value)) for name, value in fields]

    def _compare(self, ours: Fields, theirs: Fields) -> None:
        size = sum(32 + len(name) + len(value) for name, value in theirs)
        assert self.ours.oversized == (size > self._list_limit)
        if self.ours.oversized:
            assert ours == theirs[: len(ours)]
            assert sum(32 + len(name) + len(value) for name, value in ours) <= self._list_limit
        else:
            assert ours == theirs
            assert self.ours.unsound == (not all(is_sound(name, value) for name, value in ours))
        self.ours.check()
        table = self.theirs.header_table
        dynamic = [field for field, _ in self.ours._entries[62:]]
        assert dynamic == [(bytes(name), bytes(value)) for name, value in table.dynamic_entries]
        assert self.ours._used == table._current_size
        assert self.ours._table_size == table.maxsize


def is_sound(name: bytes, value: bytes) -> bool:
    """RFC 9113 section 8.2.1, letter by letter."""
    if name not in _PSEUDO:
        if not name or any(octet <= 0x20 or octet >= 0x7F or 0x41 <= octet <= 0x5A for octet in name):
            return False
        if b":" in name:
            return False
    if any(octet in b"\0\r\n" for octet in value):
        return False
    return value == value.strip(b" \t")


def fields_from(source: Source) -> Fields:
    fields = []
    for _ in range(source.byte() % 12):
        choice = source.byte()
        name = source.pick(NAMES) if choice & 1 else source.chunk()
        value = source.pick(VALUES) if choice & 2 else source.chunk()
        fields.append((name, value))
    return fields


def compare_decoders(source: Source) -> None:
    """Blocks of any bytes, or of the library's encoder, for both decoders."""
    both = Both(source.pick(LIST_LIMITS))
    encoder = hpack.Encoder()
    while source.more:
        op = source.byte()
        if op & 3 == 3:
            limit = source.pick(TABLE_LIMITS)
            both.set_limit(limit)
            if op & 4:
                encoder.header_table_size = limit
        elif op & 3 == 2:
            fields = fields_from(source)
            block = bytearray(encoder.encode(fields, huffman=bool(op & 4)))
            if op & 8 and block:
                block[source.byte() % len(block)] ^= 1 << (op >> 4 & 7)
            if op & 0x80:
                del block[source.byte() :]
            if both.decode(bytes(block)) is None:
                return
        else:
            block = bytearray(source.take(source.short() & 0x3FF) if op & 4 else source.chunk())
            if both.decode(bytes(block)) is None:
                return


def round_trip(source: Source) -> None:
    """What is encoded comes back, whoever encodes and whoever decodes."""
    encoder = hpack.Encoder()
    ours, theirs = Decoder(1 << 20), hpack.Decoder(max_header_list_size=1 << 20)
    theirs_for_ours, ours_for_ours = hpack.Decoder(max_header_list_size=1 << 20), Decoder(1 << 20)
    while source.more:
        if source.byte() & 7 == 0:
            encoder.header_table_size = min(4096, source.pick(TABLE_LIMITS))
        fields = fields_from(source)
        block = bytes(encoder.encode(fields, huffman=source.flag()))
        assert ours.decode(block) == fields
        assert [(bytes(name), bytes(value)) for name, value in theirs.decode(block, raw=True)] == fields
        static = encode_static(fields)
        assert [(bytes(n), bytes(v)) for n, v in theirs_for_ours.decode(static, raw=True)] == fields
        assert ours_for_ours.decode(static) == fields
        ours.check()
        assert not theirs_for_ours.header_table.dynamic_entries, "a block that changes the table"
        ours_for_ours.check()
        assert not ours_for_ours._used, "a block that changes the table"


def target(data: bytes) -> None:
    """Raises :class:`AssertionError` where the two differ, and whatever else should not come out."""
    source = Source(data)
    if source.flag():
        round_trip(source)
    else:
        compare_decoders(source)
