"""Raft: one log on several replicas, as long as a majority of them lives.

A sans-IO implementation: messages, ticks and disk completions come in as
arguments, what to do about them goes out as values.  One module per idea, each
citing the sections of the paper and the thesis it follows; read them in this
order, since each builds on those before:

``messages``     the values: entries, messages, ``Ready``
``errors``       what can go wrong
``log``          the tail of the log in memory
``quorum``       majority arithmetic
``state``        figure 2's "State", and the outbox: what may leave before the disk is done
``membership``   configurations, one change at a time
``progress``     what a leader knows of one peer
``replication``  appends, the consistency check, the commit rule, snapshots
``reads``        linearizable reads without a log entry
``elections``    votes, timeouts, PreVote, CheckQuorum, leadership transfer
``node``         all of it together: tick, step, propose, ready, persisted

The rules are methods of one chain of classes, ``State`` to ``Node``, so that a
subclass of ``Node`` can override any single one.
"""

from __future__ import annotations

from rusd.raft.errors import (
    ChangeRefused,
    ContractError,
    InvariantViolation,
    NoLeader,
    NotLeader,
    ProposalDropped,
    RaftError,
    TooManyUncommitted,
    TransferInProgress,
)
from rusd.raft.log import Log
from rusd.raft.membership import (
    Change,
    ChangeKind,
    bootstrap,
    changed,
    decode_configuration,
    encode_configuration,
)
from rusd.raft.messages import (
    Configuration,
    Entry,
    EntryType,
    HardState,
    Message,
    MessageType,
    ReadState,
    Ready,
    Snapshot,
)
from rusd.raft.node import Node
from rusd.raft.progress import Flow, Progress
from rusd.raft.quorum import has_majority
from rusd.raft.state import NOBODY, Limits, Options, Role

__all__ = [
    "NOBODY",
    "Change",
    "ChangeKind",
    "ChangeRefused",
    "Configuration",
    "ContractError",
    "Entry",
    "EntryType",
    "Flow",
    "HardState",
    "InvariantViolation",
    "Limits",
    "Log",
    "Message",
    "MessageType",
    "NoLeader",
    "Node",
    "NotLeader",
    "Options",
    "Progress",
    "ProposalDropped",
    "RaftError",
    "ReadState",
    "Ready",
    "Role",
    "Snapshot",
    "TooManyUncommitted",
    "TransferInProgress",
    "bootstrap",
    "changed",
    "decode_configuration",
    "encode_configuration",
    "has_majority",
]
