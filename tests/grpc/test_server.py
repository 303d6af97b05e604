"""The server's engine against a client's HTTP/2 connection: calls, errors, ends.

The expected texts were taken from grpc-go 1.82.1, the release etcd 3.6.14 is
built with.
"""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import StringValue

from rusd.grpc import Call, Code, EndOfRequests, Pending, Registry, StatusError
from rusd.grpc.lingering import MAX_STREAM_BYTES, MAX_STREAMS
from rusd.http2 import ErrorCode, Settings

OK = (0, "")


def test_a_unary_call_gets_headers_a_message_and_trailers(pair: Any, message: Any) -> None:
    stream = pair.streams[pair.request(message("hi"))]
    assert stream.headers == [
        [(b":status", b"200"), (b"content-type", b"application/grpc")],
        [(b"grpc-status", b"0"), (b"grpc-message", b"")],
    ]
    assert stream.values == ["hi"]
    assert stream.ended
    assert pair.server.open_calls == 0
    assert pair.server.http2.open_streams == 0


def test_a_request_may_come_byte_by_byte(pair: Any, message: Any) -> None:
    stream_id = pair.request(end=False)
    for byte in message("slowly"):
        pair.send(stream_id, bytes((byte,)))
    assert pair.streams[stream_id].values == ["slowly"]


def test_a_unary_call_is_answered_before_the_client_half_closes(pair: Any, message: Any) -> None:
    stream_id = pair.request(message("hi"), end=False)
    assert pair.streams[stream_id].status == OK
    assert pair.streams[stream_id].reset is None
    pair.send(stream_id, b"", end=True)
    assert pair.server.http2.open_streams == 0


def test_of_two_messages_in_a_unary_call_the_first_is_served(pair: Any, message: Any) -> None:
    stream = pair.streams[pair.request(message("one") + message("two"))]
    assert stream.values == ["one"]
    assert stream.status == OK


def test_a_subtype_of_the_content_type_is_repeated(pair: Any, message: Any) -> None:
    for sent, answered in [
        (b"application/grpc+proto", b"application/grpc+proto"),
        (b"application/grpc;x", b"application/grpc+x"),
        (b"application/grpc+", b"application/grpc"),
    ]:
        stream = pair.streams[pair.request(message("hi"), content_type=sent)]
        assert stream.fields[b"content-type"] == answered
        assert stream.status == OK


# -- refusals ---------------------------------------------------------------------------------


def test_a_wrong_content_type_is_http_415(pair: Any, message: Any) -> None:
    stream = pair.streams[pair.request(message("hi"), content_type=b"text/plain")]
    assert stream.fields[b":status"] == b"415"
    assert stream.status == (3, 'invalid gRPC request content-type "text/plain"')
    assert len(stream.headers) == 1


def test_no_content_type_is_http_415(pair: Any, message: Any) -> None:
    stream = pair.streams[pair.request(message("hi"), drop=[b"content-type"])]
    assert stream.status == (3, 'invalid gRPC request content-type ""')


def test_a_wrong_method_is_http_405(pair: Any) -> None:
    stream = pair.streams[pair.request(method=b"GET")]
    assert stream.fields[b":status"] == b"405"
    assert stream.status == (13, 'Received a HEADERS frame with :method "GET" which should be POST')


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (b"/test.Test/Nope", "unknown method Nope for service test.Test"),
        (b"/a.b/c", "unknown service a.b"),
        (b"/a/b/c", "unknown service a/b"),
        (b"/test.Test", 'malformed method name: "/test.Test"'),
        (b"test.Test/Echo", 'malformed method name: "test.Test/Echo"'),
    ],
)
def test_unknown_paths_are_unimplemented(pair: Any, message: Any, path: bytes, text: str) -> None:
    stream = pair.streams[pair.request(message("hi"), path=path)]
    assert stream.fields[b":status"] == b"200"
    assert stream.status == (12, text)


