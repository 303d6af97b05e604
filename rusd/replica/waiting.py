"""Who waits for what becomes of a proposal made here."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from rusd.raft import Entry
    from rusd.state import Kind

Waiter = Callable[[object, Exception | None], None]
"""Called once with ``(result, None)`` or ``(None, error)``."""


class Waiting:
    """A proposal that is not applied yet; ``since`` is in seconds of the monotonic clock."""

    __slots__ = ("kind", "request", "since", "waiter")

    def __init__(self, kind: Kind | None, request: Message, waiter: Waiter, since: float) -> None:
        self.kind = kind  # None: a change of the configuration
        self.request = request
        self.waiter = waiter
        self.since = since


class UnderWay:
    """An entry that is applied in steps, and who waits for it, if somebody here does."""

    __slots__ = ("entry", "steps", "waiting")

    def __init__(self, entry: Entry, steps: Generator[None, None, object], waiting: Waiting | None) -> None:
        self.entry = entry
        self.steps = steps
        self.waiting = waiting

    def give_up(self, error: Exception) -> None:
        """Tell the caller not to wait; the entry is applied all the same."""
        waiting, self.waiting = self.waiting, None
        if waiting is not None:
            waiting.waiter(None, error)
