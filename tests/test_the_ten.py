"""Ten promises that a store has to keep before anything else about it matters.

Each is one test against a server process, over a client that isn't ours (grpcio).  With
``RUSD_TEST_SERVER=etcd`` they run against the reference, as a check of the tests.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from etcdpb import rpc_pb2
from tests.support.client import Client, WatchStream
from tests.support.processes import Server, kind_under_test

ALL_KEYS = {"key": b"\x00", "range_end": b"\x00"}
DELETE = 1


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(kind_under_test(), tmp_path) as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.target) as client:
        yield client


def test_a_restart_keeps_data_and_revisions(server: Server, client: Client) -> None:
    client.put(b"gone", b"x")
    client.put(b"kept", b"one")
    client.put(b"kept", b"two")
    client.delete(b"gone")
    client.grant(77, 3600)
    client.put(b"leased", b"x", lease=77)
    before = client.get(**ALL_KEYS)
    history = [
        client.get(**ALL_KEYS, revision=revision).kvs for revision in range(2, before.header.revision + 1)
    ]

    server.restart()

    after = client.get(**ALL_KEYS)
    assert list(after.kvs) == list(before.kvs)
    assert after.header.revision == before.header.revision
    assert after.header.raft_term > before.header.raft_term
    assert after.header.cluster_id == before.header.cluster_id
    assert after.header.member_id == before.header.member_id
    for revision, kvs in enumerate(history, start=2):
        assert list(client.get(**ALL_KEYS, revision=revision).kvs) == list(kvs)
    lease = client.ok("Lease/LeaseTimeToLive", rpc_pb2.LeaseTimeToLiveRequest(ID=77, keys=True))
    assert (lease.grantedTTL, list(lease.keys)) == (3600, [b"leased"])
    assert client.put(b"next", b"x").header.revision == before.header.revision + 1


def test_kill_9_keeps_every_acknowledged_write(server: Server, client: Client) -> None:
    acknowledged: dict[bytes, tuple[bytes, int]] = {}
    enough = threading.Event()

    def write(writer: int) -> None:
        """Put until the server is gone, noting what it said was done."""
        with Client(server.target, wait=False) as own:
            for number in range(100_000):
                key, value = b"%d/%d" % (writer, number % 50), b"%d" % number
                answer = own.call("KV/Put", rpc_pb2.PutRequest(key=key, value=value))
                if not answer.ok:
                    return
                acknowledged[key] = value, answer.message.header.revision
                if len(acknowledged) >= 150:
                    enough.set()

    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(write, writer) for writer in range(4)]
        try:
            assert enough.wait(60), "the writers got nowhere"
        finally:
            server.kill()
        for writer in writers:
            writer.result()
    server.start()

    found = {kv.key: kv for kv in client.get(**ALL_KEYS).kvs}
    for key, (value, revision) in acknowledged.items():
        # A write that was under way when the kill came may be there as well: newer, never older.
        assert found[key].mod_revision >= revision, f"{key!r} lost revision {revision}"
        assert int(found[key].value) >= int(value)
        assert client.get(key, revision=revision).kvs[0].value == value


def test_binary_keys_and_values_survive(server: Server, client: Client) -> None:
    every_byte = bytes(range(256))
    keys = [
        b"\x00",
        b"\x00\x00",
        b"\xff",
        b"\xff\xff\xff",
        b"a\x00b",
        b"\xc3\x28",
        every_byte,
        b"\r\n",
        b"x" * 5000,
    ]
    values = {key: every_byte * number for number, key in enumerate(keys)}
    for key, value in values.items():
        client.put(key, value)
    for _life in range(2):
        assert [kv.key for kv in client.get(**ALL_KEYS).kvs] == sorted(keys)
        for key, value in values.items():
            assert client.get(key).kvs[0].value == value
        server.restart()


def test_a_txn_is_atomic_in_one_revision_and_durable(server: Server, client: Client) -> None:
    client.put(b"old", b"x")
    put, delete = rpc_pb2.PutRequest, rpc_pb2.DeleteRangeRequest
    operations = [
        rpc_pb2.RequestOp(request_put=put(key=b"a", value=b"1")),
        rpc_pb2.RequestOp(request_put=put(key=b"b", value=b"2")),
        rpc_pb2.RequestOp(request_delete_range=delete(key=b"old")),
    ]
    with client.watch() as watch:
        watch.create(**ALL_KEYS)
        answer = client.ok("KV/Txn", rpc_pb2.TxnRequest(success=operations))
        revision = answer.header.revision
        events = watch.wait_for_events(3)
        assert [event.kv.mod_revision for event in events] == [revision] * 3
        assert len([response for response in watch.responses if response.events]) == 1
    assert answer.succeeded
    assert revision == 3

    refused = [*operations, rpc_pb2.RequestOp(request_put=put(key=b"c", value=b"3", lease=404))]
    failure = client.call("KV/Txn", rpc_pb2.TxnRequest(success=refused))
    assert (failure.code, failure.details) == ("NOT_FOUND", "etcdserver: requested lease not found")

    server.kill()
    server.start()

    after = client.get(**ALL_KEYS)
    assert after.header.revision == revision
    assert [(kv.key, kv.value, kv.mod_revision) for kv in after.kvs] == [
        (b"a", b"1", revision),
        (b"b", b"2", revision),
    ]
    assert [kv.key for kv in client.get(**ALL_KEYS, revision=revision - 1).kvs] == [b"old"]


def test_two_concurrent_compare_and_swaps_never_both_win(server: Server, client: Client) -> None:
    rounds = 100
    client.put(b"register", b"0")
    start = threading.Barrier(4)

    def swap(writer: int) -> list[int]:
        """Try to take each round; return the rounds won."""
        won = []
        with Client(server.target) as own:
            for number in range(rounds):
                start.wait(60)
                condition = rpc_pb2.Compare(
                    key=b"register",
                    target=rpc_pb2.Compare.VALUE,
                    result=rpc_pb2.Compare.EQUAL,
                    value=b"%d" % number,
                )
                put = rpc_pb2.PutRequest(key=b"register", value=b"%d" % (number + 1), prev_kv=True)
                request = rpc_pb2.TxnRequest(
                    compare=[condition], success=[rpc_pb2.RequestOp(request_put=put)]
                )
                if own.ok("KV/Txn", request).succeeded:
                    won.append(number)
        return won

    with ThreadPoolExecutor(4) as pool:
        wins = [number for won in pool.map(swap, range(4)) for number in won]
    assert sorted(wins) == list(range(rounds))
    register = client.get(b"register").kvs[0]
    assert (register.value, register.version) == (b"%d" % rounds, rounds + 1)


def test_a_lease_deletes_exactly_its_keys(client: Client) -> None:
    client.grant(1, 3600)
    client.grant(2, 3600)
    for key in (b"a", b"b", b"moved away", b"let go"):
        client.put(key, b"x", lease=1)
    client.put(b"other lease", b"x", lease=2)
    client.put(b"no lease", b"x")
    client.put(b"moved away", b"x", lease=2)
    client.put(b"let go", b"x")
    before = client.get(**ALL_KEYS)

    revoked = client.ok("Lease/LeaseRevoke", rpc_pb2.LeaseRevokeRequest(ID=1))

    assert revoked.header.revision == before.header.revision + 1
    after = client.get(**ALL_KEYS)
    assert [kv.key for kv in after.kvs] == [b"let go", b"moved away", b"no lease", b"other lease"]
    assert list(after.kvs) == [kv for kv in before.kvs if kv.key not in (b"a", b"b")]

    # The same by the clock: the shortest lease there is runs out by itself, and takes only its own key.
    granted = client.grant(3, 1)
    client.put(b"short", b"x", lease=3)
    with client.watch() as watch:
        watch.create(**ALL_KEYS)
        event = watch.wait_for_events(1, granted.TTL + 20)[0]
        assert (event.type, event.kv.key) == (DELETE, b"short")
    assert list(client.get(**ALL_KEYS).kvs) == list(after.kvs)


def test_a_watch_replays_history(server: Server, client: Client) -> None:
    expected = []
    for number in range(30):
        revision = client.put(b"k/%d" % (number % 7), b"%d" % number).header.revision
        expected.append((0, b"k/%d" % (number % 7), b"%d" % number, revision))
    expected.append((DELETE, b"k/3", b"", client.delete(b"k/3").header.revision))
    expected.append((0, b"k/3", b"again", client.put(b"k/3", b"again").header.revision))
    server.restart()

    for first in (2, 10, expected[-1][3]):
        with client.watch() as watch:
            watch.create(b"k/", b"k0", start_revision=first)
            live = client.put(b"k/live", b"x").header.revision
            wanted = [entry for entry in expected if entry[3] >= first] + [(0, b"k/live", b"x", live)]
            events = watch.wait_for_events(len(wanted))
            assert [(e.type, e.kv.key, e.kv.value, e.kv.mod_revision) for e in events] == wanted
        expected.append(wanted[-1])


def test_a_slow_watcher_loses_nothing(client: Client) -> None:
    # 40 MB wait for a reader that doesn't read: more than any buffer on the way holds.
    value = b"v" * 100_000
    read_on = threading.Event()
    seen: list[int] = []

    def read(responses: Iterator[bytes]) -> None:
        next(responses)
        created.set()
        assert read_on.wait(120)
        for payload in responses:
            seen.extend(event.kv.mod_revision for event in rpc_pb2.WatchResponse.FromString(payload).events)
            if seen and seen[-1] >= last_revision[0]:
                return

    created, done, last_revision = threading.Event(), threading.Event(), [1 << 60]
    request = rpc_pb2.WatchRequest(create_request=rpc_pb2.WatchCreateRequest(key=b"k"))

    def requests() -> Iterator[bytes]:
        yield request.SerializeToString()
        done.wait(120)

    with Client(client.target) as slow:
        stream = slow.channel.stream_stream("/etcdserverpb.Watch/Watch")(requests())
        with ThreadPoolExecutor(1) as pool, client.watch() as quick:
            reader = pool.submit(read, stream)
            try:
                assert created.wait(30)
                quick.create(b"k")
                for _ in range(400):
                    last_revision[0] = client.put(b"k", value).header.revision
                # The neighbour isn't held up by the one who doesn't read.
                quick.wait_for_events(400)
                read_on.set()
                reader.result(120)
            finally:
                read_on.set()
                done.set()
                stream.cancel()
    assert seen == list(range(2, 402))


def test_a_compacted_revision_is_refused(server: Server, client: Client) -> None:
    for number in range(10):
        client.put(b"k", b"%d" % number)
    client.ok("KV/Compact", rpc_pb2.CompactionRequest(revision=6, physical=True))
    compacted = ("OUT_OF_RANGE", "etcdserver: mvcc: required revision has been compacted")
    for _life in range(2):
        for revision in range(1, 6):
            answer = client.call("KV/Range", rpc_pb2.RangeRequest(key=b"k", revision=revision))
            assert (answer.code, answer.details) == compacted
        assert client.get(b"k", revision=6).kvs[0].value == b"4"
        again = client.call("KV/Compact", rpc_pb2.CompactionRequest(revision=6))
        assert (again.code, again.details) == compacted
        with client.watch() as watch:
            assert not watch.create(b"k", start_revision=3).canceled
            watch.wait(partial(_has_responses, watch, 2), "the end of the watcher")
            assert (watch.responses[1].canceled, watch.responses[1].compact_revision) == (True, 6)
        server.restart()


def test_a_delete_event_carries_the_deletes_revision(client: Client) -> None:
    client.put(b"k", b"v", prev_kv=True)
    with client.watch() as watch:
        watch.create(b"k", prev_kv=True)
        deleted = client.delete(b"k").header.revision
        client.put(b"elsewhere", b"x")
        event = watch.wait_for_events(1)[0]
    assert (event.type, event.kv.key, event.kv.mod_revision) == (DELETE, b"k", deleted)
    assert (event.kv.create_revision, event.kv.version, event.kv.value) == (0, 0, b"")
    assert (event.prev_kv.value, event.prev_kv.mod_revision) == (b"v", deleted - 1)
    # And the same when read back from history.
    with client.watch() as watch:
        watch.create(b"k", prev_kv=True, start_revision=deleted)
        assert watch.wait_for_events(1)[0] == event


def _has_responses(watch: WatchStream, count: int) -> bool:
    return len(watch.responses) >= count
