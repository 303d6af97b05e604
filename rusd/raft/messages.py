"""The values that go in and out of the Raft core.

Nothing here acts.  :class:`Entry` is a plain slotted class because one is made
for every proposal; :class:`Ready` because two are made for every batch; the
others are frozen attrs classes.

Sources: "the paper" is Ongaro and Ousterhout, *In Search of an Understandable
Consensus Algorithm* (extended version, sections as §5.2); "the thesis" is
Ongaro, *Consensus: Bridging Theory and Practice* (sections as 6.4).

A replica is named by a positive integer; 0 stands for "nobody".
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

import attrs


class EntryType(IntEnum):
    """What an entry is for."""

    NORMAL = 0
    CONFIGURATION = 1


class Entry:
    """One position of the replicated log.

    ``data`` is the owner's, opaque here.  A ``NORMAL`` entry without data is
    the one with which a new leader opens its term; a ``CONFIGURATION`` entry's
    data is read with :func:`rusd.raft.membership.decode_configuration`.
    Treat as immutable: logs, messages and batches share the same objects.
    """

    __slots__ = ("data", "index", "term", "type")

    def __init__(
        self,
        term: int,
        index: int,
        type: EntryType = EntryType.NORMAL,  # noqa: A002
        data: bytes = b"",
    ) -> None:
        self.term = term
        self.index = index
        self.type = type
        self.data = data

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Entry):
            return NotImplemented
        return (
            self.index == other.index
            and self.term == other.term
            and self.type == other.type
            and self.data == other.data
        )

    def __hash__(self) -> int:
        return hash((self.term, self.index))

    def __repr__(self) -> str:
        return f"Entry(term={self.term}, index={self.index}, type={self.type.name}, data={self.data!r})"


@attrs.frozen
class HardState:
    """What must survive a restart besides the entries (the paper's figure 2, "persistent state").

    ``commit`` may lag: the paper keeps it in memory only, and a replica that
    finds an old one after a restart learns the newer from its leader.
    """

    term: int = 0
    vote: int = 0
    commit: int = 0


@attrs.frozen
class Configuration:
    """Who takes part: ``voters`` decide, ``learners`` only receive the log (thesis 4.2.1)."""

    voters: frozenset[int] = frozenset()
    learners: frozenset[int] = frozenset()

    @property
    def members(self) -> frozenset[int]:
        """Voters and learners together."""
        return self.voters | self.learners


@attrs.frozen
class Snapshot:
    """Where a snapshot stands in the log: it replaces every entry up to ``index``.

    Its contents are the owner's business and travel beside the core, never
    through it.
    """

    index: int
    term: int
    configuration: Configuration


class MessageType(IntEnum):
    """The paper's remote calls, each split into its request and its response."""

    REQUEST_VOTE = 1
    VOTE_RESPONSE = 2
    REQUEST_PRE_VOTE = 3
    PRE_VOTE_RESPONSE = 4
    APPEND_ENTRIES = 5
    APPEND_RESPONSE = 6
    HEARTBEAT = 7
    HEARTBEAT_RESPONSE = 8
    INSTALL_SNAPSHOT = 9
    TIMEOUT_NOW = 10
    READ_INDEX = 11
    READ_INDEX_RESPONSE = 12


@attrs.frozen(kw_only=True)
class Message:
    """One message between two replicas; which fields mean something depends on ``type``.

    ==================== ============================================================
    REQUEST_(PRE_)VOTE   ``index``/``log_term`` of the candidate's last entry;
                         ``context`` is :data:`TRANSFER` in a leadership transfer
    (PRE_)VOTE_RESPONSE  ``reject``
    APPEND_ENTRIES       ``entries`` after ``index``/``log_term``; the leader's ``commit``
    APPEND_RESPONSE      ``index`` up to which the logs agree; or ``reject``, the ``index``
                         refused, and in ``reject_hint``/``log_term`` where to look next
    HEARTBEAT            ``commit`` the follower may go to; ``index`` is the read round
    HEARTBEAT_RESPONSE   ``index`` of the heartbeat, returned
    INSTALL_SNAPSHOT     leaves the leader's core with the ``index`` the snapshot must reach
                         at least; its owner adds ``snapshot`` before it reaches the follower
    READ_INDEX           ``context`` of the read; its response adds ``index``
    ==================== ============================================================
    """

    type: MessageType
    from_: int
    to: int
    term: int
    index: int = 0
    log_term: int = 0
    entries: Sequence[Entry] = ()
    commit: int = 0
    reject: bool = False
    reject_hint: int = 0
    context: bytes = b""
    snapshot: Snapshot | None = None


TRANSFER = b"transfer"
"""The context of a vote request whose sender was told to campaign by the leader itself (thesis 3.10)."""


@attrs.frozen
class ReadState:
    """A confirmed read: serve ``context`` once everything up to ``index`` is applied (thesis 6.4)."""

    index: int
    context: bytes


class Ready:
    """What a node wants its owner to do now; see :class:`rusd.raft.node.Node` for the order.

    ``must_sync``
        There is something to make durable: ``snapshot``, ``hard_state``,
        ``entries``, in that order.  Answer with ``persisted(*ready.mark)``.
        Otherwise these three are empty, and there is nothing to answer.
    ``messages``
        May leave at once, also before the disk is done.
    ``messages_after_persist``
        May leave only when what this ``Ready`` asks to persist is durable.
    ``committed``
        To apply, in order, each entry once; all of them are durable here.
    ``reads``
        Reads confirmed by a quorum.
    """

    __slots__ = (
        "committed",
        "entries",
        "hard_state",
        "mark",
        "messages",
        "messages_after_persist",
        "must_sync",
        "reads",
        "snapshot",
    )

    def __init__(
        self,
        *,
        hard_state: HardState | None,
        entries: list[Entry],
        messages: list[Message],
        messages_after_persist: list[Message],
        committed: list[Entry],
        reads: list[ReadState],
        snapshot: Snapshot | None,
        mark: tuple[int, int],
    ) -> None:
        self.hard_state = hard_state
        self.entries = entries
        self.messages = messages
        self.messages_after_persist = messages_after_persist
        self.committed = committed
        self.reads = reads
        self.snapshot = snapshot
        self.must_sync = hard_state is not None
        self.mark = mark

    def __repr__(self) -> str:
        fields = {name: getattr(self, name) for name in self.__slots__}
        return f"Ready({', '.join(f'{name}={value!r}' for name, value in fields.items() if value)})"