def test_malformed_headers_are_http_400(pair: Any, message: Any) -> None:
    bad_timeout = pair.streams[pair.request(message("hi"), grpc_timeout=b"later")]
    assert bad_timeout.fields[b":status"] == b"400"
    assert bad_timeout.status == (
        13,
        'malformed grpc-timeout: transport: timeout unit is not recognized: "later"',
    )
    bad_binary = pair.streams[pair.request(message("hi"), x_bin=b"a!k")]
    assert bad_binary.fields[b":status"] == b"400"
    assert bad_binary.status[1].endswith("illegal base64 data at input byte 1")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", (2, "EOF")),
        (b"\0\0", (2, "EOF")),
        (b"\0\0\0\0\4abc", (2, "unexpected EOF")),
        (
            b"\0\0\0\0\2\x0a\xff",
            (13, "grpc: error unmarshalling request: proto: cannot parse invalid wire-format data"),
        ),
        (b"\1\0\0\0\0", (13, "grpc: compressed flag set with identity or empty encoding")),
        (b"\2\0\0\0\0", (13, "grpc: received unexpected payload format 2")),
        (struct.pack(">BI", 0, 2097153), (8, "grpc: received message larger than max (2097153 vs. 2097152)")),
    ],
)
def test_what_is_no_request_gets_grpc_gos_status(pair: Any, body: bytes, status: tuple[int, str]) -> None:
    stream = pair.streams[pair.request(body)]
    assert stream.status == status
    assert len(stream.headers) == 1, "trailers only"


def test_a_call_without_any_content_is_answered(pair: Any) -> None:
    assert pair.streams[pair.request()].status == (2, "EOF")


def test_a_message_that_is_too_large_is_stopped_at_once(pair: Any) -> None:
    stream_id = pair.request(struct.pack(">BI", 0, 1 << 30), end=False)
    assert pair.streams[stream_id].status[0] == 8
    assert pair.streams[stream_id].reset == ErrorCode.NO_ERROR


@pytest.mark.parametrize("flag", [0, 1])
def test_who_speaks_gzip_is_answered_in_gzip(pair: Any, message: Any, flag: int) -> None:
    plain = StringValue(value="squeezed").SerializeToString()
    body = message(gzip.compress(plain) if flag else plain, flag)
    stream = pair.streams[pair.request(body, grpc_encoding=b"gzip")]
    assert stream.fields[b"grpc-encoding"] == b"gzip"
    assert stream.data[0] == 1
    assert gzip.decompress(stream.payloads[0]) == plain
    assert stream.status == OK


def test_a_large_answer_goes_uncompressed_to_whoever_it_is(pair: Any, message: Any) -> None:
    stream = pair.streams[pair.request(message("x" * 100_000), grpc_encoding=b"gzip")]
    assert stream.data[0] == 0
    assert stream.values == ["x" * 100_000]


def test_accepting_gzip_is_not_asking_for_it(pair: Any, message: Any) -> None:
    stream = pair.streams[pair.request(message("hi"), grpc_accept_encoding=b"gzip")]
    assert b"grpc-encoding" not in stream.fields
    assert stream.values == ["hi"]


def test_other_encodings_are_unimplemented_and_the_possible_ones_told(pair: Any, message: Any) -> None:
    stream = pair.streams[pair.request(message("hi"), grpc_encoding=b"snappy")]
    assert stream.status == (12, 'grpc: Decompressor is not installed for grpc-encoding "snappy"')
    assert stream.fields[b"grpc-accept-encoding"] == b"identity,gzip"


def test_a_call_that_wants_a_leader_fails_without_one(pair: Any, message: Any) -> None:
    assert pair.streams[pair.request(message("hi"), hasleader=b"true")].status == OK
    pair.has_leader = False
    assert pair.streams[pair.request(message("hi"), hasleader=b"true")].status == (
        14,
        "etcdserver: no leader",
    )
    assert pair.streams[pair.request(message("hi"), hasleader=b"True")].status == OK
    assert pair.streams[pair.request(message("hi"))].status == OK


# -- handlers -----------------------------------------------------------------------------------


def test_a_handler_sees_path_peer_metadata_and_deadline(pair: Any, registry: Registry, message: Any) -> None:
    calls: list[Call] = []

    def handler(call: Call, _: Any) -> bytes:
        calls.append(call)
        return b""

    registry.inline("/test.Test/Look", StringValue, handler)
    pair.request(message("hi"), path=b"/test.Test/Look", token=b"t", x_bin=b"AAE", grpc_timeout=b"2S")
    (call,) = calls
    assert (call.path, call.peer, call.deadline) == ("/test.Test/Look", "10.0.0.1:4711", 102.0)
    assert call.metadata.get("token") == b"t"
    assert call.metadata.get("x-bin") == b"\0\1"
    assert call.metadata.get(":authority") == b"localhost"
    assert call.identity is None
    assert not call.cancelled


