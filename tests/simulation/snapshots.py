"""Snapshots of one process: taken now and then, sent to who fell behind, received and installed."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import attrs

from etcdpb import rusd_pb2
from rusd.raft import Configuration, Message, Role, Snapshot
from rusd.state import snapshot as state_snapshot
from rusd.storage import SnapshotMarker
from rusd.storage.snapshot import SnapshotName

if TYPE_CHECKING:
    from tests.simulation.process import Process

TRANSFER_MILLISECONDS = 60


@attrs.frozen
class Transfer:
    """A snapshot file on its way, with the message that it belongs to."""

    message: Message
    header: bytes
    chunks: tuple[bytes, ...]


class Snapshots:
    """What :mod:`rusd.replica.snapshotter` and a peer's snapshot channel do, in small."""

    def __init__(self, process: Process, last_index: int) -> None:
        self._process = process
        self._world = process.world
        self._last_index = last_index
        self._taking = False
        self._unnoted: SnapshotMarker | None = None  # its file is durable, the log does not say so yet
        self._owed: list[Message] = []  # to be sent once there is a new enough snapshot

    # -- taking -----------------------------------------------------------------------

    def applied(self) -> None:
        """Take one if enough was applied since the last."""
        if self._process.core.applied_index - self._last_index >= self._world.settings.snapshot_count:
            self.take()

    def tick(self) -> None:
        """See to snapshots that are owed."""
        if self._owed and not self._taking and self._unnoted is None:
            self.take()

    def take(self) -> None:
        """Cut the state now, write it a little later, while other work goes on."""
        process = self._process
        core = process.core
        index, term = core.applied_index, core.applied_term
        if (
            self._taking
            or self._unnoted is not None
            or not core.between_entries
            or index <= max(self._last_index, core.node.log.base_index - 1)
        ):
            return
        configuration = core.node.configuration_at(index)
        cut = state_snapshot.cut(process.machine, index, term, configuration.voters, configuration.learners)
        self._taking = True
        process.later(20, lambda: self._write(SnapshotMarker(index, term, configuration), cut))

    def _write(self, marker: SnapshotMarker, cut: state_snapshot.Cut) -> None:
        writer = self._process.data_dir.write_snapshot(SnapshotName(marker.index, marker.term), cut.header)
        while (chunk := cut.dump.next_chunk()) is not None:
            if chunk:
                writer.write(chunk)
        writer.finish()
        cut.close()
        self._taking = False
        self._unnoted = marker

    def note(self) -> None:
        """No batch is being written: tell the log of a finished snapshot, and cut it."""
        marker, self._unnoted = self._unnoted, None
        if marker is None or marker.index <= self._last_index:
            return
        wal = self._process.wal
        wal.mark_snapshot(marker)
        self._process.effect()
        wal.sync()
        self._process.effect()
        self._process.data_dir.prune(wal)
        self._last_index = marker.index
        self._world.coverage["snapshots taken"] += 1
        owed, self._owed = self._owed, []
        for message in owed:
            self.send(message)

    # -- sending ------------------------------------------------------------------------

    def send(self, message: Message) -> None:
        """Send a snapshot that reaches what ``message`` asks for, once there is one; only in its term."""
        process = self._process
        node = process.node
        if node.role is not Role.LEADER or node.term != message.term:
            return  # a snapshot taken by now may be of a later term than the message
        noted = {SnapshotName(marker.index, marker.term) for marker in process.wal.markers}
        name = max(noted & set(process.data_dir.snapshots()), default=None)
        if name is None or name.index < message.index:
            self._owed.append(message)
            return
        with contextlib.closing(process.data_dir.read_snapshot(name)) as reader:
            header, chunks = reader.header, tuple(reader.chunks())
        configured = rusd_pb2.SnapshotHeader.FromString(header).configuration
        configuration = Configuration(frozenset(configured.voters), frozenset(configured.learners))
        snapshot = Snapshot(name.index, name.term, configuration)
        transfer = Transfer(attrs.evolve(message, snapshot=snapshot), header, chunks)
        self._world.coverage["snapshots sent"] += 1
        self._world.network.carry(message.from_, message.to, transfer, TRANSFER_MILLISECONDS)
        # Whatever becomes of it, Raft has to be told when this end is done with it.
        process.later(2 * TRANSFER_MILLISECONDS, lambda: process.node.report_snapshot(message.to))

    # -- receiving ----------------------------------------------------------------------

    def receive(self, transfer: Transfer) -> None:
        """Make a received snapshot's file durable; only then may Raft hear of it."""
        process = self._process
        snapshot = transfer.message.snapshot
        assert snapshot is not None
        name = SnapshotName(snapshot.index, snapshot.term)
        if snapshot.index > process.node.commit_index and name not in process.data_dir.snapshots():
            writer = process.data_dir.write_snapshot(name, transfer.header)
            for chunk in transfer.chunks:
                writer.write(chunk)
            process.effect()
            writer.finish()
            process.effect()
        process.node.step(transfer.message)

    def load(self, snapshot: Snapshot) -> None:
        """The log begins after ``snapshot`` now, so let it be the state."""
        process = self._process
        name = SnapshotName(snapshot.index, snapshot.term)
        with contextlib.closing(process.data_dir.read_snapshot(name)) as reader:
            state_snapshot.load(process.machine, reader.header, reader.chunks())
        self._last_index = snapshot.index
        self._unnoted = None
