"""Where a campaign begins: real sessions, real requests, and the words of the protocols.

Seeds are inputs of the targets, so they carry the octets by which a target chooses role and settings.  The
words make up libFuzzer's dictionary.
"""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from typing import Any, Final

import hpack
from google.protobuf.message import Message

from etcdpb import rpc_pb2
from rusd.peers.codec import Encoder, encode_forward
from rusd.raft import Configuration, Entry, EntryType, MessageType, Snapshot, encode_configuration
from rusd.raft import Message as RaftMessage
from rusd.replica.forwarding import Forward
from tests.fuzz.headers import TABLE_LIMITS
from tests.fuzz.host import REQUEST, RESPONSE, TRAILERS
from tests.fuzz.peer_view import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Fields,
    frame,
)
from tests.fuzz.requests import Session

_SETTINGS: Final = frame(SETTINGS, 0, 0, struct.pack(">HIHIHI", 1, 100, 4, 1000, 5, 16_384))
_U32: Final = struct.Struct(">I")


def _sessions() -> list[bytes]:
    """What a client and a server send in an ordinary life, as frames."""
    encoder = hpack.Encoder()

    def block(fields: Fields) -> bytes:
        return bytes(encoder.encode(fields))

    first = block(REQUEST)
    client = b"".join(
        (
            PREFACE,
            _SETTINGS,
            frame(SETTINGS, ACK, 0),
            frame(WINDOW_UPDATE, 0, 0, _U32.pack(65_536)),
            frame(HEADERS, END_STREAM, 1, first[:7]),
            frame(CONTINUATION, END_HEADERS, 1, first[7:]),
            frame(HEADERS, END_HEADERS | 0x20, 3, bytes(5) + block([*REQUEST, (b"grpc-timeout", b"10S")])),
            frame(DATA, 0, 3, b"\0\0\0\0\3abc"),
            frame(PING, 0, 0, b"12345678"),
            frame(DATA, PADDED | END_STREAM, 3, b"\2xy\0\0"),
            frame(HEADERS, END_HEADERS, 5, block(REQUEST)),
            frame(WINDOW_UPDATE, 0, 5, _U32.pack(1000)),
            frame(PRIORITY, 0, 5, bytes(5)),
            frame(RST_STREAM, 0, 5, _U32.pack(8)),
            frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 5)),
            frame(HEADERS, END_HEADERS, 7, block([*REQUEST, (b"content-length", b"5")])),
            frame(DATA, 0, 7, b"hello"),
            frame(HEADERS, END_HEADERS | END_STREAM, 7, block([(b"trailer", b"x")])),
            frame(GOAWAY, 0, 0, bytes(8) + b"bye"),
        )
    )
    encoder = hpack.Encoder()
    server = b"".join(
        (
            _SETTINGS,
            frame(SETTINGS, ACK, 0),
            frame(HEADERS, END_HEADERS, 1, block([(b":status", b"103")])),
            frame(HEADERS, END_HEADERS, 1, block(RESPONSE)),
            frame(DATA, 0, 1, b"\0\0\0\0\3abc"),
            frame(HEADERS, END_HEADERS | END_STREAM, 1, block(TRAILERS)),
            frame(PING, ACK, 0, b"12345678"),
            frame(GOAWAY, 0, 0, struct.pack(">II", 1, 0)),
        )
    )
    return [client, server]


