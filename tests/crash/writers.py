"""Six writers that remember what they were promised.

Each makes one request after the other until the server is gone, and notes for each what it would do to the
store and, once answered, at which revision it did so.  A writer's last request may be unanswered: then it
happened entirely or not at all.  All keys but one are the writer's own, so that the effect of a request is
known when it is sent; every value is unique, so that a request carried out twice would show.
"""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import attrs
from google.protobuf.message import Message

from etcdpb import rpc_pb2
from tests.support.client import Client

Change = tuple[str, bytes, bytes]  # PUT or DELETE, key, value
LEASE_SECONDS = 36_000
SHARED_KEY = b"shared"


@attrs.define
class Write:
    """One request: what it changes, and the revision it was acknowledged with (None: no answer came)."""

    name: str
    request: Message
    changes: tuple[Change, ...]
    revision: int | None = None


def put(key: bytes, value: bytes, lease: int = 0) -> Write:
    """A Put."""
    request = rpc_pb2.PutRequest(key=key, value=value, lease=lease)
    return Write("KV/Put", request, (("PUT", key, value),))


def delete(*keys: bytes, end: bytes = b"") -> Write:
    """A DeleteRange that deletes exactly ``keys``, which are there."""
    request = rpc_pb2.DeleteRangeRequest(key=keys[0], range_end=end)
    return Write("KV/DeleteRange", request, tuple(("DELETE", key, b"") for key in keys))


def putting(prefix: bytes) -> Iterator[Write]:
    """Values over a few keys."""
    for number in itertools.count():
        yield put(prefix + b"%d" % (number % 7), prefix + b"=%d" % number)


def sharing(prefix: bytes) -> Iterator[Write]:
    """Values for the one key that several writers write; every tenth is big."""
    for number in itertools.count():
        padding = b"." * (50_000 if number % 10 == 9 else 0)
        yield put(SHARED_KEY, prefix + b"=%d" % number + padding)


def transacting(prefix: bytes) -> Iterator[Write]:
    """Three keys in one revision, one of them deleted in the next."""
    keys = [prefix + name for name in (b"a", b"b", b"c")]
    for number in itertools.count():
        values = [key + b"=%d" % number for key in keys]
        puts = [rpc_pb2.PutRequest(key=key, value=value) for key, value in zip(keys, values, strict=True)]
        request = rpc_pb2.TxnRequest(success=[rpc_pb2.RequestOp(request_put=one) for one in puts])
        changes = tuple(("PUT", key, value) for key, value in zip(keys, values, strict=True))
        yield Write("KV/Txn", request, changes)
        gone = rpc_pb2.RequestOp(request_delete_range=rpc_pb2.DeleteRangeRequest(key=keys[1]))
        again = rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=keys[0], value=values[0] + b"'"))
        condition = rpc_pb2.Compare(key=keys[0], target=rpc_pb2.Compare.VALUE, value=values[0])
        request = rpc_pb2.TxnRequest(compare=[condition], success=[gone, again])
        yield Write("KV/Txn", request, (("DELETE", keys[1], b""), ("PUT", keys[0], values[0] + b"'")))


def deleting(prefix: bytes) -> Iterator[Write]:
    """A few keys, then all of them gone in one revision."""
    for number in itertools.count():
        keys = [prefix + b"%d" % index for index in range(3)]
        for key in keys:
            yield put(key, key + b"=%d" % number)
        yield delete(*keys, end=prefix + b"\xff")


def leasing(prefix: bytes, first_lease: int) -> Iterator[Write]:
    """A lease with two keys; every second one is revoked, the others stay."""
    for lease in itertools.count(first_lease):
        yield Write("Lease/LeaseGrant", rpc_pb2.LeaseGrantRequest(ID=lease, TTL=LEASE_SECONDS), ())
        keys = [prefix + b"%d/%d" % (lease, index) for index in range(2)]
        for key in keys:
            yield put(key, key + b" of the lease", lease)
        if lease % 2:
            gone = tuple(("DELETE", key, b"") for key in keys)
            yield Write("Lease/LeaseRevoke", rpc_pb2.LeaseRevokeRequest(ID=lease), gone)


def six_writers(round_number: int) -> list[Iterator[Write]]:
    """The six of one round, each with keys that no other round uses (but for the shared one)."""
    kinds: list[Callable[[bytes], Iterator[Write]]] = [putting, sharing, sharing, transacting, deleting]
    prefixes = [b"r%d/w%d/" % (round_number, number) for number in range(6)]
    writers = [kind(prefix) for kind, prefix in zip(kinds, prefixes, strict=False)]
    return [*writers, leasing(prefixes[5], 1 + round_number * 1_000_000)]


def write_until_gone(
    target: str, writers: list[Iterator[Write]], enough: int, strike: Callable[[], None]
) -> list[Write]:
    """Run all writers at once; after ``enough`` answers call ``strike``, which is to kill the server.

    Returns every request made.  Ends when every writer has met the end of its connection.
    """
    answered = itertools.count(1)
    reached = threading.Event()

    def run(writer: Iterator[Write]) -> list[Write]:
        made = []
        with Client(target, wait=False) as client:
            for write in writer:
                made.append(write)
                answer = client.call(write.name, write.request)
                if not answer.ok:
                    # Anything but a lost connection would be a wrong answer to a valid request.
                    assert answer.code in ("UNAVAILABLE", "CANCELLED"), f"{write} was answered {answer}"
                    return made
                write.revision = answer.message.header.revision
                if next(answered) >= enough:
                    reached.set()
        return made

    with ThreadPoolExecutor(len(writers)) as pool:
        running = [pool.submit(run, writer) for writer in writers]
        try:
            assert reached.wait(120), f"{enough} writes take more than two minutes"
        finally:
            strike()
        return [write for one in running for write in one.result()]


def random_pause(chance: random.Random) -> float:
    """A few milliseconds, so that the kill meets any moment of a write."""
    return chance.uniform(0, 0.02)
