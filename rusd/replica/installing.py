"""Making a ``Ready`` durable, a received snapshot included.

The order is what makes an installation safe at any instant: the snapshot's file
is durable before Raft hears of it (its owner sees to that); then the log says,
durably, that it begins after the snapshot; only then is the state swapped
(:meth:`rusd.replica.core.Core.installed`).  A restart finds either the old log
and state, or the new.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from rusd.storage import SnapshotMarker

if TYPE_CHECKING:
    from rusd.raft import HardState, Ready, Snapshot
    from rusd.storage import Wal


def write_ready(wal: Wal, ready: Ready) -> None:
    """Write what ``ready`` asks to persist; it counts once ``wal.sync()`` has returned.

    Syncs in between if there is a snapshot: its marker is a batch of its own.
    Raises what :meth:`rusd.storage.Wal.write` raises.
    """
    if ready.snapshot is not None:
        assert ready.hard_state is not None
        mark_received(wal, ready.snapshot, ready.hard_state)
        wal.sync()
    wal.write(ready.hard_state, ready.entries)


def mark_received(wal: Wal, snapshot: Snapshot, hard_state: HardState) -> None:
    """Note in the log that ``snapshot`` takes its place; counts once synced."""
    marker = SnapshotMarker(snapshot.index, snapshot.term, snapshot.configuration)
    # Entries after it follow in a batch of their own: until then nothing beyond it is committed here.
    state = attrs.evolve(hard_state, commit=min(hard_state.commit, snapshot.index))
    wal.mark_snapshot(marker, state, resets_log=True)
