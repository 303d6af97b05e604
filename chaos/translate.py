"""Between the model's values and etcd's messages.  The only module that knows both."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message

from chaos.model import (
    DELETE,
    PUT,
    Action,
    Answer,
    Compact,
    Compare,
    Delete,
    Event,
    Grant,
    KeepAlive,
    KeyValue,
    Lock,
    Put,
    Range,
    Request,
    Result,
    Revoke,
    Txn,
    Unlock,
    shortened,
)
from etcdpb import kv_pb2, rpc_pb2, v3lock_pb2

_RELATIONS = {
    "=": rpc_pb2.Compare.EQUAL,
    "!=": rpc_pb2.Compare.NOT_EQUAL,
    ">": rpc_pb2.Compare.GREATER,
    "<": rpc_pb2.Compare.LESS,
}
_TARGETS = {
    "value": (rpc_pb2.Compare.VALUE, "value"),
    "version": (rpc_pb2.Compare.VERSION, "version"),
    "create": (rpc_pb2.Compare.CREATE, "create_revision"),
    "mod": (rpc_pb2.Compare.MOD, "mod_revision"),
    "lease": (rpc_pb2.Compare.LEASE, "lease"),
}


def to_message(request: Request) -> tuple[str, Message, type[Message]]:
    """The method's path, the message for it, and the type of its answer."""
    match request:
        case Put():
            return "/etcdserverpb.KV/Put", put(request), rpc_pb2.PutResponse
        case Delete():
            return "/etcdserverpb.KV/DeleteRange", delete(request), rpc_pb2.DeleteRangeResponse
        case Range():
            return "/etcdserverpb.KV/Range", range_(request), rpc_pb2.RangeResponse
        case Txn():
            return "/etcdserverpb.KV/Txn", txn(request), rpc_pb2.TxnResponse
        case Grant():
            grant = rpc_pb2.LeaseGrantRequest(ID=request.lease, TTL=request.ttl)
            return "/etcdserverpb.Lease/LeaseGrant", grant, rpc_pb2.LeaseGrantResponse
        case Revoke():
            revoke = rpc_pb2.LeaseRevokeRequest(ID=request.lease)
            return "/etcdserverpb.Lease/LeaseRevoke", revoke, rpc_pb2.LeaseRevokeResponse
        case KeepAlive():
            renew = rpc_pb2.LeaseKeepAliveRequest(ID=request.lease)
            return "/etcdserverpb.Lease/LeaseKeepAlive", renew, rpc_pb2.LeaseKeepAliveResponse
        case Lock():
            lock = v3lock_pb2.LockRequest(name=request.name.encode(), lease=request.lease)
            return "/v3lockpb.Lock/Lock", lock, v3lock_pb2.LockResponse
        case Unlock():
            unlock = v3lock_pb2.UnlockRequest(key=request.key.encode())
            return "/v3lockpb.Lock/Unlock", unlock, v3lock_pb2.UnlockResponse
        case Compact():
            compact = rpc_pb2.CompactionRequest(revision=request.revision)
            return "/etcdserverpb.KV/Compact", compact, rpc_pb2.CompactionResponse


def put(request: Put) -> rpc_pb2.PutRequest:
    """etcd's form of a Put."""
    return rpc_pb2.PutRequest(key=request.key.encode(), value=request.value.encode(), lease=request.lease)


def delete(request: Delete) -> rpc_pb2.DeleteRangeRequest:
    """etcd's form of a Delete."""
    return rpc_pb2.DeleteRangeRequest(key=request.key.encode(), range_end=request.end.encode())


def range_(request: Range) -> rpc_pb2.RangeRequest:
    """etcd's form of a Range."""
    return rpc_pb2.RangeRequest(
        key=request.key.encode(), range_end=request.end.encode(), serializable=request.serializable
    )


def txn(request: Txn) -> rpc_pb2.TxnRequest:
    """etcd's form of a Txn."""
    return rpc_pb2.TxnRequest(
        compare=[_compare(one) for one in request.compares],
        success=[_action(one) for one in request.success],
        failure=[_action(one) for one in request.failure],
    )


def _compare(compare: Compare) -> rpc_pb2.Compare:
    target, field = _TARGETS[compare.target]
    operand = compare.operand.encode() if isinstance(compare.operand, str) else compare.operand
    fields: dict[str, Any] = {field: operand}
    return rpc_pb2.Compare(
        key=compare.key.encode(), target=target, result=_RELATIONS[compare.relation], **fields
    )


def _action(action: Action) -> rpc_pb2.RequestOp:
    match action:
        case Put():
            return rpc_pb2.RequestOp(request_put=put(action))
        case Delete():
            return rpc_pb2.RequestOp(request_delete_range=delete(action))
        case Range():
            return rpc_pb2.RequestOp(request_range=range_(action))


# -- answers ------------------------------------------------------------------------


def to_answer(message: Any) -> Answer:
    """The model's form of any answer."""
    revision = message.header.revision
    match message:
        case rpc_pb2.PutResponse() | rpc_pb2.DeleteRangeResponse() | rpc_pb2.RangeResponse():
            return Answer(revision, results=(_result(message),))
        case rpc_pb2.TxnResponse():
            results = tuple(_result(getattr(one, one.WhichOneof("response"))) for one in message.responses)
            return Answer(revision, message.succeeded, results)
        case rpc_pb2.LeaseGrantResponse() | rpc_pb2.LeaseKeepAliveResponse():
            return Answer(revision, ttl=message.TTL)
        case v3lock_pb2.LockResponse():
            return Answer(revision, key=message.key.decode())
    return Answer(revision)


def _result(message: Any) -> Result:
    match message:
        case rpc_pb2.RangeResponse():
            return tuple(to_key_value(kv) for kv in message.kvs)
        case rpc_pb2.DeleteRangeResponse():
            return int(message.deleted)
    return None


def to_key_value(kv: kv_pb2.KeyValue) -> KeyValue:
    """The model's form of a key.  Bytes that are not UTF-8 can't be this tool's; they stay visible."""
    return KeyValue(
        kv.key.decode(errors="backslashreplace"),
        shortened(kv.value.decode(errors="backslashreplace")),
        kv.create_revision,
        kv.mod_revision,
        kv.version,
        kv.lease,
    )


def to_event(event: kv_pb2.Event) -> Event:
    """The model's form of an event."""
    kind = DELETE if event.type == kv_pb2.Event.DELETE else PUT
    previous = to_key_value(event.prev_kv) if event.HasField("prev_kv") else None
    return Event(kind, to_key_value(event.kv), previous)
