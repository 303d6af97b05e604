"""The plain twin of the state machine: a dictionary with a history, driven by the committed log.

It shares no code with the store.  It is told each entry once, in the order of
the log; every server's answers, events and reads are compared with it.  Since
revisions are visible to clients, there is only one order in which a history can
be linearized, that of the log: so comparing with the model, and with real time,
*is* the check of linearizability, and it costs a look-up per answer.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

from google.protobuf.message import Message

from etcdpb import rpc_pb2
from rusd.lease import LeaseError
from rusd.mvcc import DeleteResult, MvccError, PutResult, RangeResult, Record, TxnResult
from rusd.raft import Entry, EntryType
from rusd.state import GrantResult, Kind, proposal
from rusd.state.errors import AlarmError
from tests.simulation import properties
from tests.simulation.properties import Violation

Outcome = tuple[object, ...]


class Value(NamedTuple):
    """What stands for a key, as a client sees it."""

    create: int
    mod: int
    version: int
    value: bytes
    lease: int


Change = tuple[bytes, Value | None]


def within(key: bytes, start: bytes, end: bytes) -> bool:
    """Whether ``key`` is in etcd's range ``start``, ``end``."""
    if not end:
        return key == start
    return key >= start and (end == b"\0" or key < end)


class Model:
    """All that the committed log says, at every revision."""

    def __init__(self) -> None:
        self.index = 0
        self.revision = 1
        self.compacted = -1
        self.live: dict[bytes, Value] = {}
        self.leases: dict[int, int] = {}  # id: TTL in seconds
        self.revisions: dict[int, list[Change]] = {}
        self.outcomes: dict[int, Outcome | None] = {0: None}  # by log index; None for what is no request
        self.revision_at: dict[int, int] = {0: 1}  # after the entry of that index
        self.compacted_at: dict[int, int] = {0: -1}
        self.request_ids: dict[tuple[int, int, int], int] = {}
        self.revoked: tuple[int, bool] | None = None  # by the last entry: a lease, and whether out of time
        self._history: dict[bytes, tuple[list[int], list[Value | None]]] = {}
        self._changes: list[Change] = []

    # -- looking --------------------------------------------------------------------

    def range(self, start: bytes, end: bytes, revision: int) -> list[tuple[bytes, Value]]:
        """The keys of a range and what stood for them at ``revision``."""
        found: list[tuple[bytes, Value]] = []
        for key in sorted(self._history):
            if within(key, start, end):
                revisions, values = self._history[key]
                position = bisect_right(revisions, revision)
                value = values[position - 1] if position else None
                if value is not None:
                    found.append((key, value))
        return found

    def events(self, start: bytes, end: bytes, first: int, last: int) -> list[tuple[int, Change]]:
        """What a watcher of a range is to hear of the revisions ``first`` to ``last``."""
        return [
            (revision, change)
            for revision in range(max(first, 2), last + 1)
            for change in self.revisions.get(revision, ())
            if within(change[0], start, end)
        ]

    # -- the log ----------------------------------------------------------------------

    def apply(self, entry: Entry) -> None:
        """Take the next entry of the log."""
        assert entry.index == self.index + 1
        self.index = entry.index
        self.revoked = None
        outcome: Outcome | None = None
        if entry.type == EntryType.NORMAL and entry.data:
            outcome = self._apply(entry)
        self.outcomes[self.index] = outcome
        self.revision_at[self.index] = self.revision
        self.compacted_at[self.index] = self.compacted

    def _apply(self, entry: Entry) -> Outcome | None:
        decoded = proposal.decode(entry.data)
        name = decoded.request_id
        request_id = name.member, name.boot, name.number
        if request_id in self.request_ids:
            text = f"proposal {request_id} stands at {self.request_ids[request_id]} and at {entry.index}"
            raise Violation(properties.ONCE, text)
        self.request_ids[request_id] = entry.index
        if decoded.term not in {0, entry.term}:
            return None  # decided in a term that is over
        self._changes = []
        leases = set(self.leases)
        outcome = self._execute(decoded.kind, decoded.request)
        if gone := leases - set(self.leases):
            self.revoked = (gone.pop(), bool(decoded.term))
        if self._changes:
            self.revision += 1
            self.revisions[self.revision] = self._changes
        return outcome

    def _execute(self, kind: Kind, request: Message) -> Outcome:
        match kind:
            case Kind.PUT:
                assert isinstance(request, rpc_pb2.PutRequest)
                if request.lease and request.lease not in self.leases:
                    return "error", "LeaseNotFoundError"
                self._put(request)
                return "put", self.revision + 1
            case Kind.DELETE_RANGE:
                assert isinstance(request, rpc_pb2.DeleteRangeRequest)
                deleted = self._delete(request)
                return "delete", self.revision + bool(deleted), deleted
            case Kind.TXN:
                assert isinstance(request, rpc_pb2.TxnRequest)
                return self._txn(request)
            case Kind.COMPACT:
                assert isinstance(request, rpc_pb2.CompactionRequest)
                return self._compact(request.revision)
            case Kind.LEASE_GRANT:
                assert isinstance(request, rpc_pb2.LeaseGrantRequest)
                if request.ID in self.leases:
                    return "error", "LeaseExistsError"
                self.leases[request.ID] = request.TTL
                return "grant", request.ID
            case Kind.LEASE_REVOKE:
                assert isinstance(request, rpc_pb2.LeaseRevokeRequest)
                return self._revoke(request.ID)
        raise AssertionError(f"the simulation makes no {kind!r}")

    def _put(self, request: rpc_pb2.PutRequest) -> None:
        revision = self.revision + 1
        old = self.live.get(request.key)
        create, version = (old.create, old.version) if old else (revision, 0)
        self._change(request.key, Value(create, revision, version + 1, request.value, request.lease))

    def _delete(self, request: rpc_pb2.DeleteRangeRequest) -> int:
        keys = [key for key in sorted(self.live) if within(key, request.key, request.range_end)]
        for key in keys:
            self._change(key, None)
        return len(keys)

    def _txn(self, request: rpc_pb2.TxnRequest) -> Outcome:
        holds = all(map(self._holds, request.compare))
        branch = request.success if holds else request.failure
        for op in branch:
            if op.request_put.lease and op.request_put.lease not in self.leases:
                return "error", "LeaseNotFoundError"
        parts: list[Outcome] = []
        for op in branch:
            match op.WhichOneof("request"):
                case "request_put":
                    self._put(op.request_put)
                    parts.append(("put",))
                case "request_delete_range":
                    parts.append(("delete", self._delete(op.request_delete_range)))
                case "request_range":
                    asked = op.request_range
                    found = [key for key in sorted(self.live) if within(key, asked.key, asked.range_end)]
                    parts.append(("range", tuple((key, self.live[key].mod) for key in found)))
        return "txn", self.revision + bool(self._changes), holds, tuple(parts)

    def _holds(self, compare: rpc_pb2.Compare) -> bool:
        """The simulation compares for equality of mod revisions and values only."""
        held = self.live.get(compare.key)
        if compare.target == rpc_pb2.Compare.MOD:
            return (held.mod if held else 0) == compare.mod_revision
        return held is not None and held.value == compare.value

    def _compact(self, revision: int) -> Outcome:
        if revision <= self.compacted:
            return "error", "CompactedError"
        if revision > self.revision:
            return "error", "FutureRevisionError"
        self.compacted = revision
        return "compact", revision

    def _revoke(self, lease: int) -> Outcome:
        if lease not in self.leases:
            return "error", "LeaseNotFoundError"
        del self.leases[lease]
        for key in sorted(key for key, value in self.live.items() if value.lease == lease):
            self._change(key, None)
        return ("revoke",)

    def _change(self, key: bytes, value: Value | None) -> None:
        if value is None:
            del self.live[key]
        else:
            self.live[key] = value
        revision = self.revision + 1
        revisions, values = self._history.setdefault(key, ([], []))
        if revisions and revisions[-1] == revision:
            values[-1] = value
        else:
            revisions.append(revision)
            values.append(value)
        self._changes.append((key, value))


def outcome_of(result: object, error: Exception | None) -> Outcome:
    """What the state machine answered, in the model's words."""
    if isinstance(error, MvccError | LeaseError | AlarmError):
        return "error", type(error).__name__
    match result:
        case PutResult():
            return "put", result.revision
        case DeleteResult():
            return "delete", result.revision, result.deleted
        case TxnResult():
            return "txn", result.revision, result.succeeded, tuple(map(_part, result.responses))
        case GrantResult():
            return "grant", result.lease_id
        case None:
            return ("revoke",)
    return "compact", result.revision  # type: ignore[attr-defined]


def _part(part: object) -> Outcome:
    match part:
        case PutResult():
            return ("put",)
        case DeleteResult():
            return "delete", part.deleted
        case RangeResult():
            return "range", tuple((record.key, record.mod_revision) for record in part.records)
    raise AssertionError(f"the simulation asks for no {part!r}")


def change_of(record: Record) -> Change:
    """What the store published or found, in the model's words."""
    if record.tombstone:
        return record.key, None
    return record.key, Value(
        record.create_revision, record.mod_revision, record.version, record.value, record.lease
    )
