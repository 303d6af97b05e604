"""Target: every RPC's request, from bytes through decoding, validation and the log into the state.

The input is a session: calls of any registered method with requests built from decisions (or any bytes), and
between them entries applied whole or in slices, long answers sent in parts, time, compactions, snapshots held
open, clients that read or don't.  It runs on :class:`~tests.fuzz.etcd.Etcd`, real services over a log made up
for it, mostly with limits so small that everything is large (:mod:`tests.fuzz.scale`).

Asserted: bytes that are no request are refused by the decoder alone; a handler answers, waits, or raises a
StatusError; every answer, a long one too, is a message of its type, and what it says of keys is what stands
at its revision; **what was accepted applies**, raising nothing but what the state may refuse, and then
changes nothing; a follower that decodes the entry and applies it in one go, and a member that loads a
snapshot, come to the same results and state; all ``check()`` hold.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Final

import trio
import trio.testing
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from etcdpb import health_pb2, rpc_pb2, rusd_pb2, v3election_pb2, v3lock_pb2
from rusd.grpc import Code, LongAnswer, Pending, StatusError
from rusd.grpc.registry import Kind as MethodKind
from rusd.grpc.registry import Method
from rusd.grpc.server_call import ServerCall
from rusd.longwork import LongWork
from rusd.mvcc import MvccError
from rusd.mvcc.txn import read_only
from rusd.replica import ReplicaError
from rusd.services.context import Limits
from rusd.services.watch import _Client
from rusd.state import STATE_ERRORS, Kind, proposal
from tests.fuzz.etcd import Answers, Etcd, Requests, outcome
from tests.fuzz.log import MOST_SLICES
from tests.fuzz.long import LongJob, send_whole
from tests.fuzz.messages import Builder, deep_txn
from tests.fuzz.scale import STATE_SCALES, scaled
from tests.fuzz.source import Source

OUTPUTS: Final[dict[str, tuple[Any, Any]]] = {
    f"/{service.full_name}/{method.name}": (method.input_type, GetMessageClass(method.output_type))
    for module in (rpc_pb2, v3lock_pb2, v3election_pb2, health_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
# The methods that change most come first and often; all the others follow.
OFTEN: Final = (
    "/etcdserverpb.KV/Put",
    "/etcdserverpb.KV/Txn",
    "/etcdserverpb.KV/Range",
    "/etcdserverpb.KV/DeleteRange",
    "/etcdserverpb.Lease/LeaseGrant",
    "/etcdserverpb.Watch/Watch",
    "/etcdserverpb.KV/Compact",
    "/etcdserverpb.Lease/LeaseRevoke",
    "/etcdserverpb.KV/Txn",
    "/etcdserverpb.KV/Put",
)
FROM_THE_LOG: Final[tuple[tuple[Kind, Any], ...]] = (
    (Kind.LEASE_CHECKPOINT, rpc_pb2.LeaseCheckpointRequest.DESCRIPTOR),
    (Kind.MEMBER_ATTRIBUTES, rusd_pb2.MemberAttributes.DESCRIPTOR),
    (Kind.CLUSTER_VERSION, rusd_pb2.ClusterVersion.DESCRIPTOR),
    (Kind.ALARM, rpc_pb2.AlarmRequest.DESCRIPTOR),
)
REQUEST_OP: Final[Any] = rpc_pb2.RequestOp.DESCRIPTOR
MOST_STEPS: Final = 40
Judge = Callable[[bytes], None]
SMALL_QUOTA: Final = 45_000


class Session:
    """One member and everything that is under way on it.

    ``choices`` are bits; ``turns`` say how much is applied at a time.  With ``work`` there is a nursery, too.
    """

    def __init__(
        self,
        choices: int,
        turns: bytes = b"",
        publish_at_once: int | None = None,
        work: LongWork | None = None,
    ) -> None:
        self.etcd = Etcd(
            quota=SMALL_QUOTA if choices & 1 else 0,
            limits=Limits(max_txn_ops=4, max_request_bytes=6000) if choices & 2 else Limits(),
            checkpoints=bool(choices & 4),
            small_hub=bool(choices & 0x40),
            turns=turns,
            publish_at_once=publish_at_once,
            work=work,
        )
        self.deep = False
        self.answered = 0
        self._waiting: list[tuple[Pending, Judge]] = []
        self._jobs: list[LongJob] = []
        self.watches: list[_Client] = []
        self.answers: list[Answers] = []
        self._dumps: list[Any] = []
        self.nursery: trio.Nursery | None = None
        self._streams: dict[str, Requests] = {}
        if choices & 0x80:
            self._furnish()

    def _furnish(self) -> None:
        """A past: keys with and without leases, one deleted and one made anew, and a compaction."""
        for lease in (1, 2):
            self.propose(Kind.LEASE_GRANT, rpc_pb2.LeaseGrantRequest(ID=lease, TTL=600))
        for number, key in enumerate((b"a", b"b", b"c", b"d/1", b"a", b"d/2")):
            put = rpc_pb2.PutRequest(key=key, value=b"%d" % number, lease=number % 3)
            self.propose(Kind.PUT, put)
        self.propose(Kind.DELETE_RANGE, rpc_pb2.DeleteRangeRequest(key=b"c"))
        self.propose(Kind.COMPACT, rpc_pb2.CompactionRequest(revision=4))
        self.propose(Kind.PUT, rpc_pb2.PutRequest(key=b"c", lease=1))
        if self.etcd.parts.quota.limit == SMALL_QUOTA:  # little room is left
            self.propose(Kind.PUT, rpc_pb2.PutRequest(key=b"large", value=bytes(15_000)))
        self.settle()

    # -- calls ------------------------------------------------------------------------------------

    def call(self, path: str, payload: bytes) -> None:
        """A request as it comes from the wire."""
        method = self.etcd.registry.find(path.encode())
        if method is None:
            return
        try:
            request = method.decode(payload)
        except DecodeError:
            return
        self.handle(method, request)

    def handle(self, method: Method, request: Any) -> None:
        if method.kind is MethodKind.INLINE:
            self._inline(method, request)
        elif self.nursery is not None:
            self._start(method, request)
        else:
            self._without_tasks(method, request)

    def _inline(self, method: Method, request: Message) -> None:
        try:
            answer = method.handler(ServerCallLike(method.path), request)
        except StatusError as error:
            judge(error)
            return
        assert type(answer) is bytes or isinstance(answer, (Pending, LongAnswer)), answer
        self._waiting.append((outcome(answer), lambda payload: self._judge(method, request, payload)))
        self._look()

    def _judge(self, method: Method, request: Any, payload: bytes) -> None:
        """A good answer has come."""
        self.answered += 1
        if self.deep:  # it has more levels than its request, and Python's reader a limit
            return
        answer: Any = OUTPUTS[method.path][1].FromString(payload)
        if isinstance(request, rpc_pb2.RangeRequest):
            self._judge_range(request, answer, answer.header.revision)
        elif id(request) in self.etcd.log.results:
            at, result = self.etcd.log.results[id(request)]
            expected = OUTPUTS[method.path][1].FromString(result)
            expected.header.CopyFrom(answer.header)
            assert answer == expected, "an answer that is not its result"
            assert answer.header.revision == at
        elif isinstance(request, rpc_pb2.TxnRequest) and read_only(request):
            branch = request.success if answer.succeeded else request.failure
            for op, response in zip(branch, answer.responses, strict=True):
                self._judge_range(op.request_range, response.response_range, answer.header.revision)

    def _judge_range(
        self, request: rpc_pb2.RangeRequest, answer: rpc_pb2.RangeResponse, revision: int
    ) -> None:
        """Is this what stood at the revision of the answer?"""
        assert answer.header.revision == revision
        at = request.revision if request.revision > 0 else revision
        expected = self.etcd.parts.past[at].answer(request)
        expected.header.CopyFrom(answer.header)
        assert answer == expected, "an answer that is not of its revision"

    def _without_tasks(self, method: Method, request: Any) -> None:
        """The core of methods that have tasks in the server."""
        if method.path == "/etcdserverpb.Watch/Watch":
            self._watch(request)
        elif method.path == "/etcdserverpb.KV/Compact":
            with contextlib.suppress(StatusError, ReplicaError):
                self.etcd.log.propose(Kind.COMPACT, request, lambda _result, _error: None)
        elif method.path == "/etcdserverpb.Maintenance/HashKV":
            try:
                job = self.etcd.machine.store.hash_kv(request.revision)
            except MvccError:
                return
            while not job.step(3):
                self.etcd.slice()
            job.close()

    def _watch(self, request: rpc_pb2.WatchRequest) -> None:
        if not self.watches or (len(self.watches) < 3 and request.create_request.progress_notify):
            answers = Answers(rpc_pb2.WatchResponse.FromString)
            self.answers.append(answers)
            self.watches.append(_Client(self.etcd.services.watch, self.etcd.context, answers))
        self.watches[-1]._carry_out(request)
        self.etcd.tell_watchers()

    # -- calls with tasks ---------------------------------------------------------------------------

    def _start(self, method: Method, request: Message) -> None:
        assert self.nursery is not None
        if method.kind is MethodKind.TASK:
            self.nursery.start_soon(self._run_task, method, request)
            return
        requests = self._streams.get(method.path)
        if requests is not None and not method.single_request:
            requests.put(request)
            return
        requests = self._streams[method.path] = Requests()
        requests.put(request)
        if method.single_request:
            requests.end()
        self.nursery.start_soon(self._run_stream, method, requests)

    async def _run_task(self, method: Method, request: Message) -> None:
        try:
            answer = await method.handler(ServerCallLike(method.path), request)
        except StatusError as error:
            judge(error)
            return
        assert type(answer) is bytes
        self._judge(method, request, answer)

    async def _run_long(self, answer: LongAnswer, done: Judge) -> None:
        try:
            payload = await send_whole(answer)
        except StatusError as error:
            judge(error)
            return
        done(payload)

    async def _run_stream(self, method: Method, requests: Requests) -> None:
        answers = Answers(OUTPUTS[method.path][1].FromString)
        self.answers.append(answers)
        try:
            await method.handler(ServerCallLike(method.path), requests, answers)
        except StatusError as error:
            judge(error)
        finally:
            if self._streams.get(method.path) is requests:
                del self._streams[method.path]

    # -- what goes on besides -------------------------------------------------------------------------

    def settle(self) -> None:
        """Apply; then everybody who waits has an answer, or one that comes in parts."""
        self.etcd.settle()
        self._look()
        if self.nursery is None:
            assert not self._waiting, "applied, and not answered"

    def slices(self, count: int) -> None:
        """Apply a little, which may end inside an entry."""
        for _ in range(count):
            self.etcd.slice()
            self._look()

    def _look(self) -> None:
        waiting, self._waiting = self._waiting, []
        for pending, done in waiting:
            if not pending.settled:
                self._waiting.append((pending, done))
                continue
            try:
                answer = pending.result()
            except StatusError as error:
                judge(error)
                continue
            if isinstance(answer, bytes):
                done(answer)
            elif self.nursery is not None:
                self.nursery.start_soon(self._run_long, answer, done)
            else:
                self._jobs.append(LongJob(answer, done, judge))

    def work(self, steps: int) -> None:
        """Let long answers get on, in turns."""
        for _ in range(steps):
            if not self._jobs:
                return
            job = self._jobs.pop(0)
            if not job.step():
                self._jobs.append(job)

    def abandon(self) -> None:
        """The client of a long answer goes."""
        if self._jobs:
            self._jobs.pop(0).cancel()

    def propose(self, kind: Kind, request: Message) -> None:
        """What is proposed by members themselves."""
        self.etcd.log.propose(kind, request, lambda _result, _error: None)

    def other(self, choice: int) -> None:
        etcd = self.etcd
        match choice & 7:
            case 0:
                etcd.compact((1000, 1, 3, 7)[choice >> 3 & 3])
            case 1:
                etcd.expire((0.5, 3.0, 301.0, 1e10)[choice >> 3 & 3])
            case 2:
                etcd.between_entries()
                self._dumps.append(etcd.machine.store.dump())
            case 3 if self._dumps:
                dump = self._dumps.pop()
                while dump.next_chunk(2) is not None:
                    pass
                dump.close()
            case 3:
                kinds = (rpc_pb2.NOSPACE, rpc_pb2.CORRUPT)
                alarm = rpc_pb2.AlarmRequest(action=rpc_pb2.AlarmRequest.ACTIVATE, memberID=7)
                alarm.alarm = kinds[choice >> 3 & 1]
                self.propose(Kind.ALARM, alarm)
            case 4:
                for answers in self.answers:
                    answers.set_writable(bool(choice & 8))
            case 5:
                for client in self.watches:
                    client.tick_progress()
                etcd.tell_watchers()
            case 6 if choice & 8:
                etcd.parts.quota.defragment()
            case 6:
                etcd.hub.history_replaced(etcd.machine.store)
            case 7 if choice & 0x10:
                etcd.log.hold()
            case 7 if choice & 8:
                etcd.lessor.demote()
            case 7:
                etcd.lessor.promote(etcd.clock.monotonic(), 1.0)

    def finish(self) -> None:
        self.settle()
        self.work(MOST_SLICES)
        assert not self._jobs, "an answer without an end"
        for client in self.watches:
            assert client._failure is None, client._failure
        self.etcd.check()
        for dump in self._dumps:
            dump.close()
        for client in self.watches:
            client.stream.close()
        assert self.etcd.hub.watcher_count == 0
        assert self.etcd.machine.store.pins == 0
        self.etcd.compact()
        self.etcd.compare()
        self.etcd.check()


class ServerCallLike:
    """As much of a call as services look at."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.peer = "10.0.0.1:4711"
        self.deadline = None
        self.identity = None
        self.cancelled = False
        self.metadata: dict[str, list[bytes]] = {}


