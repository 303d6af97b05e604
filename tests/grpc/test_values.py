"""Statuses, metadata, time-outs, quoting: the small parts that end up in headers."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rusd.grpc import Code, Metadata, Registry, StatusError
from rusd.grpc.metadata import (
    decode_binary,
    decode_timeout,
    encode_binary,
    encode_timeout,
    from_headers,
    to_headers,
)
from rusd.grpc.quote import quote
from rusd.grpc.status import decode_message, encode_message


def test_printable_ascii_stays_as_it_is_in_a_message() -> None:
    text = "etcdserver: mvcc: required revision has been compacted ~!"
    assert encode_message(text) == text.encode()


def test_percent_signs_controls_and_unicode_are_escaped_byte_by_byte() -> None:
    assert encode_message("100% ä\n€") == b"100%25 %C3%A4%0A%E2%82%AC"


def test_a_space_at_either_end_is_escaped_as_a_header_may_have_none_there() -> None:
    assert encode_message(" unknown service ") == b"%20unknown service%20"
    assert encode_message(" ") == b"%20"
    assert encode_message("a  ") == b"a %20"


@given(st.text())
def test_any_message_survives_the_header(text: str) -> None:
    encoded = encode_message(text)
    assert all(0x20 <= byte <= 0x7E for byte in encoded)
    assert encoded == encoded.strip()
    assert decode_message(encoded) == text.encode("utf-8", "replace").decode()


def test_a_malformed_escape_is_taken_literally() -> None:
    assert decode_message(b"50% of %zz%4") == "50% of %zz%4"


def test_a_status_error_prints_as_go_prints_it() -> None:
    error = StatusError(Code.PERMISSION_DENIED, "etcdserver: permission denied")
    assert str(error) == "rpc error: code = PermissionDenied desc = etcdserver: permission denied"


def test_both_spellings_of_cancelled_are_one_code() -> None:
    assert Code.CANCELED is Code.CANCELLED


@pytest.mark.parametrize(
    ("raw", "quoted"),
    [
        (b"text/plain", '"text/plain"'),
        (b'a"b\\c\td\x01\x7f', '"a\\"b\\\\c\\td\\x01\\x7f"'),
        ("é€".encode(), '"é€"'),
        (b"\xff\xfe", '"\\xff\\xfe"'),
        ("\u2028".encode(), '"\\u2028"'),
    ],
)
def test_quoting_is_gos(raw: bytes, quoted: str) -> None:
    assert quote(raw) == quoted


# -- metadata --------------------------------------------------------------------------


def test_a_name_may_have_several_values() -> None:
    metadata = Metadata([("a", b"1"), ("b", b"2"), ("a", b"3")])
    assert metadata.get("a") == b"1"
    assert metadata.get_all("a") == [b"1", b"3"]
    assert metadata.get("c", b"-") == b"-"
    assert "b" in metadata
    assert list(metadata.pairs()) == [("a", b"1"), ("a", b"3"), ("b", b"2")]


def test_binary_metadata_is_decoded_and_reserved_headers_are_hidden() -> None:
    headers = [
        (b":path", b"/x"),
        (b"te", b"trailers"),
        (b"x-bin", b"AAE"),
        (b"token", b"t"),
        (b"grpc-timeout", b"1S"),
    ]
    assert list(from_headers(headers).pairs()) == [("x-bin", b"\0\1"), ("token", b"t")]


def test_metadata_to_send_can_not_forge_reserved_headers() -> None:
    pairs = [("grpc-status", b"0"), (":path", b"/"), ("X-Bin", b"\xff"), ("ok", b"yes")]
    assert to_headers(pairs) == [(b"x-bin", b"/w"), (b"ok", b"yes")]


@given(st.binary(max_size=40))
def test_binary_values_survive_with_and_without_padding(value: bytes) -> None:
    assert decode_binary(b"k-bin", encode_binary(value)) == value
    assert decode_binary(b"k-bin", base64.b64encode(value)) == value


@pytest.mark.parametrize(("value", "offset"), [(b"a!k", 1), (b"abcde", 4), (b"=", 0), (b"ab=", 2)])
def test_what_is_not_base64_is_refused_in_grpc_gos_words(value: bytes, offset: int) -> None:
    with pytest.raises(StatusError) as caught:
        decode_binary(b"k-bin", value)
    assert caught.value.code is Code.INTERNAL
    assert caught.value.message == (
        f'malformed binary metadata "{value.decode()}" in header "k-bin": '
        f"illegal base64 data at input byte {offset}"
    )


# -- time-outs ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(b"2H", 7200), (b"3M", 180), (b"5S", 5), (b"250m", 0.25), (b"10u", 1e-5), (b"7n", 7e-9), (b"0S", 0)],
)
def test_time_outs_have_six_units(value: bytes, seconds: float) -> None:
    assert decode_timeout(value) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (b"", 'transport: timeout string is too short: ""'),
        (b"S", 'transport: timeout string is too short: "S"'),
        (b"123456789S", 'transport: timeout string is too long: "123456789S"'),
        (b"12q", 'transport: timeout unit is not recognized: "12q"'),
        (b"-1S", 'strconv.ParseUint: parsing "-1": invalid syntax'),
        (b"1_0S", 'strconv.ParseUint: parsing "1_0": invalid syntax'),
    ],
)
def test_malformed_time_outs_are_refused_in_grpc_gos_words(value: bytes, problem: str) -> None:
    with pytest.raises(StatusError) as caught:
        decode_timeout(value)
    assert caught.value.message == f"malformed grpc-timeout: {problem}"


@given(st.floats(min_value=0, max_value=3e11))
def test_a_time_out_is_never_sent_shorter_than_asked_and_at_most_a_little_longer(seconds: float) -> None:
    value = encode_timeout(seconds)
    assert len(value) <= 9
    sent = decode_timeout(value)
    assert sent >= seconds * (1 - 1e-9) - 1e-9
    assert sent <= seconds * 1.0002 + 1e-8


# -- registry ----------------------------------------------------------------------------------


def test_a_path_can_be_registered_once_and_must_be_one() -> None:
    from google.protobuf.empty_pb2 import Empty

    registry = Registry()
    registry.inline("/a.B/C", Empty, lambda *_: b"")
    assert registry.paths() == ["/a.B/C"]
    with pytest.raises(ValueError, match="already"):
        registry.inline("/a.B/C", Empty, lambda *_: b"")
    for path in ("a.B/C", "/a.B", "/a.B/", "//C"):
        with pytest.raises(ValueError, match="not a method path"):
            registry.inline(path, Empty, lambda *_: b"")