def test_a_status_error_becomes_trailers_with_its_metadata(
    pair: Any, registry: Registry, message: Any
) -> None:
    def handler(*_: Any) -> bytes:
        raise StatusError(Code.NOT_FOUND, "schlüssel fehlt: 100%", [("why", b"because"), ("x-bin", b"\xff")])

    registry.inline("/test.Test/Fail", StringValue, handler)
    stream = pair.streams[pair.request(message("hi"), path=b"/test.Test/Fail")]
    assert stream.headers == [
        [
            (b":status", b"200"),
            (b"content-type", b"application/grpc"),
            (b"grpc-status", b"5"),
            (b"grpc-message", b"schl%C3%BCssel fehlt: 100%25"),
            (b"why", b"because"),
            (b"x-bin", b"/w"),
        ]
    ]


def test_a_crash_in_a_handler_is_unknown_and_the_connection_lives(
    pair: Any, registry: Registry, message: Any
) -> None:
    registry.inline("/test.Test/Crash", StringValue, lambda *_: {}["missing"])  # type: ignore[misc]
    stream = pair.streams[pair.request(message("hi"), path=b"/test.Test/Crash")]
    assert stream.status[0] == Code.UNKNOWN
    assert isinstance(pair.crashes[0], KeyError)
    assert pair.streams[pair.request(message("on"))].values == ["on"]


@pytest.mark.parametrize("answer", [None, "text", bytearray(b"x")])
def test_an_answer_of_the_wrong_type_is_a_crash_of_its_call(
    pair: Any, registry: Registry, message: Any, answer: Any
) -> None:
    registry.inline("/test.Test/Wrong", StringValue, lambda *_: answer)
    assert pair.streams[pair.request(message("hi"), path=b"/test.Test/Wrong")].status[0] == Code.UNKNOWN
    assert isinstance(pair.crashes[0], TypeError)


@pytest.fixture
def pendings(registry: Registry) -> list[Pending]:
    """The answers ``/test.Test/Later`` still owes."""
    made: list[Pending] = []

    def handler(*_: Any) -> Pending:
        made.append(Pending())
        return made[-1]

    registry.inline("/test.Test/Later", StringValue, handler)
    return made


def test_a_pending_answer_leaves_when_it_settles(pair: Any, pendings: list[Pending], message: Any) -> None:
    stream_id = pair.request(message("hi"), path=b"/test.Test/Later")
    assert pair.streams[stream_id].headers == []
    pendings[0].settle(StringValue(value="late").SerializeToString())
    assert pair.marks == 1, "the network side must hear of it"
    pair.exchange()
    assert pair.streams[stream_id].values == ["late"]


def test_a_pending_settles_once(pair: Any, pendings: list[Pending], message: Any) -> None:
    stream_id = pair.request(message("hi"), path=b"/test.Test/Later")
    pendings[0].fail(StatusError(Code.UNAVAILABLE, "etcdserver: no leader"))
    pendings[0].settle(b"")
    pendings[0].fail(StatusError(Code.INTERNAL))
    pair.exchange()
    assert pair.streams[stream_id].status == (14, "etcdserver: no leader")


def test_settling_with_nonsense_harms_only_that_call(
    pair: Any, pendings: list[Pending], message: Any
) -> None:
    stream_id = pair.request(message("hi"), path=b"/test.Test/Later")
    pendings[0].settle(5)  # type: ignore[arg-type]
    pair.exchange()
    assert pair.streams[stream_id].status[0] == Code.UNKNOWN
    assert len(pair.crashes) == 1


def test_a_pending_that_is_settled_already_is_an_answer(pair: Any, registry: Registry, message: Any) -> None:
    def handler(*_: Any) -> Pending:
        pending = Pending()
        pending.settle(b"")
        return pending

    registry.inline("/test.Test/Now", StringValue, handler)
    assert pair.streams[pair.request(message("hi"), path=b"/test.Test/Now")].payloads == [b""]
    assert pair.marks == 0