def frame_seeds() -> list[bytes]:
    client, server = _sessions()
    script = bytes(range(8))
    raw = [bytes((0, 0)) + script + b"\0" + client, bytes((1, 0)) + script + b"\0" + server]
    raw += [bytes((0, 0x80)) + script + b"\x11" + client, bytes((0x34, 0x57)) + bytes(8) + b"\x03" + client]
    steps = bytes.fromhex("00 20 04 00 05 68656c6c6f 0f 12 00 04 25 00 05 00 01 0f 13 33 53")
    structured = [bytes((choices, 0)) + bytes(8) + b"\x00" + steps for choices in (2, 3, 0x12, 0x2A)]
    # Each instruction once, then again with other flags.
    for choices in (2, 3):
        every = b"".join(
            bytes((op | flags, 0, 1, 2, 3, 0, 0x0F)) for flags in (0, 0x20, 0xE0) for op in range(22)
        )
        structured.append(bytes((choices, 0)) + bytes(8) + b"\x02\x0a" + every)
    # More DATA than any window, with a host that acknowledges nothing.
    flood = b"\0" + b"\x03\0\x05\0" * 6
    structured += [bytes((2, variety)) + b"\x83" * 8 + b"\0" + flood for variety in (0, 0x0C, 0x4C)]
    # A host that sends more than the stream's window, then a wider one, then none.
    answer = b"\x10\0\2" + b"\x10\0\3" * 3 + b"\x0f" + b"\x26\x0b\x0f" + b"\x26\x08\x10\0\3\x0f"
    structured += [bytes((choices, 0)) + bytes(8) + b"\2\x0a\0\x0f" + answer for choices in (2, 0x12)]
    return raw + structured


def header_seeds() -> list[bytes]:
    encoder = hpack.Encoder()
    seeds = []
    lists: list[Fields] = [REQUEST, [*REQUEST, (b"grpc-timeout", b"1S")], TRAILERS, [(b"x", b"y" * 100)]]
    blocks = [bytes(encoder.encode(fields, huffman=bool(number & 1))) for number, fields in enumerate(lists)]
    raw = b"".join(bytes((0, len(block))) + block for block in blocks)
    seeds.append(b"\0\1" + raw)
    for limit in range(10):
        encoder.header_table_size = TABLE_LIMITS[limit]
        block = bytes(encoder.encode(REQUEST))
        seeds.append(b"\0\1" + bytes((7, limit, 0, len(block))) + block)
    # A table that its entries fill to the last octet.
    seeds.append(b"\0\1\0\x0e" + b"\x3f\x23" + b"\x40\1a\0\x40\1b\0\x40\1c\0" + b"\0\2\xbe\xbf")
    pairs = b"".join(bytes((3, name, value)) for name in range(14) for value in range(13))
    seeds += [bytes((mode, 1, 2 | 4 * huffman, 11)) + pairs for mode in (0, 1) for huffman in (0, 1)]
    return seeds


def call_seeds() -> list[bytes]:
    seeds = []
    for path in range(16):
        whole = bytes((0x10, path, 0, 0, 5)) + b"hello"
        seeds.append(b"\0\0\0\0" + whole + bytes((13, 8, 0, 0, 8, 0, 3, 10, 0, 1, 8, 0, 4)))
        parts = bytes((1, path, 1, 3, 0, 0, 9)) + b"in pieces" + b"\3" + bytes((4, 0, 7, 2, 9, 0, 0))
        seeds += [b"\0" + bytes((scale, 1, 1)) + parts for scale in range(4)]
    seeds += [b"\0\0\4\0" + bytes((0x10, 0, extra, 2, 9)) + b"zzzzzzzzz" + b"\x0d" for extra in range(16)]
    # Answers in parts, of which a client with hardly any window takes one after the other.
    ask = bytes((0x10, 14, 0, 0, 60)) + b"ab" * 30
    take = bytes((0xF8, 0x8B, 0, 13, 0xBB, 0, 13, 0xF8))
    seeds += [b"\0" + bytes((scale, 0x14, 0x1C)) + ask + take * 8 for scale in range(4)]
    seeds += [
        b"\7" + bytes((parser,)) + value for parser in range(5) for value in (b"10S", b"AAEC", b"a%20b")
    ]
    seeds.append(b"\7\4" + gzip.compress(b"x" * 400, mtime=0))
    seeds.append(b"\7\3" + b"\1\0\0\0\x17" + gzip.compress(b"abc", mtime=0) + b"\0\0\0\0\1x")
    return seeds


