"""The sans-IO half of a replica: Raft, the waiting calls, and the apply position.

Proposals, ticks, messages and disk completions come in; ordered effects go
out.  The rule that makes a write safe is the order of those effects: what
:meth:`Core.ready` says to persist must be on disk before
:meth:`Core.persisted` is called, and only then are entries committed, applied
and answered.  :mod:`rusd.replica.shell` carries the effects out.

There is one way for a write.  A single node takes it with a quorum of one.
"""

from __future__ import annotations

from collections import deque
from types import GeneratorType

from rusd.raft import Configuration, Entry, EntryType, Node, Ready, Snapshot, decode_configuration
from rusd.replica import changes
from rusd.replica.errors import RequestTimeoutError, SupersededError
from rusd.replica.machine import Machine
from rusd.replica.proposals import Proposals
from rusd.replica.reads import Reads
from rusd.replica.waiting import UnderWay, Waiter
from rusd.state import STATE_ERRORS, proposal
from rusd.steps import Turn

ENTRY_COST = 4
"""What a small entry and its answer take of a turn, in records."""

_REFUSALS = (*STATE_ERRORS, SupersededError)


class Core(Proposals):
    """One replica of the state machine.

    ``member`` and ``boot`` make request ids unique: ``boot`` is a random number
    drawn once per start of the process.  ``election_timeout`` is in seconds.
    """

    def __init__(
        self, node: Node, machine: Machine, *, member: int, boot: int, election_timeout: float = 1.0
    ) -> None:
        super().__init__(node, machine, member=member, boot=boot, election_timeout=election_timeout)
        self._reads = Reads(node, boot)
        self._committed: deque[Entry] = deque()
        self._turn = Turn()
        self._under_way: UnderWay | None = None
        self.held = False
        """Whether somebody holds entries back, and would see that linearizable reads wait for them."""
        self._installing: Snapshot | None = None
        self._leader = (node.term, node.leader_id)  # as :meth:`ready` saw it last
        self.applied_index = node.applied_index
        self.applied_term = node.log.term(node.applied_index) or 0
        self._belongs = member in node.configuration_at(node.applied_index).members
        self.applied_configurations = 0
        """How many configurations have been applied: another number, another set of members."""
        self.is_removed = False
        """Whether this member has left the cluster for good, as of the entries applied."""

    # -- in --------------------------------------------------------------------

    def read_index(self, waiter: Waiter) -> bool:
        """Ask for a linearizable read (Raft thesis, section 6.4).

        Returns True if the state as applied now may be read at once: in a quorum
        of one.  Otherwise ``waiter`` is called when the state is recent enough, or with an error.
        """
        if self.may_read_now():
            return True
        self._follow_leader()  # a change before the question does not concern it
        self._reads.ask(waiter)
        return False

    def tick(self, now: float, timeout: float) -> None:
        """A heartbeat interval has passed; give up on calls older than ``timeout`` seconds."""
        self.node.tick()
        self.causes.tick(now)
        self.offer_again()  # a transfer may have come to nothing
        self._expire(now, timeout)
        job = self._under_way
        if job is not None and job.waiting is not None and now - job.waiting.since >= timeout:
            job.give_up(self.causes.error(job.waiting.since))
        self._reads.tick(now, timeout)

    def persisted(self, ready: Ready) -> None:
        """What ``ready`` asked to persist is on stable storage."""
        self.node.persisted(*ready.mark)

    # -- out -------------------------------------------------------------------

    def ready(self) -> Ready | None:
        """What is to be done next, or None.  Committed entries are kept for :meth:`apply`."""
        node = self.node
        self._follow_leader()
        if not node.has_ready():
            return None
        ready = node.ready()
        self._committed.extend(ready.committed)
        if ready.reads:
            self._reads.confirm(ready.reads)
        if ready.snapshot is not None:
            self._installing = ready.snapshot
        return ready

    def _follow_leader(self) -> None:
        """If there is another leader, or the same in another term, tell those who wait."""
        node = self.node
        if (node.term, node.leader_id) == self._leader:
            return
        self._leader = (node.term, node.leader_id)
        if node.leader_id:
            self._reads.leader_changed()
            self.offer_again()

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
        self._note_membership(snapshot.configuration)
        self.node.applied(snapshot.index)
        self._reads.answer(self.applied_index)

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
        if self._committed or self._under_way:
            return True
        return self._reads.may_answer(self.applied_index)

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
        self._reads.answer(self.applied_index)
        return self.applied_index - before

    def fail_all(self, error: Exception) -> None:
        """Tell every waiting call that its outcome will not be known here."""
        if self._under_way is not None:
            self._under_way.give_up(error)
        self._fail_waiting(error)
        self._reads.fail_all(error)

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
            self._under_way = UnderWay(entry, result, waiting)
            self._turn.left = 0  # nothing else may be applied before it is done
            return
        self.applied_index = entry.index
        self.applied_term = entry.term
        if waiting is not None:
            waiting.waiter(result, failure)

    def _go_on(self, job: UnderWay) -> None:
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
        configuration, context = decode_configuration(entry.data)
        result = self._machine.apply_configuration(context)
        self._applied(entry)
        self._note_membership(configuration)
        waiting = self._waiting.pop(changes.request_number(context, self._member, self._boot), None)
        if waiting is not None:
            waiting.waiter(result, None)

    def _note_membership(self, configuration: Configuration) -> None:
        """Who once belonged and does no more was removed; who does not belong yet is about to."""
        self.applied_configurations += 1
        belongs = self._member in configuration.members
        self.is_removed = self.is_removed or (self._belongs and not belongs)
        self._belongs = belongs

    def _may_apply(self) -> bool:
        """Not between the log's replacement by a snapshot and the state's."""
        return self._installing is None

    def may_read_now(self) -> bool:
        """Whether a linearizable read may see the state as it is now.

        A quorum of one confirms itself.  What it has committed in its own term and not applied is
        not answered, so a read need not see it: nobody waits for a huge entry but its caller.
        """
        node = self.node
        if self.applied_index < node.commit_index and (self.held or not self._alone_has_unapplied()):
            return False
        return node.is_sole_leader

    def _alone_has_unapplied(self) -> bool:
        """Whether what is not applied here came after all others had gone: they can't have answered it."""
        node = self.node
        return (
            self.applied_term == node.term
            and self.applied_index >= node.configuration_index
            and node.configuration.members == {node.id}
        )

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
