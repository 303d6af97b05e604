"""Which header sections are valid messages (RFC 9113 §8)."""

from __future__ import annotations

import pytest

from rusd.http2.errors import MalformedMessageError
from rusd.http2.fields import check_request, check_response, check_trailers, is_sound

GET = [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/")]


def without(name: bytes) -> list[tuple[bytes, bytes]]:
    return [field for field in GET if field[0] != name]


@pytest.mark.parametrize(
    ("name", "value", "sound"),
    [
        (b"x-name", b"value", True),
        (b"x-name", b"", True),
        (b"x-bin", b"\xff\x80 inner space", True),
        (b":path", b"/", True),
        (b"x!#$%&'*+-.^_`|~9", b"v", True),
        (b"X-Name", b"v", False),
        (b"", b"v", False),
        (b":unknown", b"v", False),
        (b"x:y", b"v", False),
        (b"x y", b"v", False),
        (b"x\x7f", b"v", False),
        (b"x\xe9", b"v", False),
        (b"x\n", b"v", False),
        (b"x", b"a\x00b", False),
        (b"x", b"a\r\nb", False),
        (b"x", b"v\n", False),
        (b"x", b" v", False),
        (b"x", b"v\t", False),
    ],
)
def test_a_field_is_sound_or_not(name: bytes, value: bytes, sound: bool) -> None:
    assert is_sound(name, value) is sound


@pytest.mark.parametrize(
    ("headers", "length"),
    [
        (GET, -1),
        ([*GET, (b"te", b"trailers"), (b"x", b"")], -1),
        ([*GET, (b":authority", b"")], -1),
        ([*GET, (b"content-length", b"12")], 12),
        ([*GET, (b"content-length", b"12"), (b"content-length", b"12")], 12),
        ([(b":method", b"CONNECT"), (b":authority", b"host:1")], -1),
    ],
)
def test_a_valid_request_tells_its_content_length(headers: list[tuple[bytes, bytes]], length: int) -> None:
    assert check_request(headers) == length


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param([], id="empty"),
        pytest.param(without(b":method"), id="no method"),
        pytest.param(without(b":scheme"), id="no scheme"),
        pytest.param(without(b":path"), id="no path"),
        pytest.param([*without(b":path"), (b":path", b"")], id="empty path"),
        pytest.param([*GET, (b":method", b"GET")], id="method twice"),
        pytest.param([(b"x", b"y"), *GET], id="pseudo-header after a field"),
        pytest.param([*GET, (b":status", b"200")], id="status in a request"),
        pytest.param([*GET, (b"connection", b"close")], id="connection"),
        pytest.param([*GET, (b"keep-alive", b"1")], id="keep-alive"),
        pytest.param([*GET, (b"proxy-connection", b"1")], id="proxy-connection"),
        pytest.param([*GET, (b"transfer-encoding", b"chunked")], id="transfer-encoding"),
        pytest.param([*GET, (b"upgrade", b"h2c")], id="upgrade"),
        pytest.param([*GET, (b"te", b"gzip")], id="te"),
        pytest.param([*GET, (b"content-length", b"-1")], id="negative length"),
        pytest.param([*GET, (b"content-length", b"9" * 5000)], id="endless length"),
        pytest.param([*GET, (b"content-length", b"1"), (b"content-length", b"2")], id="two lengths"),
        pytest.param([(b":method", b"CONNECT"), *without(b":method")], id="CONNECT with a path"),
        pytest.param([(b":method", b"CONNECT")], id="CONNECT without authority"),
    ],
)
def test_a_malformed_request_is_refused(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(MalformedMessageError):
        check_request(headers)


def test_a_response_has_one_status_before_all_else() -> None:
    assert check_response([(b":status", b"200"), (b"content-length", b"5")]) == (False, 5)
    assert check_response([(b":status", b"103")]) == (True, -1)


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"x", b"y")],
        [(b":status", b"20")],
        [(b":status", b"2x0")],
        [(b":status", b"200"), (b":status", b"200")],
        [(b"x", b"y"), (b":status", b"200")],
        [(b":status", b"200"), (b":path", b"/")],
        [(b":status", b"200"), (b"connection", b"close")],
    ],
)
def test_a_malformed_response_is_refused(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(MalformedMessageError):
        check_response(headers)


def test_trailers_have_no_pseudo_headers_and_nothing_of_the_connection() -> None:
    check_trailers([(b"grpc-status", b"0"), (b"te", b"trailers")])
    for field in [(b":status", b"200"), (b":path", b"/"), (b"connection", b"close")]:
        with pytest.raises(MalformedMessageError):
            check_trailers([(b"x", b"y"), field])
