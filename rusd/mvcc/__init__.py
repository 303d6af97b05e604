"""The multi-version store: keys, values and their history.  Sans-IO and deterministic.

==================  ==========================================================
``store``           :class:`Store`: reads, transactions, compaction, pins
``transaction``     :class:`WriteTransaction`: changes until they are published
``ranges``          evaluating Range requests, also in slices
``txn``             evaluating Put, DeleteRange and Txn requests
``record``          one change of one key, with its encoded ``KeyValue``
``index``           keys in order and each one's changes
``keys``            keys in order: positions, and large changes put in place at once
``table``           a large dict that grows in small steps
``history``         all changes in revision order
``compaction``      removing what a compaction gave up, in slices
``hashing``         etcd's HashKV
``snapshot``        dump and load
``errors``          what a request can be refused for
==================  ==========================================================

Imports point down this way: store > transaction, compaction, hashing, snapshot
> ranges > index, history > keys, table > record.
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
from rusd.mvcc.ranges import RangeOptions, RangeResult, evaluate, evaluate_steps
from rusd.mvcc.record import Record, encode_key_value
from rusd.mvcc.snapshot import Dump, Loader
from rusd.mvcc.store import Pin, Store
from rusd.mvcc.transaction import Changes, WriteTransaction
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
    "RangeOptions",
    "RangeResult",
    "Record",
    "SnapshotFormatError",
    "Store",
    "TxnResult",
    "WriteTransaction",
    "apply_delete",
    "apply_put",
    "apply_txn",
    "delete_steps",
    "encode_key_value",
    "evaluate",
    "evaluate_steps",
    "txn_steps",
]
