"""Where a request becomes too large: the last byte that etcd takes, at both of its limits."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest

from etcdpb import rpc_pb2
from tests.support.client import Client
from tests.support.processes import Server, kind_under_test

FLAGS = ("--max-request-bytes=100000",)
REQUEST_LIMIT = 100_000
MESSAGE_LIMIT = REQUEST_LIMIT + 512 * 1024
NEAR = range(-80, 12)

Two = tuple[Client, Client]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    """Clients of the reference and of the server under test."""
    folders = [tmp_path_factory.mktemp(name) for name in ("reference", "actual")]
    with (
        Server("etcd", folders[0], FLAGS, sync=False) as reference,
        Server(kind_under_test(), folders[1], FLAGS, sync=False) as actual,
        Client(reference.target) as one,
        Client(actual.target) as other,
    ):
        yield one, other


def put_of(size: int) -> rpc_pb2.PutRequest:
    """A put whose encoding has ``size`` bytes."""
    request = rpc_pb2.PutRequest(key=b"k", value=bytes(size - 12))
    request.value += bytes(size - request.ByteSize())
    assert request.ByteSize() == size
    return request


def statuses(two: Two, method: str, request: rpc_pb2.PutRequest) -> set[tuple[str, str]]:
    answers = [client.call(method, request) for client in two]
    return {(answer.code, answer.details) for answer in answers}


def test_a_proposal_is_too_large_at_the_same_byte(two: Two) -> None:
    """The limit holds for etcd's internal request, a little larger than the message in it."""
    seen = set()
    for offset in NEAR:
        [status] = statuses(two, "KV/Put", put_of(REQUEST_LIMIT + offset))
        seen.add(status)
    assert seen == {("OK", ""), ("INVALID_ARGUMENT", "etcdserver: request is too large")}


def test_a_message_is_too_large_at_the_same_byte(two: Two) -> None:
    seen = set()
    for offset in (-1, 0, 1, 2, 1000):
        [status] = statuses(two, "KV/Put", put_of(MESSAGE_LIMIT + offset))
        seen.add(status[0])
        if offset > 0:
            text = f"grpc: received message larger than max ({MESSAGE_LIMIT + offset} vs. {MESSAGE_LIMIT})"
            assert status == ("RESOURCE_EXHAUSTED", text)
    assert seen == {"INVALID_ARGUMENT", "RESOURCE_EXHAUSTED"}


@pytest.mark.parametrize("size", [10, 5_000, 90_000])
def test_gzip_is_taken_and_the_answer_means_the_same(two: Two, size: int) -> None:
    request = rpc_pb2.PutRequest(key=b"z", value=b"compressible" * (size // 12), prev_kv=True)
    for client in two:
        put = client.channel.unary_unary("/etcdserverpb.KV/Put")
        for _ in range(2):
            answer = put(request.SerializeToString(), timeout=30, compression=grpc.Compression.Gzip)
        assert rpc_pb2.PutResponse.FromString(answer).prev_kv.value == request.value
