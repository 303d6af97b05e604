"""A store, a hub and clients that read what they are sent with protobuf."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from etcdpb import rpc_pb2
from rusd.mvcc import Store
from rusd.watch import WatchHub, WatchStream
from rusd.wire import LENGTH_DELIMITED, length_delimited, tag
from tests.support.slices import run_sliced

CLUSTER_ID, MEMBER_ID, TERM = 14841639068965178418, 10276657743932975437, 7

Response = rpc_pb2.WatchResponse


def header_field(revision: int) -> bytes:
    header = rpc_pb2.ResponseHeader(
        cluster_id=CLUSTER_ID, member_id=MEMBER_ID, revision=revision, raft_term=TERM
    )
    return length_delimited(tag(1, LENGTH_DELIMITED), header.SerializeToString())


class Client:
    """One stream's owner: counts wake-ups, pulls, decodes, and checks that each message is protobuf's own."""

    def __init__(self, hub: WatchHub, **options: int) -> None:
        self.wakes = 0
        self.stream: WatchStream = hub.open_stream(self._wake, header_prefix=header_field, **options)

    def _wake(self) -> None:
        self.wakes += 1

    def pull(self, budget: int = 1 << 20) -> list[Response]:
        """One pull."""
        responses = []
        for pulled in self.stream.pull(budget):
            message = pulled if isinstance(pulled, bytes) else b"".join(pulled)
            response = Response.FromString(message)
            assert response.SerializeToString() == message
            responses.append(response)
        return responses

    def drain(self, budget: int = 1 << 20) -> list[Response]:
        """Pulls until there is nothing more."""
        responses = []
        while self.stream.has_output:
            responses += self.pull(budget)
        return responses

    def watch(self, key: bytes, range_end: bytes = b"", start_revision: int = 0, **options: object) -> int:
        """Create a watch and read nothing."""
        return self.stream.create(key, range_end, start_revision, **options)  # type: ignore[arg-type]


class World:
    """A store whose changes reach a hub, as the state machine makes them."""

    def __init__(self, **limits: int) -> None:
        self.store = Store()
        self.hub = WatchHub(self.store, **limits)

    def client(self, **options: int) -> Client:
        return Client(self.hub, **options)

    def put(self, key: bytes, value: bytes = b"v", lease: int = 0) -> int:
        return self.write([(key, value, lease)])

    def delete(self, key: bytes) -> int:
        return self.write([(key, None, 0)])

    def write(
        self,
        changes: Sequence[tuple[bytes, bytes | None, int]],
        at_pause: Callable[[], object] | None = None,
    ) -> int:
        """One transaction: puts, and deletes where the value is None.  Returns the current revision.

        With ``at_pause`` the hub is told in steps, and that is called between them.
        """
        transaction = self.store.begin()
        for key, value, lease in changes:
            if value is None:
                transaction.delete_range(key)
            else:
                transaction.put(key, value, lease)
        if at_pause is not None and transaction.changed:
            done = transaction.changes
            end = run_sliced(
                lambda turn: self.hub.publish_steps(done.revision, done.records, turn), at_pause, 0.1
            )
            transaction.publish()
            end()
            return self.store.current_revision
        published = transaction.publish()
        if published is not None:
            self.hub.publish(published.revision, published.records)
        return self.store.current_revision

    def compact(self, revision: int) -> None:
        job = self.store.compact(revision)
        self.hub.compacted(revision)
        while not job.step(1000):
            pass


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def make_world() -> Callable[..., World]:
    return World
