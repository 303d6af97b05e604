"""One replica of the state machine.

* :mod:`~rusd.replica.core`: proposals, messages, ticks and disk completions in, ordered effects out (sans-IO)
* :mod:`~rusd.replica.waiting`: who waits for what becomes of a proposal
* :mod:`~rusd.replica.forwarding`, :mod:`~rusd.replica.changes`: proposals on their way to the leader; changes
  of the configuration
* :mod:`~rusd.replica.reads`: linearizable reads that wait
* :mod:`~rusd.replica.installing`: how a ``Ready`` gets onto the disk, a received snapshot included
* :mod:`~rusd.replica.peers`: the seam to the other members
* :mod:`~rusd.replica.shell`: the Trio tasks that carry the effects out
* :mod:`~rusd.replica.snapshotter`: when the state is written out, and how
* :mod:`~rusd.replica.sync`: whether a sync runs in the loop or in a thread
"""

from rusd.replica.core import Core
from rusd.replica.errors import (
    ChangeRefusedError,
    NoLeaderError,
    ReplicaError,
    RequestTimeoutError,
    StoppedError,
    SupersededError,
    TooManyRequestsError,
)
from rusd.replica.forwarding import Forward
from rusd.replica.machine import Machine
from rusd.replica.shell import Replica
from rusd.replica.snapshotter import Snapshotter
from rusd.replica.sync import SyncPolicy
from rusd.replica.waiting import Waiter
from rusd.storage import WalFailedError

__all__ = [
    "ChangeRefusedError",
    "Core",
    "Forward",
    "Machine",
    "NoLeaderError",
    "Replica",
    "ReplicaError",
    "RequestTimeoutError",
    "Snapshotter",
    "StoppedError",
    "SupersededError",
    "SyncPolicy",
    "TooManyRequestsError",
    "Waiter",
    "WalFailedError",
]
