"""Writing the state out now and then, so that the log can be cut and a restart is quick.

A snapshot is due when enough has been logged since the last one: more entries
than ``snapshot_count``, and half as many bytes as the state itself has.  So a
small state is written often enough, and a large one only when it has grown or
changed by half: all snapshots together stay within three times the log.  With
:data:`DEFAULT_SNAPSHOT_COUNT` or more it also takes :data:`FEW_LOG_BYTES`, which
a restart replays in less than half a second; who asks for fewer means it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import trio

from rusd.environment import Threads, WorkerThreads
from rusd.signal import Signal
from rusd.steps import Steps, Turn
from rusd.storage import SnapshotMarker, StorageError, WalFailedError
from rusd.storage.snapshot import SnapshotName

if TYPE_CHECKING:
    from rusd.environment import Clock
    from rusd.logs import Logger
    from rusd.longwork import LongWork
    from rusd.replica.shell import Replica
    from rusd.storage import Wal
    from rusd.storage.datadir import DataDir
    from rusd.storage.snapshot import SnapshotWriter

RETRY_SECONDS = 10.0
"""After a snapshot that could not be written."""

DEFAULT_SNAPSHOT_COUNT = 10_000
FEW_LOG_BYTES = 16 * 1024 * 1024
"""Of log since the last snapshot, below which none is due."""

SYNC_BYTES = 16 * 1024 * 1024
"""Written between two syncs of the snapshot, so that no sync has much to do."""

MOST_REST_SECONDS = 0.02
"""After a chunk: one that took longer waited for the disk, and the loop with it."""


class Dump(Protocol):
    """The state's history, slice by slice."""

    def next_chunk(self) -> bytes | None:
        """The next piece, which may be empty, or None after the last."""


class Cut(Protocol):
    """The state between two entries."""

    def header_steps(self, turn: Turn) -> Steps[bytes]:
        """Everything but the history."""

    @property
    def dump(self) -> Dump:
        """The history."""

    def close(self) -> None:
        """Let go of what is held in place for it."""


