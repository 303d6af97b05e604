"""Header compression: RFC 7541's own examples, its errors, and the ``hpack`` library as a second opinion."""

from __future__ import annotations

import hpack
import pytest
from hpack.exceptions import HPACKDecodingError
from hpack.huffman_table import decode_huffman as library_huffman
from hypothesis import given, settings
from hypothesis import strategies as st

from rusd.http2.errors import ConnectionViolationError, ErrorCode
from rusd.http2.hpack import Decoder, encode_static
from rusd.http2.huffman import decode_huffman

LIMIT = 64 * 1024

# Appendix C, one line a field.  Literals in C.3 and C.5 are plain, in C.4 and C.6 Huffman-coded.
FIRST_REQUEST = [
    (b":method", b"GET"),
    (b":scheme", b"http"),
    (b":path", b"/"),
    (b":authority", b"www.example.com"),
]
SECOND_REQUEST = [*FIRST_REQUEST, (b"cache-control", b"no-cache")]
THIRD_REQUEST = [
    (b":method", b"GET"),
    (b":scheme", b"https"),
    (b":path", b"/index.html"),
    (b":authority", b"www.example.com"),
    (b"custom-key", b"custom-value"),
]
FIRST_RESPONSE = [
    (b":status", b"302"),
    (b"cache-control", b"private"),
    (b"date", b"Mon, 21 Oct 2013 20:13:21 GMT"),
    (b"location", b"https://www.example.com"),
]
SECOND_RESPONSE = [(b":status", b"307"), *FIRST_RESPONSE[1:]]
THIRD_RESPONSE = [
    (b":status", b"200"),
    (b"cache-control", b"private"),
    (b"date", b"Mon, 21 Oct 2013 20:13:22 GMT"),
    (b"location", b"https://www.example.com"),
    (b"content-encoding", b"gzip"),
    (b"set-cookie", b"foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"),
]
TABLE_OF_256 = b"\x3f\xe1\x01"


def text(string: bytes) -> bytes:
    return bytes((len(string),)) + string


def huffman(hexadecimal: str) -> bytes:
    raw = bytes.fromhex(hexadecimal)
    return bytes((0x80 | len(raw),)) + raw


C3 = [
    (b"\x82\x86\x84\x41" + text(b"www.example.com"), FIRST_REQUEST, 57),
    (b"\x82\x86\x84\xbe\x58" + text(b"no-cache"), SECOND_REQUEST, 110),
    (b"\x82\x87\x85\xbf\x40" + text(b"custom-key") + text(b"custom-value"), THIRD_REQUEST, 164),
]
C4 = [
    (b"\x82\x86\x84\x41" + huffman("f1e3c2e5f23a6ba0ab90f4ff"), FIRST_REQUEST, 57),
    (b"\x82\x86\x84\xbe\x58" + huffman("a8eb10649cbf"), SECOND_REQUEST, 110),
    (
        b"\x82\x87\x85\xbf\x40" + huffman("25a849e95ba97d7f") + huffman("25a849e95bb8e8b4bf"),
        THIRD_REQUEST,
        164,
    ),
]
C5 = [
    (
        TABLE_OF_256
        + b"\x48"
        + text(b"302")
        + b"\x58"
        + text(b"private")
        + b"\x61"
        + text(b"Mon, 21 Oct 2013 20:13:21 GMT")
        + b"\x6e"
        + text(b"https://www.example.com"),
        FIRST_RESPONSE,
        222,
    ),
    (b"\x48" + text(b"307") + b"\xc1\xc0\xbf", SECOND_RESPONSE, 222),
    (
        b"\x88\xc1\x61"
        + text(b"Mon, 21 Oct 2013 20:13:22 GMT")
        + b"\xc0\x5a"
        + text(b"gzip")
        + b"\x77"
        + text(b"foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"),
        THIRD_RESPONSE,
        215,
    ),
]
C6 = [
    (
        TABLE_OF_256
        + b"\x48"
        + huffman("6402")
        + b"\x58"
        + huffman("aec3771a4b")
        + b"\x61"
        + huffman("d07abe941054d444a8200595040b8166e082a62d1bff")
        + b"\x6e"
        + huffman("9d29ad171863c78f0b97c8e9ae82ae43d3"),
        FIRST_RESPONSE,
        222,
    ),
    (b"\x48" + huffman("640eff") + b"\xc1\xc0\xbf", SECOND_RESPONSE, 222),
    (
        b"\x88\xc1\x61"
        + huffman("d07abe941054d444a8200595040b8166e084a62d1bff")
        + b"\xc0\x5a"
        + huffman("9bd9ab")
        + b"\x77"
        + huffman(
            "94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007"
        ),
        THIRD_RESPONSE,
        215,
    ),
]


