"""Catching up: reading history for watchers that are behind, in slices.

All watchers of one stream that are behind share one walk through the history, so a
client that reconnects with a thousand watches costs one scan, not a thousand.  A
slice is bounded in the changes it reads and the bytes it makes; between slices
the server does other things, so each slice first asks whether a compaction has
overtaken somebody.  What a slice finds is collected per watcher into responses of
up to 1000 revisions, as etcd's are, or half a megabyte.

A watcher leaves in a slice that finds nothing more to read: then, and in that turn,
it goes live.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice

from rusd.watch.encoding import Event, control_response
from rusd.watch.history import History, Record
from rusd.watch.matching import Matcher
from rusd.watch.watcher import DELETES, PUTS, State, Watcher

BATCH_REVISIONS = 1000
"""Distinct revisions in one response (etcd's watchBatchMaxRevs)."""

BATCH_BYTES = 512 << 10
"""A response this long is sent before the next revision is added to it."""

HELD_BYTES = 1 << 20
"""With this much in unfinished responses of one stream, all of them are sent."""

SLICE_STEPS = 1000
"""Changes read, and events made of them, in one slice: one to three milliseconds."""


LEAVING_AT_ONCE = 250
"""Watchers that go live in one slice: a few milliseconds in the matchers."""


class _Batch:
    """The response that is being collected for one watcher."""

    __slots__ = ("fields", "last_revision", "revisions", "size")

    def __init__(self) -> None:
        self.fields: list[bytes] = []
        self.revisions = 0
        self.last_revision = 0
        self.size = 0


class CatchUp:
    """The watchers of one stream that are behind, and their walk through history.

    ``respond`` makes the messages for a watcher's events, after a header field; ``header`` makes
    the header field of a revision.
    """

    __slots__ = ("_batches", "_cursor", "_header", "_held", "_matcher", "_respond")

    def __init__(
        self,
        respond: Callable[[Watcher, bytes, Sequence[bytes]], list[bytes]],
        header: Callable[[int], bytes],
    ) -> None:
        self._respond = respond
        self._header = header
        self._batches: dict[Watcher, _Batch] = {}
        self._matcher: Matcher[Watcher] = Matcher()
        self._cursor = 0  # revisions below it are read, for every watcher whose `next` is not beyond it
        self._held = 0  # bytes in all batches

    def __len__(self) -> int:
        return len(self._batches)

    def add(self, watcher: Watcher) -> None:
        """Take ``watcher`` in; it needs everything from ``watcher.next`` on."""
        if not self._batches:
            self._cursor = watcher.next
        elif watcher.next < self._cursor:
            # The walk goes back for the newcomer; the others must not hear anything twice.
            for other in self._batches:
                other.next = max(other.next, self._cursor)
            self._cursor = watcher.next
        watcher.state = State.CATCHING_UP
        self._batches[watcher] = _Batch()
        self._matcher.add(watcher.key, watcher.range_end, watcher)

    def remove(self, watcher: Watcher) -> None:
        """Forget ``watcher`` and what was collected for it."""
        self._matcher.remove(watcher.key, watcher.range_end, watcher)
        self._held -= self._batches.pop(watcher).size

    def step(
        self, history: History, current: int, compacted: int, budget: int
    ) -> tuple[list[bytes], list[Watcher]]:
        """Do one slice.  Returns the messages to send, and who needs no history any more.

        The latter are let go, and the caller makes them live at once.  ``current`` and
        ``compacted`` are the store's revisions; about ``budget`` bytes of messages are made.
        There may be no messages and still more to do.
        """
        messages: list[bytes] = []
        self._drop_overtaken(current, compacted, messages)
        if self._batches and self._cursor <= current:
            self._read(history, current, budget, messages)
        if self._cursor <= current:
            return messages, []
        return messages, self._finish(current, messages)

    def _drop_overtaken(self, current: int, compacted: int, messages: list[bytes]) -> None:
        if self._cursor >= compacted:
            return
        for watcher in list(self._batches):
            if max(watcher.next, self._cursor) >= compacted:
                continue
            self._flush(watcher, current, messages)
            self.remove(watcher)
            watcher.state = State.OVERTAKEN
            # header.revision is 0 here, and there is no reason text: etcd's clients look at compact_revision.
            messages.append(
                control_response(self._header(0), watcher.id, canceled=True, compact_revision=compacted)
            )
        self._cursor = compacted  # everybody left starts at or beyond it

    def _read(self, history: History, current: int, budget: int, messages: list[bytes]) -> None:
        last = min(current, self._cursor + SLICE_STEPS - 1)
        steps = made = 0
        for revision, records in history.changes(self._cursor, last):
            before = len(messages)
            steps += self._collect(history, revision, records, current, messages)
            self._cursor = revision + 1
            if self._held >= HELD_BYTES:
                self._flush_all(current, messages)
            made += sum(len(message) for message in messages[before:])
            if steps >= SLICE_STEPS or made >= budget:
                return
        self._cursor = last + 1

    def _collect(
        self, history: History, revision: int, records: Sequence[Record], current: int, messages: list[bytes]
    ) -> int:
        """Add one revision's changes to the batches of those they concern; returns the steps it took."""
        steps = len(records)
        for record in records:
            watchers = self._matcher.find(record.key)
            if not watchers:
                continue
            event = Event(record)
            kind = DELETES if record.tombstone else PUTS
            for watcher in watchers:
                if watcher.next > revision or not watcher.accepts & kind:
                    continue
                batch = self._batches[watcher]
                if batch.last_revision != revision:
                    # Only between revisions may a batch be cut: a revision is never torn.
                    if batch.revisions >= BATCH_REVISIONS or batch.size >= BATCH_BYTES:
                        self._flush(watcher, current, messages)
                        batch = self._batches[watcher]
                    batch.last_revision = revision
                    batch.revisions += 1
                field = event.field(history, watcher.prev_kv)
                batch.fields.append(field)
                batch.size += len(field)
                self._held += len(field)
                steps += 1
        return steps

    def _flush(self, watcher: Watcher, header_revision: int, messages: list[bytes]) -> None:
        batch = self._batches[watcher]
        if not batch.fields:
            return
        messages.extend(self._respond(watcher, self._header(header_revision), batch.fields))
        self._held -= batch.size
        self._batches[watcher] = _Batch()

    def _flush_all(self, header_revision: int, messages: list[bytes]) -> None:
        for watcher in self._batches:
            self._flush(watcher, header_revision, messages)

    def _finish(self, current: int, messages: list[bytes]) -> list[Watcher]:
        """Nothing is left to read: send what was collected and let the first go; the rest follows."""
        self._flush_all(current, messages)
        done = list(islice(self._batches, LEAVING_AT_ONCE))
        for watcher in done:
            self.remove(watcher)
            watcher.next = max(watcher.next, self._cursor)
        return done

    def check(self) -> None:
        """Verify the structure; raises :class:`AssertionError`."""
        self._matcher.check()
        assert self._held == sum(batch.size for batch in self._batches.values())
        for watcher, batch in self._batches.items():
            assert watcher.state is State.CATCHING_UP
            assert watcher in self._matcher.find(watcher.key)
            assert batch.size == sum(map(len, batch.fields))
