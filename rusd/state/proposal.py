"""What a normal log entry holds: one request, and who waits for its answer.

An entry is a fixed head and the request's protobuf bytes::

    kind (1)  member (8)  boot (4)  number (8)  term (8)  request (rest)

``(member, boot, number)`` is the **request id**.  A waiting call is found by
it and never by log index, so an entry that another leader, another member or
an earlier life of this process wrote can't complete the wrong call.

``term`` is 0 for what a client asked for.  What a leader decides by itself
(expired leases, checkpoints, automatic compaction) carries the term it was
decided in and is dropped if it is applied in a later one.
"""

from __future__ import annotations

import enum
import struct
from typing import TYPE_CHECKING

import attrs
from google.protobuf.message import DecodeError

from etcdpb import rpc_pb2, rusd_pb2

if TYPE_CHECKING:
    from google.protobuf.message import Message

_HEAD = struct.Struct("<BQIQQ")


class Kind(enum.IntEnum):
    """Which request an entry holds.  The numbers are on disk: never reuse one."""

    PUT = 1
    DELETE_RANGE = 2
    TXN = 3
    COMPACT = 4
    LEASE_GRANT = 5
    LEASE_REVOKE = 6
    LEASE_CHECKPOINT = 7
    ALARM = 8
    CLUSTER_VERSION = 9
    MEMBER_ATTRIBUTES = 10
    MEMBER_UPDATE = 11
    DOWNGRADE = 12


REQUEST_TYPES: dict[Kind, type[Message]] = {
    Kind.PUT: rpc_pb2.PutRequest,
    Kind.DELETE_RANGE: rpc_pb2.DeleteRangeRequest,
    Kind.TXN: rpc_pb2.TxnRequest,
    Kind.COMPACT: rpc_pb2.CompactionRequest,
    Kind.LEASE_GRANT: rpc_pb2.LeaseGrantRequest,
    Kind.LEASE_REVOKE: rpc_pb2.LeaseRevokeRequest,
    Kind.LEASE_CHECKPOINT: rpc_pb2.LeaseCheckpointRequest,
    Kind.ALARM: rpc_pb2.AlarmRequest,
    Kind.CLUSTER_VERSION: rusd_pb2.ClusterVersion,
    Kind.MEMBER_ATTRIBUTES: rusd_pb2.MemberAttributes,
    Kind.MEMBER_UPDATE: rusd_pb2.Member,
    Kind.DOWNGRADE: rpc_pb2.DowngradeInfo,
}


@attrs.frozen
class RequestId:
    """Names one proposal of one life of one member."""

    member: int
    boot: int
    number: int


@attrs.frozen
class Proposal:
    """A decoded entry.  ``term`` is the term a leader decided it in, or 0."""

    kind: Kind
    request_id: RequestId
    term: int
    request: Message


def encode(kind: int, member: int, boot: int, number: int, request: Message, *, term: int = 0) -> bytes:
    """The entry's data for ``request``."""
    return _HEAD.pack(kind, member, boot, number, term) + request.SerializeToString()


def read_head(data: bytes) -> tuple[int, int, int, int, int]:
    """The head of an entry: kind, then the request id's member, boot and number, then the term."""
    return _HEAD.unpack_from(data)


def decode(data: bytes) -> Proposal:
    """The proposal in an entry's data.

    Raises :class:`ValueError` for bytes that :func:`encode` did not make; an
    entry is checked before it is proposed, so that means a broken log.
    """
    if len(data) < _HEAD.size:
        raise ValueError(f"log entry of {len(data)} bytes is shorter than its head")
    kind_number, member, boot, number, term = _HEAD.unpack_from(data)
    kind = Kind(kind_number)
    try:
        request = REQUEST_TYPES[kind].FromString(data[_HEAD.size :])
    except DecodeError as error:  # no ValueError by itself
        raise ValueError(f"log entry of kind {kind.name} without its request: {error}") from error
    return Proposal(kind, RequestId(member, boot, number), term, request)
