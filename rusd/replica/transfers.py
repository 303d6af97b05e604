"""Snapshots between members: sent to a follower that is too far behind, received and installed.

**Sending.**  The newest snapshot on disk is sent if the log goes on from it, else one is
taken.  The file stays open while it is read, so nobody can take it away; and the log
after it is kept (:meth:`rusd.raft.Node.keep_log`) until the follower has caught
up, or makes no headway.

**Receiving.**  The file is written aside and loaded at the same time, so what cannot be
loaded is refused before anything depends on it.  Then, in this order: the file is
durable; Raft hears of it; the log says, durably, that it begins after it; and in the turn
in which that is known the state is swapped.  A crash finds either the old log
and state, or the new.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any

import attrs
import trio
from google.protobuf.message import DecodeError

from etcdpb import rusd_pb2
from rusd.mvcc import SnapshotFormatError
from rusd.raft import Configuration, Flow, Role, Snapshot
from rusd.replica.peers import PeerError
from rusd.signal import Signal
from rusd.state.loading import Loading
from rusd.steps import Turn
from rusd.storage import StorageError
from rusd.storage.snapshot import SnapshotName

if TYPE_CHECKING:
    from rusd.environment import Environment, Threads
    from rusd.logs import Logger
    from rusd.longwork import LongWork
    from rusd.mvcc import Store
    from rusd.raft import Message
    from rusd.replica.peers import Peers
    from rusd.replica.shell import Replica
    from rusd.replica.snapshotter import Snapshotter
    from rusd.state import StateMachine
    from rusd.storage.datadir import DataDir
    from rusd.storage.snapshot import SnapshotReader, SnapshotWriter

SYNC_BYTES = 16 * 1024 * 1024
"""Written of a received snapshot between two syncs."""

READ_BYTES = 1024 * 1024
"""Read of a snapshot in one go: while the loop is busy, a thread waits longer for its turn than it works."""

PATIENCE_SECONDS = 30.0
"""Without headway of a follower that has got its snapshot; then no more log is kept for it."""

NEAR_ENTRIES = 500
"""A follower with no more than that to go has caught up."""


class Transfers:
    """All transfers of one replica; what ``machine`` observes is told when it has a new state."""

    def __init__(
        self,
        replica: Replica,
        snapshotter: Snapshotter,
        peers: Peers,
        *,
        data_dir: DataDir,
        machine: StateMachine,
        environment: Environment,
        log: Logger,
        work: LongWork,
        tick_interval: float,
    ) -> None:
        self._replica = replica
        self._node = replica.core.node
        self._snapshotter = snapshotter
        self._data_dir = data_dir
        self._peers = peers
        self._machine = machine
        self._clock = environment.clock
        self._threads = environment.threads
        self._log = log
        self._work = work
        self._tick_interval = tick_interval
        self._owed: dict[int, Message] = {}  # by peer
        self._sending: set[int] = set()
        self._due = Signal()
        self._loaded: dict[Snapshot, _Loaded] = {}
        self._garbage: list[tuple[Store, dict[Any, Any]]] = []

    async def run(self) -> None:
        """Send what is owed.  Runs until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                await self._due.wait()
                while self._owed:
                    peer, message = self._owed.popitem()
                    self._sending.add(peer)
                    nursery.start_soon(self._serve, message)
                for former in self._garbage:
                    nursery.start_soon(self._let_go, *former)
                self._garbage = []

    # -- sending ----------------------------------------------------------------------

    def owe(self, message: Message) -> None:
        """Raft wants a snapshot to be sent, of ``message.index`` or later."""
        peer = message.to
        self._node.keep_log(peer, message.index)
        if peer not in self._sending:
            self._owed[peer] = message
            self._due.set()

    async def _serve(self, message: Message) -> None:
        peer = message.to
        try:
            sent = await self._send(message)
        except (PeerError, StorageError, OSError) as error:
            sent = False
            self._log.warn("failed to send a snapshot", remote_peer_id=f"{peer:x}", error=error)
        finally:
            self._sending.discard(peer)
            self._node.report_snapshot(peer)
        self._replica.wake()
        if sent:
            await self._wait_until_caught_up(peer, message.term)
        if peer not in self._sending and peer not in self._owed:
            self._node.release_log(peer)

    async def _send(self, message: Message) -> bool:
        """Send a snapshot to who asked for it by ``message``; False if this member leads no more."""
        peer = message.to
        name = await self._snapshotter.reaching(message.index)
        if not self._leads_in(message.term):
            return False
        with contextlib.closing(self._open(name)) as reader:
            self._node.keep_log(peer, name.index)
            snapshot = Snapshot(name.index, name.term, _configuration(reader.header))
            self._log.info(
                "sending merged snapshot",
                to=f"{peer:x}",
                snapshot_index=name.index,
                snapshot_bytes=reader.size,
            )
            start = self._clock.monotonic()
            chunks = _Chunks(reader, self._threads, lambda: self._snapshotter.spoiled(name))
            await self._peers.send_snapshot(attrs.evolve(message, snapshot=snapshot), reader.header, chunks)
        took = self._clock.monotonic() - start
        self._log.info("sent merged snapshot", to=f"{peer:x}", took=f"{took:.3f}s")
        return True

    def _open(self, name: SnapshotName) -> SnapshotReader:
        try:
            return self._data_dir.read_snapshot(name)
        except (StorageError, OSError):
            self._snapshotter.spoiled(name)
            raise

    async def _wait_until_caught_up(self, peer: int, term: int) -> None:
        """Return when ``peer`` has nearly all of the log, or when it is no use to wait."""
        match, moved_at = -1, self._clock.monotonic()
        while self._leads_in(term):
            progress = self._node.progress.get(peer)
            now = self._clock.monotonic()
            if progress is None or progress.flow is Flow.SNAPSHOT:
                return
            if progress.match >= self._node.last_index - NEAR_ENTRIES:
                return
            if progress.match > match:
                match, moved_at = progress.match, now
            elif now - moved_at > PATIENCE_SECONDS:
                return
            await self._clock.sleep_until(now + self._tick_interval)

    def _leads_in(self, term: int) -> bool:
        return self._node.role is Role.LEADER and self._node.term == term

    # -- receiving --------------------------------------------------------------------

    async def receive(self, message: Message, header: bytes, chunks: AsyncIterator[bytes]) -> None:
        """Store a snapshot durably, then have Raft take ``message``.  Raises :class:`PeerError`.

        Returns once it is installed, or Raft had no need of it.
        """
        async with self._snapshotter.writing:  # one at a time; and no other while the log is replaced
            snapshot = message.snapshot
            assert snapshot is not None
            self._refuse_what_is_not_wanted(message, snapshot)
            self._log.info(
                "receiving database snapshot",
                remote_peer_id=f"{message.from_:x}",
                snapshot_index=snapshot.index,
            )
            try:
                loading = await self._take_in(message, snapshot, header, chunks)
            except (SnapshotFormatError, DecodeError, StorageError, OSError) as error:
                raise PeerError(f"a snapshot can't be taken: {error}") from error
            self._log.info(
                "received and saved database snapshot",
                remote_peer_id=f"{message.from_:x}",
                snapshot_index=snapshot.index,
            )
            loaded = self._loaded[snapshot] = _Loaded(loading)
            self._replica.receive([message])
            if self._node.pending_snapshot == snapshot:
                await loaded.installed.wait()
            else:
                del self._loaded[snapshot]

    def install(self, snapshot: Snapshot) -> None:
        """The log begins after ``snapshot`` now: let its state be the machine's."""
        loaded = self._loaded.pop(snapshot)
        for other in [other for other in self._loaded if other.index < snapshot.index]:
            del self._loaded[other]  # Raft has taken the later one in its place
        self._log.info("applying snapshot", incoming_leader_snapshot_index=snapshot.index)
        self._garbage.append(loaded.loading.adopt(self._machine))
        self._due.set()
        self._snapshotter.installed(SnapshotName(snapshot.index, snapshot.term))
        self._machine.observer.state_replaced()
        self._replica.core.installed()
        loaded.installed.set()
        self._log.info("applied snapshot", incoming_leader_snapshot_index=snapshot.index)

    def _refuse_what_is_not_wanted(self, message: Message, snapshot: Snapshot) -> None:
        node = self._node
        if message.term < node.term:
            raise PeerError(f"a snapshot of term {message.term} comes too late: it is {node.term}")
        if snapshot.index <= node.commit_index:
            self._replica.receive([message])  # the leader learns how far this log goes
            raise PeerError(f"no need of a snapshot at {snapshot.index}: {node.commit_index} is committed")

    async def _take_in(
        self, message: Message, snapshot: Snapshot, header: bytes, chunks: AsyncIterator[bytes]
    ) -> Loading:
        """Load a snapshot, and make its file durable."""
        loading = Loading(header)
        configuration = snapshot.configuration
        if loading.place != (snapshot.index, snapshot.term) or loading.configuration != (
            configuration.voters,
            configuration.learners,
        ):
            raise SnapshotFormatError("a snapshot's header is not that of its message")
        writer = self._data_dir.write_snapshot(SnapshotName(snapshot.index, snapshot.term), header)
        try:
            await self._write(writer, loading, message.term, chunks)
            turn = Turn(0)
            await self._work.run(loading.finish_steps(turn), turn)
            await self._threads.run(writer.finish)
        except BaseException:
            writer.abort()
            raise
        return loading

    async def _write(
        self, writer: SnapshotWriter, loading: Loading, term: int, chunks: AsyncIterator[bytes]
    ) -> None:
        synced = 0
        async for chunk in chunks:
            if self._node.term > term:
                raise PeerError("there is a newer term")
            if not chunk:
                continue
            async with self._work.turn():
                loading.feed(chunk)
                writer.write(chunk)
            if writer.bytes_written - synced >= SYNC_BYTES:
                synced = writer.bytes_written
                await self._threads.run(writer.sync)

    async def _let_go(self, store: Store, leases: dict[Any, Any]) -> None:
        """Let go of a former state bit by bit, once nobody reads it any more."""
        self._work.discard(leases)
        while store.pins or store.compactions:
            await self._clock.sleep_until(self._clock.monotonic() + self._tick_interval)
        for collection in store.collections():
            self._work.discard(collection)


