"""A member without network, disk, time or tasks: the real services over the real state machine.

Only the replica is made up, around its real core: see :mod:`tests.fuzz.log`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import trio
from google.protobuf.message import Message

from etcdpb import rpc_pb2
from rusd.grpc import EndOfRequests, Gate, LongAnswer, Pending, Registry
from rusd.lease import Lessor
from rusd.logs import make_logger
from rusd.longwork import LongWork
from rusd.mvcc import Compaction, RangeResult, Record, Store
from rusd.mvcc.ranges import _shape as shape
from rusd.mvcc.ranges import fetch_limit
from rusd.services.assembly import Services
from rusd.services.context import Context, Limits
from rusd.services.encoding import range_response
from rusd.services.header import HeaderWriter
from rusd.services.quota import Quota
from rusd.services.remote import Leader, NobodyElse
from rusd.state import Kind, Observer, StateMachine
from rusd.state import snapshot as state_snapshot
from rusd.testing import ListSink, ManualClock
from rusd.watch import WatchHub
from tests.fuzz.log import MEMBER, MOST_SLICES, Log, summary
from tests.fuzz.long import HandWork


class Past:
    """The keys of one revision, in order.  Found by looking at all of them."""

    def __init__(self, records: Sequence[Record]) -> None:
        self._records = records

    def answer(self, request: rpc_pb2.RangeRequest) -> rpc_pb2.RangeResponse:
        """The answer to a range, but for its header."""
        if request.range_end:
            end = request.range_end
            records = [r for r in self._records if request.key <= r.key and (end == b"\0" or r.key < end)]
        else:
            records = [record for record in self._records if record.key == request.key]
        count = len(records)
        if request.count_only:
            return rpc_pb2.RangeResponse(count=count)
        if fetch_limit(request):
            del records[fetch_limit(request) :]
        result = shape(RangeResult(records, count, False, 0), request)
        return rpc_pb2.RangeResponse.FromString(range_response(b"", result))


class _Parts(Observer):
    """What the state machine tells, passed on as the server does it."""

    store: Store
    hub: WatchHub
    lessor: Lessor
    quota: Quota

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.past: dict[int, Past] = {1: Past(())}
        """What stood at each revision, compacted or not."""
        self.compactions: list[Compaction] = []

    def revision_published(self, revision: int, records: Sequence[Record]) -> None:
        self.past[revision] = Past(self.store.range(b"\0", b"\0").records)
        self.hub.publish(revision, records)

    def history_compacted(self, job: Compaction) -> None:
        self.quota.about_to_shrink()
        self.hub.compacted(job.revision)
        self.compactions.append(job)

    def lease_granted(self, lease_id: int, ttl: int) -> None:
        self.lessor.on_granted(lease_id, self._clock.monotonic())

    def lease_revoked(self, lease_id: int) -> None:
        self.lessor.on_revoked(lease_id)

    def lease_checkpointed(self, lease_id: int, remaining_ttl: int) -> None:
        self.lessor.on_checkpointed(lease_id, self._clock.monotonic())


class _Eager(Observer):
    """A follower that carries compactions out at once."""

    def history_compacted(self, job: Compaction) -> None:
        while not job.step():
            pass


def digest(machine: StateMachine) -> tuple[object, ...]:
    """The whole state."""
    store = machine.store
    store.compaction_hashes = []  # each process's own
    job = store.hash_kv(0)
    try:
        while not job.step():
            pass
    finally:
        job.close()
    leased = [(lease.lease_id, machine.leases.keys(lease.lease_id)) for lease in machine.leases.dump()]
    keys = [(record.key, record.field) for record in store.range(b"\0", b"\0").records]
    return (*summary(machine), leased, keys, job.result)


class Etcd:
    """The member.  ``turns`` are those of its :class:`~tests.fuzz.log.Log`; ``work`` is what tasks share."""

    def __init__(
        self,
        *,
        quota: int = 0,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        checkpoints: bool = False,
        small_hub: bool = False,
        turns: bytes = b"",
        publish_at_once: int | None = None,
        work: LongWork | None = None,
    ) -> None:
        self.clock = ManualClock()
        self.sink = ListSink()
        self.parts = _Parts(self.clock)
        self.machine = StateMachine(self.parts)
        self.follower = StateMachine(_Eager())
        store = self.parts.store = self.machine.store
        if publish_at_once is not None:
            store.publish_at_once = publish_at_once
        self.hub = self.parts.hub = (
            WatchHub(store, max_deliveries=4, max_bytes=500) if small_hub else WatchHub(store)
        )
        self.lessor = self.parts.lessor = Lessor(self.machine.leases, checkpoints=checkpoints)
        self.parts.quota = Quota(quota, lambda: store.bytes_in_use)
        self.log = Log(self.machine, self.follower, self.clock, turns)
        self.context = Context(
            replica=self.log,  # type: ignore[arg-type]
            machine=self.machine,
            hub=self.hub,
            lessor=self.lessor,
            header=HeaderWriter(
                5, MEMBER, revision=lambda: store.current_revision, term=lambda: self.log.term
            ),
            quota=self.parts.quota,
            clock=self.clock,
            random=random.Random(0),
            log=make_logger(self.sink, self.clock, level="warn"),
            limits=limits,
            work=work or HandWork(),
            remote=NobodyElse(),
            leader=Leader(
                self.log,  # type: ignore[arg-type]
                NobodyElse(),
                self.clock,
                own_id=MEMBER,
                election_timeout=1.0,
                request_timeout=7.0,
            ),
            request_timeout=7.0,
            gate=Gate(),
            expelled=trio.Event(),
        )
        self.services = Services(self.context, progress_interval=600.0, minimum_ttl=2)
        self.registry = Registry()
        self.services.register(self.registry)
        self.lessor.promote(self.clock.monotonic(), 1.0)

    def slice(self) -> None:
        """What an apply loop does in one turn: apply, answer, send events."""
        self.log.slice()
        store, hub = self.machine.store, self.hub
        assert hub.current_revision == store.current_revision, "a revision is there, and watchers don't know"
        assert hub.compact_revision == store.compact_revision
        self.tell_watchers()

    def tell_watchers(self) -> None:
        """What watchers hear after that, in as many passes of an event loop as it takes."""
        watch = self.services.watch
        watch.pump()
        for _ in range(MOST_SLICES):
            if not watch.queue:
                return
            watch.give_turns()
        raise AssertionError("telling does not end")

    def settle(self) -> None:
        """Apply everything."""
        for _ in range(MOST_SLICES):
            if not self.log.pending:
                break
            self.slice()
        else:
            raise AssertionError("applying does not end")
        self.tell_watchers()

    def expire(self, seconds: float) -> None:
        """Time passes, and the leader proposes what follows from it."""
        self.clock.advance(seconds)
        self.log.tick()
        now = self.clock.monotonic()
        for lease_id in self.lessor.expired(now):
            self._decide(Kind.LEASE_REVOKE, rpc_pb2.LeaseRevokeRequest(ID=lease_id))
        due = self.lessor.due_checkpoints(now)
        if due:
            checkpoints = [rpc_pb2.LeaseCheckpoint(ID=lease, remaining_TTL=left) for lease, left in due]
            self._decide(Kind.LEASE_CHECKPOINT, rpc_pb2.LeaseCheckpointRequest(checkpoints=checkpoints))

    def _decide(self, kind: Kind, request: Message) -> None:
        """What the leader does by itself; now and then it is not heard before its term is over."""
        term = self.log.term - (self.context.random.random() < 0.1)
        self.log.propose(kind, request, lambda _result, _error: None, term=term)

    def between_entries(self) -> None:
        """Get on until no entry is applied in part."""
        while not self.log.core.between_entries:
            self.slice()

    def compact(self, budget: int = 1000) -> None:
        """Carry out what compactions were decided."""
        while self.parts.compactions:
            while not self.parts.compactions[0].step(budget):
                if self.machine.store.pins:
                    return
            self.parts.compactions.pop(0)

    def check(self) -> None:
        """All invariants between two entries, and nothing in the log that speaks of a bug."""
        self.machine.check()
        self.hub.check()
        self.lessor.check()
        errors = [event for event in self.sink.events() if event["level"] in ("error", "fatal")]
        assert not errors, errors

    def compare(self) -> None:
        """The follower, and a member that starts from a snapshot, hold the same state."""
        own = digest(self.machine)
        self.follower.check()
        assert digest(self.follower) == own, "a follower came to another state"
        cut = state_snapshot.cut(self.machine, 1, self.log.term, [MEMBER], [])
        chunks = []
        while (chunk := cut.dump.next_chunk()) is not None:
            chunks.append(chunk)
        cut.dump.close()
        restored = StateMachine()
        state_snapshot.load(restored, cut.header, chunks)
        restored.check()
        assert digest(restored) == own, "a snapshot restores another state"


class Answers:
    """Stands for a stream's way back to its client."""

    def __init__(self, decode: Callable[[bytes], Message]) -> None:
        self._decode = decode
        self._callbacks: list[Callable[[], None]] = []
        self.writable = True
        self.count = 0

    def send_nowait(self, payload: bytes) -> None:
        self._decode(payload)
        self.count += 1

    def send_many_nowait(self, payloads: Sequence[bytes | list[bytes]]) -> None:
        for payload in payloads:
            self.send_nowait(payload if isinstance(payload, bytes) else b"".join(payload))

    def on_writable(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)

    async def send(self, payload: bytes) -> None:
        self.send_nowait(payload)
        await trio.lowlevel.checkpoint()

    def set_writable(self, writable: bool) -> None:
        self.writable = writable
        if writable:
            for callback in self._callbacks:
                callback()


class Requests:
    """Stands for the messages of a stream's client."""

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[Any](1000)

    def put(self, request: Message) -> None:
        self._send.send_nowait(request)

    def end(self) -> None:
        self._send.close()

    async def receive(self) -> Any:
        try:
            return await self._receive.receive()
        except trio.EndOfChannel:
            raise EndOfRequests from None

    async def receive_rest(self, take: Callable[[Any], bool]) -> Any:
        while take(request := await self.receive()):
            pass
        return request


def outcome(answer: bytes | LongAnswer | Pending) -> Pending:
    """An inline handler's answer as something that settles."""
    if isinstance(answer, Pending):
        return answer
    pending = Pending()
    pending.settle(answer)
    return pending