def request_seeds() -> list[bytes]:
    seeds = []
    put = rpc_pb2.PutRequest(key=b"a", value=b"v", lease=1, prev_kv=True)
    span = rpc_pb2.RangeRequest(key=b"a", range_end=b"z", limit=2, sort_order="DESCEND", sort_target="MOD")
    txn = rpc_pb2.TxnRequest(
        compare=[rpc_pb2.Compare(key=b"a", target="VERSION", result="GREATER", version=0)],
        success=[rpc_pb2.RequestOp(request_put=put), rpc_pb2.RequestOp(request_range=span)],
        failure=[rpc_pb2.RequestOp(request_txn=rpc_pb2.TxnRequest())],
    )
    payloads = [message.SerializeToString() for message in (put, span, txn)]
    for choices in (0, 1, 2, 0x84, 0xB8):
        # Any method may get any of them: what does not fit is refused by its decoder.
        for payload in payloads:
            raw = b"".join(bytes((8, method, len(payload))) + payload for method in range(40))
            seeds.append(bytes((choices, 0)) + raw)
    for choices in (0x80, 0xC3, 0xB8):
        calls = b"".join(bytes((op, 0xFF, 0xFF, 1, 1, 1, 1, 1, 1, 1, 1, 10)) for op in range(112))
        for pace in (b"\0", b"\x41\1\2\3\4"):
            start = bytes((choices,)) + pace
            seeds.append(start + calls[:900])
            seeds.append(start + b"".join(bytes((9, depth, 2, 10)) for depth in range(2, 250, 30)))
            others = (bytes((14, other, 13, other, 255, 1, 2, 10)) for other in range(16))
            seeds.append(start + b"".join(others))
    return seeds + _long_seeds()


def _long_seeds() -> list[bytes]:
    """Long answers and large writes on a member with a past, gone on with in turns."""
    everything: dict[str, Any] = {"key": b"\0", "range_end": b"\0"}
    twice = [{"request_range": everything}] * 2
    requests: tuple[tuple[str, Message], ...] = (
        ("Lease/LeaseTimeToLive", rpc_pb2.LeaseTimeToLiveRequest(ID=1, keys=True)),
        ("Lease/LeaseLeases", rpc_pb2.LeaseLeasesRequest()),
        ("KV/Range", rpc_pb2.RangeRequest(**everything, limit=3)),
        ("KV/Range", rpc_pb2.RangeRequest(**everything, sort_target="VALUE", revision=6)),
        ("KV/DeleteRange", rpc_pb2.DeleteRangeRequest(**everything, prev_kv=True)),
        (
            "KV/Txn",
            rpc_pb2.TxnRequest(success=twice),
        ),
        ("Lease/LeaseRevoke", rpc_pb2.LeaseRevokeRequest(ID=1)),
        ("KV/Put", rpc_pb2.PutRequest(key=b"new", lease=1)),
    )
    paths = Session(0).etcd.registry.paths()
    asked = []
    for method, request in requests:
        payload = request.SerializeToString()
        asked.append(bytes((8, paths.index(f"/etcdserverpb.{method}"), len(payload))) + payload)
    between = bytes((0x0B, 0x2C, 0x1B, 0x0C))
    seeds = []
    for pace in (b"\x41\1\2\3\4", b"\x12\x20", b"\x0f"):
        for first in asked:
            seeds += [b"\x80" + pace + first + between + second + between * 2 for second in asked]
    return seeds


def file_seeds() -> list[bytes]:
    log = [bytes((0, op, number, 2 * op, 28, 3, 7, 7, 7)) for op in range(8) for number in range(3)]
    whole = [bytes((0, 6, 2, 0, 0, batch, 5, 0, 1, 4, flag)) for batch in range(8) for flag in (0, 3, 7)]
    snapshots = [
        bytes((kind, op, chunk, 0, 5, 3, 1, 2, 3)) for kind in (1, 2) for op in range(4) for chunk in range(9)
    ]
    return log + whole + snapshots


def setting_seeds() -> list[bytes]:
    flags = [bytes((1, 5, number, value)) for number in range(100) for value in (number % 19,)]
    yaml = [bytes((0, 0, line, value, name)) for line in range(15) for value, name in ((3, 9), (10, 40))]
    text = b"name: m\nlisten-client-urls: http://localhost:0\nclient-transport-security: {cert-file: ''}\n"
    return [*flags, *yaml, b"\0\1" + text]


