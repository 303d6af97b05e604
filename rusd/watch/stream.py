"""One client's watch stream: its watchers, and the responses it takes when it can.

Output is made in :meth:`WatchStream.pull` only, which the owner calls while the client
takes bytes.  Three sources, in this order:

1. answers to requests (created, canceled, progress), always before what follows from them;
2. a slice of history for the watchers that are behind (:mod:`rusd.watch.catchup`);
3. what was published since the last pull, one response per watcher and revision.

The third lives in the hub and is shared by all streams; here are only references to it.
The hub keeps a bounded amount.  Who has not taken it by then *falls behind*: the references
go, the watchers with something unsent read it from history instead.

Semantics: etcd 3.6, ``server/storage/mvcc/watcher.go`` and ``api/v3rpc/watch.go``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import TYPE_CHECKING, Final

from rusd.watch.catchup import LEAVING_AT_ONCE, CatchUp
from rusd.watch.encoding import Message, control_response, message_size
from rusd.watch.matching import is_empty_range
from rusd.watch.publication import ProgressMark, Publication
from rusd.watch.responder import Responder
from rusd.watch.watcher import DELETES, PUTS, Notify, State, Watcher

if TYPE_CHECKING:
    from rusd.watch.hub import WatchHub

NO_WATCH_ID = -1
"""The ``watch_id`` of refusals, and of progress that is about all watchers of a stream."""

COMPACTED_REASON = "etcdserver: mvcc: required revision has been compacted"
EMPTY_RANGE_REASON = "mvcc: watcher range is empty"
DUPLICATE_ID_REASON = "mvcc: duplicate watch ID provided on the WatchStream"

CONGESTED_ANSWERS = 1024
"""Unsent answers above which the owner should read no further request (:attr:`WatchStream.congested`)."""

MAX_PROGRESS_MARKS = 128
"""Progress answers waiting behind events; more are dropped, as etcd's full buffer (128) drops them."""

_LIVE: Final = State.LIVE  # an enum member costs two look-ups
_FILTERS = {0: PUTS, 1: DELETES}  # WatchCreateRequest.FilterType: NOPUT, NODELETE


