"""The log's writer: one batch, one sync, one of them outstanding, ever.

A batch is written and synced in the event loop where the disk is fast
(:mod:`rusd.replica.sync`), else in a thread, while messages, ticks and reads go on.
In a cluster as alone: a leader's appends have left before, so the followers'
disks work at the same time as this one; and a follower's answer leaves the sooner by two
switches of threads, which cost as much as a fast sync.

What else needs the log for itself (:meth:`LogWriter.with_log`) runs in the thread, between two batches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from rusd.replica.installing import write_ready
from rusd.replica.sync import SyncPolicy
from rusd.signal import Signal
from rusd.storage import StorageError, WalFailedError

if TYPE_CHECKING:
    from rusd.environment import Environment
    from rusd.logs import Logger
    from rusd.raft import Ready
    from rusd.storage import Wal


class LogWriter:
    """Makes durable what a replica has to persist.

    ``persisted(ready)`` is called, in the event loop, once a batch is durable that :meth:`write` left
    to the thread.
    ``disk_is_shared()`` says whether other work uses the disk now.
    """

    def __init__(
        self,
        wal: Wal,
        environment: Environment,
        log: Logger,
        persisted: Callable[[Ready], None],
        *,
        disk_is_shared: Callable[[], bool],
        policy: SyncPolicy,
    ) -> None:
        self._wal = wal
        self._clock = environment.clock
        self._hooks = environment.hooks
        self._threads = environment.threads
        self._log = log
        self._persisted = persisted
        self._disk_is_shared = disk_is_shared
        self._policy = policy
        self._work = Signal()  # a batch or a job is waiting
        self._unwritten: Ready | None = None
        self._jobs: list[_Job] = []
        self._shares_disk = False  # whether the batch being written has to
        self._in_use = False  # by the thread; nobody else may touch the log then
        self._batch_number = 0
        self.failed = False
        """Whether a write has failed: nothing is known of what was to be written."""

    @property
    def bytes_written(self) -> int:
        """How many bytes this process has written to the log so far."""
        return self._wal.bytes_written

    def write(self, ready: Ready) -> bool:
        """Write and sync what ``ready`` asks to persist: True if that is done, else ``persisted`` tells when.

        Not to be called again before that.  Raises :class:`WalFailedError`.
        """
        self._shares_disk = self._disk_is_shared()
        inline = self._policy.inline(self._clock.monotonic(), disk_is_shared=self._shares_disk)
        if self._in_use or not inline:
            self._unwritten = ready
            self._work.set()
            return False
        try:
            seconds = self._write_batch(ready)
        except (OSError, WalFailedError) as error:
            raise self._fail(error) from error
        self._observe(seconds)
        return True

    def prepare_space(self) -> None:
        """Write some zeros ahead of the log's tail, if that is wanted and the log not in use."""
        if self._in_use:
            return
        try:
            self._wal.prepare_space()
        except OSError as error:
            # Harmless: batches will make their own space.  Tried again after the next one.
            self._log.warn("failed to prepare space for the write-ahead log", error=error)

    async def with_log(self, run: Callable[[Wal], None]) -> None:
        """Run ``run`` with the log in a thread, between two batches.

        Raises the :class:`OSError` or :class:`~rusd.storage.StorageError` it raised, but a
        :class:`~rusd.storage.WalFailedError` comes out of :meth:`run`.
        """
        job = _Job(run)
        self._jobs.append(job)
        self._work.set()
        await job.done.wait()
        if job.error is not None:
            raise job.error

    async def run(self) -> None:
        """Do what needs the thread.  Runs until cancelled, or raises :class:`WalFailedError`."""
        while True:
            await self._work.wait()
            while self._unwritten is not None or self._jobs:
                ready, self._unwritten = self._unwritten, None
                self._in_use = True
                try:
                    if ready is not None:
                        await self._write_in_thread(ready)
                    else:
                        await self._run_job(self._jobs.pop(0))
                finally:
                    self._in_use = False
                if ready is not None:
                    self._persisted(ready)
                    self.prepare_space()

    async def _write_in_thread(self, ready: Ready) -> None:
        try:
            # A started write always ends: the thread is not abandoned on cancellation.
            seconds = await self._threads.run(self._write_batch, ready)
        except (OSError, WalFailedError) as error:
            raise self._fail(error) from error
        self._observe(seconds)

    async def _run_job(self, job: _Job) -> None:
        try:
            await self._threads.run(job.run, self._wal)
        except WalFailedError as error:
            raise self._fail(error) from error
        except (OSError, StorageError) as error:
            job.error = error
        job.done.set()

    def _write_batch(self, ready: Ready) -> float:
        """Write and sync; runs in the loop or in the thread.  Returns how many seconds the disk took."""
        self._batch_number += 1
        start = self._clock.monotonic()
        write_ready(self._wal, ready)
        self._hooks.before_sync(self._batch_number)
        self._wal.sync()
        return self._clock.monotonic() - start

    def _observe(self, seconds: float) -> None:
        self._policy.observe(self._clock.monotonic(), seconds, disk_is_shared=self._shares_disk)

    def _fail(self, error: Exception) -> WalFailedError:
        self.failed = True
        self._log.fatal("failed to write the log; nothing more can be acknowledged", error=str(error))
        return WalFailedError(str(error))


class _Job:
    """Something that needs the log for itself for a while."""

    def __init__(self, run: Callable[[Wal], None]) -> None:
        self.run = run
        self.done = trio.Event()
        self.error: Exception | None = None
