"""One life of one server: the parts of a member, and a small driver in place of the Trio shell.

The driver carries out what the core says in the order that
:class:`rusd.raft.Node` asks for, with time passing in between: a sync takes a
while, applying lags behind, a snapshot is written beside other work.  Between
any two effects the process may be killed (:meth:`Process.effect`).
"""

from __future__ import annotations

import contextlib
import random
from collections import deque
from collections.abc import Callable, Sequence
from types import GeneratorType
from typing import TYPE_CHECKING

from google.protobuf.message import Message as Request

from etcdpb import rpc_pb2
from rusd.lease import Lessor
from rusd.mvcc import Compaction, Record
from rusd.raft import Configuration, Entry, Message, MessageType, Ready, Role, Snapshot
from rusd.replica import ReplicaError
from rusd.replica.core import ENTRY_COST
from rusd.replica.forwarding import Forward
from rusd.replica.installing import write_ready
from rusd.state import STATE_ERRORS, Kind, Observer, StateMachine
from rusd.state import snapshot as state_snapshot
from rusd.steps import Steps, Turn
from rusd.storage import WalFailedError
from rusd.storage.datadir import DataDir
from rusd.testing.disk import DiskStoppedError
from tests.simulation.durable import found_by
from tests.simulation.model import Outcome, outcome_of
from tests.simulation.safety import ObservedLog
from tests.simulation.snapshots import Snapshots, Transfer

if TYPE_CHECKING:
    from tests.simulation.host import Host
    from tests.simulation.world import World

DIRECTORY = "/data"
SEGMENT_BYTES = 32 * 1024
REQUEST_TIMEOUT_SECONDS = 4.0
REMOVAL_MILLISECONDS = 1000
"""From when a member applies its own removal to the end of its process."""


class Killed(Exception):  # noqa: N818 - it happens to a process
    """The process was killed between two effects."""


class RecordingMachine:
    """The state machine, with a note of each outcome."""

    def __init__(self, machine: StateMachine) -> None:
        self.machine = machine
        self.outcomes: list[Outcome] = []

    def apply(self, kind: Kind, request: Request, turn: Turn) -> object:
        try:
            result = self.machine.apply(kind, request, turn)
        except STATE_ERRORS as error:
            self.outcomes.append(outcome_of(None, error))
            raise
        if isinstance(result, GeneratorType):
            return self._finish(result)
        self.outcomes.append(outcome_of(result, None))
        return result

    def _finish(self, steps: Steps[object]) -> Steps[object]:
        try:
            result = yield from steps
        except STATE_ERRORS as error:
            self.outcomes.append(outcome_of(None, error))
            raise
        self.outcomes.append(outcome_of(result, None))
        return result

    def check_configuration(self, data: bytes) -> None:
        self.machine.check_configuration(data)

    def apply_configuration(self, data: bytes) -> object:
        self.machine.apply_configuration(data)
        return None


