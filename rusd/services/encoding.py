"""Results of the state machine as encoded ``etcdserverpb`` answers.

The store keeps each ``KeyValue`` encoded, as the field it is in most answers,
so an answer is a join of a header and such pieces.  Written by hand for that
reason; ``tests/services/test_encoding.py`` holds it against protobuf.
"""

from __future__ import annotations

from rusd.mvcc import DeleteResult, PutResult, RangeResult, TxnResult
from rusd.services.header import revision_only
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


def range_response(header: bytes, result: RangeResult) -> bytes:
    """``RangeResponse``."""
    if result.keys_only:
        parts = [record.field_without_value for record in result.records]
    else:
        parts = [record.field for record in result.records]
    return b"".join(
        (header, *parts, varint_field(_RANGE_MORE, result.more), varint_field(_RANGE_COUNT, result.count))
    )


def put_response(header: bytes, result: PutResult) -> bytes:
    """``PutResponse``."""
    return header if result.previous is None else header + result.previous.field


def delete_response(header: bytes, result: DeleteResult) -> bytes:
    """``DeleteRangeResponse``."""
    # A record is kept as field 2; here it is field 3, whose tag has one byte too.
    previous = [_DELETE_PREV_KVS + record.field[1:] for record in result.previous]
    return b"".join((header, varint_field(_DELETE_DELETED, result.deleted), *previous))


def txn_response(header: bytes, result: TxnResult) -> bytes:
    """``TxnResponse``; the answers inside have headers of their own, with nothing but the revision."""
    parts = [header, varint_field(_TXN_SUCCEEDED, result.succeeded)]
    parts += [length_delimited(_TXN_RESPONSES, _op_response(response)) for response in result.responses]
    return b"".join(parts)


def _op_response(result: RangeResult | PutResult | DeleteResult | TxnResult | None) -> bytes:
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
