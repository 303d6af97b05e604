"""What two servers may answer differently without either being wrong.

Only what etcd itself leaves open: the order of equal elements after a sort, of a lease's keys and of leases,
a lease's remaining seconds, and in Status what speaks of the storage and not of the data.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from typing import Any

from google.protobuf.message import Message

from etcdpb import kv_pb2, rpc_pb2
from tests.support.client import Answer

# Go sorts short slices by insertion, which keeps the order of equals; so do we, and compare it.
STABLE_SORT_LENGTH = 6
TTL_SLACK_SECONDS = 600
STATUS_FIELDS = ("header", "leader", "raftTerm", "errors", "isLearner")
_SORT_KEYS: dict[int, Callable[[kv_pb2.KeyValue], Any]] = {
    rpc_pb2.RangeRequest.KEY: lambda kv: kv.key,
    rpc_pb2.RangeRequest.VERSION: lambda kv: kv.version,
    rpc_pb2.RangeRequest.CREATE: lambda kv: kv.create_revision,
    rpc_pb2.RangeRequest.MOD: lambda kv: kv.mod_revision,
    rpc_pb2.RangeRequest.VALUE: lambda kv: kv.value,
}


def normalise(request: Message | None, answer: Answer) -> Answer:
    """The answer with everything that may differ replaced by one form of it; the original stays as it is."""
    if not answer.ok:
        return answer
    message = type(answer.message)()
    message.CopyFrom(answer.message)
    _message(request, message)
    return Answer(answer.code, answer.details, message)


def _message(request: Message | None, message: Any) -> None:
    match request, message:
        case rpc_pb2.RangeRequest(), rpc_pb2.RangeResponse():
            _range(request, message)
        case rpc_pb2.TxnRequest(), rpc_pb2.TxnResponse():
            branch = request.success if message.succeeded else request.failure
            for operation, response in zip(branch, message.responses, strict=False):
                _operation(operation, response)
        case _, rpc_pb2.LeaseTimeToLiveResponse():
            message.keys.sort()
            if message.grantedTTL - TTL_SLACK_SECONDS <= message.TTL <= message.grantedTTL:
                message.TTL = message.grantedTTL
        case _, rpc_pb2.LeaseLeasesResponse():
            message.leases.sort(key=lambda lease: lease.ID)
        case _, rpc_pb2.StatusResponse():
            for field in message.DESCRIPTOR.fields:
                if field.name not in STATUS_FIELDS:
                    message.ClearField(field.name)
        case _:
            pass


def _operation(operation: rpc_pb2.RequestOp, response: rpc_pb2.ResponseOp) -> None:
    if operation.HasField("request_range") and response.HasField("response_range"):
        _range(operation.request_range, response.response_range)
    elif operation.HasField("request_txn") and response.HasField("response_txn"):
        _message(operation.request_txn, response.response_txn)


def _range(request: rpc_pb2.RangeRequest, response: rpc_pb2.RangeResponse) -> None:
    """Bring equals of a sort into key order; of a group that the limit cut, keep only how many there are."""
    if request.sort_target == rpc_pb2.RangeRequest.KEY or response.count <= STABLE_SORT_LENGTH:
        return
    sort_key = _SORT_KEYS[request.sort_target]
    if request.keys_only and request.sort_target == rpc_pb2.RangeRequest.VALUE:
        # The values that were sorted by aren't there: nothing tells the groups apart.
        sort_key = _all_equal
    groups = [sorted(group, key=lambda kv: kv.key) for _, group in groupby(response.kvs, sort_key)]
    if response.more and groups:
        groups[-1] = [kv_pb2.KeyValue(value=b"one of several equals")] * len(groups[-1])
    del response.kvs[:]
    for group in groups:
        response.kvs.extend(group)


def _all_equal(_kv: kv_pb2.KeyValue) -> int:
    """A sort key under which all are equal."""
    return 0
