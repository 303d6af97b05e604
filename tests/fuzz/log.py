"""The log of :mod:`tests.fuzz.etcd`: the real core of a replica, with a disk that always has everything.

It stands for :class:`rusd.replica.Replica`, as far as services use that.  Its own machine applies in slices
as small as the input says, as the member that proposed; a follower decodes each entry from its bytes and
applies it in one go.  Both must come to the same results and to the same state, and until a change is there
as a whole nobody may see any of it.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator
from types import GeneratorType
from typing import Any

import trio
from google.protobuf.message import Message

from etcdpb import rusd_pb2
from rusd.mvcc import Compaction, DeleteResult, PutResult, TxnResult
from rusd.raft import Configuration, Entry, EntryType, Node, bootstrap, decode_configuration
from rusd.raft import Log as RaftLog
from rusd.replica import Core, Waiter
from rusd.services import encoding
from rusd.state import STATE_ERRORS, Kind, StateMachine, proposal
from rusd.steps import ENDLESS, Steps, Turn
from rusd.testing import ManualClock

MEMBER = 7
BOOT = 99
REQUEST_TIMEOUT = 7.0
MOST_SLICES = 100_000
WHOLE = 1 << 20


class Watched:
    """A state machine that is looked at: before, between the steps of, and after each entry."""

    def __init__(self, machine: StateMachine) -> None:
        self.machine = machine
        self.outcomes: deque[object] = deque()
        """What came of each entry, for comparison."""
        self.results: dict[int, Any] = {}
        """The same of puts, deletions and transactions, by the identity of the request."""
        self._kept: list[Message] = []

    def apply(self, kind: Kind, request: Message, turn: Turn) -> object:
        before = seen(self.machine)
        try:
            result = self.machine.apply(kind, request, turn)
        except STATE_ERRORS as error:
            self._refused(error, before)
            raise
        if type(result) is GeneratorType:
            return self._steps(result, request, before)
        self._done(request, result)
        return result

    def _done(self, request: Message, result: object) -> None:
        outcome = shown(result)
        self.outcomes.append(outcome)
        if isinstance(result, (PutResult, DeleteResult, TxnResult)):
            self._kept.append(request)
            self.results[id(request)] = outcome

    def _steps(self, steps: Steps[object], request: Message, before: object) -> Steps[object]:
        now = before
        while True:
            state = seen(self.machine)
            assert state == now or now is before, "a change that came in two parts"
            now = state if state != before else before
            self.machine.store.check()
            yield
            try:
                next(steps)
            except StopIteration as stop:
                after = seen(self.machine)
                assert now is before or after == now, "a change that came in two parts"
                self._done(request, stop.value)
                return stop.value
            except STATE_ERRORS as error:
                self._refused(error, before)
                raise

    def _refused(self, error: Exception, before: object) -> None:
        assert seen(self.machine) == before, "refused, and yet something changed"
        self.outcomes.append(type(error))

    def apply_configuration(self, data: bytes) -> object:
        self.machine.apply_configuration(data)
        return None


class Log:
    """The replica.  ``turns``, one octet each, say how much is applied at a time; without any, all of it."""

    def __init__(
        self, machine: StateMachine, follower: StateMachine, clock: ManualClock, turns: bytes = b""
    ) -> None:
        change = rusd_pb2.ConfigurationChange(
            member=rusd_pb2.Member(id=MEMBER, peer_urls=["http://h:2380"])
        ).SerializeToString()
        hard_state, entries = bootstrap([(MEMBER, change)])
        node = Node(
            MEMBER,
            RaftLog(entries, base_index=0, base_term=0),
            hard_state,
            Configuration(),
            applied=0,
            random=random.Random(1),
        )
        self._machine = Watched(machine)
        self._follower = Watched(follower)
        self._clock = clock
        self._turns = self._endlessly(turns)
        self._committed: deque[Entry] = deque()  # not seen by the follower
        self.core = Core(node, self._machine, member=MEMBER, boot=BOOT)
        node.campaign()
        self.apply()

    @staticmethod
    def _endlessly(turns: bytes) -> Iterator[int]:
        while True:
            yield from (turn % 48 + 1 if turn < 0xF0 else WHOLE for turn in turns or b"\xff")

    @property
    def results(self) -> dict[int, Any]:
        """What came of each write that was proposed here: (revision, encoded answer), by ``id(request)``."""
        return self._machine.results

    # -- what services call -------------------------------------------------------------------------

    @property
    def term(self) -> int:
        return self.core.node.term

    @property
    def leader_id(self) -> int:
        return self.core.node.leader_id

    def propose(self, kind: Kind, request: Message, waiter: Waiter, *, term: int = 0) -> None:
        calls = 0

        def once(result: object, error: Exception | None) -> None:
            nonlocal calls
            calls += 1
            assert calls == 1, "answered twice"
            waiter(result, error)

        self.core.propose(kind, request, once, self._clock.monotonic(), term=term)

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

    def may_read_now(self) -> bool:
        return self.core.may_read_now()

    def read_index(self, waiter: Waiter) -> bool:
        return self.core.read_index(waiter)

    async def wait_linearizable(self) -> None:
        done = trio.Event()
        errors: list[Exception | None] = []

        def settle(_result: object, error: Exception | None) -> None:
            errors.append(error)
            done.set()

        if not self.read_index(settle):
            await done.wait()
        await trio.lowlevel.checkpoint()
        for error in errors:
            if error is not None:
                raise error

    # -- what the shell does --------------------------------------------------------------------------

    @property
    def pending(self) -> bool:
        return self.core.has_work or self.core.node.has_ready()

    def slice(self) -> None:
        """Have all that was proposed on disk, and apply as much of it as the next turn allows."""
        core = self.core
        core.held = False
        while (ready := core.ready()) is not None:
            assert not ready.messages
            self._committed.extend(ready.committed)
            if ready.must_sync:
                core.persisted(ready)
        core.apply(next(self._turns))
        while self._committed and self._committed[0].index <= core.applied_index:
            self._follow(self._committed.popleft())
        core.check()

    def apply(self) -> None:
        """Apply everything proposed so far, what that leads to included, and answer reads."""
        for _ in range(MOST_SLICES):
            if not self.pending:
                return
            self.slice()
        raise AssertionError("applying does not end")

    def hold(self) -> None:
        """Hold entries back, as somebody who wants to look at each does: reads wait for them."""
        self.core.held = self.core.between_entries

    def tick(self) -> None:
        """Give up on what has waited too long.  The entries are applied all the same."""
        self.core.tick(self._clock.monotonic(), REQUEST_TIMEOUT)

    def _follow(self, entry: Entry) -> None:
        """Apply an entry as a follower does, or a member that starts again."""
        if entry.type == EntryType.CONFIGURATION:
            self._follower.apply_configuration(decode_configuration(entry.data)[1])
            return
        if not entry.data:
            return
        decoded = proposal.decode(entry.data)
        head = proposal.read_head(entry.data)
        request_id = decoded.request_id
        assert head == (decoded.kind, request_id.member, request_id.boot, request_id.number, decoded.term)
        if decoded.term not in (0, entry.term):
            return
        try:
            result = self._follower.apply(decoded.kind, decoded.request, ENDLESS)
        except STATE_ERRORS:
            pass
        else:
            assert type(result) is not GeneratorType, "a pause in a turn that never ends"
        ours, theirs = self._machine.outcomes.popleft(), self._follower.outcomes.popleft()
        assert ours == theirs, f"{decoded.kind.name}: {ours!r} in steps and {theirs!r} on a follower"


def shown(result: object) -> object:
    """What there is to see of a result.  Records are taken out of it once it is sent."""
    match result:
        case PutResult():
            return result.revision, encoding.put_response(b"", result)
        case DeleteResult():
            return result.revision, encoding.delete_response(b"", result)
        case TxnResult():
            return result.revision, encoding.txn_response(b"", result)
        case Compaction():
            return result.revision, result.previous_revision
    return result


def summary(machine: StateMachine) -> tuple[object, ...]:
    """The state without keys and history, cheaply."""
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
        machine.downgrade_target,
    )


def seen(machine: StateMachine) -> tuple[object, ...]:
    """What can be read of the present state: keys, and those of each lease."""
    store = machine.store
    everything = store.range(b"\0", b"\0")
    keys = [(record.key, record.mod_revision, record.lease) for record in everything.records]
    counts = everything.count, store.count(b"\0", b"\0")
    return (*summary(machine), keys, counts, *attached(machine))


def attached(machine: StateMachine) -> Iterator[tuple[int, list[Any]]]:
    """The keys of each lease, as they are told to clients."""
    for lease_id in machine.leases.ids():
        records = map(machine.store.get, machine.leases.keys(lease_id))
        yield (
            lease_id,
            [record.key for record in records if record is not None and record.lease == lease_id],
        )