@pytest.mark.parametrize("section", [C3, C4, C5, C6], ids=["C.3", "C.4", "C.5", "C.6"])
def test_the_examples_of_the_rfc_decode(section: list[tuple[bytes, list[tuple[bytes, bytes]], int]]) -> None:
    decoder = Decoder(LIMIT)
    for block, fields, table_size in section:
        assert decoder.decode(block) == fields
        assert decoder._used == table_size
        decoder.check()


@pytest.mark.parametrize(
    ("block", "field", "indexed"),
    [
        (b"\x40" + text(b"custom-key") + text(b"custom-header"), (b"custom-key", b"custom-header"), True),
        (b"\x04" + text(b"/sample/path"), (b":path", b"/sample/path"), False),
        (b"\x10" + text(b"password") + text(b"secret"), (b"password", b"secret"), False),
        (b"\x82", (b":method", b"GET"), False),
    ],
    ids=["C.2.1", "C.2.2", "C.2.3", "C.2.4"],
)
def test_each_representation_decodes(block: bytes, field: tuple[bytes, bytes], indexed: bool) -> None:
    decoder = Decoder(LIMIT)
    assert decoder.decode(block) == [field]
    assert (decoder._used > 0) is indexed


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(b"\x80", id="index 0"),
        pytest.param(b"\xbe", id="index beyond an empty dynamic table"),
        pytest.param(b"\xff\xff\xff\xff\xff\xff\xff\x01", id="integer too long"),
        pytest.param(b"\xff\x80", id="integer cut short"),
        pytest.param(b"\x7f\xff\x01" + text(b"v"), id="name index beyond the table"),
        pytest.param(b"\x40\x05ab", id="name cut short"),
        pytest.param(b"\x40\x01a", id="value missing"),
        pytest.param(b"\x40\x01a\x7f\xff\xff\x03b", id="value far too long"),
        pytest.param(b"\x82\x20", id="size update after a field"),
        pytest.param(b"\x3f\xe2\x1f", id="size update beyond the limit"),
        pytest.param(b"\x41\x82\xff\xff", id="padding of eight ones and more"),
        pytest.param(b"\x41\x81\x00", id="padding of zeros"),
        pytest.param(b"\x41\x84\xff\xff\xff\xff", id="the end-of-string symbol"),
    ],
)
def test_a_broken_block_is_a_compression_error(block: bytes) -> None:
    with pytest.raises(ConnectionViolationError) as caught:
        Decoder(LIMIT).decode(block)
    assert caught.value.code is ErrorCode.COMPRESSION_ERROR


def test_an_entry_larger_than_the_table_empties_it() -> None:
    decoder = Decoder(LIMIT)
    decoder.decode(b"\x40" + text(b"a") + text(b"b"))
    assert decoder.decode(b"\xbe") == [(b"a", b"b")]
    value = b"v" * 4096
    assert decoder.decode(b"\x40" + text(b"n") + b"\x7f\x81\x1f" + value) == [(b"n", value)]
    decoder.check()
    with pytest.raises(ConnectionViolationError):
        decoder.decode(b"\xbe")


def test_an_entry_may_take_its_name_from_the_entry_that_it_evicts() -> None:
    decoder = Decoder(LIMIT)  # RFC 7541 §4.4
    decoder.decode(b"\x3f\x09" + b"\x40" + text(b"name") + text(b"old!"))  # a table of 40 octets
    assert decoder.decode(b"\x7e" + text(b"new!")) == [(b"name", b"new!")]
    assert decoder.decode(b"\xbe") == [(b"name", b"new!")]
    decoder.check()


def test_after_our_limit_went_down_the_next_block_must_begin_with_an_update() -> None:
    decoder = Decoder(LIMIT)
    decoder.set_limit(100)
    with pytest.raises(ConnectionViolationError):
        decoder.decode(b"\x82")
    decoder = Decoder(LIMIT)
    decoder.set_limit(100)
    assert decoder.decode(b"\x20\x3f\x45\x82") == [(b":method", b"GET")]  # twice: smallest, then last
    assert decoder.decode(b"\x82") == [(b":method", b"GET")]


def test_a_raised_limit_may_be_used_but_need_not() -> None:
    decoder = Decoder(LIMIT)
    decoder.set_limit(8192)
    assert decoder.decode(b"\x82") == [(b":method", b"GET")]
    assert decoder.decode(b"\x3f\xe1\x3f\x82") == [(b":method", b"GET")]  # 8192


