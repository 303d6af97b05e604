"""Hand-made responses against their plain twin, made with protobuf."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from etcdpb import kv_pb2, rpc_pb2
from rusd.mvcc import Store
from rusd.watch.encoding import Event, control_response, event_responses, watch_id_field
from rusd.wire import LENGTH_DELIMITED, length_delimited, tag

IDS = st.integers(min_value=-(1 << 63), max_value=(1 << 63) - 1)
REVISIONS = st.integers(min_value=0, max_value=(1 << 63) - 1)


def header_of(revision: int) -> tuple[rpc_pb2.ResponseHeader, bytes]:
    header = rpc_pb2.ResponseHeader(cluster_id=(1 << 64) - 1, member_id=3, revision=revision, raft_term=2)
    return header, length_delimited(tag(1, LENGTH_DELIMITED), header.SerializeToString())


@given(IDS, REVISIONS, REVISIONS, st.booleans(), st.booleans(), st.text(max_size=200))
def test_a_control_response_is_what_protobuf_writes(
    watch_id: int, revision: int, compact_revision: int, created: bool, canceled: bool, reason: str
) -> None:
    header, field = header_of(revision)
    twin = rpc_pb2.WatchResponse(
        header=header,
        watch_id=watch_id,
        created=created,
        canceled=canceled,
        compact_revision=compact_revision,
        cancel_reason=reason,
    )
    ours = control_response(
        field,
        watch_id,
        created=created,
        canceled=canceled,
        compact_revision=compact_revision,
        cancel_reason=reason,
    )
    assert ours == twin.SerializeToString()


def twin_event(store: Store, record: object, prev_kv: bool) -> kv_pb2.Event:
    """An event from the meaning of the record, not from its bytes."""
    event = kv_pb2.Event()
    if record.tombstone:  # type: ignore[attr-defined]
        event.type = kv_pb2.Event.DELETE
        event.kv.key = record.key  # type: ignore[attr-defined]
        event.kv.mod_revision = record.mod_revision  # type: ignore[attr-defined]
    else:
        event.kv.CopyFrom(kv_pb2.KeyValue.FromString(record.encoded))  # type: ignore[attr-defined]
    creates = event.type == kv_pb2.Event.PUT and event.kv.create_revision == event.kv.mod_revision
    if prev_kv and not creates:
        before = store.get(record.key, record.mod_revision - 1)  # type: ignore[attr-defined]
        if before is not None:
            event.prev_kv.CopyFrom(kv_pb2.KeyValue.FromString(before.encoded))
    return event


@given(st.integers(min_value=0, max_value=1 << 32), IDS)
def test_event_responses_are_what_protobuf_writes(seed: int, watch_id: int) -> None:
    chance = random.Random(seed)
    store = Store()
    records = []
    for _ in range(20):
        transaction = store.begin()
        key = chance.choice([b"a", b"b", b"k" * 200])
        if chance.random() < 0.3:
            transaction.delete_range(key)
        else:
            transaction.put(key, b"x" * chance.choice([0, 1, 127, 128, 20000]), chance.choice([0, 5]))
        published = transaction.publish()
        if published is not None:
            records += published.records
    for prev_kv in (False, True):
        header, field = header_of(store.current_revision)
        twin = rpc_pb2.WatchResponse(header=header, watch_id=watch_id)
        twin.events.extend(twin_event(store, record, prev_kv) for record in records)
        fields = [Event(record).field(store, prev_kv) for record in records]
        assert event_responses(field + watch_id_field(watch_id), fields, 0) == [twin.SerializeToString()]


def plain_fragments(response: rpc_pb2.WatchResponse, limit: int) -> list[bytes]:
    """How etcd splits: one event more until the message would be as long as the limit."""
    if response.ByteSize() < limit or len(response.events) < 2:
        return [response.SerializeToString()]
    parts: list[rpc_pb2.WatchResponse] = []
    rest = list(response.events)
    while rest:
        part = rpc_pb2.WatchResponse(header=response.header, watch_id=response.watch_id, fragment=True)
        part.events.append(rest.pop(0))
        while rest:
            part.events.append(rest[0])
            if part.ByteSize() >= limit:
                del part.events[-1]
                break
            rest.pop(0)
        parts.append(part)
    parts[-1].ClearField("fragment")
    return [part.SerializeToString() for part in parts]


@given(
    st.lists(st.integers(min_value=0, max_value=300), max_size=30), st.integers(min_value=1, max_value=900)
)
def test_fragments_are_cut_where_etcd_cuts_them(sizes: list[int], limit: int) -> None:
    header, field = header_of(9)
    response = rpc_pb2.WatchResponse(header=header, watch_id=4)
    for size in sizes:
        response.events.add().kv.value = b"x" * size
    fields = [
        length_delimited(tag(11, LENGTH_DELIMITED), event.SerializeToString()) for event in response.events
    ]
    assert event_responses(field + watch_id_field(4), fields, limit) == plain_fragments(response, limit)


def test_an_event_is_encoded_once_for_all() -> None:
    store = Store()
    transaction = store.begin()
    transaction.put(b"k", b"v", 0)
    published = transaction.publish()
    assert published is not None
    event = Event(published.records[0])
    assert event.field(store, prev_kv=False) is event.field(store, prev_kv=False)
    assert event.field(store, prev_kv=True) is event.field(store, prev_kv=False)  # it creates the key