assert all(hasattr(ServerCall, name) for name in vars(ServerCallLike("")))


def judge(error: StatusError) -> None:
    """An error that may go to a client."""
    assert error.code in Code and error.code is not Code.OK
    error.message.encode()


def step(session: Session, source: Source, paths: list[str]) -> None:
    """Carry out one instruction."""
    op = source.byte()
    builder = Builder(source, session.etcd.machine.store.current_revision)
    match op & 0x0F:
        case 0 | 1 | 2 | 3 | 4 | 5 | 6:
            number = (op & 0x0F) + (op >> 4) * 7
            path = OFTEN[number % 10] if number < 70 else source.pick(paths)
            session.call(path, builder.build(OUTPUTS[path][0]).SerializeToString())
        case 7:
            path = source.pick(paths)
            session.call(path, builder.build(OUTPUTS[path][0]).SerializeToString())
        case 8:
            session.call(source.pick(paths), source.chunk())
        case 9:
            session.deep = True
            depth = source.byte() >> 1
            innermost = builder.build(REQUEST_OP).SerializeToString()
            session.call("/etcdserverpb.KV/Txn", deep_txn(depth, op >> 4, innermost))
        case 10:
            session.settle()
        case 11:
            session.slices((op >> 4) + 1)
        case 12 if op == 0xFC:
            session.abandon()
        case 12:
            session.work((op >> 4) + 1)
        case 13:
            kind, descriptor = source.pick(FROM_THE_LOG)
            session.propose(kind, builder.build(descriptor))
        case 14:
            session.other(source.byte())
        case 15:
            decode_entry(session, source)