class _Loaded:
    """A snapshot whose file is durable and whose state can take the machine's place."""

    def __init__(self, loading: Loading) -> None:
        self.loading = loading
        self.installed = trio.Event()


class _Chunks:
    """The chunks of a snapshot file, read in a thread: a disk may be slow.

    ``spoiled`` is called if they can't be read.
    """

    def __init__(self, reader: SnapshotReader, threads: Threads, spoiled: Callable[[], None]) -> None:
        self._chunks: Iterator[bytes] = reader.chunks()
        self._read: deque[bytes] = deque()
        self._threads = threads
        self._spoiled = spoiled

    def __aiter__(self) -> _Chunks:
        return self

    async def __anext__(self) -> bytes:
        if not self._read:
            try:
                await self._threads.run(self._read_some)
            except (StorageError, OSError):
                self._spoiled()
                raise
            if not self._read:
                raise StopAsyncIteration
        return self._read.popleft()

    def _read_some(self) -> None:
        size = 0
        for chunk in self._chunks:
            self._read.append(chunk)
            size += len(chunk)
            if size >= READ_BYTES:
                break


def _configuration(header: bytes) -> Configuration:
    configured = rusd_pb2.SnapshotHeader.FromString(header).configuration
    return Configuration(frozenset(configured.voters), frozenset(configured.learners))
