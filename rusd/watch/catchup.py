"""Catching up: reading history for watchers that are behind, in slices.

All watchers of one stream that are behind share one walk through the history, so a
client that reconnects with a thousand watches costs one scan, not a thousand.  A
slice is bounded in the changes it reads and the bytes it makes; between slices
the server does other things, so each slice first asks whether a compaction has
overtaken somebody.  What a slice finds is collected per watcher into responses of
up to 1000 revisions, as etcd's are, or half a megabyte.

A revision is never torn: only whole ones are sent.  One can hold a million changes,
so a slice may end within it.  Its events are then joined as they are found, and sent
once the last one is read.

Who is here only because one revision was too large to be sent at once still gets each
revision by itself, with that revision in the header, as watchers that keep up do.

A watcher leaves in a slice that finds nothing more to read: then, and in that turn,
it goes live.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

from rusd.watch.encoding import Event, Message, control_response, message_size
from rusd.watch.history import History, Record
from rusd.watch.matching import Matcher
from rusd.watch.responder import Responder
from rusd.watch.watcher import DELETES, PUTS, State, Watcher

BATCH_REVISIONS = 1000
"""Distinct revisions in one response (etcd's watchBatchMaxRevs)."""

BATCH_BYTES = 512 << 10
"""A response this long is sent before the next revision is added to it."""

HELD_BYTES = 1 << 20
"""With this much in unfinished responses of one stream, all of them are sent."""

SLICE_STEPS = 1000
"""Changes read, and events made of them, in one slice: one to three milliseconds."""

STEP_BYTES = 4096
"""An event is one step more for each so many bytes."""

LEAVING_AT_ONCE = 250
"""Watchers that go live in one slice: a few milliseconds in the matchers."""

PIECE_BYTES = 256 << 10
"""The events of one revision are joined into pieces of this size."""

_HEAD_BYTES = 64
"""More than header and watch id have."""


class _Batch:
    """The response that is being collected for one watcher: whole revisions, and the one being read."""

    __slots__ = (
        "fields",
        "last_revision",
        "open_bytes",
        "open_events",
        "open_fields",
        "pieces",
        "revisions",
        "size",
    )

    def __init__(self) -> None:
        self.fields: list[bytes] = []
        self.size = 0
        self.revisions = 0
        self.last_revision = 0
        self.open_fields: list[bytes] = []
        self.open_bytes = 0  # in open_fields
        self.open_events = 0  # in open_fields and pieces
        self.pieces: list[bytes] = []  # what came before open_fields in the same revision

    @property
    def held(self) -> int:
        """All of its bytes."""
        return self.size + self.open_bytes + sum(map(len, self.pieces))


class CatchUp:
    """The watchers of one stream that are behind, and their walk through history.

    ``responder`` makes the messages for a watcher's events; ``header`` the header field of a revision.
    """

    __slots__ = (
        "_batches",
        "_cursor",
        "_header",
        "_held",
        "_matcher",
        "_newcomers",
        "_open",
        "_responder",
        "_sub",
    )

    def __init__(self, responder: Responder, header: Callable[[int], bytes]) -> None:
        self._responder = responder
        self._header = header
        self._batches: dict[Watcher, _Batch] = {}
        self._matcher: Matcher[Watcher] = Matcher()
        # Revisions below the cursor are read, for every watcher whose `next` is not beyond it; of that at
        # the cursor, the changes below `_sub`.
        self._cursor = 0
        self._sub = 0
        self._open: dict[Watcher, None] = {}  # who has events of the revision at the cursor
        self._newcomers: dict[Watcher, None] = {}  # who came while a revision was half read
        self._held = 0  # bytes in all batches

    def __len__(self) -> int:
        return len(self._batches) + len(self._newcomers)

    def add(self, watcher: Watcher) -> None:
        """Take ``watcher`` in; it needs everything from ``watcher.next`` on."""
        watcher.state = State.CATCHING_UP
        if self._sub and self._batches:
            self._newcomers[watcher] = None  # the walk can't go back now
            return
        if not self._batches:
            self._cursor, self._sub = watcher.next, 0
        elif watcher.next < self._cursor:
            # The walk goes back for the newcomer; the others must not hear anything twice.
            for other in self._batches:
                other.next = max(other.next, self._cursor)
            self._cursor = watcher.next
        self._batches[watcher] = _Batch()
        self._matcher.add(watcher.key, watcher.range_end, watcher)

    def remove(self, watcher: Watcher) -> None:
        """Forget ``watcher`` and what was collected for it."""
        if watcher in self._newcomers:
            del self._newcomers[watcher]
            return
        self._matcher.remove(watcher.key, watcher.range_end, watcher)
        self._held -= self._batches.pop(watcher).held
        self._open.pop(watcher, None)
        if not self._batches:
            self._end_revision(self._cursor, 0, [])  # nobody has read it; the newcomers may

    def step(
        self, history: History, current: int, compacted: int, budget: int
    ) -> tuple[list[Message], list[Watcher]]:
        """Do one slice.  Returns the messages to send, and who needs no history any more.

        The latter are let go, and the caller makes them live at once.  ``current`` and
        ``compacted`` are the store's revisions; about ``budget`` bytes of messages are made.
        There may be no messages and still more to do.
        """
        messages: list[Message] = []
        self._drop_overtaken(current, compacted, messages)
        if self._batches and self._cursor <= current:
            self._read(history, current, budget, messages)
        if self._cursor <= current:
            return messages, []
        return messages, self._finish(current, messages)

    def _drop_overtaken(self, current: int, compacted: int, messages: list[Message]) -> None:
        if self._cursor >= compacted:
            return
        for watcher in list(self._batches):
            if max(watcher.next, self._cursor) >= compacted:
                continue
            self._flush(watcher, current, messages)
            self._drop(watcher, compacted, messages)
        if self._sub:  # whoever had begun to read that revision is gone
            self._end_revision(compacted, current, messages)
        self._cursor = max(self._cursor, compacted)  # everybody left starts at or beyond it
        for watcher in [watcher for watcher in self._batches if watcher.next < compacted]:
            self._drop(watcher, compacted, messages)  # a newcomer of before

    def _drop(self, watcher: Watcher, compacted: int, messages: list[Message]) -> None:
        self.remove(watcher)
        watcher.state = State.OVERTAKEN
        # header.revision is 0 here, and there is no reason text: etcd's clients look at compact_revision.
        messages.append(
            control_response(self._header(0), watcher.id, canceled=True, compact_revision=compacted)
        )

    def _read(self, history: History, current: int, budget: int, messages: list[Message]) -> None:
        steps = made = 0
        while steps < SLICE_STEPS:
            wanted = SLICE_STEPS - steps
            records = history.changes_since(self._cursor, self._sub, current, wanted)
            for record in records:
                if record.mod_revision != self._cursor:
                    before = len(messages)
                    self._end_revision(record.mod_revision, current, messages)
                    made += sum(map(message_size, messages[before:]))
                    if made >= budget or record.mod_revision != self._cursor:  # a newcomer needs older ones
                        return
                steps += self._collect(history, record, current, messages)
                self._sub = record.sub + 1
                if steps >= SLICE_STEPS:
                    return
            if len(records) < wanted:
                self._end_revision(current + 1, current, messages)
                return

    def _collect(self, history: History, record: Record, current: int, messages: list[Message]) -> int:
        """Add one change to the batches of those it concerns; returns the steps it took."""
        steps = 1
        watchers = self._matcher.find(record.key)
        if not watchers:
            return steps
        revision = record.mod_revision
        event = Event(record)
        kind = DELETES if record.tombstone else PUTS
        for watcher in watchers:
            if watcher.next > revision or not watcher.accepts & kind:
                continue
            batch = self._batches[watcher]
            if batch.last_revision != revision:
                if batch.revisions >= BATCH_REVISIONS or batch.size >= BATCH_BYTES:
                    self._flush(watcher, current, messages)
                    batch = self._batches[watcher]
                batch.last_revision = revision
                batch.revisions += 1
                self._open[watcher] = None
            field = event.field(history, watcher.prev_kv)
            size = len(field)
            if batch.open_bytes + size > self._piece_bytes(watcher):
                _join(batch)
            batch.open_fields.append(field)
            batch.open_bytes += size
            batch.open_events += 1
            self._held += size
            steps += 1 + size // STEP_BYTES
        return steps

    def _piece_bytes(self, watcher: Watcher) -> int:
        """How large the pieces of one revision get; each of them is a fragment, if those are wanted."""
        if not watcher.fragment:
            return PIECE_BYTES
        return max(self._responder.max_response_bytes, PIECE_BYTES) - _HEAD_BYTES

    def _end_revision(self, next_revision: int, current: int, messages: list[Message]) -> None:
        """All of the revision at the cursor is read: the walk goes on with ``next_revision``."""
        for watcher in self._open:
            batch = self._batches[watcher]
            if batch.pieces:
                self._flush_huge(watcher, self._cursor if watcher.prompt else current, messages)
                continue
            batch.fields += batch.open_fields
            batch.size += batch.open_bytes
            batch.open_fields = []
            batch.open_bytes = batch.open_events = 0
            if watcher.prompt:
                self._flush(watcher, self._cursor, messages)
        self._open.clear()
        self._cursor, self._sub = next_revision, 0
        if self._held >= HELD_BYTES:
            self._flush_all(current, messages)
        newcomers, self._newcomers = self._newcomers, {}
        for watcher in newcomers:
            self.add(watcher)

    def _flush_huge(self, watcher: Watcher, header_revision: int, messages: list[Message]) -> None:
        """Send the events of one revision that were joined into pieces, after what came before."""
        batch = self._batches[watcher]
        _join(batch)
        header = self._header(header_revision)
        if batch.fields:
            messages.extend(self._responder.encoded(watcher, header, batch.fields))
        messages.extend(self._responder.joined(watcher, header, batch.pieces, batch.open_events))
        self._held -= batch.held
        self._batches[watcher] = _Batch()

    def _flush(self, watcher: Watcher, header_revision: int, messages: list[Message]) -> None:
        """Send the whole revisions collected for ``watcher``."""
        batch = self._batches[watcher]
        if not batch.fields:
            return
        messages.extend(self._responder.encoded(watcher, self._header(header_revision), batch.fields))
        self._held -= batch.size
        batch.fields = []
        batch.size = batch.revisions = 0

    def _flush_all(self, header_revision: int, messages: list[Message]) -> None:
        for watcher in self._batches:
            self._flush(watcher, header_revision, messages)

    def _finish(self, current: int, messages: list[Message]) -> list[Watcher]:
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
        assert self._held == sum(batch.held for batch in self._batches.values())
        assert self._sub or not (self._open or self._newcomers), "between two revisions nothing is open"
        assert self._batches or not self._newcomers
        for watcher, batch in self._batches.items():
            assert watcher.state is State.CATCHING_UP
            assert watcher in self._matcher.find(watcher.key)
            assert batch.size == sum(map(len, batch.fields))
            assert batch.open_bytes == sum(map(len, batch.open_fields))
            assert watcher in self._open or not (batch.open_fields or batch.pieces)
        for watcher in self._newcomers:
            assert watcher.state is State.CATCHING_UP


def _join(batch: _Batch) -> None:
    if batch.open_fields:
        batch.pieces.append(b"".join(batch.open_fields))
        batch.open_fields = []
        batch.open_bytes = 0
