"""The Trio half of a replica: it carries out what :class:`~rusd.replica.core.Core` says.

Three loops, each waiting for a signal, and the clock's ticks::

    driver ──entries──▶ log writer ──persisted──▶ driver ──committed──▶ apply loop
      ▲                                                                     │
      └── proposals, ticks, messages                        answers, events ┘

On a fast disk the driver syncs in the event loop (:mod:`rusd.replica.sync`), and where no
hook wants to wait it applies as well: the other two loops then have nothing to do.

All proposals that arrive while a batch is being written form the next batch:
one WAL write and one sync for all of them, and one sync outstanding, ever.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from rusd.environment import Environment, Hooks
from rusd.replica.core import Core, Waiter
from rusd.replica.errors import StoppedError
from rusd.replica.sync import SyncPolicy
from rusd.signal import Signal
from rusd.storage import StorageError, WalFailedError

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from rusd.logs import Logger
    from rusd.raft import Ready
    from rusd.state import Kind
    from rusd.storage import Wal

APPLY_BUDGET = 1024
"""What is applied before the loop gives way, in records: 256 small entries, or as much of a large one."""


class Replica:
    """Runs one replica.

    ``before_answers`` is called before each slice of answers and events, ``after_apply`` after it.
    """

    def __init__(
        self,
        core: Core,
        wal: Wal,
        environment: Environment,
        log: Logger,
        *,
        tick_interval: float,
        request_timeout: float,
        before_answers: Callable[[], None] = lambda: None,
        after_apply: Callable[[], None],
        disk_is_shared: Callable[[], bool] = lambda: False,
        policy: SyncPolicy | None = None,
    ) -> None:
        self.core = core
        self._wal = wal
        self._clock = environment.clock
        self._hooks = environment.hooks
        self._after_slice = environment.after_slice
        self._log = log
        self._tick_interval = tick_interval
        self._request_timeout = request_timeout
        self._before_answers = before_answers
        self._after_apply = after_apply
        self._disk_is_shared = disk_is_shared
        self._policy = policy or SyncPolicy()
        self._thread_limit = trio.CapacityLimiter(1)
        self._stopped = False
        self._failed = False

        self._work = Signal()  # for the driver: the core has something ready
        self._in_turns = False  # end_turns will be called: the driver need not be woken
        self._asked = False  # since begin_turns
        self._failure: BaseException | None = None  # for the driver to raise
        self._log_work = Signal()  # for the log writer: a batch is waiting
        self._apply_work = Signal()  # for the apply loop: entries or reads are waiting
        self._applying = False  # the apply loop is at work, or waits for a hook
        self._hooks_apply = type(self._hooks).before_apply is not Hooks.before_apply
        self._unwritten: Ready | None = None
        self._jobs: list[_LogJob] = []
        self._shares_disk = False  # whether the batch being written has to
        self._log_in_use = False  # by the thread; nobody else may touch it then
        self._batch_number = 0
        self._applied = trio.lowlevel.ParkingLot()

    # -- what services call ---------------------------------------------------------

    @property
    def term(self) -> int:
        """The Raft term."""
        return self.core.node.term

    @property
    def leader_id(self) -> int:
        """The member that leads, or 0."""
        return self.core.node.leader_id

    def propose(self, kind: Kind, request: Message, waiter: Waiter, *, term: int = 0) -> None:
        """Put ``request`` into the log; ``waiter(result, error)`` is called once it is applied.

        Raises a :class:`~rusd.replica.core.ReplicaError` if it can't be proposed.
        """
        if self._stopped:
            raise StoppedError
        self.core.propose(kind, request, waiter, self._clock.monotonic(), term=term)
        self._wake()

    async def propose_and_wait(self, kind: Kind, request: Message, *, term: int = 0) -> object:
        """Propose and return the result.  Raises what the waiter would have got."""
        outcome = _Outcome()
        self.propose(kind, request, outcome.settle, term=term)
        return await outcome.wait()

    def read_index(self, waiter: Waiter) -> bool:
        """A linearizable read: True if the state may be read now, else ``waiter`` is called later."""
        if self._stopped:
            raise StoppedError
        if self.core.read_index(waiter):
            return True
        self._wake()
        return False

    def may_read_now(self) -> bool:
        """Whether a linearizable read may read the state now, with nothing to wait for."""
        if self._stopped:
            raise StoppedError
        return self.core.may_read_now()

    async def wait_linearizable(self) -> None:
        """Return when a linearizable read may read the state."""
        outcome = _Outcome()
        if not self.read_index(outcome.settle):
            await outcome.wait()

    async def between_entries(self) -> None:
        """Return in a turn in which no entry is applied in part."""
        while not self.core.between_entries:
            await self._applied.park()

    @property
    def log_bytes_written(self) -> int:
        """How many bytes this process has written to the log so far."""
        return self._wal.bytes_written

    # -- life -----------------------------------------------------------------------

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run until cancelled.  Raises :class:`WalFailedError` if the log can't be written."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._drive)
            nursery.start_soon(self._write_log)
            nursery.start_soon(self._apply)
            nursery.start_soon(self._tick)
            task_status.started()

    async def campaign(self) -> None:
        """Stand for election and return once there is a leader and its first entry is applied.

        The sole voter of a cluster does this at once: there is nobody to wait for.
        """
        self.core.node.campaign()
        self._work.set()
        while not self._leads_and_applied():
            await self._applied.park()

    def stop(self) -> None:
        """Refuse new requests and tell the waiting ones that the server stops.

        After a failed write they are told nothing: what became of them is unknown.
        """
        self._stopped = True
        if not self._failed:
            self.core.fail_all(StoppedError())

    def _leads_and_applied(self) -> bool:
        core = self.core
        return core.node.leader_id != 0 and core.applied_term == core.node.term

    # -- the loops --------------------------------------------------------------------

    async def _tick(self) -> None:
        deadline = self._clock.monotonic() + self._tick_interval
        while True:
            await self._clock.sleep_until(deadline)
            now = self._clock.monotonic()
            self.core.tick(now, self._request_timeout)
            self._work.set()
            # A late tick counts once: missed heartbeats can't be sent any more.
            deadline += self._tick_interval
            if deadline <= now:
                deadline = now + self._tick_interval

    def begin_turns(self) -> None:
        """Connections get their turns now, and :meth:`end_turns` is called after them.

        What they ask for is carried out there at once.  Waking the driver for it would cost a
        switch of tasks, which is dear for a client that is alone.
        """
        self._in_turns = True

    def end_turns(self) -> None:
        """Carry out what was asked for since :meth:`begin_turns`.  Raises nothing: the driver does."""
        self._in_turns = False
        if not self._asked:
            return
        self._asked = False
        if self._failure is not None:
            return
        try:
            self._carry_out()
        except BaseException as error:
            self._failure = error
            self._work.set()

    def _wake(self) -> None:
        if self._in_turns:
            self._asked = True
        else:
            self._work.set()

    async def _drive(self) -> None:
        while True:
            await self._work.wait()
            if self._failure is not None:
                raise self._failure
            self._carry_out()

    def _carry_out(self) -> None:
        """Do what the core has ready, as far as it may be done here."""
        core = self.core
        while (ready := core.ready()) is not None:
            # A sole member has nobody to write to; the peers' transport takes messages from here.
            assert not ready.messages, "a message without a peer"
            if ready.must_sync:
                self._persist(ready)
        if core.has_work and not self._applying and not self._hooks_apply:
            self._apply_slice()  # at once: a switch of tasks less for every batch
        if core.has_work:
            self._apply_work.set()

    def _persist(self, ready: Ready) -> None:
        """Write and sync here if the disk is fast enough for that, else leave it to the log writer.

        The core asks for nothing more to be persisted until it is told that this is done.
        """
        self._shares_disk = self._disk_is_shared()
        inline = self._policy.inline(self._clock.monotonic(), disk_is_shared=self._shares_disk)
        if self._log_in_use or not inline:
            self._unwritten = ready
            self._log_work.set()
            return
        try:
            seconds = self._write_batch(ready)
        except (OSError, WalFailedError) as error:
            raise self._fail(error) from error
        self._persisted(ready, seconds)

    async def _write_log(self) -> None:
        """Write and sync in a thread, and run what else needs the log for itself."""
        while True:
            await self._log_work.wait()
            while self._unwritten is not None or self._jobs:
                ready, self._unwritten = self._unwritten, None
                self._log_in_use = True
                try:
                    if ready is not None:
                        await self._write_in_thread(ready)
                        self._prepare_space()
                    else:
                        await self._run_job(self._jobs.pop(0))
                finally:
                    self._log_in_use = False

    async def _write_in_thread(self, ready: Ready) -> None:
        try:
            # A started write always ends: the thread is not abandoned on cancellation.
            seconds = await trio.to_thread.run_sync(self._write_batch, ready, limiter=self._thread_limit)
        except (OSError, WalFailedError) as error:
            raise self._fail(error) from error
        self._persisted(ready, seconds)
        self._work.set()

    async def _run_job(self, job: _LogJob) -> None:
        try:
            await trio.to_thread.run_sync(job.run, self._wal, limiter=self._thread_limit)
        except WalFailedError as error:
            raise self._fail(error) from error
        except (OSError, StorageError) as error:
            job.error = error
        job.done.set()

    async def with_log(self, run: Callable[[Wal], None]) -> None:
        """Run ``run`` with the log in a thread, between two batches.

        Raises the :class:`OSError` or :class:`~rusd.storage.StorageError` it raised, but a
        :class:`~rusd.storage.WalFailedError` ends the replica.
        """
        job = _LogJob(run)
        self._jobs.append(job)
        self._log_work.set()
        await job.done.wait()
        if job.error is not None:
            raise job.error

    def _prepare_space(self) -> None:
        """Write some zeros ahead of the log's tail, if wanted.  Answers have left, the log is not in use."""
        try:
            self._wal.prepare_space()
        except OSError as error:
            # Harmless: batches will make their own space.  Tried again after the next one.
            self._log.warn("failed to prepare space for the write-ahead log", error=error)

    async def _apply(self) -> None:
        core = self.core
        while True:
            await self._apply_work.wait()
            self._applying = True
            while core.has_work:
                if self._hooks_apply and core.unapplied:
                    core.held = core.between_entries
                    await self._hooks.before_apply(
                        core.applied_index + 1, core.applied_index + core.unapplied
                    )
                    core.held = False
                self._apply_slice()
                if core.has_work:
                    await trio.lowlevel.checkpoint()
            self._applying = False

    def _apply_slice(self) -> None:
        """Apply some entries, and send what comes of them."""
        self._before_answers()
        self.core.apply(APPLY_BUDGET)
        self._after_apply()
        self._applied.unpark_all()
        if not self.core.between_entries:
            self._after_slice()
        if not self._log_in_use:
            self._prepare_space()

    # -- writing ------------------------------------------------------------------------

    def _write_batch(self, ready: Ready) -> float:
        """Write and sync; runs in the loop or in the thread.  Returns how many seconds the disk took."""
        self._batch_number += 1
        start = self._clock.monotonic()
        self._wal.write(ready.hard_state, ready.entries)
        self._hooks.before_sync(self._batch_number)
        self._wal.sync()
        return self._clock.monotonic() - start

    def _persisted(self, ready: Ready, seconds: float) -> None:
        self._policy.observe(self._clock.monotonic(), seconds, disk_is_shared=self._shares_disk)
        self.core.persisted(ready)

    def _fail(self, error: Exception) -> WalFailedError:
        self._failed = True
        self._log.fatal("failed to write the log; nothing more can be acknowledged", error=str(error))
        return WalFailedError(str(error))


class _Outcome:
    """What a waiter was told, for a task that waits for it."""

    def __init__(self) -> None:
        self._done = trio.Event()
        self._result: object = None
        self._error: Exception | None = None

    def settle(self, result: object, error: Exception | None) -> None:
        """Be the waiter."""
        self._result, self._error = result, error
        self._done.set()

    async def wait(self) -> object:
        """The result, once it is there; raises the error if it is one."""
        await self._done.wait()
        if self._error is not None:
            try:
                raise self._error
            finally:
                self._error = None  # its traceback has this frame: a cycle
        return self._result


class _LogJob:
    """Something that needs the log for itself for a while."""

    def __init__(self, run: Callable[[Wal], None]) -> None:
        self.run = run
        self.done = trio.Event()
        self.error: Exception | None = None
