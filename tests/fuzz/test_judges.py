"""The judges of the targets find what they are there for: each broken rule is caught."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.message import Message

from etcdpb import rpc_pb2
from rusd.grpc import AnswerParts, LongAnswer
from rusd.mvcc import DeleteResult
from rusd.peers import codec, snapshots
from rusd.peers.identity import Visitor
from rusd.raft import Configuration
from rusd.state import Kind, StateMachine
from rusd.steps import Steps, Turn
from rusd.testing import ManualClock
from tests.fuzz import call_server, headers, peers
from tests.fuzz.log import WHOLE, Log
from tests.fuzz.long import LongJob
from tests.fuzz.peer_view import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    PeerView,
    SeenStream,
    frame,
)
from tests.fuzz.requests import Session
from tests.fuzz.scale import STATE_SCALES, scaled
from tests.fuzz.targets import load_corpus

SQUEEZED = gzip.compress(b"abc", mtime=0)
REQUEST = frame(HEADERS, END_HEADERS, 1, b"\x82\x84\x86")
ANSWER = frame(HEADERS, END_HEADERS, 1, b"\x88")


@pytest.fixture
def make_view() -> Callable[..., PeerView]:
    def make(*entries: tuple[int, int], window: int = 65_535) -> PeerView:
        view = PeerView(client=False, window=window, stream_window=65_535)
        payload = b"".join(struct.pack(">HI", *entry) for entry in entries)
        view.sent(PREFACE + frame(SETTINGS, 0, 0, payload) + REQUEST)
        return view

    return make


def test_a_good_answer_passes(make_view: Callable[..., PeerView]) -> None:
    view = make_view((4, 10))
    view.received(frame(SETTINGS, ACK, 0) + ANSWER + frame(DATA, END_STREAM, 1, bytes(10)))
    view.settled()
    assert view.streams[1].ended
    assert view.streams[1].sections == [[(b":status", b"200")]]


@pytest.mark.parametrize(
    "output",
    [
        ANSWER + frame(DATA, 0, 1, bytes(16_385)),
        ANSWER + frame(DATA, 0, 1, bytes(16_000)) * 5,
        frame(SETTINGS, ACK, 0) + ANSWER + frame(DATA, 0, 1, bytes(11)),
        frame(SETTINGS, ACK, 0) * 2,
        frame(DATA, 0, 1),
        ANSWER + frame(DATA, END_STREAM, 1) + frame(DATA, 0, 1),
        frame(RST_STREAM, 0, 1, bytes(4)) + ANSWER,
        frame(RST_STREAM, 0, 1, bytes(4)) * 2,
        frame(HEADERS, END_HEADERS, 3, b"\x88"),
        frame(HEADERS, 0, 1, b"\x88") + frame(PING, 0, 0, bytes(8)),
        frame(CONTINUATION, END_HEADERS, 1, b"\x88"),
        frame(PING, ACK, 0, bytes(8)),
        frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\1"),
        frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\1"),
        frame(GOAWAY, 0, 0, b"\0\0\0\0\0\0\0\1") + ANSWER,
        ANSWER[:-1],
        frame(11, 0, 0),
    ],
)
def test_each_broken_rule_is_noticed(make_view: Callable[..., PeerView], output: bytes) -> None:
    with pytest.raises(AssertionError):
        make_view((4, 10)).received(output)


def test_an_answer_after_the_peers_reset_is_noticed(make_view: Callable[..., PeerView]) -> None:
    view = make_view()
    view.sent(frame(RST_STREAM, 0, 1, bytes(4)))
    view.received(ANSWER)  # may have crossed it
    with pytest.raises(AssertionError):
        view.received(frame(DATA, 0, 1))


def test_what_is_left_unanswered_is_noticed(make_view: Callable[..., PeerView]) -> None:
    view = make_view()
    with pytest.raises(AssertionError, match="SETTINGS"):
        view.settled()


@pytest.mark.parametrize(
    ("trailers", "data"),
    [
        ([(b"grpc-status", b"0")], b""),
        ([(b"grpc-status", b"17"), (b"grpc-message", b"")], b""),
        ([(b"grpc-status", b"0"), (b"grpc-message", b"\n")], b"\0\0\0\0\0"),
        ([(b"grpc-status", b"0"), (b"grpc-message", b"")], b"\0\0\0\0\1"),
        ([(b"grpc-status", b"0"), (b"grpc-message", b"")], b""),
        ([(b"grpc-status", b"1"), (b"grpc-message", b"")], b"\0\0\0\0\0"),
    ],
)
def test_a_bad_end_of_a_call_is_noticed(trailers: list[tuple[bytes, bytes]], data: bytes) -> None:
    stream = SeenStream()
    stream.data = data
    stream.sections = [[(b":status", b"200"), (b"content-type", b"application/grpc")], trailers]
    with pytest.raises((AssertionError, ValueError, struct.error)):
        call_server.judge(stream, b"/t.T/Echo")


@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        (b"identity", b"\1\0\0\0" + bytes((len(SQUEEZED),)) + SQUEEZED),
        (b"gzip", b"\1\0\0\0\3abc"),
        (b"gzip", b"\0\0\0\0\3abd"),
    ],
)
def test_a_badly_compressed_or_wrong_answer_is_noticed(encoding: bytes, data: bytes) -> None:
    first = [(b":status", b"200"), (b"content-type", b"application/grpc"), (b"grpc-encoding", encoding)]
    stream = SeenStream()
    stream.data = data
    stream.sections = [first, [(b"grpc-status", b"0"), (b"grpc-message", b"")]]
    with pytest.raises((AssertionError, gzip.BadGzipFile)):
        call_server.judge(stream, b"/t.T/Echo", b"abc")
    first[2] = (b"grpc-encoding", b"gzip")
    stream.data = b"\1\0\0\0" + bytes((len(SQUEEZED),)) + SQUEEZED
    call_server.judge(stream, b"/t.T/Echo", b"abc")


@pytest.mark.parametrize("sent", [b"", b"abc", b"abcdef"])
def test_a_long_answer_of_another_size_is_noticed(sent: bytes) -> None:
    async def send(out: AnswerParts) -> None:
        out.begin(4)
        await out.send(sent)

    job = LongJob(LongAnswer(send), lambda _: None, lambda _: None)
    with pytest.raises(AssertionError, match="announced"):
        _ = [job.step() for _ in range(3)]


class _InParts(StateMachine):
    """Lets a part of a deletion be seen, by a lease that goes before the keys do."""

    def _lease_revoke_steps(self, lease_id: int, turn: Turn) -> Steps[None]:
        steps = super()._lease_revoke_steps(lease_id, turn)
        self.alarms.activate(1, 1)
        yield
        yield from steps


class _Forgetful(StateMachine):
    """Deletes one key less when it has to do it in steps."""

    def _delete_range_steps(self, request: rpc_pb2.DeleteRangeRequest, turn: Turn) -> Steps[DeleteResult]:
        result = yield from super()._delete_range_steps(request, turn)
        if turn.left < WHOLE:
            result.deleted -= 1
        return result


@pytest.mark.parametrize(
    ("broken", "kind", "request_", "message"),
    [
        (_InParts, Kind.LEASE_REVOKE, rpc_pb2.LeaseRevokeRequest(ID=1), "two parts"),
        (
            _Forgetful,
            Kind.DELETE_RANGE,
            rpc_pb2.DeleteRangeRequest(key=b"a", range_end=b"z"),
            "on a follower",
        ),
    ],
)
def test_a_change_that_differs_in_steps_is_noticed(
    broken: type[StateMachine], kind: Kind, request_: Message, message: str
) -> None:
    with scaled(STATE_SCALES[1]):
        machine = broken()
        machine.store.publish_at_once = 0
        log = Log(machine, StateMachine(), ManualClock(), b"\0")
        requests: list[tuple[Kind, Message]] = [
            (Kind.LEASE_GRANT, rpc_pb2.LeaseGrantRequest(ID=1, TTL=60)),
            (Kind.PUT, rpc_pb2.PutRequest(key=b"a", lease=1)),
            (Kind.PUT, rpc_pb2.PutRequest(key=b"b", lease=1)),
            (kind, request_),
        ]
        for one in requests:
            log.propose(*one, lambda _result, _error: None)
        with pytest.raises(AssertionError, match=message):
            log.apply()


def test_a_range_that_is_not_of_its_revision_is_noticed() -> None:
    session = Session(0x80)
    request = rpc_pb2.RangeRequest(key=b"a", range_end=b"z")
    answer = rpc_pb2.RangeResponse(header=rpc_pb2.ResponseHeader(revision=8))
    with pytest.raises(AssertionError, match="not of its revision"):
        session._judge_range(request, answer, 8)


def test_decoders_that_differ_are_noticed() -> None:
    both = headers.Both(2000)
    both.ours.decode(b"\x40\1a\1b")  # theirs has not heard of it
    with pytest.raises(AssertionError, match="refused there only"):
        both.decode(b"\xbe")


# -- peers -----------------------------------------------------------------------------------------------


def without_last(checksum: int, _last: int, piece: bytes) -> int:
    return zlib.crc32(piece, checksum)


def in_any_order(data: bytes) -> tuple[Configuration, bytes]:
    voters, learners = struct.unpack_from(">II", data)
    ids = struct.unpack_from(f">{voters + learners}Q", data, 8)
    configuration = Configuration(frozenset(ids[:voters]), frozenset(ids[voters:]))
    return configuration, data[8 + 8 * len(ids) :]


def cut_short(payload: bytes, from_: int, to: int) -> object:
    return codec.decode(payload[:-1] if payload[:1] == b"\2" else payload, from_, to)


@pytest.mark.parametrize(
    ("module", "name", "broken"),
    [
        (snapshots, "_extended", without_last),
        (codec, "decode_configuration", in_any_order),
        (peers, "decode", cut_short),
        (peers, "judge", lambda *_: Visitor(peers.SENDER, ())),
    ],
)
def test_a_reader_of_peers_that_takes_too_much_is_caught(
    module: Any, name: str, broken: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_all() -> None:
        for data in load_corpus("peers"):
            peers.target(data)

    run_all()
    monkeypatch.setattr(module, name, broken)
    with pytest.raises((AssertionError, KeyError)):
        run_all()
