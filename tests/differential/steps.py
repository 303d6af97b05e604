"""The steps that a differential run is made of, as values.

:mod:`tests.differential.generator` makes them, :mod:`tests.differential.lockstep` runs them.
"""

from __future__ import annotations

import attrs
from google.protobuf.message import Message

from etcdpb import kv_pb2, rpc_pb2, v3election_pb2

FROM_KEY = b"\x00"
STREAMS = 5
MAX_REQUEST_BYTES = 1572864
MAX_MESSAGE_BYTES = MAX_REQUEST_BYTES + 512 * 1024


@attrs.frozen
class Call:
    """One unary call."""

    name: str
    request: Message


@attrs.frozen
class RawCall:
    """A unary call of a method or of bytes that no client would send."""

    path: str
    payload: bytes


@attrs.frozen
class KeepAlive:
    """One request on the lasting LeaseKeepAlive stream."""

    lease: int


@attrs.frozen
class ShortLease:
    """A lease too short to keep (its TTL is raised to the minimum): granted and revoked at once."""

    lease: int
    ttl: int


@attrs.frozen
class CreateWatch:
    """A new watcher on one of the streams."""

    stream: int
    request: rpc_pb2.WatchCreateRequest


@attrs.frozen
class CancelWatch:
    """The end of a watcher, perhaps of one that isn't there."""

    stream: int
    watch_id: int


@attrs.frozen
class WatchProgress:
    """A manual progress request."""

    stream: int


@attrs.frozen
class EmptyWatchRequest:
    """A watch request with no member of its union set, which is ignored."""

    stream: int


@attrs.frozen
class Lock:
    """A lock, waited for if somebody else has it."""

    name: bytes
    lease: int


@attrs.frozen
class Campaign:
    """An election, won at once or after the leader's resignation."""

    name: bytes
    lease: int
    value: bytes


@attrs.frozen
class Observe:
    """An Observe stream that sees the leader proclaim a value."""

    name: bytes
    value: bytes


@attrs.frozen
class BigRevision:
    """A revision whose events don't fit one response: they are split for watchers that ask for it."""

    size: int


Step = (
    Call
    | RawCall
    | KeepAlive
    | ShortLease
    | CreateWatch
    | CancelWatch
    | WatchProgress
    | EmptyWatchRequest
    | Lock
    | Campaign
    | Observe
    | BigRevision
)


@attrs.define
class View:
    """What the reference's answers have shown so far."""

    revision: int = 1
    compacted: int = -1
    leader_keys: dict[bytes, v3election_pb2.LeaderKey] = attrs.Factory(dict)


def matches(key: bytes, range_end: bytes, wanted: bytes) -> bool:
    """Whether ``wanted`` lies in the range of a request, by etcd's rules for range_end."""
    if not range_end:
        return wanted == key
    if range_end == FROM_KEY:
        return wanted >= key
    return key <= wanted < range_end


def is_delete(event: kv_pb2.Event) -> bool:
    """Whether an event is a deletion."""
    return event.type == kv_pb2.Event.DELETE
