"""The sans-IO half of a replica: Raft, the waiting calls, and the apply position.

Proposals, ticks, messages and disk completions come in; ordered effects go
out.  The rule that makes a write safe is the order of those effects: what
:meth:`Core.ready` says to persist must be on disk before
:meth:`Core.persisted` is called, and only then are entries committed, applied
and answered.  :mod:`rusd.replica.shell` carries the effects out.

There is one way for a write.  A single node takes it with a quorum of one.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Generator
from struct import Struct
from types import GeneratorType
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from etcdpb import rusd_pb2
from rusd.raft import (
    ChangeRefused,
    Entry,
    EntryType,
    Node,
    NoLeader,
    NotLeader,
    ProposalDropped,
    Ready,
    Role,
    Snapshot,
    decode_configuration,
)
from rusd.replica import changes
from rusd.replica.errors import (
    NoLeaderError,
    RequestTimeoutError,
    SupersededError,
    TooManyRequestsError,
    refusal_of,
)
from rusd.replica.forwarding import Forward
from rusd.replica.machine import Machine
from rusd.state import STATE_ERRORS, Kind, MemberError, proposal
from rusd.steps import Turn

if TYPE_CHECKING:
    from google.protobuf.message import Message

MAX_UNAPPLIED_ENTRIES = 5000
"""Committed but unapplied entries above which new proposals are refused, as etcd does."""

ENTRY_COST = 4
"""What a small entry and its answer take of a turn, in records."""

READ_RETRY_TICKS = 5
"""After so many ticks a follower asks the leader again about reads it has heard nothing of (etcd: 500 ms)."""

_READ_CONTEXT = Struct(">IQ")  # boot, number

Waiter = Callable[[object, Exception | None], None]
"""Called once with ``(result, None)`` or ``(None, error)``."""


_REFUSALS = (*STATE_ERRORS, SupersededError)


class _Waiting:
    """A proposal made here whose answer somebody waits for."""

    __slots__ = ("kind", "request", "since", "waiter")

    def __init__(self, kind: Kind | None, request: Message, waiter: Waiter, since: float) -> None:
        self.kind = kind  # None: a change of the configuration
        self.request = request
        self.waiter = waiter
        self.since = since


class _UnderWay:
    """An entry that is applied in steps, and who waits for it."""

    __slots__ = ("entry", "steps", "waiting")

    def __init__(self, entry: Entry, steps: Generator[None, None, object], waiting: _Waiting | None) -> None:
        self.entry = entry
        self.steps = steps
        self.waiting = waiting

    def give_up(self, error: Exception) -> None:
        """Tell the caller not to wait; the entry is applied all the same."""
        waiting, self.waiting = self.waiting, None
        if waiting is not None:
            waiting.waiter(None, error)


class Core:
    """One replica of the state machine.

    ``member`` and ``boot`` make request ids unique: ``boot`` is a random number
    drawn once per start of the process.
    """

    def __init__(self, node: Node, machine: Machine, *, member: int, boot: int) -> None:
        self.node = node
        self._machine = machine
        self._member = member
        self._boot = boot
        self._last_number = 0
        self._waiting: dict[int, _Waiting] = {}
        self._reads: dict[int, Waiter] = {}
        self._reads_at: deque[tuple[int, int]] = deque()  # (index they wait for, number) once confirmed
        self._read_marks: deque[tuple[float, int]] = deque()  # at each tick: the reads that were there
        self._ticks_to_retry = READ_RETRY_TICKS
        self._asked = (node.term, node.leader_id)  # in which term, and whom, reads were asked last
        self._committed: deque[Entry] = deque()
        self._turn = Turn()
        self._under_way: _UnderWay | None = None
        self.held = False
        """Whether somebody holds entries back, and would see that linearizable reads wait for them."""
        self._forwards: list[Forward] = []
        self._installing: Snapshot | None = None
        self.applied_index = node.applied_index
        self.applied_term = node.log.term(node.applied_index) or 0

    # -- in --------------------------------------------------------------------

    def propose(self, kind: Kind, request: Message, waiter: Waiter, now: float, *, term: int = 0) -> None:
        """Append ``request`` to the log; ``waiter`` gets its result once it is applied.

        A follower passes it on to the leader (:meth:`take_forwards`).  ``now`` is in seconds of
        the monotonic clock.  ``term`` is given for what a leader decided by itself.  Raises a
        :class:`ReplicaError` if nothing was appended or passed on.
        """
        if self.node.commit_index - self.applied_index > MAX_UNAPPLIED_ENTRIES:
            raise TooManyRequestsError
        number = self._last_number + 1
        data = proposal.encode(kind, self._member, self._boot, number, request, term=term)
        try:
            self.node.propose(data)
        except ProposalDropped as error:
            if term:
                raise refusal_of(error) from error
            self._pass_on(error, EntryType.NORMAL, data)
        self._last_number = number
        self._waiting[number] = _Waiting(kind, request, waiter, now)

    def propose_configuration(self, change: rusd_pb2.ConfigurationChange, waiter: Waiter, now: float) -> None:
        """Append ``change``, whose ``request_id`` is set here; ``waiter`` gets what the machine makes of it.

        A follower passes it on, and the leader drops what it would refuse.  Raises
        :class:`ChangeRefusedError` if Raft can't make the change, or not now, a
        :class:`~rusd.state.MemberError`, and what :meth:`propose` raises.
        """
        number = self._last_number + 1
        request_id = rusd_pb2.RequestId(member=self._member, boot=self._boot, number=number)
        change.request_id.CopyFrom(request_id)
        data = change.SerializeToString()
        try:
            self._append_change(change, data)
        except ProposalDropped as error:
            self._pass_on(error, EntryType.CONFIGURATION, data)
        self._last_number = number
        self._waiting[number] = _Waiting(None, change, waiter, now)

    def _pass_on(self, error: ProposalDropped, kind: EntryType, data: bytes) -> None:
        """What was not appended goes to the leader, if it should have gone there and there is one."""
        if not isinstance(error, NotLeader) or not error.leader_id:
            raise refusal_of(error) from error
        self._forwards.append(Forward(self._member, error.leader_id, kind, data))

    def read_index(self, waiter: Waiter) -> bool:
        """Ask for a linearizable read (Raft thesis, section 6.4).

        Returns True if the state as applied now may be read at once: in a quorum
        of one.  Otherwise ``waiter`` is called when the state is recent enough, or with an error.
        """
        if self.may_read_now():
            return True
        self._last_number = number = self._last_number + 1
        try:
            self.node.read_index(self._read_context(number))
        except NoLeader as error:
            raise NoLeaderError from error
        self._reads[number] = waiter
        return False

    def receive_forward(self, forward: Forward) -> None:
        """A follower passes a proposal on.  Dropped if this member can't append it, or it makes no sense."""
        try:
            if forward.type == EntryType.CONFIGURATION:
                change = rusd_pb2.ConfigurationChange.FromString(forward.data)
                self._append_change(change, forward.data)
            else:
                proposal.decode(forward.data)  # what is appended must apply
                self.node.propose(forward.data)
        except (ProposalDropped, MemberError, ValueError, DecodeError):
            return

    def _append_change(self, change: rusd_pb2.ConfigurationChange, data: bytes) -> None:
        """What a leader does with a change: look whether it makes sense, and append it."""
        if self.node.role is Role.LEADER:
            self.require_sense(data)
        self.node.propose_configuration(changes.raft_change(change), data)

    def require_sense(self, data: bytes) -> None:
        """A change is judged by the state that all changes before it have made, here, where it is appended.

        Who asked may be behind: what it takes for a stranger may have become a learner, and then
        Raft would promote what the state machine adds.
        """
        if self.node.configuration_index > self.applied_index:
            raise ChangeRefused("an earlier change is not applied yet")
        self._machine.check_configuration(data)

    @property
    def change_under_way(self) -> bool:
        """Whether a change of the configuration has to wait for what was appended before it."""
        node = self.node
        return not node.may_change_configuration() or node.configuration_index > self.applied_index

    def tick(self, now: float, timeout: float) -> None:
        """A heartbeat interval has passed; give up on calls older than ``timeout`` seconds."""
        self.node.tick()
        # Numbers grow and so does `since`: the oldest call stands first.
        while self._waiting:
            number = next(iter(self._waiting))
            waiting = self._waiting[number]
            if now - waiting.since < timeout:
                break
            del self._waiting[number]
            waiting.waiter(None, RequestTimeoutError())
        job = self._under_way
        if job is not None and job.waiting is not None and now - job.waiting.since >= timeout:
            job.give_up(RequestTimeoutError())
        self._expire_reads(now, timeout)
        self._ask_again()

    def persisted(self, ready: Ready) -> None:
        """What ``ready`` asked to persist is on stable storage."""
        self.node.persisted(*ready.mark)

    # -- out -------------------------------------------------------------------

    def ready(self) -> Ready | None:
        """What is to be done next, or None.  Committed entries are kept for :meth:`apply`."""
        if not self.node.has_ready():
            return None
        ready = self.node.ready()
        self._committed.extend(ready.committed)
        for state in ready.reads:
            boot, number = _READ_CONTEXT.unpack(state.context)
            if boot == self._boot:  # else an answer that was on its way while this member restarted
                self._reads_at.append((state.index, number))
        if ready.snapshot is not None:
            self._installing = ready.snapshot
        return ready

    def take_forwards(self) -> list[Forward]:
        """Proposals to pass on to the leader, each handed out once."""
        forwards, self._forwards = self._forwards, []
        return forwards

    @property
    def installing(self) -> Snapshot | None:
        """The snapshot of the last ``Ready`` that had one, until the state is swapped for it.

        Loading takes time: if another one has come meanwhile, that is the one to install.
        """
        return self._installing

    def installed(self) -> None:
        """The machine's state is now that of the snapshot :attr:`installing`.

        To be called once its ``Ready`` is persisted, in the turn in which the state is swapped:
        until then nothing is applied.
        """
        snapshot, self._installing = self._installing, None
        assert snapshot is not None, "nothing to install"
        while self._committed and self._committed[0].index <= snapshot.index:
            self._committed.popleft()
        job, self._under_way = self._under_way, None
        if job is not None:  # in the snapshot, too, like all that was to be applied
            job.steps.close()
            job.give_up(RequestTimeoutError())
        self.applied_index, self.applied_term = snapshot.index, snapshot.term
        self.node.applied(snapshot.index)
        self._answer_reads()

    @property
    def unapplied(self) -> int:
        """How many committed entries are not applied, one under way included."""
        return len(self._committed) + (self._under_way is not None)

    @property
    def between_entries(self) -> bool:
        """Whether no entry is applied in part: the state is that of :attr:`applied_index`."""
        return self._under_way is None

    @property
    def has_work(self) -> bool:
        """Whether :meth:`apply` has something to do."""
        if not self._may_apply():
            return False
        reads = self._reads_at
        return bool(self._committed or self._under_way or (reads and reads[0][0] <= self.applied_index))

    def apply(self, budget: int) -> int:
        """Apply committed entries in log order and answer their callers, until ``budget`` is used up.

        A small entry costs :data:`ENTRY_COST` and a large one what it changes, in records; one that
        does not fit is gone on with by the next call.  Returns how many were finished.

        Any exception but one of :data:`~rusd.state.STATE_ERRORS` comes through: a replica that
        can't apply must stop, not diverge.
        """
        if not self._may_apply():
            return 0
        turn, committed, before = self._turn, self._committed, self.applied_index
        turn.left = budget
        if self._under_way is not None:
            self._go_on(self._under_way)
        while committed and turn.left > 0:
            turn.left -= ENTRY_COST
            self._apply(committed.popleft())
        if self.applied_index != before:
            self.node.applied(self.applied_index)
        self._answer_reads()
        return self.applied_index - before

    def fail_all(self, error: Exception) -> None:
        """Tell every waiting call that its outcome will not be known here."""
        waiting, self._waiting = self._waiting, {}
        reads, self._reads = self._reads, {}
        self._reads_at.clear()
        if self._under_way is not None:
            self._under_way.give_up(error)
        for entry in waiting.values():
            entry.waiter(None, error)
        for waiter in reads.values():
            waiter(None, error)

    def _apply(self, entry: Entry) -> None:
        if entry.type == EntryType.CONFIGURATION:
            self._apply_configuration(entry)
            return
        if not entry.data:  # the empty entry a new leader begins its term with
            self._applied(entry)
            return
        _, member, boot, number, decided_in = proposal.read_head(entry.data)
        # Ours only if this life of this member made the entry.
        waiting = None
        if member == self._member and boot == self._boot:
            waiting = self._waiting.pop(number, None)
        result: object = None
        failure: Exception | None = None
        try:
            if decided_in not in (0, entry.term):
                raise SupersededError
            if waiting is not None and waiting.kind is not None:  # decoded when it was proposed
                result = self._machine.apply(waiting.kind, waiting.request, self._turn)
            else:
                decoded = proposal.decode(entry.data)
                result = self._machine.apply(decoded.kind, decoded.request, self._turn)
        except _REFUSALS as error:
            failure = error.with_traceback(None)  # the frame knows the error, the error knows the frame
        if type(result) is GeneratorType:
            self._under_way = _UnderWay(entry, result, waiting)
            self._turn.left = 0  # nothing else may be applied before it is done
            return
        self.applied_index = entry.index
        self.applied_term = entry.term
        if waiting is not None:
            waiting.waiter(result, failure)

    def _go_on(self, job: _UnderWay) -> None:
        """Do what the turn allows of an entry under way."""
        result: object = None
        failure: Exception | None = None
        try:
            next(job.steps)
        except StopIteration as stop:
            result = stop.value
        except _REFUSALS as error:
            failure = error.with_traceback(None)
        else:
            self._turn.left = 0
            return
        self._under_way = None
        self._applied(job.entry)
        if job.waiting is not None:
            job.waiting.waiter(result, failure)

    def _applied(self, entry: Entry) -> None:
        self.applied_index = entry.index
        self.applied_term = entry.term

    def _apply_configuration(self, entry: Entry) -> None:
        _, context = decode_configuration(entry.data)
        result = self._machine.apply_configuration(context)
        self._applied(entry)
        waiting = self._waiting.pop(changes.request_number(context, self._member, self._boot), None)
        if waiting is not None:
            waiting.waiter(result, None)

    def _may_apply(self) -> bool:
        """Not between the log's replacement by a snapshot and the state's."""
        return self._installing is None

    def may_read_now(self) -> bool:
        """Whether a linearizable read may see the state as it is now.

        A quorum of one confirms itself.  What it has committed in its own term and not applied is
        not answered, so a read need not see it: nobody waits for a huge entry but its caller.
        """
        node = self.node
        if self.applied_index < node.commit_index and (self.held or self.applied_term != node.term):
            return False
        return node.is_sole_leader

    def _read_context(self, number: int) -> bytes:
        """What a read is known by: unlike its number, the context is not used again by a later life."""
        return _READ_CONTEXT.pack(self._boot, number)

    def _ask_again(self) -> None:
        """Ask about unconfirmed reads again: questions and answers get lost, and leaders forget."""
        node, asked = self.node, self._asked
        self._ticks_to_retry -= 1
        self._asked = (node.term, node.leader_id)
        if self._asked == asked and (self._ticks_to_retry > 0 or node.role is Role.LEADER):
            return
        self._ticks_to_retry = READ_RETRY_TICKS
        confirmed = {number for _, number in self._reads_at}
        for number in self._reads:
            if number not in confirmed:
                with contextlib.suppress(NoLeader):
                    node.read_index(self._read_context(number))

    def _answer_reads(self) -> None:
        reads_at = self._reads_at
        while reads_at and reads_at[0][0] <= self.applied_index:
            waiter = self._reads.pop(reads_at.popleft()[1], None)
            if waiter is not None:
                waiter(None, None)

    def _expire_reads(self, now: float, timeout: float) -> None:
        """Give up on reads that were there at a tick ``timeout`` seconds ago.

        Reads have no time of their own: each tick notes which ones it found.
        """
        reads, marks = self._reads, self._read_marks
        if reads:
            marks.append((now, self._last_number))
        while marks and now - marks[0][0] >= timeout:
            newest = marks.popleft()[1]
            for number in [number for number in reads if number <= newest]:
                reads.pop(number)(None, RequestTimeoutError())
        if not reads:
            marks.clear()

    def check(self) -> None:
        """Raise :class:`AssertionError` if an invariant is broken."""
        self.node.check()
        assert self.applied_index <= self.node.commit_index, "applied beyond the commit index"
        if self._installing is not None:
            return
        expected = self.applied_index
        if self._under_way is not None:
            expected += 1
            assert self._under_way.entry.index == expected, "an entry is applied out of order"
        for entry in self._committed:
            expected += 1
            assert entry.index == expected, "committed entries are not contiguous"