def test_a_deadline_answers_for_a_pending_and_drops_it(
    pair: Any, pendings: list[Pending], message: Any
) -> None:
    stream_id = pair.request(message("hi"), path=b"/test.Test/Later", grpc_timeout=b"3S")
    pair.pass_time(2.9)
    assert not pair.streams[stream_id].ended
    pair.pass_time(0.1)
    assert pair.streams[stream_id].status == (4, "context deadline exceeded")
    assert pendings[0].on_settled is None
    pendings[0].settle(b"")
    pair.exchange()
    assert pair.streams[stream_id].payloads == []
    assert len(pair.deadlines) == 0


def test_a_call_that_ends_in_time_leaves_no_deadline(
    pair: Any, pendings: list[Pending], message: Any
) -> None:
    pair.request(message("hi"), grpc_timeout=b"3S")
    assert len(pair.deadlines) == 0
    pair.request(message("hi"), path=b"/test.Test/Later", grpc_timeout=b"3S")
    assert len(pair.deadlines) == 1
    pendings[0].settle(b"")
    assert len(pair.deadlines) == 0


def test_a_deadline_also_ends_a_call_whose_request_never_comes(pair: Any) -> None:
    stream_id = pair.request(end=False, grpc_timeout=b"1S")
    pair.pass_time(1)
    assert pair.streams[stream_id].status[0] == 4


def test_a_deadline_of_nothing_is_past_at_once(pair: Any, message: Any) -> None:
    stream = pair.streams[pair.request(message("hi"), grpc_timeout=b"0S")]
    assert stream.status == (4, "context deadline exceeded")


def test_a_reset_drops_the_pending(pair: Any, pendings: list[Pending], message: Any) -> None:
    stream_id = pair.request(message("hi"), path=b"/test.Test/Later")
    pair.client.reset_stream(stream_id, ErrorCode.CANCEL)
    pair.exchange()
    assert pendings[0].on_settled is None
    assert pair.server.open_calls == 0
    pendings[0].settle(b"")
    pair.exchange()
    assert pair.streams[stream_id].headers == []


def test_a_lost_connection_cancels_every_call(pair: Any, pendings: list[Pending], message: Any) -> None:
    pair.request(message("hi"), path=b"/test.Test/Later", grpc_timeout=b"9S")
    pair.request(message("hi"), path=b"/test.Test/Stream")
    heard: list[str] = []
    (stream,) = pair.started
    stream.on_cancelled = lambda: heard.append("cancelled")
    pair.server.lost()
    assert pendings[0].on_settled is None
    assert heard == ["cancelled"]
    assert stream.cancelled
    assert len(pair.deadlines) == 0


def test_a_task_gets_its_request_and_answers_later(pair: Any, message: Any) -> None:
    stream_id = pair.request(message("hi"), path=b"/test.Test/Task")
    (call,) = pair.started
    assert call.request == StringValue(value="hi")
    pair.server.answer(call, call.request.SerializeToString())
    pair.exchange()
    assert pair.streams[stream_id].values == ["hi"]


# -- streams --------------------------------------------------------------------------------------


def start_stream(pair: Any, path: bytes = b"/test.Test/Stream", **fields: Any) -> tuple[int, Any]:
    stream_id = pair.request(end=False, path=path, **fields)
    return stream_id, pair.started[-1]


def test_a_stream_carries_messages_both_ways(pair: Any, message: Any) -> None:
    stream_id, call = start_stream(pair)
    assert call.take() is None
    pair.send(stream_id, message("a") + message("b")[:4])
    assert call.take().value == "a"
    assert call.take() is None
    pair.send(stream_id, message("b")[4:], end=True)
    call.send(StringValue(value="x").SerializeToString())
    assert call.take().value == "b"
    with pytest.raises(EndOfRequests):
        call.take()
    call.send(StringValue(value="y").SerializeToString())
    pair.server.finish(call)
    pair.exchange()
    stream = pair.streams[stream_id]
    assert stream.values == ["x", "y"]
    assert stream.status == OK
    assert pair.server.http2.open_streams == 0


def test_a_stream_without_answers_ends_in_trailers_alone(pair: Any) -> None:
    stream_id, call = start_stream(pair)
    pair.server.finish(call)
    pair.exchange()
    assert pair.streams[stream_id].headers == [
        [
            (b":status", b"200"),
            (b"content-type", b"application/grpc"),
            (b"grpc-status", b"0"),
            (b"grpc-message", b""),
        ]
    ]


