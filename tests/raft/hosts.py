"""The servers of a small world: each a disk that survives crashes, and a node that does not."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import TYPE_CHECKING

from rusd.raft import (
    Configuration,
    Entry,
    HardState,
    Limits,
    Log,
    Node,
    Ready,
    Snapshot,
)

if TYPE_CHECKING:
    from tests.raft.network import Network


class Disk:
    """What survives a crash."""

    def __init__(self, hard_state: HardState, entries: Iterable[Entry]) -> None:
        self.hard_state = hard_state
        self.base = Snapshot(0, 0, Configuration())
        self.entries = list(entries)

    def write(self, ready: Ready) -> None:
        assert ready.hard_state is not None
        self.hard_state = ready.hard_state
        if ready.snapshot is not None:
            self.base = ready.snapshot
            self.entries = []
        for entry in ready.entries:
            position = entry.index - self.base.index - 1
            assert 0 <= position <= len(self.entries), "a gap in what was handed out for the disk"
            del self.entries[position:]
            self.entries.append(entry)

    def take_snapshot(self, snapshot: Snapshot) -> None:
        del self.entries[: snapshot.index - self.base.index]
        self.base = snapshot


class Host:
    """One server: a disk, a node, and a state machine that only remembers how far it got."""

    def __init__(self, network: Network, me: int, disk: Disk) -> None:
        self.network = network
        self.id = me
        self.disk = disk
        self.out: Ready | None = None  # written, not synced
        self.node: Node | None = None
        self.start()

    def start(self) -> None:
        disk = self.disk
        log = Log(
            disk.entries,
            base_index=disk.base.index,
            base_term=disk.base.term,
            max_entries=self.network.log_limit,
        )
        self.node = self.network.node_class(
            self.id,
            log,
            disk.hard_state,
            disk.base.configuration,
            applied=disk.base.index,
            random=random.Random(self.network.random.random()),
            election_ticks=6,
            pre_vote=self.network.pre_vote,
            check_quorum=self.network.check_quorum,
            limits=Limits(append_bytes=64, inflight_messages=4, inflight_bytes=256),
        )

    def crash(self, *, written: bool) -> None:
        """Lose the node; the batch that was written but not synced may have made it, or not."""
        if self.out is not None and written:
            self.disk.write(self.out)
        self.out = None
        self.node = None

    def pump(self) -> None:
        """Do what the node says, up to the sync."""
        assert self.node is not None
        while self.node.has_ready():
            ready = self.node.ready()
            self.network.send(ready.messages)
            if ready.must_sync:
                assert self.out is None, "a second batch while one is out"
                self.out = ready
            else:
                assert not ready.entries and ready.hard_state is None and ready.snapshot is None
                self.network.send(ready.messages_after_persist)
            if ready.snapshot is None:
                self.apply(ready)

    def sync(self) -> None:
        """The disk is done with the batch that was out."""
        if self.out is None or self.node is None:
            return
        ready, self.out = self.out, None
        self.disk.write(ready)
        self.node.persisted(*ready.mark)
        self.network.send(ready.messages_after_persist)
        if ready.snapshot is not None:
            self.node.applied(ready.snapshot.index)
            self.apply(ready)

    def apply(self, ready: Ready) -> None:
        assert self.node is not None
        for entry in ready.committed:
            self.network.history.applied(self.id, entry, self.disk.base.index, self.disk.entries)
            self.node.applied(entry.index)
        for read in ready.reads:
            self.network.history.read(self.id, read.context, read.index)

    def compact(self) -> None:
        """Take a snapshot of everything applied and drop the log before it."""
        node = self.node
        if node is None or self.out is not None:
            return
        index = node.applied_index
        last = self.disk.base.index + len(self.disk.entries)
        if self.disk.base.index < index <= last:
            term = self.disk.entries[index - self.disk.base.index - 1].term
            self.disk.take_snapshot(Snapshot(index, term, node.configuration_at(index)))
