"""One watch: what a client wants to hear of, and how far it has got.

A watcher has no queue.  All it owns is ``next``, the first revision it has not been
told of, and even that moves only when something happens that concerns it:

* **live**, nothing unsent: ``last_hit < next``; everything up to the present is known
  not to concern it, whatever ``next`` says;
* **live**, something unsent: ``next <= last_hit``;
* **catching up**: everything below ``next`` is dealt with, the rest must be read from history;
* **overtaken**: a compaction removed history it still needed; it only keeps its id;
* **cancelled**: forgotten by everybody.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from rusd.watch.encoding import watch_id_field

if TYPE_CHECKING:
    from rusd.watch.stream import WatchStream

PUTS = 1
DELETES = 2


class State(Enum):
    """Where a watcher is in its life."""

    LIVE = "live"
    CATCHING_UP = "catching up"
    OVERTAKEN = "overtaken"
    CANCELLED = "cancelled"


class Notify(Enum):
    """What the next tick of periodic progress does for a watcher."""

    OFF = "off"
    DUE = "due"
    SKIP_ONE = "skip one"  # it has had events since the last tick


class Watcher:
    """One watch of one stream.  Only its stream and the hub write to it."""

    __slots__ = (
        "accepts",
        "fragment",
        "id",
        "id_field",
        "key",
        "last_hit",
        "next",
        "notify",
        "prev_kv",
        "prompt",
        "range_end",
        "start",
        "state",
        "stream",
    )

    def __init__(
        self, stream: WatchStream, watch_id: int, key: bytes, range_end: bytes, start_revision: int
    ) -> None:
        self.stream = stream
        self.id = watch_id
        self.id_field = watch_id_field(watch_id)
        self.key = key
        self.range_end = range_end
        self.start = start_revision  # as requested: 0 is "from now on"
        self.next = start_revision
        self.last_hit = 0
        self.state = State.LIVE
        self.accepts = PUTS | DELETES
        self.notify = Notify.OFF
        self.prev_kv = False
        self.prompt = False  # reads one large revision from history; does not lag behind otherwise
        self.fragment = False

    @property
    def has_unsent(self) -> bool:
        """Of a live watcher: whether a published change still has to be sent."""
        return self.last_hit >= self.next
