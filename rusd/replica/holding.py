"""Proposals that found no leader, kept until there is one.

During an election, and while a leader hands its office over, nobody takes proposals.  As
in etcd they wait here, for as long as their callers do: they have not been sent or appended
anywhere, so nothing can come of them twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from rusd.replica.errors import TooManyRequestsError

if TYPE_CHECKING:
    from rusd.raft import EntryType

MOST_BYTES = 64 * 1024 * 1024
MOST_PROPOSALS = 5000

Offer = Callable[[int, "EntryType", bytes], bool]
"""Takes a proposal's number, type and data; False if it can't be taken yet."""


class Held:
    """The proposals of one replica that wait for a leader, in the order in which they were made."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, EntryType, bytes]] = deque()
        self._bytes = 0

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, number: int, kind: EntryType, data: bytes) -> None:
        """Keep a proposal.  Raises :class:`TooManyRequestsError` if too much waits already."""
        if len(self._waiting) >= MOST_PROPOSALS or self._bytes + len(data) > MOST_BYTES:
            raise TooManyRequestsError
        self._waiting.append((number, kind, data))
        self._bytes += len(data)

    def offer(self, take: Offer) -> None:
        """Hand proposals to ``take`` until it takes no more."""
        while self._waiting and take(*self._waiting[0]):
            self._bytes -= len(self._waiting.popleft()[2])

    def clear(self) -> None:
        """Their callers wait no longer."""
        self._waiting.clear()
        self._bytes = 0
