"""Whatever a client sends, every stream comes to an end, and the engine to no harm."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from typing import Any

from google.protobuf.wrappers_pb2 import StringValue
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rusd.grpc import EndOfRequests, StatusError
from rusd.grpc.server_call import StreamCall
from rusd.http2 import ErrorCode

PATHS = [b"/test.Test/Echo", b"/test.Test/Task", b"/test.Test/Stream", b"/test.Test/Down", b"/nobody/Home"]

payloads = st.one_of(
    st.binary(max_size=30),
    st.text(max_size=30).map(lambda text: StringValue(value=text).SerializeToString()),
    st.binary(max_size=30).map(gzip.compress),
)
messages = st.builds(
    lambda flag, payload, lie: struct.pack(">BI", flag, max(0, len(payload) + lie)) + payload,
    st.sampled_from([0, 0, 0, 1, 2]),
    payloads,
    st.sampled_from([0, 0, 0, 0, 1, -1, 5000]),
)
bodies = st.one_of(st.binary(max_size=20), st.lists(messages, max_size=3).map(b"".join))
fields = st.fixed_dictionaries(
    {"path": st.sampled_from(PATHS)},
    optional={
        "content_type": st.sampled_from(
            [b"application/grpc+proto", b"application/grpc;q", b"text/html", b""]
        ),
        "grpc_encoding": st.sampled_from([b"gzip", b"identity", b"snappy"]),
        "grpc_timeout": st.sampled_from([b"1S", b"0m", b"99999999H", b"-", b"1n"]),
        "x_bin": st.binary(max_size=6).map(lambda raw: raw.hex().encode()),
        "host": st.just(b"x"),
        "method": st.sampled_from([b"GET", b"POST"]),
    },
)


@given(st.lists(st.tuples(fields, bodies, st.integers(1, 40), st.booleans(), st.booleans()), max_size=6))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_every_stream_ends(make_pair: Callable[..., Any], requests: list[Any]) -> None:
    pair = make_pair(max_receive_bytes=1000)
    for number, (headers, body, cut, whole, reset) in enumerate(requests):
        stream_id = pair.request(end=False, **headers)
        if reset:
            pair.client.reset_stream(stream_id, ErrorCode.CANCEL)
            pair.exchange()
            continue
        step = 10_000 if whole else cut
        for start in range(0, len(body), step):
            pair.send(stream_id, body[start : start + step])
        if pair.streams[stream_id].reset is None:
            pair.send(stream_id, b"", end=True)
        run_handlers(pair)
        if number % 2:
            pair.pass_time(0.5)
        stream = pair.streams[stream_id]
        assert stream.ended
        assert stream.fields[b"grpc-status"].isdigit()
        assert pair.server.open_calls == 0
        assert pair.server.http2.open_streams == 0
    pair.pass_time(10)
    assert len(pair.deadlines) == 0
    assert pair.crashes == []


def run_handlers(pair: Any) -> None:
    """What the network side would do with the calls it was given: tasks and streams echo."""
    for call in pair.started:
        if not isinstance(call, StreamCall):
            pair.server.answer(call, call.request.SerializeToString())
            continue
        try:
            while call.open and (request := call.take()) is not None:
                call.send(request.SerializeToString())
        except EndOfRequests:
            pair.server.finish(call)
        except StatusError as error:
            pair.server.fail(call, error)
    pair.started.clear()
    pair.exchange()