def test_a_list_over_its_limit_is_cut_but_the_table_stays_in_step() -> None:
    decoder = Decoder(100)
    block = b"".join(b"\x40" + text(bytes((n,))) + text(b"v" * 10) for n in b"abcd")
    fields = decoder.decode(block)
    assert decoder.oversized
    assert fields == [(b"a", b"v" * 10), (b"b", b"v" * 10)]
    assert decoder.decode(b"\xbe") == [(b"d", b"v" * 10)]
    assert not decoder.oversized


def test_a_bomb_of_references_ends_soon_after_the_limit() -> None:
    decoder = Decoder(LIMIT)
    decoder.decode(b"\x40" + text(b"k") + b"\x7f\xa1\x1e" + b"v" * 4000)
    with pytest.raises(ConnectionViolationError) as caught:
        decoder.decode(b"\xbe" * 16_000)  # 16 kB that stand for 64 MB
    assert caught.value.code is ErrorCode.ENHANCE_YOUR_CALM


def test_an_unsound_field_is_noticed_also_when_it_comes_from_the_table() -> None:
    decoder = Decoder(LIMIT)
    decoder.decode(b"\x40" + text(b"Upper") + text(b"v"))
    assert decoder.unsound
    decoder.decode(b"\x82")
    assert not decoder.unsound
    decoder.decode(b"\x82\xbe")
    assert decoder.unsound
    decoder.decode(b"\x20\x82")  # evicts it
    assert not decoder.unsound
    decoder.check()


@settings(max_examples=500)
@given(st.binary(max_size=40))
def test_any_bytes_are_to_our_huffman_decoder_what_they_are_to_the_librarys(data: bytes) -> None:
    try:
        expected = bytes(library_huffman(data))
    except HPACKDecodingError:
        with pytest.raises(HPACKDecodingError):
            decode_huffman(data)
    else:
        assert decode_huffman(data) == expected


names = st.sampled_from([b":path", b":method", b"te", b"accept", b"x-a", b"x-bb", b"grpc-timeout"])
values = st.one_of(st.sampled_from([b"", b"GET", b"/", b"trailers"]), st.binary(max_size=200))
header_lists = st.lists(st.tuples(names, values), max_size=12)


@given(st.lists(st.tuples(header_lists, st.booleans(), st.none() | st.integers(0, 4096)), max_size=8))
def test_what_the_library_encodes_decodes_to_the_same(
    blocks: list[tuple[list[tuple[bytes, bytes]], bool, int | None]],
) -> None:
    decoder, encoder = Decoder(LIMIT), hpack.Encoder()
    for fields, with_huffman, table_size in blocks:
        if table_size is not None:
            encoder.header_table_size = table_size
        assert decoder.decode(encoder.encode(fields, huffman=with_huffman)) == fields
        decoder.check()


@given(st.lists(header_lists, max_size=4))
def test_what_we_encode_the_library_decodes_without_using_its_table(
    lists: list[list[tuple[bytes, bytes]]],
) -> None:
    decoder = hpack.Decoder()
    for fields in lists:
        assert [tuple(field) for field in decoder.decode(encode_static(fields), raw=True)] == fields
        assert not decoder.header_table.dynamic_entries


@given(st.lists(st.binary(max_size=60), max_size=6))
@settings(max_examples=300)
def test_any_bytes_decode_or_are_an_error_of_the_connection(blocks: list[bytes]) -> None:
    decoder = Decoder(1000)
    code = ErrorCode.COMPRESSION_ERROR
    for block in blocks:
        try:
            fields = decoder.decode(block)
        except ConnectionViolationError as violation:
            code = violation.code
            break
        assert sum(32 + len(name) + len(value) for name, value in fields) <= 1000
        decoder.check()
    assert code in (ErrorCode.COMPRESSION_ERROR, ErrorCode.ENHANCE_YOUR_CALM)


@given(st.lists(st.binary(max_size=60), max_size=6))
@settings(max_examples=300)
def test_blocks_that_both_accept_mean_the_same_to_the_library(blocks: list[bytes]) -> None:
    ours, theirs = Decoder(LIMIT), hpack.Decoder()
    for block in blocks:
        try:
            fields = ours.decode(block)
            expected = [tuple(field) for field in theirs.decode(block, raw=True)]
        except (ConnectionViolationError, hpack.HPACKError):
            return
        assert fields == expected


def test_credentials_are_marked_never_to_be_indexed() -> None:
    [field] = hpack.Decoder().decode(encode_static([(b"authorization", b"token")]), raw=True)
    assert isinstance(field, hpack.NeverIndexedHeaderTuple)


def test_long_names_and_values_are_encoded_with_long_integers() -> None:
    fields = [(b"n" * 127, b"v" * 126), (b"n" * 300, b"v" * 20_000)]
    assert Decoder(LIMIT).decode(encode_static(fields)) == fields
