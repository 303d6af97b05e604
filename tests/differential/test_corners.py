"""Single cases that random requests leave out, because an etcd can't stand them."""

from __future__ import annotations

from etcdpb import rpc_pb2
from tests.differential.conftest import Pair
from tests.differential.steps import FROM_KEY, Call, CreateWatch


def test_a_key_deleted_and_put_in_one_revision_survives_its_compaction(pair: Pair) -> None:
    """A delete with range_end 0x00 escapes the check for duplicate keys: a put of the same key may follow it.

    3.6.14 keeps only the tombstone when that revision is compacted, and panics at the next read.  3.5.1 has
    it right, so this is one to be compared with 3.5.1 and no other.
    """
    delete = rpc_pb2.DeleteRangeRequest(key=FROM_KEY, range_end=FROM_KEY)
    operations = [
        rpc_pb2.RequestOp(request_delete_range=delete),
        rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=b"k", value=b"2", prev_kv=True)),
    ]
    everything = Call("KV/Range", rpc_pb2.RangeRequest(key=FROM_KEY, range_end=FROM_KEY))
    with pair() as lockstep:
        watch = rpc_pb2.WatchCreateRequest(key=FROM_KEY, range_end=FROM_KEY, prev_kv=True)
        lockstep.run(CreateWatch(0, watch))
        for key in (b"a", b"k", b"z"):
            lockstep.run(Call("KV/Put", rpc_pb2.PutRequest(key=key, value=b"1")))
        lockstep.run(Call("KV/Txn", rpc_pb2.TxnRequest(success=operations)))
        for revision in (5, 6):
            lockstep.run(everything)
            compact = rpc_pb2.CompactionRequest(revision=revision, physical=True)
            lockstep.run(Call("KV/Compact", compact))
            lockstep.run(everything)
            lockstep.run(Call("KV/Range", rpc_pb2.RangeRequest(key=b"k", revision=revision)))
            lockstep.run(Call("KV/Put", rpc_pb2.PutRequest(key=b"k", value=b"3", prev_kv=True)))
        lockstep.check_watchers()