def test_a_stream_that_fails_after_an_answer_has_its_status_in_the_trailers(pair: Any) -> None:
    stream_id, call = start_stream(pair)
    call.send(b"")
    pair.server.fail(call, StatusError(Code.UNAVAILABLE, "etcdserver: no leader"))
    pair.exchange()
    assert [len(section) for section in pair.streams[stream_id].headers] == [2, 2]
    assert pair.streams[stream_id].status == (14, "etcdserver: no leader")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"\0\0\0\0\4abc", "unexpected EOF"),
        (
            b"\0\0\0\0\2\x0a\xff",
            "grpc: failed to unmarshal the received message: proto: cannot parse invalid wire-format data",
        ),
    ],
)
def test_what_is_no_message_is_internal_in_a_stream(pair: Any, body: bytes, text: str) -> None:
    stream_id, call = start_stream(pair)
    pair.send(stream_id, body, end=True)
    with pytest.raises(StatusError) as caught:
        call.take()
    assert (caught.value.code, caught.value.message) == (Code.INTERNAL, text)


def test_a_client_that_may_send_one_message_must_send_exactly_one(pair: Any, message: Any) -> None:
    stream_id, call = start_stream(pair, b"/test.Test/Down")
    pair.send(stream_id, message("only"))
    assert call.take() is None, "there might be another"
    pair.send(stream_id, b"", end=True)
    assert call.take().value == "only"
    with pytest.raises(EndOfRequests):
        call.take()

    stream_id, call = start_stream(pair, b"/test.Test/Down")
    pair.send(stream_id, message("one") + message("two"), end=True)
    with pytest.raises(StatusError, match="received multiple request messages for non-client-streaming RPC"):
        call.take()

    stream_id, call = start_stream(pair, b"/test.Test/Down")
    pair.send(stream_id, b"", end=True)
    with pytest.raises(StatusError, match="received no request message from non-client-streaming RPC"):
        call.take()


def test_requests_nobody_receives_stop_at_the_window(make_pair: Callable[..., Any], message: Any) -> None:
    pair = make_pair()
    stream_id, call = start_stream(pair)
    one = message("x" * 1000)
    pair.send(stream_id, one * 200)
    assert pair.client.queued(stream_id) > 0, "the client has to wait"
    received = 0
    while (request := call.take()) is not None:
        assert len(request.value) == 1000
        received += 1
        pair.exchange()
    assert received == 200
    assert pair.client.queued(stream_id) == 0


def test_a_message_larger_than_the_window_arrives(pair: Any, message: Any) -> None:
    stream_id, call = start_stream(pair)
    pair.send(stream_id, message("x" * 1_000_000))
    assert len(call.take().value) == 1_000_000


def test_a_slow_client_makes_its_stream_unwritable_and_says_when_it_is_again(pair: Any) -> None:
    pair.acknowledging = False
    stream_id, call = start_stream(pair)
    rung: list[bool] = []
    call.on_writable(lambda: rung.append(call.writable))
    assert call.writable
    call.send(bytes(200_000))
    pair.exchange()
    assert not call.writable
    assert rung == []
    pair.acknowledging = True
    pair.client.acknowledge(stream_id, len(pair.streams[stream_id].data))
    pair.exchange()
    assert rung == [True]
    assert len(pair.streams[stream_id].data) == 200_005


def test_a_stream_that_is_over_no_longer_blocks_its_handler(pair: Any) -> None:
    pair.acknowledging = False
    stream_id, call = start_stream(pair)
    rung: list[bool] = []
    call.on_writable(lambda: rung.append(call.writable))
    call.send(bytes(200_000))
    pair.exchange()
    pair.client.reset_stream(stream_id, ErrorCode.CANCEL)
    pair.exchange()
    assert call.cancelled
    assert call.writable
    assert rung == [True]
    with pytest.raises(StatusError):
        call.take()


def test_a_deadline_ends_a_stream(pair: Any) -> None:
    stream_id, call = start_stream(pair, grpc_timeout=b"1S")
    heard: list[str] = []
    call.on_cancelled = lambda: heard.append("cancelled")
    call.send(b"")
    pair.pass_time(1)
    assert pair.streams[stream_id].status == (4, "context deadline exceeded")
    assert heard == ["cancelled"]
    pair.server.finish(call)
    pair.server.fail(call, StatusError(Code.INTERNAL))


# -- clients that go on -----------------------------------------------------------------------------