class WatchStream:
    """Made by :meth:`rusd.watch.hub.WatchHub.open_stream`."""

    __slots__ = (
        "_answers",
        "_catch_up",
        "_fallen_behind",
        "_header",
        "_hub",
        "_marks",
        "_next_id",
        "_offset",
        "_pending",
        "_responder",
        "_wake",
        "watchers",
        "woken",
    )

    def __init__(
        self,
        hub: WatchHub,
        wake: Callable[[], None],
        header_prefix: Callable[[int], bytes],
        max_response_bytes: int,
    ) -> None:
        self._hub = hub
        self._wake = wake
        self._header = header_prefix
        self._responder = Responder(hub, max_response_bytes)
        self.watchers: dict[int, Watcher] = {}
        self._next_id = 0
        self._answers: list[bytes] = []
        self._catch_up: CatchUp | None = None
        # What is published and not sent yet, oldest first; _offset deliveries of the first are out.
        self._pending: list[Publication | ProgressMark] = []
        self._offset = 0
        self._marks = 0  # how many of _pending are marks
        self._fallen_behind = False
        self.woken = False
        """Whether ``wake`` was called and :meth:`pull` has not returned everything since."""

    # -- requests -----------------------------------------------------------

    def create(
        self,
        key: bytes,
        range_end: bytes = b"",
        start_revision: int = 0,
        *,
        progress_notify: bool = False,
        filters: Iterable[int] = (),
        prev_kv: bool = False,
        watch_id: int = 0,
        fragment: bool = False,
    ) -> int:
        """Start a watch with the fields of a ``WatchCreateRequest``; its answer is queued.

        Returns the watch id, or -1 if it was refused.  etcd looks at permissions after a
        negative ``start_revision`` and before everything else that is checked here.
        """
        key = key or b"\x00"
        if start_revision < 0:
            return self.reject(COMPACTED_REASON)
        if is_empty_range(key, range_end):
            return self.reject(EMPTY_RANGE_REASON)
        if watch_id in self.watchers and watch_id != 0:
            return self.reject(DUPLICATE_ID_REASON)
        watcher = Watcher(self, watch_id or self._take_id(), key, range_end, start_revision)
        watcher.next = start_revision or self._hub.current_revision + 1
        watcher.prev_kv = prev_kv
        watcher.fragment = fragment
        watcher.notify = Notify.DUE if progress_notify else Notify.OFF
        for number in filters:
            watcher.accepts &= ~_FILTERS.get(number, 0)  # unknown numbers are ignored
        self.watchers[watcher.id] = watcher
        self._hub.watcher_count += 1
        if watcher.next > self._hub.current_revision:
            self._hub.go_live(watcher)
        else:
            self._catch_up_with(watcher)
        self._answer(control_response(self._header(self._hub.current_revision), watcher.id, created=True))
        return watcher.id

    def reject(self, reason: str) -> int:
        """Queue the answer to a refused create request, with ``reason`` as its text.  Returns -1."""
        header = self._header(self._hub.current_revision)
        self._answer(control_response(header, NO_WATCH_ID, created=True, canceled=True, cancel_reason=reason))
        return NO_WATCH_ID

    def cancel(self, watch_id: int) -> bool:
        """End a watch and queue the answer; False, and no answer, if there is no such watch.

        What was not sent by now is not sent any more.
        """
        watcher = self.watchers.pop(watch_id, None)
        if watcher is None:
            return False
        self._forget(watcher)
        self._answer(control_response(self._header(self._hub.current_revision), watch_id, canceled=True))
        return True

    def request_progress(self) -> None:
        """Answer once, with watch id -1, if all watchers are synced; otherwise not at all.

        The answer says that everything up to its revision has been sent, so it goes out behind
        what is still pending.
        """
        if self.watchers and all(map(self._is_synced, self.watchers.values())):
            self._mark_progress(None)

    def tick_progress(self) -> None:
        """The periodic progress of watchers that asked for it and are idle; the owner keeps the time.

        A client that has not taken its last answers yet misses the tick.
        """
        if self._answers or self._marks:
            return
        for watcher in self.watchers.values():
            if watcher.notify is Notify.DUE and self._is_synced(watcher):
                self._mark_progress(watcher)
            elif watcher.notify is Notify.SKIP_ONE:
                watcher.notify = Notify.DUE

    @property
    def congested(self) -> bool:
        """Whether so many answers are unsent that no further request should be read for now."""
        return len(self._answers) > CONGESTED_ANSWERS

    def close(self) -> None:
        """End all watches without an answer.  The stream can't be used any more; closing twice is fine."""
        for watcher in self.watchers.values():
            self._forget(watcher)
        self.watchers.clear()
        self._answers.clear()
        self._release_pending()
        self._fallen_behind = False
        self._hub.streams.pop(self, None)
        self._wake = _nobody  # it mostly leads back to the owner of this stream: a cycle

    # -- output -------------------------------------------------------------

    @property
    def has_output(self) -> bool:
        """Whether :meth:`pull` has something to do."""
        return bool(self._answers or self._pending or self._catch_up or self._fallen_behind)

    @property
    def reads_history(self) -> bool:
        """Whether :meth:`pull` will read some history, which takes it some milliseconds."""
        return self._fallen_behind or self._catch_up is not None

    def pull(self, budget_bytes: int) -> list[Message]:
        """The next encoded ``WatchResponse`` messages, in order, of about ``budget_bytes`` in all.

        One that tells of very many changes of one revision is longer, and comes in pieces.
        Does a bounded amount of work; while :attr:`has_output` is true, call it again when the
        client can take more (it may return nothing and yet have got on).  Once it is false,
        ``wake`` is called when there is something again.
        """
        messages: list[Message] = []
        if self._answers:
            messages += self._answers
            self._answers.clear()
        if self._fallen_behind:
            self._read_history_instead()
        if self._catch_up:
            messages += self._take_history(budget_bytes)
        if self._pending and not self._fallen_behind:
            self._take_pending(messages, budget_bytes)
        self.woken = self.has_output
        return messages

    def _take_history(self, budget: int) -> list[Message]:
        assert self._catch_up is not None
        hub = self._hub
        before = len(self._catch_up)
        messages, synced = self._catch_up.step(
            hub.history, hub.current_revision, hub.compact_revision, budget
        )
        hub.slow_watcher_count -= before - len(self._catch_up)
        for watcher in synced:
            hub.go_live(watcher)
        if not self._catch_up:
            self._catch_up = None  # most streams never need it again
        return messages

    def _take_pending(self, messages: list[Message], budget: int) -> None:
        spent = sum(map(message_size, messages)) if messages else 0
        done = 0
        for item in self._pending:
            if spent >= budget and messages:
                break
            if isinstance(item, ProgressMark):
                self._marks -= 1
                self._report_progress(item, messages)
            else:
                spent = self._take_publication(item, messages, spent, budget)
                if self._offset:
                    break
                item.taken_by(self)
            done += 1
        del self._pending[:done]

    def _take_publication(self, item: Publication, messages: list[Message], spent: int, budget: int) -> int:
        """Send deliveries of ``item`` from _offset on; _offset is 0 again once all are out."""
        revision = item.revision
        deliveries = item.deliveries[self]
        for offset in range(self._offset, len(deliveries)):
            if spent >= budget and messages:
                self._offset = offset
                return spent
            watcher, events = deliveries[offset]
            # Cancelled meanwhile, or gone to read history, from which it may be back already.
            if watcher.state is not _LIVE or watcher.next > revision:
                continue
            if len(events) == 1:
                message = self._responder.single(watcher, self._header, events[0])
                messages.append(message)
                spent += len(message)
            elif self._responder.is_large(watcher, events):
                watcher.prompt = True
                self._leave_for_history(watcher)
                continue
            else:
                responses = self._responder.published(watcher, self._header(revision), events)
                messages += responses
                spent += sum(map(len, responses))
            watcher.next = revision + 1
        self._offset = 0
        return spent

    def _leave_for_history(self, watcher: Watcher) -> None:
        """Have a live watcher read from history, in slices, what it has not been sent."""
        self._hub.leave_live(watcher)
        self._catch_up_with(watcher)

    def _answer(self, message: bytes) -> None:
        self._answers.append(message)
        self._notify()

    def _notify(self) -> None:
        if not self.woken:
            self.woken = True
            self._wake()

    # -- progress -----------------------------------------------------------

    def _is_synced(self, watcher: Watcher) -> bool:
        """Whether all that ``watcher`` has not been sent is on its way to it."""
        if self._fallen_behind and watcher.has_unsent:
            return False
        return watcher.state is State.LIVE and watcher.start <= self._hub.current_revision

    def _mark_progress(self, watcher: Watcher | None) -> None:
        mark = ProgressMark(self._hub.current_revision, watcher)
        if not self._pending:
            self._answers.append(self._progress(mark))
        elif self._marks < MAX_PROGRESS_MARKS:
            self._pending.append(mark)
            self._marks += 1
        self._notify()

    def _report_progress(self, mark: ProgressMark, messages: list[Message]) -> None:
        """Send a mark that has come to the front, if what it says still holds.

        A watcher that was cancelled hears nothing, and one that joined with history to read
        has not been sent everything up to that revision.
        """
        concerned = self.watchers.values() if mark.watcher is None else (mark.watcher,)
        if all(watcher.state is State.LIVE for watcher in concerned):
            messages.append(self._progress(mark))

    def _progress(self, mark: ProgressMark) -> bytes:
        watch_id = NO_WATCH_ID if mark.watcher is None else mark.watcher.id
        return control_response(self._header(mark.revision), watch_id)

    # -- what the hub calls -------------------------------------------------

    def published(self, publication: Publication) -> None:
        """There is something for this stream in ``publication``."""
        self._pending.append(publication)
        if not self.woken:
            self.woken = True
            self._wake()

    def fall_behind(self) -> None:
        """The hub gives up publications that this stream has not taken, or never made them."""
        self._release_pending()
        self._fallen_behind = True
        if not self.woken:
            self._notify()

    def history_replaced(self, last_revision: int) -> None:
        """The store was replaced; ``last_revision`` was the newest one published from the old one."""
        self._release_pending()
        for watcher in self.watchers.values():
            if watcher.state is State.LIVE:
                if not watcher.has_unsent:
                    watcher.next = max(watcher.next, last_revision + 1)
                self._hub.leave_live(watcher)
                self._catch_up_with(watcher)
        if self.has_output:
            self._notify()

    def check(self) -> None:
        """Verify the invariants; raises :class:`AssertionError`."""
        waiting = [item for item in self._pending if isinstance(item, Publication)]
        revisions = [item.revision for item in waiting]
        assert self._marks == len(self._pending) - len(waiting) <= MAX_PROGRESS_MARKS, "marks"
        assert revisions == sorted(set(revisions)), "pending out of order"
        assert self._offset == 0 or isinstance(self._pending[0], Publication)
        assert all(self in item.deliveries for item in waiting), "pending, but given up"
        assert self.woken or not self.has_output, "output nobody was told of"
        if self._catch_up is not None:
            self._catch_up.check()

    # -- bookkeeping --------------------------------------------------------

    def _take_id(self) -> int:
        while self._next_id in self.watchers:
            self._next_id += 1
        self._next_id += 1
        return self._next_id - 1

    def _release_pending(self) -> None:
        for item in self._pending:
            if isinstance(item, Publication):
                item.taken_by(self)
        self._pending.clear()
        self._offset = self._marks = 0

    def _read_history_instead(self) -> None:
        # Done here, not when the hub gives up: thousands of streams may fall behind in one turn.
        # Whoever has something pending by now has something unsent, and reads all of it there.
        self._release_pending()
        behind = (
            watcher
            for watcher in self.watchers.values()
            if watcher.state is State.LIVE and watcher.has_unsent
        )
        some = list(islice(behind, LEAVING_AT_ONCE + 1))
        for watcher in some[:LEAVING_AT_ONCE]:
            self._leave_for_history(watcher)
        self._fallen_behind = len(some) > LEAVING_AT_ONCE

    def _catch_up_with(self, watcher: Watcher) -> None:
        if self._catch_up is None:
            self._catch_up = CatchUp(self._responder, self._header)
        self._catch_up.add(watcher)
        self._hub.slow_watcher_count += 1

    def _forget(self, watcher: Watcher) -> None:
        """Take ``watcher`` out of everything but :attr:`watchers`."""
        if watcher.state is State.LIVE:
            self._hub.leave_live(watcher)
        elif watcher.state is State.CATCHING_UP:
            assert self._catch_up is not None
            self._catch_up.remove(watcher)
            self._hub.slow_watcher_count -= 1
            if not self._catch_up:
                self._catch_up = None
        watcher.state = State.CANCELLED
        self._hub.watcher_count -= 1


def _nobody() -> None:
    """Whom a closed stream wakes."""
