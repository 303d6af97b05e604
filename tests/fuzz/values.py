"""The parsers of gRPC's single values: any bytes give a value or a StatusError, and values come back."""

from __future__ import annotations

from rusd.grpc import Code, StatusError
from rusd.grpc.framing import MessageReader, decompress, frame
from rusd.grpc.metadata import decode_binary, decode_timeout, encode_binary, encode_timeout
from rusd.grpc.quote import quote
from rusd.grpc.status import decode_message, encode_message
from tests.fuzz.source import Source

LIMIT = 300


def parse_values(source: Source) -> None:
    """The first octet says which parser, the rest is for it."""
    choice, rest = source.byte(), source.rest()
    (timeout, message, binary, reader, gzipped)[choice % 5](rest)


def judge(error: StatusError) -> None:
    """What a bad value leads to: the client's fault, told in text that can be sent."""
    assert error.code in (Code.INTERNAL, Code.RESOURCE_EXHAUSTED)
    error.message.encode()


def timeout(data: bytes) -> None:
    try:
        seconds = decode_timeout(data)
    except StatusError as error:
        judge(error)
        return
    assert 0 <= seconds <= 99_999_999 * 3600
    again = decode_timeout(encode_timeout(seconds))
    assert seconds * (1 - 1e-6) - 1e-9 <= again <= seconds * (1 + 1e-6) + 1.1e-9 or again >= seconds


def message(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    encoded = encode_message(text)
    assert all(0x20 <= octet < 0x7F for octet in encoded)
    assert decode_message(encoded) == text
    decode_message(data)
    quoted = quote(data)
    assert quoted[0] == quoted[-1] == '"' and "\n" not in quoted
    quoted.encode()  # no lone surrogates: it goes out as UTF-8


def binary(data: bytes) -> None:
    assert decode_binary(b"x-bin", encode_binary(data)) == data
    try:
        value = decode_binary(b"x-bin", data)
    except StatusError as error:
        judge(error)
    else:
        assert decode_binary(b"x-bin", encode_binary(value)) == value


def reader(data: bytes) -> None:
    """Messages are the same however their bytes are cut, and window is given back once for each byte."""
    whole = _read(data, len(data) or 1)
    for step in (1, 7):
        assert _read(data, step) == whole


def _read(data: bytes, step: int) -> tuple[list[bytes], str]:
    found = MessageReader(LIMIT, b"gzip")
    payloads: list[bytes] = []
    credit = 0
    for at in range(0, len(data), step):
        found.feed(data[at : at + step])
        credit += found.take_credit()
        found.check()
        try:
            while (payload := found.next_message()) is not None:
                assert len(payload) <= LIMIT
                payloads.append(payload)
                credit += found.take_credit()
                found.check()
        except StatusError as error:
            found.clear()
            return payloads, error.message
    assert credit == len(data)
    return payloads, f"rest {found.inside_message}"


def gzipped(data: bytes) -> None:
    try:
        out = decompress(data, b"gzip", LIMIT)
    except StatusError as error:
        judge(error)
        return
    assert len(out) <= LIMIT
    assert MessageReader(LIMIT).next_message() is None
    plain = MessageReader(LIMIT)
    plain.feed(frame(out))
    assert plain.next_message() == out