class _Observer(Observer):
    """Passes on what happens in the state machine, as the server's does."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def revision_published(self, revision: int, records: Sequence[Record]) -> None:
        process = self._process
        process.published.append((process.core.applied_index + 1, revision, records))
        self._process.hub.publish(revision, records)

    def history_compacted(self, job: Compaction) -> None:
        self._process.hub.compacted(job.revision)
        self._process.compactions.append(job)

    def lease_granted(self, lease_id: int, ttl: int) -> None:
        self._process.lessor.on_granted(lease_id, self._process.seconds)

    def lease_revoked(self, lease_id: int) -> None:
        self._process.lessor.on_revoked(lease_id)


class Process:
    """Opens what is on the host's disk and runs until it dies.  Raises what a broken disk raises."""

    def __init__(self, host: Host, world: World) -> None:
        self.host = host
        self.world = world
        self.alive = True
        self.serving = False
        self.retired = False  # no member any more: it serves nobody
        self.resumes_at = 0  # paused until then
        self.acknowledged = (0, 0)  # (term, index) of the newest append response that left
        self.seen_commit = 0
        self.handed_index = 0  # what Raft gave out to be applied
        self.state_index = 0  # what was applied
        self.published: list[tuple[int, int, Sequence[Record]]] = []  # by which entry, which revision
        self.compactions: list[Compaction] = []
        self._backlog: list[Callable[[], None]] = []
        self._handed: deque[Entry] = deque()
        self._writing: Ready | None = None
        self._applying = False
        self._promoted_in = 0
        self._asked_to_serve = False
        self._is_leaving = False
        self._steps = 0
        self.data_dir = DataDir(host.faults, DIRECTORY)
        try:
            self._open()
        except BaseException:
            self.data_dir.close()
            raise

    def _open(self) -> None:
        world, host = self.world, self.host
        if not self.data_dir.has_member:
            hard_state, entries = world.founding(host.id)
            self.data_dir.create_member(
                b"%d" % host.id, hard_state=hard_state, entries=entries, segment_bytes=SEGMENT_BYTES
            ).close()
        opened = self.data_dir.open_member(segment_bytes=SEGMENT_BYTES)
        self.wal = opened.wal
        recovered = opened.recovered
        host.recovered(found_by(recovered))
        self.machine = StateMachine(_Observer(self))
        index = term = 0
        configuration = Configuration()
        if opened.snapshot is not None and recovered.marker is not None:
            index, term = recovered.marker.index, recovered.marker.term
            configuration = recovered.marker.configuration
            with contextlib.closing(self.data_dir.read_snapshot(opened.snapshot)) as reader:
                state_snapshot.load(self.machine, reader.header, reader.chunks())
        self.recorder = RecordingMachine(self.machine)
        self.hub = world.settings.hub_class(
            self.machine.store, max_deliveries=world.settings.watch_deliveries
        )
        self.lessor = Lessor(self.machine.leases)
        self.node = world.settings.node_class(
            host.id,
            ObservedLog(self, recovered.entries, index, term, world.settings.log_limit),
            recovered.hard_state,
            configuration,
            applied=index,
            random=random.Random(world.chance.stream(f"timeouts {host.id}").random()),
            election_ticks=world.settings.election_ticks,
            pre_vote=world.settings.pre_vote,
            check_quorum=world.settings.check_quorum,
            limits=world.limits,
        )
        self.core = world.settings.core_class(self.node, self.recorder, member=host.id, boot=host.boots)
        self.snapshots = Snapshots(self, index)
        self.handed_index = index
        world.safety.installed(self, index)

    # -- time and chance ------------------------------------------------------------

    def __str__(self) -> str:
        return f"{self.host.id}.{self.host.boots}"

    @property
    def seconds(self) -> float:
        """The monotonic clock of this machine."""
        return self.world.scheduler.now / 1000

    @property
    def leads(self) -> bool:
        return self.node.role is Role.LEADER

    def effect(self) -> None:
        """Something is about to be done that others can see, or a crash may come before."""
        self.host.effect()

    def later(self, delay: int, action: Callable[[], None]) -> None:
        """Do ``action`` in ``delay`` milliseconds, if this process lives."""
        self.world.scheduler.after(delay, lambda: self.do(action))

    def do(self, action: Callable[[], None]) -> None:
        """Do ``action`` now, or when the process goes on; then see what follows from it."""
        if not self.alive:
            return
        if self.resumes_at > self.world.scheduler.now:
            self._backlog.append(action)
            return
        try:
            action()
            self._run()
            self.host.answer()
        except (DiskStoppedError, Killed, WalFailedError):
            self.world.safety.observe(self)
            self.host.die()
            return
        self.world.safety.observe(self)
        self._steps += 1
        if self._steps % 32 == 0:
            self.core.check()

    def pause(self, milliseconds: int) -> None:
        """Stop the process; its clock goes on, and what reaches it waits."""
        self.resumes_at = max(self.resumes_at, self.world.scheduler.now + milliseconds)
        self.world.scheduler.after(milliseconds, self.resume)

    def resume(self) -> None:
        """Go on, with all that has piled up, unless it is to wait longer."""
        if not self.alive or self.resumes_at > self.world.scheduler.now:
            return
        backlog, self._backlog = self._backlog, []
        self.world.chance.stream(f"backlog {self.host.id}").shuffle(backlog)
        for action in backlog:
            self.do(action)

    # -- in -------------------------------------------------------------------------

    def tick(self) -> None:
        """A heartbeat interval has passed."""
        self.core.tick(self.seconds, REQUEST_TIMEOUT_SECONDS)
        self._follow_leadership()
        self._get_ready_to_serve()
        if self.compactions and self.compactions[0].step(20):
            self.compactions.pop(0)
        self.snapshots.tick()
        if not self._is_leaving and self.machine.members.is_removed(self.host.id):
            self._is_leaving = True
            self._leave()

    def _leave(self) -> None:
        """As :mod:`rusd.life` does; but some do not get that far, and stay for others to put up with."""
        if self.world.chance.stream(f"leaving {self.host.id}").random() < 0.6:
            self.world.scheduler.after(REMOVAL_MILLISECONDS, lambda: self.host.retire(self))

    def receive(self, thing: object) -> None:
        """Something has come from another host."""
        match thing:
            case Message():
                self.node.step(thing)
            case Forward():
                self.core.receive_forward(thing)
            case Transfer():
                self.snapshots.receive(thing)

    def _get_ready_to_serve(self) -> None:
        """As the server does, serve clients only once the state is as new as anybody's."""
        if self.serving or self.retired or self._asked_to_serve:
            return
        with contextlib.suppress(ReplicaError):
            self._asked_to_serve = True
            if self.core.read_index(self._may_serve):
                self.serving = True
            return
        self._asked_to_serve = False

    def _may_serve(self, _result: object, error: Exception | None) -> None:
        self._asked_to_serve = False
        self.serving = error is None and not self.retired

    # -- out --------------------------------------------------------------------------

    def _run(self) -> None:
        """Do what the core says, up to the disk and the apply loop."""
        core = self.core
        while (ready := core.ready()) is not None:
            self.effect()
            self.send(ready.messages)
            self.world.safety.handed_out(self, ready.committed)
            self._handed += ready.committed
            if ready.snapshot is not None:
                self.handed_index = ready.snapshot.index
            if ready.must_sync:
                self._write(ready)
            else:
                self.send(ready.messages_after_persist)
        for forward in core.take_forwards():
            self.effect()
            self.world.network.forward(forward)
        if core.has_work and not self._applying:
            self._applying = True
            self.later(self.world.apply_delay(self.host.id), self.apply)
        if self._writing is None:
            self.snapshots.note()

    def send(self, messages: Sequence[Message]) -> None:
        for message in messages:
            self.effect()
            self.world.safety.sending(self, message)
            if message.type is MessageType.INSTALL_SNAPSHOT:
                self.snapshots.send(message)
            else:
                self.world.network.send(message)

    def _write(self, ready: Ready) -> None:
        """Hand a batch to the disk, which takes its time."""
        self._writing = self.host.writing = ready
        write_ready(self.wal, ready)
        self.effect()
        self.later(self.world.sync_delay(self.host.id), lambda: self.finish_write(ready))

    def finish_write(self, ready: Ready) -> None:
        """The disk is done."""
        self.wal.sync()
        self.host.durable.synced(ready)
        self.world.trace.note(self, f"synced {self.host.durable}")
        self._writing = self.host.writing = None
        self.effect()
        self.core.persisted(ready)
        if (snapshot := ready.snapshot) is not None:
            delay = self.world.chance.stream(f"disk {self.host.id}").choice((0, 0, 5, 60))
            self.later(delay, lambda: self.install(snapshot))
        self.effect()
        self.send(ready.messages_after_persist)
        if self.world.chance.stream(f"disk {self.host.id}").random() < 0.2:
            self.wal.prepare_space()

    def install(self, snapshot: Snapshot) -> None:
        """Loading a snapshot takes a while, in which a newer one may come."""
        if self.core.installing is not snapshot:
            return
        self.effect()
        self.snapshots.load(snapshot)
        while self._handed and self._handed[0].index <= snapshot.index:
            self._handed.popleft()
        if self.published:
            self.world.coverage["entries cut short"] += 1
            self.world.safety.cut_short(self, self.published)
            self.published = []
        self.compactions.clear()
        self.hub.history_replaced(self.machine.store)
        self.core.installed()
        self.world.safety.installed(self, snapshot.index)
        self.world.coverage["snapshots installed"] += 1

    def apply(self) -> None:
        """Apply a slice, answer its callers, and compare with what the log says."""
        self._applying = False
        limit = self.world.chance.stream(f"apply {self.host.id}").choice((1, 2, 5, 50))
        self.effect()
        self.core.apply(limit * ENTRY_COST)  # and so little that transactions are applied in steps
        entries: list[Entry] = []
        while self._handed and self._handed[0].index <= self.core.applied_index:
            entries.append(self._handed.popleft())
        outcomes, self.recorder.outcomes = self.recorder.outcomes, []
        # What an entry does shows before it counts as applied, if it is applied in steps.
        applied = self.core.applied_index
        published = [(revision, records) for index, revision, records in self.published if index <= applied]
        self.published = [change for change in self.published if change[0] > applied]
        self.world.safety.applied(self, entries, outcomes, published)
        if self.published:
            self.world.safety.first_seen(self._handed[0])
        if self.core.between_entries:
            self.snapshots.applied()

    # -- leases ---------------------------------------------------------------------

    def _follow_leadership(self) -> None:
        """As :class:`rusd.background.LeaseKeeper`: only a leader lets leases expire, through the log."""
        if not self.leads:
            if self._promoted_in:
                self._promoted_in = 0
                self.lessor.demote()
            return
        if self.node.term != self._promoted_in:
            self._promoted_in = self.node.term
            self.lessor.promote(self.seconds, self.world.settings.election_seconds)
        for lease in self.lessor.expired(self.seconds, 5):
            request = rpc_pb2.LeaseRevokeRequest(ID=lease)
            with contextlib.suppress(ReplicaError):
                self.core.propose(
                    Kind.LEASE_REVOKE, request, lambda _r, _e: None, self.seconds, term=self._promoted_in
                )

    def close(self) -> None:
        """Let go of files and lock, as the operating system does for a process that is gone."""
        self.alive = False
        self.wal.close()
        self.data_dir.close()