def http1_seeds() -> list[bytes]:
    return [bytes((3, piece, 3, second)) for piece in range(18) for second in (0, 11, 12)]


def peer_seeds() -> list[bytes]:
    configuration = Configuration(frozenset({1, 2, 3}), frozenset({4}))
    entries = [
        Entry(2, 11, data=b"write"),
        Entry(3, 12, EntryType.CONFIGURATION, encode_configuration(configuration, b"change")),
    ]
    messages = [
        RaftMessage(
            type=MessageType.APPEND_ENTRIES, from_=1, to=2, term=3, index=10, log_term=2, entries=entries
        ),
        RaftMessage(type=MessageType.HEARTBEAT, from_=1, to=2, term=3, context=b"context", commit=11),
        RaftMessage(type=MessageType.APPEND_RESPONSE, from_=1, to=2, term=3, reject=True, reject_hint=9),
    ]
    snapshot = RaftMessage(
        type=MessageType.INSTALL_SNAPSHOT, from_=1, to=2, term=3, snapshot=Snapshot(9, 2, configuration)
    )
    listing = b'[{"id":7,"peerURLs":["http://a:1"],"name":"a","clientURLs":null,"isLearner":true}]'
    return [
        b"\0" + Encoder().messages(messages),
        b"\0" + encode_forward(Forward(1, 2, EntryType.NORMAL, b"write")),
        b"\1" + Encoder().head(snapshot, b"header"),
        b"\2\3" + bytes(range(200)),
        b"\3\4head\3\3\5first\0\6second" + b"\1\2\3\4" * 3,
        b"\4\0\1\1d\1\1\1b\2\0",
        b"\5\2c1" + listing,
    ]


SEEDS: Final[dict[str, Callable[[], list[bytes]]]] = {
    "frames": frame_seeds,
    "headers": header_seeds,
    "calls": call_seeds,
    "requests": request_seeds,
    "files": file_seeds,
    "settings": setting_seeds,
    "http1": http1_seeds,
    "peers": peer_seeds,
}

_HTTP2_WORDS: Final = (
    PREFACE,
    _SETTINGS,
    frame(SETTINGS, ACK, 0),
    frame(PING, 0, 0, b"12345678"),
    frame(WINDOW_UPDATE, 0, 0, _U32.pack(65_536)),
    frame(WINDOW_UPDATE, 0, 1, _U32.pack(0x7FFF_FFFF)),
    frame(RST_STREAM, 0, 1, _U32.pack(8)),
    frame(DATA, END_STREAM, 1),
    frame(HEADERS, END_HEADERS, 1, b"\x83\x86\x84"),
    b"\x83\x86\x84\x41\x01x\x5f\x10application/grpc",
    b"\x88\x5f\x10application/grpc",
    b"\x00\x0bgrpc-status\x010",
    b"\x20",
    b"\x3f\xe1\x1f",
    b"\x40\x01a\x01b",
    b"\xff\xff\xff\xff\x0f",
    b"\xbe",
)
WORDS: Final[dict[str, tuple[bytes, ...]]] = {
    "frames": _HTTP2_WORDS,
    "headers": (
        *_HTTP2_WORDS[9:],
        b"\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff",
        b"\x82\x84\x86\x8f",
    ),
    "calls": (
        *_HTTP2_WORDS,
        b"10S",
        b"99999999H",
        b"AAEC",
        b"AA==",
        b"gzip",
        b"\0\0\0\0\5\n\3abc",
        b"\1\0\0\0\0",
        gzip.compress(b"", mtime=0),
    ),
    "requests": (
        b"\n\1a\x12\1b",
        b"\n\1a\x12\1v\x18\1",
        b"\x12\5\x12\3\n\1a",
        b"\x22\0",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
        bytes((10,)),
        bytes((14, 0)),
    ),
    "settings": (
        b"!!int",
        b"!!timestamp",
        b"http://",
        b"unix://",
        b"10s",
        b"--",
        b"&a",
        b"*a",
        b"{",
        b"[",
        b": ",
    ),
    "http1": (b"\r\n", b" HTTP/1.1\r\n", b"content-length: ", b"transfer-encoding: chunked", b"0\r\n\r\n"),
}
