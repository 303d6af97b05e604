"""Events of one watcher as the responses of its stream, in one message, in fragments, or in pieces."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from rusd.watch.encoding import Event, Message, event_responses, huge_responses
from rusd.watch.watcher import Notify, Watcher

if TYPE_CHECKING:
    from rusd.watch.hub import WatchHub

_DUE: Final = Notify.DUE

LARGE_BYTES = 512 << 10
"""Former values above this are not looked up and joined in one go."""


class Responder:
    """Makes the responses of one stream; each ``header`` is an encoded header field.

    Responses to watches with ``fragment`` are split from ``max_response_bytes`` on.
    """

    __slots__ = ("_hub", "max_response_bytes")

    def __init__(self, hub: WatchHub, max_response_bytes: int) -> None:
        self._hub = hub
        self.max_response_bytes = max_response_bytes

    def is_large(self, watcher: Watcher, events: Sequence[Event]) -> bool:
        """Whether it would take long to encode ``events`` with the former values, if those are asked for."""
        if not watcher.prev_kv:
            return False
        previous = (self._hub.history.previous(event.record) for event in events)
        return sum(len(record.event_field) for record in previous if record is not None) > LARGE_BYTES

    def single(self, watcher: Watcher, header: Callable[[int], bytes], event: Event) -> bytes:
        """The response with the only event of a revision, as nearly all are; never in fragments."""
        hub = self._hub
        hub.events_sent += 1
        if watcher.notify is _DUE:
            watcher.notify = Notify.SKIP_ONE
        return event.response(hub.history, header, watcher.id_field, watcher.prev_kv)

    def published(self, watcher: Watcher, header: bytes, events: Sequence[Event]) -> Sequence[bytes]:
        """Responses with the events of one revision."""
        history = self._hub.history
        fields = [event.field(history, watcher.prev_kv) for event in events]
        return self.encoded(watcher, header, fields)

    def encoded(self, watcher: Watcher, header: bytes, fields: Sequence[bytes]) -> list[bytes]:
        """Responses with events that are encoded already."""
        self._count(watcher, len(fields))
        limit = self.max_response_bytes if watcher.fragment else 0
        return event_responses(header + watcher.id_field, fields, limit)

    def joined(self, watcher: Watcher, header: bytes, pieces: Sequence[bytes], count: int) -> list[Message]:
        """Responses with ``count`` events that are joined into pieces already."""
        self._count(watcher, count)
        return huge_responses(header + watcher.id_field, pieces, fragment=watcher.fragment)

    def _count(self, watcher: Watcher, events: int) -> None:
        self._hub.events_sent += events
        if watcher.notify is _DUE:
            watcher.notify = Notify.SKIP_ONE
