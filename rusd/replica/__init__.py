"""One replica of the state machine.

* :mod:`~rusd.replica.core`: proposals, messages, ticks and disk completions in, ordered effects
  out (sans-IO)
* :mod:`~rusd.replica.proposals`, :mod:`~rusd.replica.forwarding`, :mod:`~rusd.replica.holding`: how a
  proposal gets into the log, here or at the leader
* :mod:`~rusd.replica.reads`: linearizable reads that wait
* :mod:`~rusd.replica.changes`: changes of the configuration
* :mod:`~rusd.replica.installing`: how a ``Ready`` gets onto the disk, a received snapshot included
* :mod:`~rusd.replica.peers`: the seam to the other members; :mod:`~rusd.replica.intake`: what is let in
* :mod:`~rusd.replica.shell`, :mod:`~rusd.replica.driver`: the Trio tasks that carry the effects out
* :mod:`~rusd.replica.leadership`: leading, being sure of it, and handing it over
* :mod:`~rusd.replica.writer`, :mod:`~rusd.replica.sync`: writing the log, in the loop or in a thread
* :mod:`~rusd.replica.snapshotter`: when the state is written out, and how
* :mod:`~rusd.replica.transfers`: snapshots between members
"""

from rusd.replica.core import Core
from rusd.replica.errors import (
    BadTransfereeError,
    ChangeRefusedError,
    ConnectionLostError,
    LeaderChangedError,
    LeaderFailedError,
    NoLeaderError,
    NotLeaderError,
    ReplicaError,
    RequestTimeoutError,
    StoppedError,
    SupersededError,
    TooManyRequestsError,
    TransferTimeoutError,
)
from rusd.replica.forwarding import Forward
from rusd.replica.machine import Machine
from rusd.replica.peers import Inbox, PeerError, Peers
from rusd.replica.shell import Replica
from rusd.replica.snapshotter import Snapshotter
from rusd.replica.sync import SyncPolicy
from rusd.replica.transfers import Transfers
from rusd.replica.waiting import Waiter
from rusd.storage import WalFailedError

__all__ = [
    "BadTransfereeError",
    "ChangeRefusedError",
    "ConnectionLostError",
    "Core",
    "Forward",
    "Inbox",
    "LeaderChangedError",
    "LeaderFailedError",
    "Machine",
    "NoLeaderError",
    "NotLeaderError",
    "PeerError",
    "Peers",
    "Replica",
    "ReplicaError",
    "RequestTimeoutError",
    "Snapshotter",
    "StoppedError",
    "SupersededError",
    "SyncPolicy",
    "TooManyRequestsError",
    "TransferTimeoutError",
    "Transfers",
    "Waiter",
    "WalFailedError",
]
