"""What was just published: shared by all streams until they have sent it, and bounded.

A revision's events and who is to hear of them are worked out once, when the revision is
published.  Streams refer to that; the last one to take its share frees it.  So with
clients that keep up nothing piles up here, and for those that don't there is one
limit for the whole server, not a queue for each: the oldest publication goes, and the
streams that still wanted it read the store's history instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs

from rusd.watch.encoding import Event
from rusd.watch.watcher import Watcher

if TYPE_CHECKING:
    from rusd.watch.stream import WatchStream

MAX_DELIVERIES = 1 << 17
"""Deliveries (one watcher, one revision) kept for streams that have not taken them; some 150 bytes each."""

MAX_BYTES = 16 << 20
"""Bytes of changes kept for them."""

Delivery = tuple[Watcher, Sequence[Event]]


@attrs.frozen
class ProgressMark:
    """A progress answer on its way behind publications: for ``watcher``, or for all of its stream."""

    revision: int
    watcher: Watcher | None


class Publication:
    """One revision's events, and for each stream that has not taken them yet, its deliveries."""

    __slots__ = ("_count", "_recent", "deliveries", "revision", "size")

    def __init__(self, revision: int, size: int, hits: Sequence[Delivery], recent: Recent) -> None:
        self.revision = revision
        self.size = size
        self.deliveries: dict[WatchStream, list[Delivery]] = {}
        self._recent = recent
        self._count = len(hits)
        for delivery in hits:
            stream = delivery[0].stream
            of_stream = self.deliveries.get(stream)
            if of_stream is None:
                self.deliveries[stream] = [delivery]
            else:
                of_stream.append(delivery)

    def __len__(self) -> int:
        """How many deliveries it had in the beginning."""
        return self._count

    def taken_by(self, stream: WatchStream) -> None:
        """``stream`` has sent its share, or wants it no more."""
        del self.deliveries[stream]
        if not self.deliveries:
            self._recent.remove(self)


class Recent:
    """The publications that some stream has not taken, oldest first.

    The newest one is kept whatever its size: who keeps up is never sent to the history.
    """

    __slots__ = ("_by_revision", "bytes", "deliveries", "max_bytes", "max_deliveries")

    def __init__(self, max_deliveries: int = MAX_DELIVERIES, max_bytes: int = MAX_BYTES) -> None:
        self.max_deliveries = max_deliveries
        self.max_bytes = max_bytes
        self.deliveries = 0
        self.bytes = 0
        self._by_revision: dict[int, Publication] = {}

    def add(self, publication: Publication) -> None:
        """Keep ``publication``, tell its streams, and drop old ones if there is too much now."""
        self._by_revision[publication.revision] = publication
        self.deliveries += len(publication)
        self.bytes += publication.size
        for stream in publication.deliveries:
            stream.published(publication)
        while len(self._by_revision) > 1 and self._is_full():
            oldest = next(iter(self._by_revision.values()))
            # Falling behind gives up all that the stream had waiting; the last one to do so removes `oldest`.
            for stream in list(oldest.deliveries):
                stream.fall_behind()

    def _is_full(self) -> bool:
        return self.deliveries > self.max_deliveries or self.bytes > self.max_bytes

    def remove(self, publication: Publication) -> None:
        """Forget ``publication``: everybody has taken it."""
        del self._by_revision[publication.revision]
        self.deliveries -= len(publication)
        self.bytes -= publication.size

    def check(self) -> None:
        """Verify the sums; raises :class:`AssertionError`."""
        kept = list(self._by_revision.values())
        assert [item.revision for item in kept] == sorted(self._by_revision), "out of order"
        assert self.deliveries == sum(map(len, kept)), "deliveries"
        assert self.bytes == sum(item.size for item in kept), "bytes"
        assert all(item.deliveries for item in kept), "kept for nobody"
        assert len(kept) <= 1 or not self._is_full(), "too much is kept"