class Snapshotter:
    """Takes snapshots of one replica.

    ``cut(index, term)`` copies the state as it is now; ``state_bytes()`` tells its size.  ``work`` is
    where it takes turns with other long work.
    ``last_index`` is that of the snapshot the process started from, ``log_bytes`` the size of
    the log after it.
    """

    def __init__(
        self,
        replica: Replica,
        data_dir: DataDir,
        clock: Clock,
        log: Logger,
        *,
        cut: Callable[[int, int], Cut],
        state_bytes: Callable[[], int],
        work: LongWork,
        snapshot_count: int,
        last_index: int,
        log_bytes: int,
        threads: Threads | None = None,
    ) -> None:
        self._replica = replica
        self._data_dir = data_dir
        self._clock = clock
        self._log = log
        self._cut = cut
        self._state_bytes = state_bytes
        self._work = work
        self._snapshot_count = snapshot_count
        self._last_index = last_index
        # What a restart would read counts from the last snapshot, wherever this process began.
        self._last_bytes = replica.log_bytes_written - log_bytes
        self._threads = threads or WorkerThreads()
        self._due = Signal()
        self.writing = trio.Lock()
        """Held by who writes a snapshot file, this one's or a received one."""
        self._newest: SnapshotName | None = None  # of those that this process knows to be there
        self.active = False
        """Whether a snapshot is being written, so that the disk has other work than the log's."""

    def entries_applied(self) -> None:
        """Some entries were applied: see whether a snapshot is due.  Called often, so it is cheap."""
        if self._replica.core.applied_index - self._last_index >= self._snapshot_count:
            self._due.set()

    async def run(self) -> None:
        """Take snapshots as they become due.  Runs until cancelled."""
        while True:
            await self._due.wait()
            if not self._is_due():
                continue
            try:
                await self.take()
            except (OSError, StorageError) as error:
                self._log.error("failed to write a snapshot; will try again", error=error)
                await self._clock.sleep_until(self._clock.monotonic() + RETRY_SECONDS)
                self._due.set()

    async def take(self) -> None:
        """Write a snapshot of the state as it is now, and cut the log.

        Raises :class:`OSError` or :class:`~rusd.storage.StorageError`; the log is whole then as before.
        """
        async with self.writing:
            await self._take()

    async def reaching(self, index: int) -> SnapshotName:
        """A snapshot of the state at ``index`` or later: the newest there is, else one taken now.

        Raises what :meth:`take` does.
        """
        async with self.writing:
            if self._newest is None or self._newest.index < index:
                await self._take()
            if self._newest is None:
                raise StorageError("there is no snapshot yet: another member's is about to be the state")
            return self._newest

    def spoiled(self, name: SnapshotName) -> None:
        """That one can't be read: who needs one as late is to have another made."""
        if self._newest == name:
            self._newest = None

    def installed(self, name: SnapshotName) -> None:
        """A received snapshot is the state now."""
        self._newest = name
        self._last_index, self._last_bytes = name.index, self._replica.log_bytes_written

    async def _take(self) -> None:
        core = self._replica.core
        await self._replica.between_entries()
        if core.applied_index < core.node.log.base_index:
            return  # another member's snapshot is about to take the place of this state
        index, term = core.applied_index, core.applied_term
        log_bytes = self._replica.log_bytes_written
        configuration = core.node.configuration_at(index)
        cut = self._cut(index, term)
        self.active = True
        turn = Turn(0)
        try:
            header = await self._work.run(cut.header_steps(turn), turn)
            writer = self._data_dir.write_snapshot(SnapshotName(index, term), header)
            try:
                await self._write(writer, cut.dump)
            except BaseException:
                writer.abort()
                raise
        finally:
            cut.close()
            self.active = False
        marker = SnapshotMarker(index, term, configuration)
        await self._replica.with_log(lambda wal: self._note(wal, marker))
        if self._last_index > index:
            return  # the state was replaced by a later one meanwhile
        self._newest = SnapshotName(index, term)
        self._last_index, self._last_bytes = index, log_bytes
        self._log.info("saved snapshot", snapshot_index=index, snapshot_bytes=writer.bytes_written)

    def _is_due(self) -> bool:
        applied = self._replica.core.applied_index
        if applied - self._last_index < self._snapshot_count:
            return False
        few = FEW_LOG_BYTES if self._snapshot_count >= DEFAULT_SNAPSHOT_COUNT else 0
        return self._replica.log_bytes_written - self._last_bytes >= max(few, self._state_bytes() // 2)

    async def _write(self, writer: SnapshotWriter, dump: Dump) -> None:
        """Write it, and after each chunk rest twice as long as that took, for the requests' sake.

        To take turns with them would not do: a write takes several passes of the loop, and in each of
        them there would be a chunk.  Nobody rests while another snapshot waits to be written or received.
        """
        synced = 0
        while True:
            async with self._work.turn():
                began = self._clock.monotonic()
                chunk = dump.next_chunk()
                if chunk:
                    writer.write(chunk)
                ended = self._clock.monotonic()
            if chunk is None:
                break
            if not self.writing.statistics().tasks_waiting:
                await self._clock.sleep_until(ended + min(2 * (ended - began), MOST_REST_SECONDS))
            if writer.bytes_written - synced >= SYNC_BYTES:
                synced = writer.bytes_written
                await self._threads.run(writer.sync)
        await self._threads.run(writer.finish)

    def _note(self, wal: Wal, marker: SnapshotMarker) -> None:
        """Runs in the log's thread: from here on the snapshot counts, and older files may go."""
        overtaken = any(marker.index <= known.index for known in wal.markers)  # by one that was received
        if not overtaken:
            try:
                wal.mark_snapshot(marker)
                wal.sync()
            except OSError as error:
                raise WalFailedError(str(error)) from error
        self._data_dir.prune(wal)
