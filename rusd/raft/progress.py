"""What a leader knows of one peer: how much of the log it has, and how fast to send on.

::

    PROBE ──ack──▶ REPLICATE          PROBE: one append at a time, to find where the logs agree
      ▲ ◀──reject────┘ │              REPLICATE: pipelined, ``next`` runs ahead of ``match``
      └──done── SNAPSHOT ◀──┘         SNAPSHOT: nothing until the owner has sent one
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from enum import Enum

from rusd.raft.errors import InvariantViolation
from rusd.raft.messages import Entry


class Flow(Enum):
    """How a peer is being sent to."""

    PROBE = "probe"
    REPLICATE = "replicate"
    SNAPSHOT = "snapshot"


class Progress:
    """One peer, as its leader sees it (figure 2: nextIndex and matchIndex).

    ``match``   up to here the logs are known to agree, durably on the peer;
    ``next``    the next entry to send;
    ``active``  heard from since the leader last checked its quorum;
    ``lately``  the same as of that check: who is silent in two periods is gone;
    ``paused``  a probe is under way: wait for its answer, or for a sign of life;
    ``keeps``   the log after this index is kept for it while it installs a snapshot; None: nothing is.

    ``max_messages`` and ``max_bytes`` bound what is sent but not acknowledged (thesis 10.2.2).
    """

    __slots__ = (
        "_commit_sent",
        "_inflight",
        "_inflight_bytes",
        "_max_bytes",
        "_max_messages",
        "active",
        "flow",
        "keeps",
        "lately",
        "match",
        "next",
        "paused",
    )

    def __init__(self, next_index: int, *, max_messages: int, max_bytes: int) -> None:
        self.match = 0
        self.next = next_index
        self.flow = Flow.PROBE
        self.active = self.lately = True  # the benefit of the doubt until the next check
        self.paused = False
        self.keeps: int | None = None
        self._commit_sent = 0
        self._inflight: deque[tuple[int, int]] = deque()  # (last index, bytes) of each append
        self._inflight_bytes = 0
        self._max_messages = max_messages
        self._max_bytes = max_bytes

    def needs_log_after(self, base_index: int) -> int | None:
        """Where the log, which begins after ``base_index``, should be kept from; None if it need not be.

        A peer that is there and only slow is spared a snapshot.
        """
        if self.keeps is not None:
            return max(self.keeps, self.match)
        if (self.active or self.lately) and self.match >= base_index:
            return self.match
        return None

    def is_full(self) -> bool:
        """Whether no more entries may be sent before some are acknowledged."""
        return len(self._inflight) >= self._max_messages or self._inflight_bytes >= self._max_bytes

    def is_owed(self, last_index: int, commit_index: int) -> bool:
        """Whether the peer should be sent an append now: new entries, or news of the commit index."""
        if self.flow is Flow.PROBE:
            return not self.paused
        if self.flow is Flow.SNAPSHOT:
            return False
        if self.next <= last_index and not self.is_full():
            return True
        return self._commit_sent < min(commit_index, self.next - 1)

    def sent(self, entries: Sequence[Entry], commit_index: int) -> None:
        """An append with ``entries`` and ``commit_index`` has been sent."""
        if self.flow is Flow.PROBE:
            self.paused = True
            return
        if entries:
            size = sum([len(entry.data) for entry in entries])
            self._inflight.append((entries[-1].index, size))
            self._inflight_bytes += size
            self.next = entries[-1].index + 1
        self._commit_sent = min(commit_index, self.next - 1)

    def acknowledged(self, index: int, base_index: int) -> None:
        """The peer's log agrees up to ``index``; the leader's own starts after ``base_index``."""
        stale = index < self.match
        self.match = max(self.match, index)
        self.next = max(self.next, index + 1)
        while self._inflight and self._inflight[0][0] <= index:
            self._inflight_bytes -= self._inflight.popleft()[1]
        if stale or self.flow is Flow.REPLICATE or self.match < base_index:
            return
        self.flow = Flow.REPLICATE
        self.paused = False
        self.next = self.match + 1

    def rejected(self, index: int, agreed: int) -> None:
        """The peer lacks the entry at ``index``; at best the logs agree up to ``agreed``.

        Old rejections, overtaken by what is known since, change nothing.
        """
        if self.flow is Flow.SNAPSHOT or index <= self.match:
            return
        if self.flow is Flow.REPLICATE:
            self.become_probe()
            return
        if index != self.next - 1:
            return
        self.next = max(min(index, agreed + 1), self.match + 1)
        self.paused = False

    def become_probe(self) -> None:
        """Back to what is known for sure."""
        self.flow = Flow.PROBE
        self.paused = False
        self.next = self.match + 1
        self._forget_inflight()

    def become_snapshot(self) -> None:
        """Nothing more is sent until the snapshot has arrived or failed."""
        self.flow = Flow.SNAPSHOT
        self._forget_inflight()

    def _forget_inflight(self) -> None:
        self._inflight.clear()
        self._inflight_bytes = 0
        self._commit_sent = 0

    def check(self) -> None:
        """Verify what must always hold; raises :class:`InvariantViolation`."""
        if not 0 <= self.match < self.next:
            raise InvariantViolation(f"next {self.next} is not above match {self.match}")
        if self._inflight_bytes != sum(size for _, size in self._inflight):
            raise InvariantViolation("the window has lost count of its bytes")
        if self._inflight and self.flow is not Flow.REPLICATE:
            raise InvariantViolation(f"appends in flight while in {self.flow.value}")