def test_a_client_may_finish_its_request_after_the_answer(pair: Any, message: Any) -> None:
    stream_id = pair.request(path=b"/no.Such/Method", end=False)
    assert pair.streams[stream_id].status[0] == 12
    pair.send(stream_id, message("hi"))
    pair.send(stream_id, b"", end=True)
    assert pair.streams[stream_id].reset is None
    assert pair.server.http2.open_streams == 0


def test_a_client_that_never_stops_is_told_to(pair: Any) -> None:
    stream_id = pair.request(path=b"/no.Such/Method", end=False)
    for _ in range(MAX_STREAM_BYTES // 10_000 + 1):
        pair.send(stream_id, bytes(10_000))
    assert pair.streams[stream_id].reset == ErrorCode.NO_ERROR


def test_only_so_many_streams_may_linger(pair: Any) -> None:
    ids = [pair.request(path=b"/no.Such/Method", end=False) for _ in range(MAX_STREAMS + 3)]
    assert [i for i in ids if pair.streams[i].reset is not None] == ids[:3]


def test_answers_that_are_never_read_have_a_bound(
    make_pair: Callable[..., Any], message: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rusd.grpc.lingering.MAX_UNREAD_BYTES", 100_000)
    pair = make_pair(client_settings=Settings(initial_window_size=0))
    sent = 0
    while not pair.server.http2.closed:
        pair.request(message("x" * 5000))
        sent += 1
        assert sent < 30
    assert pair.goaways[-1][1] == ErrorCode.ENHANCE_YOUR_CALM


def test_answers_that_are_read_late_are_fine(
    make_pair: Callable[..., Any], message: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rusd.grpc.lingering.MAX_UNREAD_BYTES", 100_000)
    pair = make_pair(client_settings=Settings(initial_window_size=1000))
    for _ in range(60):
        stream_id = pair.request(message("x" * 5000))
        assert pair.streams[stream_id].status == OK
    assert not pair.server.http2.closed


# -- saying goodbye ------------------------------------------------------------------------------------


def test_draining_warns_first_and_then_names_the_last_stream(
    pair: Any, pendings: list[Pending], message: Any
) -> None:
    stream_id = pair.request(message("hi"), path=b"/test.Test/Later")
    pair.server.drain()
    assert not pair.server.drained
    pair.exchange()
    assert pair.goaways == [(2**31 - 1, ErrorCode.NO_ERROR), (stream_id, ErrorCode.NO_ERROR)]
    assert not pair.server.drained, "a call is still open"
    pendings[0].settle(b"")
    pair.exchange()
    assert pair.streams[stream_id].status == OK
    assert not pair.server.drained, "for all we know, the answer is still on its way"
    pair.exchange()
    assert pair.server.drained


def test_a_client_that_does_not_answer_is_told_the_last_stream_all_the_same(pair: Any) -> None:
    pair.server.drain()
    pair.server.http2.data_to_send()  # lost on the way
    pair.pass_time(4.9)
    assert not pair.server.drained
    pair.pass_time(0.2)
    assert pair.goaways == [(0, ErrorCode.NO_ERROR)]
    assert pair.server.drained


def test_one_large_answer_may_wait_whatever_its_size(
    make_pair: Callable[..., Any], message: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rusd.grpc.lingering.MAX_UNREAD_BYTES", 100_000)
    pair = make_pair(client_settings=Settings(initial_window_size=0))
    pair.request(message("x" * 300_000))
    for _ in range(19):
        pair.request(message("x" * 5_000))
    assert not pair.server.http2.closed
    pair.request(message("x" * 5_000))
    assert pair.goaways[-1][1] == ErrorCode.ENHANCE_YOUR_CALM


def test_a_status_that_the_client_will_not_take_becomes_a_reset(
    make_pair: Callable[..., Any], message: Any
) -> None:
    pair = make_pair(client_settings=Settings(max_header_list_size=250))
    long = pair.streams[pair.request(message("hi"), path=b"/" + b"Service" * 50 + b"/Method")]
    assert long.reset == ErrorCode.INTERNAL_ERROR
    assert pair.streams[pair.request(message("hi"))].status == OK


def test_a_connection_without_calls_is_drained_after_one_round_trip(pair: Any) -> None:
    pair.server.drain()
    pair.server.drain()
    pair.exchange()
    assert pair.server.drained
