"""Random steps against an etcd: every kind of request, valid and not, from one seed.

What a :class:`Generator` needs to know about the servers so that enough of its requests mean something (the
current revision, say) stands in a :class:`View`, which the runner keeps up to date from the reference's
answers.  Same seed, same steps.

The key space is small, so that requests meet each other, and full of bytes that break careless code.
Nothing here depends on time: leases are long, and no step waits for a clock.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from etcdpb import rpc_pb2, v3election_pb2, v3lock_pb2
from tests.differential.steps import (
    FROM_KEY,
    MAX_MESSAGE_BYTES,
    MAX_REQUEST_BYTES,
    STREAMS,
    BigRevision,
    Call,
    Campaign,
    CancelWatch,
    CreateWatch,
    EmptyWatchRequest,
    KeepAlive,
    Lock,
    Observe,
    RawCall,
    ShortLease,
    Step,
    View,
    WatchProgress,
)

KEYS = [
    *(b"\x00", b"\x00\x00", b"\x00\xff", b"a", b"a\x00", b"aa", b"ab", b"b", b"b/", b"b/1", b"b/2", b"b/2/x"),
    *(b"b/3", b"b0", b"c", b"k\x80", b"\xc3\x28", b"\xff", b"\xff\x00", b"\xff\xff", b"key with spaces\n"),
]
RANGE_ENDS = [*KEYS, b"d", b"\xff\xff\xff"]
END_OF_KEYS = b"\xff" * 4
VALUES = [b"", b"1", b"2", b"value", b"\x00\xff\xfe", b"\x80", b"x" * 100]
LEASES = [1, 2, 77, 1 << 40, (1 << 63) - 1, -5]
UNKNOWN_LEASE = 404
LOCK_NAMES = [b"lock", b"lock/in", b"el\xffect"]
MAX_TXN_OPS = 128


class Generator:
    """An endless source of steps.  ``next(view)`` makes one; ``weights`` is how often each kind comes."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)
        self._kinds: list[tuple[float, Callable[[View], Step]]] = [
            (30, lambda view: Call("KV/Put", self.put())),
            (18, lambda view: Call("KV/Range", self.range(view))),
            (9, lambda _view: Call("KV/DeleteRange", self.delete_range())),
            (14, lambda view: Call("KV/Txn", self.txn(view))),
            (2, lambda view: Call("KV/Compact", self.compact(view))),
            (4, lambda view: Call("Lease/LeaseGrant", self.lease_grant())),
            (2, lambda view: Call("Lease/LeaseRevoke", rpc_pb2.LeaseRevokeRequest(ID=self.lease()))),
            (3, lambda view: Call("Lease/LeaseTimeToLive", self.time_to_live())),
            (1, lambda view: Call("Lease/LeaseLeases", rpc_pb2.LeaseLeasesRequest())),
            (2, lambda view: KeepAlive(self.lease())),
            (1, lambda view: ShortLease(self._pick([0, 55]), self._pick([-1, 0, 1]))),
            (2, lambda view: Call("Maintenance/HashKV", self.hash_kv(view))),
            (1, lambda view: Call("Maintenance/Alarm", self.alarm())),
            (1, lambda view: Call("Maintenance/Status", rpc_pb2.StatusRequest())),
            (0.2, lambda view: Call("Maintenance/Defragment", rpc_pb2.DefragmentRequest())),
            (1, lambda view: Call("Cluster/MemberList", self.member_list())),
            (1, lambda _view: self.lock()),
            (1, self.election),
            (2, lambda view: CancelWatch(self._stream(), self._random.randrange(14))),
            (2, lambda view: WatchProgress(self._stream())),
            (0.3, lambda view: EmptyWatchRequest(self._stream())),
            (0.5, lambda view: self.strange_call()),
            (0.2, lambda view: self.unsortable()),
            (0.2, lambda view: self.too_much()),
            (0.1, lambda view: BigRevision(self._pick([300_000, 700_000]))),
        ]
        self._weights = [weight for weight, _ in self._kinds]

    def next(self, view: View) -> Step:
        """Make one step; never a new watcher, see :meth:`create_watch`."""
        ((_, make),) = self._random.choices(self._kinds, self._weights)
        return make(view)

    # -- keys and small values ------------------------------------------------

    def _pick(self, choices: list[int]) -> int:
        return self._random.choice(choices)

    def _chance(self, probability: float) -> bool:
        return self._random.random() < probability

    def _stream(self) -> int:
        return self._random.randrange(STREAMS)

    def key(self) -> bytes:
        """A key; now and then an empty one, which most requests refuse."""
        return b"" if self._chance(0.01) else self._random.choice(KEYS)

    def key_range(self, single: float = 0.5) -> tuple[bytes, bytes]:
        """A key and a range end: one key, a prefix, everything from a key, an interval, a reversed one."""
        if self._chance(single):
            return self.key(), b""
        kind = self._random.randrange(6)
        if kind == 0:
            return FROM_KEY, FROM_KEY
        if kind == 1:
            return self._random.choice(KEYS), FROM_KEY
        if kind == 2:
            return b"b/", b"b0"
        if kind == 3:
            return self.key(), self._random.choice(RANGE_ENDS)
        return tuple(sorted((self._random.choice(KEYS), self._random.choice(RANGE_ENDS))))  # type: ignore[return-value]

    def value(self) -> bytes:
        """A value, mostly one that others also write, so that compares meet it."""
        return (
            self._random.choice(VALUES) if self._chance(0.8) else self._random.randbytes(self._pick([3, 40]))
        )

    def lease(self) -> int:
        """A lease id that may or may not exist."""
        return UNKNOWN_LEASE if self._chance(0.05) else self._random.choice(LEASES)

    def revision(self, view: View) -> int:
        """A revision: readable mostly, else compacted, in the future, zero or below."""
        if self._chance(0.15):
            return self._pick([-1, 0, view.revision + 1, view.revision + 5, max(view.compacted - 1, 0)])
        return self._random.randint(max(view.compacted, 0), view.revision)

    # -- KV -------------------------------------------------------------------

    def range(self, view: View) -> rpc_pb2.RangeRequest:
        """A Range with any of its options."""
        key, end = self.key_range(0.3)
        request = rpc_pb2.RangeRequest(key=key, range_end=end, serializable=self._chance(0.3))
        if self._chance(0.4):
            request.limit = self._pick([-1, 1, 2, 3, 5, 100])
        if self._chance(0.3):
            request.revision = self.revision(view)
        if self._chance(0.4):
            request.sort_order = self._pick([0, 1, 1, 2, 2])  # type: ignore[assignment]
            request.sort_target = self._pick([0, 1, 2, 3, 4])  # type: ignore[assignment]
        request.keys_only = self._chance(0.15)
        request.count_only = self._chance(0.1)
        for bound in ("min_mod_revision", "max_mod_revision", "min_create_revision", "max_create_revision"):
            if self._chance(0.07):
                setattr(request, bound, self.revision(view))
        return request

    def put(self) -> rpc_pb2.PutRequest:
        """A Put; some with a lease, some that keep the old value or lease."""
        request = rpc_pb2.PutRequest(key=self.key(), value=self.value(), prev_kv=self._chance(0.3))
        if self._chance(0.25):
            request.lease = self.lease()
        if self._chance(0.07):
            request.ignore_value = True
            if self._chance(0.7):
                request.value = b""
        if self._chance(0.07):
            request.ignore_lease = True
            if self._chance(0.7):
                request.lease = 0
        return request

    def delete_range(self) -> rpc_pb2.DeleteRangeRequest:
        """A DeleteRange, seldom of much: what is gone can't be read."""
        key, end = self.key_range(0.75)
        return rpc_pb2.DeleteRangeRequest(key=key, range_end=end, prev_kv=self._chance(0.4))

    def compare(self, view: View) -> rpc_pb2.Compare:
        """A comparison, with the wrong operand or an unknown operator now and then."""
        key, end = self.key_range(0.7)
        request = rpc_pb2.Compare(key=key, range_end=end)
        request.result = self._pick([0, 1, 2, 3])  # type: ignore[assignment]
        request.target = self._pick([0, 1, 2, 3, 4])  # type: ignore[assignment]
        if self._chance(0.02):
            request.result = 7  # type: ignore[assignment]
        if self._chance(0.02):
            request.target = 9  # type: ignore[assignment]
        operand = request.target if self._chance(0.93) else self._pick([0, 1, 2, 3, 4, 5])
        if operand == rpc_pb2.Compare.VERSION:
            request.version = self._pick([-1, 0, 1, 2, 3])
        elif operand == rpc_pb2.Compare.CREATE:
            request.create_revision = 0 if self._chance(0.5) else self.revision(view)
        elif operand == rpc_pb2.Compare.MOD:
            request.mod_revision = 0 if self._chance(0.3) else self.revision(view)
        elif operand == rpc_pb2.Compare.VALUE:
            request.value = self.value()
        elif operand == rpc_pb2.Compare.LEASE:
            request.lease = self._pick([0, 1, 2])
        return request

    def operation(self, view: View, depth: int) -> rpc_pb2.RequestOp:
        """One operation of a Txn; empty, nested or refused ones among them."""
        kind = self._random.random()
        if kind < 0.02:
            return rpc_pb2.RequestOp()
        if kind < 0.45:
            return rpc_pb2.RequestOp(request_put=self.put())
        if kind < 0.7:
            return rpc_pb2.RequestOp(request_range=self.range(view))
        if kind < 0.85 or depth == 0:
            request = self.delete_range()
            if request.range_end == FROM_KEY:
                # Such a delete may hit a put of the same Txn, and then 3.6 loses that key when the revision
                # is compacted, and dies.  test_corners.py looks at that by itself.
                request.range_end = END_OF_KEYS
            return rpc_pb2.RequestOp(request_delete_range=request)
        return rpc_pb2.RequestOp(request_txn=self.txn(view, depth - 1))

    def txn(self, view: View, depth: int = 3) -> rpc_pb2.TxnRequest:
        """A Txn, nested up to ``depth`` times; a quarter only reads."""
        if self._chance(0.15):
            ranges = [rpc_pb2.RequestOp(request_range=self.range(view)) for _ in range(self._pick([0, 1, 2]))]
            compares = [self.compare(view) for _ in range(self._pick([0, 1]))]
            return rpc_pb2.TxnRequest(compare=compares, success=ranges, failure=ranges[:1])
        return rpc_pb2.TxnRequest(
            compare=[self.compare(view) for _ in range(self._pick([0, 0, 1, 1, 2]))],
            success=[self.operation(view, depth) for _ in range(self._pick([0, 1, 2, 3]))],
            failure=[self.operation(view, depth) for _ in range(self._pick([0, 1, 1, 2]))],
        )

    def compact(self, view: View) -> rpc_pb2.CompactionRequest:
        """A Compact; half of them somewhere in the readable past."""
        revision = self._random.randint(max(view.compacted, 0), view.revision)
        if self._chance(0.3):
            revision = self._pick([view.compacted, view.revision, view.revision + 1, 0, -1])
        return rpc_pb2.CompactionRequest(revision=revision, physical=self._chance(0.5))

    # -- leases, maintenance --------------------------------------------------

    def lease_grant(self) -> rpc_pb2.LeaseGrantRequest:
        """A lease of hours, or one that is too long."""
        ttl = self._random.randint(5_000, 10_000)
        if self._chance(0.1):
            ttl = self._pick([9_000_000_000, 9_000_000_001, 1 << 62])
        return rpc_pb2.LeaseGrantRequest(ID=self._random.choice(LEASES), TTL=ttl)

    def time_to_live(self) -> rpc_pb2.LeaseTimeToLiveRequest:
        """A question about one lease, with or without its keys."""
        return rpc_pb2.LeaseTimeToLiveRequest(ID=self.lease(), keys=self._chance(0.6))

    def hash_kv(self, view: View) -> rpc_pb2.HashKVRequest:
        """A hash at any revision."""
        return rpc_pb2.HashKVRequest(revision=0 if self._chance(0.4) else self.revision(view))

    def alarm(self) -> rpc_pb2.AlarmRequest:
        """A list of alarms (there are none), or the raising of no alarm at all."""
        request = rpc_pb2.AlarmRequest(alarm=self._pick([0, 1, 2]), memberID=self._pick([0, 1]))  # type: ignore[arg-type]
        if self._chance(0.2):
            request.action = rpc_pb2.AlarmRequest.ACTIVATE
            request.alarm = rpc_pb2.NONE
        elif self._chance(0.2):
            request.action = rpc_pb2.AlarmRequest.DEACTIVATE
        return request

    def member_list(self) -> rpc_pb2.MemberListRequest:
        """The list of members, read either way."""
        return rpc_pb2.MemberListRequest(linearizable=self._chance(0.5))

    # -- lock and election ----------------------------------------------------

    def lock(self) -> Step:
        """A lock, or the end of one."""
        name, lease = self._random.choice(LOCK_NAMES), self.lease()
        if self._chance(0.3):
            return Call("Lock/Unlock", v3lock_pb2.UnlockRequest(key=b"%b/%x" % (name, lease)))
        return Lock(name, lease)

    def election(self, view: View) -> Step:
        """One of the five calls of an election."""
        name = self._random.choice(LOCK_NAMES)
        leader = view.leader_keys.get(name)
        kind = self._random.randrange(6)
        if kind <= 1:
            return Campaign(name, self.lease(), self.value())
        if kind == 2:
            return Call("Election/Leader", v3election_pb2.LeaderRequest(name=name))
        if kind == 3:
            return Call(
                "Election/Proclaim", v3election_pb2.ProclaimRequest(leader=leader, value=self.value())
            )
        if kind == 4:
            return Call("Election/Resign", v3election_pb2.ResignRequest(leader=leader))
        return Observe(name, self.value())

    # -- watches --------------------------------------------------------------

    def create_watch(self, view: View) -> CreateWatch:
        """A watcher of any range, from the past, from now or from the future, with any option."""
        key, end = self.key_range(0.3)
        request = rpc_pb2.WatchCreateRequest(key=key, range_end=end)
        request.prev_kv = self._chance(0.4)
        request.progress_notify = self._chance(0.3)
        request.fragment = self._chance(0.4)
        if self._chance(0.6):
            request.start_revision = self.revision(view)
        if self._chance(0.3):
            request.filters.append(self._pick([0, 1]))  # type: ignore[arg-type]
        if self._chance(0.03):
            request.filters.append(7)  # type: ignore[arg-type]
        if self._chance(0.25):
            request.watch_id = self._pick([1, 2, 5, 12, 100, -3])
        return CreateWatch(self._stream(), request)

    # -- what no client should send -------------------------------------------

    def unsortable(self) -> Call:
        """A Range, perhaps inside a Txn, by an order or a target that there isn't."""
        order, target = self._random.choice([(3, 0), (-1, 1), (0, 9), (1, -1)])
        request = rpc_pb2.RangeRequest(key=b"a", range_end=b"c")
        request.sort_order, request.sort_target = order, target  # type: ignore[assignment]
        if self._chance(0.5):
            return Call("KV/Range", request)
        return Call("KV/Txn", rpc_pb2.TxnRequest(failure=[rpc_pb2.RequestOp(request_range=request)]))

    def strange_call(self) -> RawCall:
        """An unknown method, or bytes that aren't a message."""
        paths = ["/etcdserverpb.KV/Nope", "/etcdserverpb.Nope/Put"]
        if self._chance(0.4):
            return RawCall(self._random.choice(paths), b"")
        payloads = [b"\xff\xff", b"\x0a\x05k", b"\x00", b"\x0a"]
        return RawCall("/etcdserverpb.KV/Put", self._random.choice(payloads))

    def too_much(self) -> Call:
        """A request over one of the limits, or right at it."""
        operation = rpc_pb2.RequestOp(request_range=rpc_pb2.RangeRequest(key=b"a", count_only=True))
        kind = self._random.randrange(6)
        if kind == 0:
            return Call("KV/Put", rpc_pb2.PutRequest(key=b"a", value=bytes(MAX_REQUEST_BYTES)))
        if kind == 1:
            return Call("KV/Put", rpc_pb2.PutRequest(key=b"a", value=bytes(MAX_MESSAGE_BYTES)))
        if kind == 2:
            count = self._pick([MAX_TXN_OPS, MAX_TXN_OPS + 1])
            return Call("KV/Txn", rpc_pb2.TxnRequest(success=[operation] * count))
        if kind == 3:
            count = self._pick([MAX_TXN_OPS, MAX_TXN_OPS + 1])
            compare = rpc_pb2.Compare(key=b"a", target=rpc_pb2.Compare.VERSION, version=1)
            return Call("KV/Txn", rpc_pb2.TxnRequest(compare=[compare] * count))
        inner = rpc_pb2.TxnRequest(success=[operation] * (MAX_TXN_OPS - 2 + self._pick([0, 1, 2])))
        nested = rpc_pb2.RequestOp(request_txn=inner)
        return Call("KV/Txn", rpc_pb2.TxnRequest(success=[nested, operation]))
