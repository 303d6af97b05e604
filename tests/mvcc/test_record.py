"""The hand-written KeyValue encoding against protobuf's."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from etcdpb import kv_pb2, rpc_pb2
from rusd.mvcc.record import Record, encode_key_value, put_record, tombstone_record

NUMBERS = st.one_of(st.integers(0, 300), st.integers(0, 2**63 - 1))
BYTES = st.one_of(st.binary(max_size=6), st.binary(min_size=120, max_size=140), st.just(b"v" * 300))


def twin(key, create_revision, mod_revision, version, value, lease) -> bytes:
    return kv_pb2.KeyValue(
        key=key,
        create_revision=create_revision,
        mod_revision=mod_revision,
        version=version,
        value=value,
        lease=lease,
    ).SerializeToString()


@given(BYTES, NUMBERS, NUMBERS, NUMBERS, BYTES, st.one_of(NUMBERS, st.integers(-(2**63), -1)))
@example(b"", 0, 0, 0, b"", 0)
@example(b"k", 2, 2, 1, b"", 0)
@example(b"k" * 127, 2, 2, 127, b"v", -1)
@example(b"k" * 128, 2, 3, 128, b"v", 1)
def test_the_encoding_is_protobufs(key, create_revision, mod_revision, version, value, lease) -> None:
    arguments = (key, create_revision, mod_revision, version, value, lease)
    assert encode_key_value(*arguments) == twin(*arguments)


@given(BYTES, NUMBERS, NUMBERS, st.integers(1, 2**40), BYTES, st.integers(-(2**63), 2**63 - 1))
def test_a_put_record_gives_back_what_went_in(key, create, mod, version, value, lease) -> None:
    record = put_record(key, create, mod, 3, version, value, lease)
    encoded = twin(key, create, mod, version, value, lease)
    assert record.encoded == encoded
    assert record.value == value
    assert not record.tombstone
    assert record.event_field == record.field
    answer = rpc_pb2.RangeResponse.FromString(record.field)
    assert [kv.SerializeToString() for kv in answer.kvs] == [encoded]
    answer = rpc_pb2.RangeResponse.FromString(record.field_without_value)
    assert [kv.SerializeToString() for kv in answer.kvs] == [twin(key, create, mod, version, b"", lease)]


@given(BYTES, st.integers(2, 2**63 - 1))
def test_a_stored_tombstone_holds_the_key_only(key, mod) -> None:
    record = tombstone_record(key, mod, 0)
    assert record.encoded == kv_pb2.KeyValue(key=key).SerializeToString()
    assert record.tombstone
    assert record.value == b""
    assert (record.create_revision, record.version, record.lease) == (0, 0, 0)


def test_an_events_tombstone_has_the_revision_of_the_delete() -> None:
    event = kv_pb2.Event.FromString(tombstone_record(b"k", 9, 0).event_field)
    assert event.kv == kv_pb2.KeyValue(key=b"k", mod_revision=9)


def test_a_record_has_no_dict() -> None:
    with pytest.raises(AttributeError):
        put_record(b"k", 2, 2, 0, 1, b"", 0).surprise = 1  # type: ignore[attr-defined]
    assert "2.0" in repr(put_record(b"k", 2, 2, 0, 1, b"", 0))
    assert "tombstone" in repr(Record(b"k", 0, 2, 0, 0, 0, b"\x12\x00"))