def decode_entry(session: Session, source: Source) -> None:
    """Bytes that claim to be a log entry: a proposal that applies, or ValueError."""
    try:
        decoded = proposal.decode(source.chunk())
    except ValueError:
        return
    with contextlib.suppress(*STATE_ERRORS):
        proposal.encode(decoded.kind, 1, 2, 3, decoded.request)
    assert decoded.kind in Kind


def run(session: Session, source: Source) -> None:
    paths = session.etcd.registry.paths()
    for _ in range(MOST_STEPS):
        if not source.more:
            break
        step(session, source, paths)
    session.finish()


async def run_with_tasks(choices: int, turns: bytes, at_once: int | None, source: Source) -> None:
    """The same in Trio, so that methods with tasks run as they are."""
    work = LongWork()
    session = Session(choices, turns, at_once, work)
    paths = session.etcd.registry.paths()
    async with trio.open_nursery() as nursery:
        session.nursery = nursery
        nursery.start_soon(work.clean_up)
        for _ in range(MOST_STEPS):
            if not source.more:
                break
            step(session, source, paths)
            await _calm(session, apply=source.flag())
        await _calm(session, apply=True)
        nursery.cancel_scope.cancel()
    session.nursery = None
    session.finish()


async def _calm(session: Session, *, apply: bool) -> None:
    """Let tasks run until all of them wait; with ``apply``, for something else than the log."""
    for _ in range(20):
        await trio.testing.wait_all_tasks_blocked()
        if not apply or not session.etcd.log.pending:
            return
        session.settle()


def target(data: bytes) -> None:
    """Raises whatever should not have come out of the services or the state, and :class:`AssertionError`."""
    source = Source(data)
    choices, pace = source.byte(), source.byte()
    scale = STATE_SCALES[pace & 3]
    at_once = (0, 0, 1, None)[pace >> 2 & 3]
    turns = source.take(pace >> 4)
    with scaled(scale):
        if choices & 0x38 == 0x38:
            clock = trio.testing.MockClock(autojump_threshold=0)
            trio.run(run_with_tasks, choices, turns, at_once, source, clock=clock)
        else:
            run(Session(choices, turns, at_once), source)
