"""What watchers should see, and what they saw.

Two servers send the same events in differently cut responses, and each at its own time.  So a run keeps, per
watcher and server, a :class:`Log` of everything that came, and compares the logs as wholes.  To know when
nothing more can come, one more watcher on each server, the *oracle*, sees every event from the start; from
its events follows what any other watcher has to get.  That also checks each server against itself.
"""

from __future__ import annotations

import attrs

from etcdpb import kv_pb2, rpc_pb2
from tests.differential.steps import MAX_MESSAGE_BYTES, is_delete, matches
from tests.support.client import Client, WatchStream

ALL_WATCHERS = -1  # the watch id of answers to manual progress requests, and of refused watchers
PUT, DELETE = kv_pb2.Event.PUT, kv_pb2.Event.DELETE


@attrs.define
class Log:
    """Everything one server sent for one watcher."""

    created: rpc_pb2.WatchResponse
    events: list[kv_pb2.Event] = attrs.Factory(list)
    ending: rpc_pb2.WatchResponse | None = None
    faults: list[str] = attrs.Factory(list)
    _fragmented: bool = False

    @property
    def last_revision(self) -> int:
        """The revision of the newest event, 0 before the first."""
        return self.events[-1].kv.mod_revision if self.events else 0

    def is_at(self, revision: int) -> bool:
        """Whether an event of that revision has come; of 1, the revision of an empty store, there is none."""
        return self.last_revision >= revision or (revision == 1 and not self.events)

    def has_ended(self) -> bool:
        """Whether the watcher has been told that it is over."""
        return self.ending is not None

    def has_seen(self, key: bytes, start: int) -> bool:
        """Whether an event of ``key`` is among those from number ``start`` on."""
        return any(event.kv.key == key for event in self.events[start:])

    def holds(self, count: int) -> bool:
        """Whether at least so many events have come."""
        return len(self.events) >= count

    def take(self, response: rpc_pb2.WatchResponse, *, live: bool) -> None:
        """Add a response; what is wrong with it by itself goes to ``faults``."""
        first, last = response.events[0].kv.mod_revision, response.events[-1].kv.mod_revision
        revisions = [event.kv.mod_revision for event in response.events]
        if revisions != sorted(revisions):
            self.faults.append(f"revisions go back: {revisions}")
        if first < self.last_revision or (first == self.last_revision and not self._fragmented):
            self.faults.append(f"revision {first} after {self.last_revision}, in another response")
        if response.header.revision < last or (live and (first, last) != (response.header.revision,) * 2):
            self.faults.append(f"header revision {response.header.revision} with events {first} to {last}")
        too_big = response.ByteSize() >= MAX_MESSAGE_BYTES and len(response.events) > 1
        if too_big and (response.fragment or self._fragmented):
            self.faults.append(f"a part of {response.ByteSize()} bytes with {len(response.events)} events")
        self._fragmented = response.fragment
        self.events.extend(response.events)


class RecordedStream(WatchStream):
    """A Watch stream that sorts its responses by watcher as they come."""

    def __init__(self, client: Client) -> None:
        self.logs: list[Log] = []
        self.progress_answers: list[rpc_pb2.WatchResponse] = []
        self.stray: list[rpc_pb2.WatchResponse] = []  # as the answer to cancelling what has ended already
        self._open: dict[int, Log] = {}
        self._live: set[int] = set()
        super().__init__(client)

    def create_logged(self, request: rpc_pb2.WatchCreateRequest) -> Log:
        """Create a watcher; returns when its first answer is there."""
        count = len(self.logs)
        self.send(rpc_pb2.WatchRequest(create_request=request))
        self.wait(lambda: len(self.logs) > count, "a created response")
        log = self.logs[count]
        if not log.created.canceled and not 0 < request.start_revision <= log.created.header.revision:
            self._live.add(log.created.watch_id)
        return log

    def is_open(self, watch_id: int) -> bool:
        """Whether a watcher of that id has been created and not ended."""
        return watch_id in self._open

    def _take(self, response: rpc_pb2.WatchResponse) -> None:
        watch_id = response.watch_id
        if response.created:
            log = Log(response)
            self.logs.append(log)
            if response.canceled:
                log.ending = response
            else:
                self._open[watch_id] = log
        elif watch_id not in self._open:
            (self.progress_answers if watch_id == ALL_WATCHERS else self.stray).append(response)
        elif response.canceled:
            self._open.pop(watch_id).ending = response
            self._live.discard(watch_id)
        elif response.events:
            self._open[watch_id].take(response, live=watch_id in self._live)
        else:
            self.stray.append(response)


@attrs.define
class Watcher:
    """One watcher on both servers: what was asked, both logs, and what must have come by now."""

    stream: int
    request: rpc_pb2.WatchCreateRequest
    reference: Log
    actual: Log
    first_revision: int
    compacted_at_creation: int
    expected: list[kv_pb2.Event] = attrs.Factory(list)
    ended: bool = False
    released: bool = False  # by a cancel request, which frees the id even of one that has ended

    @property
    def watch_id(self) -> int:
        """Its id on its stream, the same on both servers."""
        return self.reference.created.watch_id

    @property
    def overtaken(self) -> bool:
        """Whether it started in the compacted past, so that a cancellation follows."""
        return 0 < self.request.start_revision < self.compacted_at_creation

    @property
    def on_compacted_revision(self) -> bool:
        """Whether it started at exactly the compacted revision, whose tombstones 3.5.1 doesn't keep."""
        return self.request.start_revision == self.compacted_at_creation

    def wants(self, event: kv_pb2.Event) -> bool:
        """Whether an event is one of this watcher's."""
        unwanted = (
            rpc_pb2.WatchCreateRequest.NODELETE if is_delete(event) else rpc_pb2.WatchCreateRequest.NOPUT
        )
        return (
            event.kv.mod_revision >= self.first_revision
            and unwanted not in self.request.filters
            and matches(self.request.key or b"\x00", self.request.range_end, event.kv.key)
        )

    def describe(self) -> str:
        """One line for a failure message."""
        wanted = " ".join(str(self.request).split())
        return f"watcher {self.watch_id} of stream {self.stream} {{{wanted}}}"


def summary(event: kv_pb2.Event) -> tuple[str, bytes, int]:
    """An event without what the oracle can't know."""
    return "DELETE" if is_delete(event) else "PUT", event.kv.key, event.kv.mod_revision
