"""Results of the state machine as encoded ``etcdserverpb`` answers.

The store keeps each ``KeyValue`` encoded, as the field it is in most answers,
so an answer is a join of a header and such pieces.  Written by hand for that
reason; ``tests/services/test_encoding.py`` holds it against protobuf.

For results that are :func:`large` there is a twin of each function that gives
:class:`~rusd.services.segments.Segments`, in steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

from rusd.mvcc import DeleteResult, PutResult, RangeResult, Record, TxnResult
from rusd.services.header import revision_only
from rusd.services.segments import Segments
from rusd.steps import Steps, Turn
from rusd.wire import LENGTH_DELIMITED, VARINT, length_delimited, tag, varint_field

_RANGE_MORE = tag(3, VARINT)
_RANGE_COUNT = tag(4, VARINT)
_DELETE_DELETED = tag(2, VARINT)
_DELETE_PREV_KVS = tag(3, LENGTH_DELIMITED)
_TXN_SUCCEEDED = tag(2, VARINT)
_TXN_RESPONSES = tag(3, LENGTH_DELIMITED)
_OP_RANGE = tag(1, LENGTH_DELIMITED)
_OP_PUT = tag(2, LENGTH_DELIMITED)
_OP_DELETE_RANGE = tag(3, LENGTH_DELIMITED)
_OP_TXN = tag(4, LENGTH_DELIMITED)
_EMPTY_HEADER = revision_only(0)

LARGE_RECORDS = 1000
"""An answer with more records is large."""

LARGE_BYTES = 1 << 20
"""An answer with more than one record and so many bytes in them is large."""

_without_value = attrgetter("field_without_value")

Result = RangeResult | PutResult | DeleteResult | TxnResult | None


def large(result: Result) -> bool:
    """Whether the answer for ``result`` would take too long to be made in one turn."""
    match result:
        case RangeResult():
            return _many(result.records)
        case DeleteResult():
            return _many(result.previous)
        case TxnResult() if result.weight > 1:
            return result.weight > LARGE_RECORDS or _bytes(result) > LARGE_BYTES
    return False


def _many(records: Sequence[Record]) -> bool:
    count = len(records)
    if count <= 1:
        return False
    return count > LARGE_RECORDS or sum([len(record.field) for record in records]) > LARGE_BYTES


def _bytes(result: Result) -> int:
    """The bytes of all records in a result that has few."""
    match result:
        case RangeResult(records=records) | DeleteResult(previous=records):
            return sum([len(record.field) for record in records])
        case PutResult(previous=previous):
            return 0 if previous is None else len(previous.field)
        case TxnResult(responses=responses):
            return sum(map(_bytes, responses))
    return 0


def range_response(header: bytes, result: RangeResult) -> bytes:
    """``RangeResponse``."""
    if result.keys_only:
        parts = [record.field_without_value for record in result.records]
    else:
        parts = [record.field for record in result.records]
    return b"".join(
        (header, *parts, varint_field(_RANGE_MORE, result.more), varint_field(_RANGE_COUNT, result.count))
    )


def range_segments(header: bytes, result: RangeResult, turn: Turn) -> Steps[Segments]:
    """:func:`range_response` of a large result."""
    segments = Segments()
    segments.add(header)
    if result.keys_only:
        yield from segments.add_encoded(result.records, turn, _without_value)
    else:
        yield from segments.add_records(result.records, turn)
    segments.add(varint_field(_RANGE_MORE, result.more) + varint_field(_RANGE_COUNT, result.count))
    return segments


def put_response(header: bytes, result: PutResult) -> bytes:
    """``PutResponse``."""
    return header if result.previous is None else header + result.previous.field


def delete_response(header: bytes, result: DeleteResult) -> bytes:
    """``DeleteRangeResponse``."""
    # A record is kept as field 2; here it is field 3, whose tag has one byte too.
    previous = [_DELETE_PREV_KVS + record.field[1:] for record in result.previous]
    return b"".join((header, varint_field(_DELETE_DELETED, result.deleted), *previous))


def delete_segments(header: bytes, result: DeleteResult, turn: Turn) -> Steps[Segments]:
    """:func:`delete_response` of a large result."""
    segments = Segments()
    segments.add(header + varint_field(_DELETE_DELETED, result.deleted))
    yield from segments.add_records(result.previous, turn, _DELETE_PREV_KVS)
    return segments


def txn_response(header: bytes, result: TxnResult) -> bytes:
    """``TxnResponse``; the answers inside have headers of their own, with nothing but the revision."""
    parts = [header, varint_field(_TXN_SUCCEEDED, result.succeeded)]
    parts += [length_delimited(_TXN_RESPONSES, _op_response(response)) for response in result.responses]
    return b"".join(parts)


def txn_segments(header: bytes, result: TxnResult, turn: Turn) -> Steps[Segments]:
    """:func:`txn_response` of a large result."""
    segments = Segments()
    segments.add(header + varint_field(_TXN_SUCCEEDED, result.succeeded))
    for response in result.responses:
        operation = Segments()
        match response:
            case RangeResult():
                inner = yield from range_segments(revision_only(response.revision), response, turn)
                operation.add_field(_OP_RANGE, inner)
            case DeleteResult():
                inner = yield from delete_segments(revision_only(response.revision), response, turn)
                operation.add_field(_OP_DELETE_RANGE, inner)
            case TxnResult():
                inner = yield from txn_segments(_EMPTY_HEADER, response, turn)
                operation.add_field(_OP_TXN, inner)
            case _:
                operation.add(_op_response(response))
        segments.add_field(_TXN_RESPONSES, operation)
    return segments


def _op_response(result: Result) -> bytes:
    match result:
        case RangeResult():
            return length_delimited(_OP_RANGE, range_response(revision_only(result.revision), result))
        case PutResult():
            return length_delimited(_OP_PUT, put_response(revision_only(result.revision), result))
        case DeleteResult():
            return length_delimited(_OP_DELETE_RANGE, delete_response(revision_only(result.revision), result))
        case TxnResult():
            return length_delimited(_OP_TXN, txn_response(_EMPTY_HEADER, result))
    return b""
