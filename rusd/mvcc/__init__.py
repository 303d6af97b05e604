"""The multi-version store: keys, values and their history.  Sans-IO and deterministic.

==================  ==========================================================
``store``           :class:`Store`: reads, transactions, compaction, pins
``transaction``     :class:`WriteTransaction`: changes until they are published
``ranges``          evaluating Range requests, also in slices
``txn``             evaluating Put, DeleteRange and Txn requests
``record``          one change of one key, with its encoded ``KeyValue``
``index``           keys in order and each one's changes
``history``         all changes in revision order
``compaction``      removing what a compaction gave up, in slices
``hashing``         etcd's HashKV
``snapshot``        dump and load
``errors``          what a request can be refused for
==================  ==========================================================

Imports point down this way: store > transaction, compaction, hashing, snapshot
> ranges > index, history > record.
"""

from rusd.mvcc.compaction import Compaction
from rusd.mvcc.errors import (
    CompactedError,
    FutureRevisionError,
    KeyNotFoundError,
    LeaseNotFoundError,
    MvccError,
    SnapshotFormatError,
)
from rusd.mvcc.hashing import HashKv, HashKvJob
from rusd.mvcc.ranges import RangeJob, RangeOptions, RangeResult, evaluate
from rusd.mvcc.record import Record, encode_key_value
from rusd.mvcc.snapshot import Dump, Loader
from rusd.mvcc.store import Pin, Store
from rusd.mvcc.transaction import Changes, Steps, WriteTransaction, finish
from rusd.mvcc.txn import (
    DeleteResult,
    PutResult,
    TxnResult,
    apply_delete,
    apply_put,
    apply_txn,
    delete_steps,
    txn_steps,
)

__all__ = [
    "Changes",
    "CompactedError",
    "Compaction",
    "DeleteResult",
    "Dump",
    "FutureRevisionError",
    "HashKv",
    "HashKvJob",
    "KeyNotFoundError",
    "LeaseNotFoundError",
    "Loader",
    "MvccError",
    "Pin",
    "PutResult",
    "RangeJob",
    "RangeOptions",
    "RangeResult",
    "Record",
    "SnapshotFormatError",
    "Steps",
    "Store",
    "TxnResult",
    "WriteTransaction",
    "apply_delete",
    "apply_put",
    "apply_txn",
    "delete_steps",
    "encode_key_value",
    "evaluate",
    "finish",
    "txn_steps",
]
