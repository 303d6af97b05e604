"""A member without network, disk, time or tasks: the real services over the real state machine.

Only the replica is made up.  Its log is a list; what is proposed is encoded as for the real log and applied
when :meth:`Log.apply` is called: once as the request that was proposed, as on the member that proposed it,
and once decoded from its bytes, as on a follower or after a restart.  Both must come to the same state.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import trio
from google.protobuf.message import Message

from etcdpb import rpc_pb2, rusd_pb2
from rusd.grpc import EndOfRequests, Pending, Registry
from rusd.lease import Lessor
from rusd.logs import make_logger
from rusd.mvcc import Compaction, Record
from rusd.services.assembly import Services
from rusd.services.context import Context, Limits
from rusd.services.header import HeaderWriter
from rusd.services.quota import Quota
from rusd.state import STATE_ERRORS, Kind, Observer, StateMachine, proposal
from rusd.state import snapshot as state_snapshot
from rusd.testing import ListSink, ManualClock
from rusd.watch import WatchHub

MEMBER = 7
BOOT = 99
TERM = 2

Waiter = Callable[[object, Exception | None], None]


class _Parts(Observer):
    """What the state machine tells, passed on as the server does it."""

    hub: WatchHub
    lessor: Lessor
    quota: Quota

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.compactions: list[Compaction] = []

    def revision_published(self, revision: int, records: Sequence[Record]) -> None:
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


class Log:
    """Stands for :class:`rusd.replica.Replica`, as far as services use it."""

    leader_id = MEMBER
    term = TERM

    def __init__(self, machine: StateMachine, follower: StateMachine) -> None:
        self._machine = machine
        self._follower = follower
        self._entries: list[tuple[Kind, Message, bytes, Waiter]] = []
        self._reads: list[Waiter] = []
        self._number = 0
        self.core = self
        self.node = self
        self.commit_index = 0
        self.applied_index = 0
        self.refused: list[str] = []

    def propose(self, kind: Kind, request: Message, waiter: Waiter, *, term: int = 0) -> None:
        self._number += 1
        data = proposal.encode(kind, MEMBER, BOOT, self._number, request, term=term)
        self._entries.append((kind, request, data, waiter))
        self.commit_index += 1

    async def propose_and_wait(self, kind: Kind, request: Message, *, term: int = 0) -> object:
        outcome: list[tuple[object, Exception | None]] = []
        done = trio.Event()

        def settle(result: object, error: Exception | None) -> None:
            outcome.append((result, error))
            done.set()

        self.propose(kind, request, settle, term=term)
        await done.wait()
        result, error = outcome[0]
        if error is not None:
            raise error
        return result

    def read_index(self, waiter: Waiter) -> bool:
        if not self._entries:
            return True
        self._reads.append(waiter)
        return False

    async def wait_linearizable(self) -> None:
        done = trio.Event()
        if not self.read_index(lambda _result, _error: done.set()):
            await done.wait()
        await trio.lowlevel.checkpoint()

    @property
    def pending(self) -> bool:
        return bool(self._entries or self._reads)

    def apply(self) -> None:
        """Apply everything proposed so far, what that leads to included, then answer reads."""
        while self._entries:
            self._apply(*self._entries.pop(0))
        reads, self._reads = self._reads, []
        for waiter in reads:
            waiter(None, None)

    def _apply(self, kind: Kind, request: Message, data: bytes, waiter: Waiter) -> None:
        self.applied_index += 1
        result, failure = self._apply_to(self._machine, kind, request)
        decoded = proposal.decode(data)
        assert decoded.kind is kind
        assert proposal.request_number(data, MEMBER, BOOT) == decoded.request_id.number
        _, other = self._apply_to(self._follower, decoded.kind, decoded.request)
        assert type(other) is type(failure), f"{failure!r} here and {other!r} on a follower"
        if failure is not None:
            self.refused.append(type(failure).__name__)
        waiter(result, failure)

    @staticmethod
    def _apply_to(machine: StateMachine, kind: Kind, request: Message) -> tuple[object, Exception | None]:
        """The outcome.  Whatever is not one of STATE_ERRORS comes through: it would stop a real member."""
        before = summary(machine)
        try:
            return machine.apply(kind, request), None
        except STATE_ERRORS as error:
            assert summary(machine) == before, "refused, and yet something changed"
            return None, error


def summary(machine: StateMachine) -> tuple[object, ...]:
    """The state without the history, cheaply."""
    store = machine.store
    return (
        store.current_revision,
        store.compact_revision,
        store.key_count,
        machine.leases.dump(),
        machine.alarms.active(),
        (machine.alarms.nospace, machine.alarms.corrupt),
        machine.members.all(),
        machine.members.removed(),
        machine.cluster_version,
    )


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
    attached = [(lease.lease_id, machine.leases.keys(lease.lease_id)) for lease in machine.leases.dump()]
    keys = [(record.key, record.field) for record in store.range(b"\0", b"\0").records]
    return (*summary(machine), attached, keys, job.result)


class Etcd:
    """The member."""

    def __init__(self, *, quota: int, limits: Limits, checkpoints: bool, small_hub: bool) -> None:
        self.clock = ManualClock()
        self.sink = ListSink()
        self.parts = _Parts(self.clock)
        self.machine = StateMachine(self.parts)
        self.follower = StateMachine(_Eager())
        for machine in (self.machine, self.follower):
            change = rusd_pb2.ConfigurationChange(
                member=rusd_pb2.Member(id=MEMBER, peer_urls=["http://h:2380"])
            )
            machine.apply_configuration(change.SerializeToString())
        store = self.machine.store
        self.log = Log(self.machine, self.follower)
        self.hub = self.parts.hub = (
            WatchHub(store, max_deliveries=4, max_bytes=500) if small_hub else WatchHub(store)
        )
        self.lessor = self.parts.lessor = Lessor(self.machine.leases, checkpoints=checkpoints)
        self.parts.quota = Quota(quota, lambda: store.bytes_in_use)
        self.context = Context(
            replica=self.log,  # type: ignore[arg-type]
            machine=self.machine,
            hub=self.hub,
            lessor=self.lessor,
            header=HeaderWriter(5, MEMBER, revision=lambda: store.current_revision, term=lambda: TERM),
            quota=self.parts.quota,
            clock=self.clock,
            random=random.Random(0),
            log=make_logger(self.sink, self.clock, level="warn"),
            limits=limits,
        )
        self.services = Services(self.context, progress_interval=600.0, minimum_ttl=2)
        self.registry = Registry()
        self.services.register(self.registry)
        self.lessor.promote(self.clock.monotonic(), 1.0)
        self._revoked = 0

    def settle(self) -> None:
        """What an apply loop does: apply, answer, send events."""
        self.log.apply()
        self.services.watch.pump()

    def expire(self, seconds: float) -> None:
        """Time passes, and the leader proposes what follows from it."""
        self.clock.advance(seconds)
        now = self.clock.monotonic()
        for lease_id in self.lessor.expired(now):
            request = rpc_pb2.LeaseRevokeRequest(ID=lease_id)
            self.log.propose(Kind.LEASE_REVOKE, request, lambda _result, _error: None, term=TERM)
        due = self.lessor.due_checkpoints(now)
        if due:
            checkpoints = [rpc_pb2.LeaseCheckpoint(ID=lease, remaining_TTL=left) for lease, left in due]
            self.log.propose(
                Kind.LEASE_CHECKPOINT,
                rpc_pb2.LeaseCheckpointRequest(checkpoints=checkpoints),
                lambda _result, _error: None,
                term=TERM,
            )

    def compact(self) -> None:
        """Carry out what compactions were decided."""
        while self.parts.compactions:
            while not self.parts.compactions[0].step():
                if self.machine.store.pins:
                    return
            self.parts.compactions.pop(0)

    def check(self) -> None:
        """All invariants, and nothing in the log that speaks of a bug."""
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
        cut = state_snapshot.cut(self.machine, 1, TERM, [MEMBER], [])
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


def outcome(answer: bytes | Pending) -> Pending:
    """An inline handler's answer as something that settles."""
    if isinstance(answer, Pending):
        return answer
    pending = Pending()
    pending.settle(answer)
    return pending
