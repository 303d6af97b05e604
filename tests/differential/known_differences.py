"""Where etcd 3.6, which rusd imitates, answers unlike etcd 3.5.1, which it is compared with.

Each row names the fact of 3.6's interface that it rests on and decides, for one pair
of answers, whether this is that difference and nothing else.  A row that never fires in a long run fails it:
then the row is wrong, or rusd behaves like 3.5.1.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
from google.protobuf.message import Message

from etcdpb import kv_pb2, rpc_pb2
from tests.support.client import Answer

DELETE = kv_pb2.Event.DELETE
# Of no entry at all: what HashKV(0), which else means "now", gives after a compaction at revision 0.
HASH_OF_NOTHING = 1084519789
COMPACTED = Answer("OUT_OF_RANGE", "etcdserver: mvcc: required revision has been compacted")
FUTURE_REVISION = Answer("OUT_OF_RANGE", "etcdserver: mvcc: required revision is a future revision")
LEASE_NOT_FOUND = Answer("NOT_FOUND", "etcdserver: requested lease not found")
KEY_NOT_FOUND = Answer("INVALID_ARGUMENT", "etcdserver: key not found")


@attrs.frozen
class RememberedHash:
    """HashKV at the revision of a compaction, as it was just before that compaction.

    ``hash`` is None where nothing was left at that revision.  Then 3.6 itself gives two numbers, before and
    after: only the compaction counts the tombstones at its revision among what is kept, and only when nothing
    is kept does the hash take in what compactions before that left to be removed.
    """

    hash: int | None
    compact_revision: int


@attrs.frozen
class Observation:
    """One pair of answers that differ, and what it takes to judge it."""

    what: str
    request: Message | None
    reference: Answer
    actual: Answer
    revision: int = 0
    compacted: int = 0
    remembered: dict[int, RememberedHash] = attrs.Factory(dict)


@attrs.frozen
class KnownDifference:
    """One row: what it is called, the fact, and the predicate."""

    name: str
    fact: str
    applies: Callable[[Observation], bool]


@attrs.frozen
class Unsendable:
    """A request that 3.5.1 dies of.  It isn't sent there; ``answer`` is what 3.6 says to it."""

    name: str
    fact: str
    applies: Callable[[Message], bool]
    answer: Answer


def _unsortable(request: Message) -> bool:
    match request:
        case rpc_pb2.RangeRequest():
            return request.sort_order not in range(3) or request.sort_target not in range(5)
        case rpc_pb2.TxnRequest():
            operations = [*request.success, *request.failure]
            return any(
                _unsortable(getattr(op, op.WhichOneof("request") or "request_range")) for op in operations
            )
    return False


UNSORTABLE = Unsendable(
    "a sort order or target that doesn't exist",
    "errors 1: InvalidArgument, invalid sort option: sort_order or sort_target number outside its enum "
    "(3.5.1 panics: nil sorter in applierV3backend.Range)",
    _unsortable,
    Answer("INVALID_ARGUMENT", "etcdserver: invalid sort option"),
)

NEGATIVE_START = Unsendable(
    "a watch from a negative revision",
    "errors 3: start_revision < 0 is refused, created=true canceled=true watch_id=-1 "
    "(3.5.1 accepts it and never sends anything)",
    lambda request: isinstance(request, rpc_pb2.WatchCreateRequest) and request.start_revision < 0,
    Answer(
        "OK",
        "",
        rpc_pb2.WatchResponse(
            created=True,
            canceled=True,
            watch_id=-1,
            cancel_reason="etcdserver: mvcc: required revision has been compacted",
        ),
    ),
)
UNSENDABLE = (UNSORTABLE, NEGATIVE_START)


def _same_but_hash_revision(o: Observation) -> bool:
    if not (isinstance(o.request, rpc_pb2.HashKVRequest) and o.reference.ok and o.actual.ok):
        return False
    expected = rpc_pb2.HashKVResponse()
    expected.CopyFrom(o.reference.message)
    expected.hash_revision = o.request.revision or o.revision
    return bool(o.actual.message == expected)


def _remembered_hash(o: Observation) -> bool:
    if not (isinstance(o.request, rpc_pb2.HashKVRequest) and o.actual.ok):
        return False
    remembered, answer = o.remembered.get(o.request.revision), o.actual.message
    return (
        remembered is not None
        and (o.reference == COMPACTED or o.reference.ok)
        and answer.compact_revision == remembered.compact_revision
        and remembered.hash in (answer.hash, None)
        and (answer.hash_revision, answer.header.revision) == (o.request.revision, o.revision)
    )


def _other_error_of_a_txn(o: Observation) -> bool:
    return (
        isinstance(o.request, rpc_pb2.TxnRequest)
        and o.reference in (LEASE_NOT_FOUND, KEY_NOT_FOUND)
        and o.actual in (COMPACTED, FUTURE_REVISION)
    )


def _silent_progress(o: Observation) -> bool:
    return o.what == "Watch, progress in vain" and o.reference.ok and o.actual.code == "silence"


def _tombstone_at_the_compacted_revision(o: Observation) -> bool:
    if not o.what.startswith("Watch, events") or not isinstance(o.request, rpc_pb2.WatchCreateRequest):
        return False
    if o.request.start_revision != o.compacted:
        return False
    kept = [e for e in o.actual.message.events if (e.type, e.kv.mod_revision) != (DELETE, o.compacted)]
    return kept == list(o.reference.message.events)


ROWS: tuple[KnownDifference, ...] = (
    KnownDifference(
        "HashKV tells the revision it hashed",
        "messages: HashKVResponse.hash_revision = 4 (since 3.6)",
        _same_but_hash_revision,
    ),
    KnownDifference(
        "HashKV remembers the hashes of the last compactions",
        "maintenance, HashKV: hashes made by the last 10 compactions are cached and returned when the asked "
        "revision equals one of them; compact_revision is then the one BEFORE that compaction",
        _remembered_hash,
    ),
    KnownDifference(
        "a Txn with several faults is refused for the first",
        "txn: apply-time checks run on the taken path: range revision, put lease exists, ignore_* "
        "key exists (3.6 looks at one operation after the other, 3.5.1 at all puts before any range)",
        _other_error_of_a_txn,
    ),
    KnownDifference(
        "a progress request that can't be answered isn't",
        "watch: progress request (manual): if every watcher of the stream is synced and cur >= "
        "each start_revision, exactly one response, otherwise nothing is sent, also with no watchers",
        _silent_progress,
    ),
    KnownDifference(
        "a tombstone at the compacted revision is still there to be watched",
        "compaction: a tombstone whose rev == R is kept until the next compaction (since 3.5.16/3.6), "
        "etcd's own end-to-end test TestDeleteEventDrop_Issue18089",
        _tombstone_at_the_compacted_revision,
    ),
)


def explain(observation: Observation) -> KnownDifference | None:
    """The row that accounts for a difference, if there is one."""
    return next((row for row in ROWS if row.applies(observation)), None)
