"""``WatchResponse`` messages by hand: the same bytes that protobuf would write.

An event is encoded once, as the complete field of the response it stands in, and
shared by everyone who is told of it.  What differs between watchers (header,
watch id) is a few bytes in front.  ``tests/watch/test_encoding.py`` holds the plain
twin, built with protobuf.  Field numbers: etcd's ``rpc.proto`` and ``kv.proto``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rusd.watch.history import History, Record
from rusd.wire import LENGTH_DELIMITED, VARINT, length_delimited, tag, varint_field

# etcdserverpb.WatchResponse
_WATCH_ID = tag(2, VARINT)
_CREATED = tag(3, VARINT) + b"\x01"
_CANCELED = tag(4, VARINT) + b"\x01"
_COMPACT_REVISION = tag(5, VARINT)
_CANCEL_REASON = tag(6, LENGTH_DELIMITED)
_FRAGMENT = tag(7, VARINT) + b"\x01"
_EVENTS = tag(11, LENGTH_DELIMITED)

# mvccpb.Event
_TYPE_DELETE = tag(1, VARINT) + b"\x01"
_PREV_KV = tag(3, LENGTH_DELIMITED)  # the field ``kv`` is 2, which is how records keep themselves


Message = bytes | list[bytes]
"""An encoded ``WatchResponse``, a very large one in pieces."""


def message_size(message: Message) -> int:
    """The bytes of a message."""
    return len(message) if isinstance(message, bytes) else sum(map(len, message))


class Event:
    """One change, and its encoded forms once somebody has asked for them."""

    __slots__ = (
        "_plain",
        "_response",
        "_response_for",
        "_response_with_previous",
        "_with_previous",
        "record",
    )

    def __init__(self, record: Record) -> None:
        self.record = record
        self._plain: bytes | None = None
        self._with_previous: bytes | None = None
        self._response = b""
        self._response_for: bytes | None = None  # the watch id field in it
        self._response_with_previous = False

    def response(
        self, history: History, header: Callable[[int], bytes], id_field: bytes, prev_kv: bool
    ) -> bytes:
        """The response that holds nothing but this event.

        The last one made is kept: most streams have one watch, so its id is the same for all of them,
        and a thousand watchers of one key are told in the same bytes.
        """
        if id_field != self._response_for or prev_kv is not self._response_with_previous:
            head = header(self.record.mod_revision) + id_field
            self._response = head + self.field(history, prev_kv)
            self._response_for = id_field
            self._response_with_previous = prev_kv
        return self._response

    def field(self, history: History, prev_kv: bool) -> bytes:
        """The ``events`` field of a response: tag, length and event.

        With ``prev_kv`` the key as it was one revision before is in it, if there was one and it
        is not compacted.  It is looked up on first use, as etcd does when it sends.
        """
        if prev_kv:
            if self._with_previous is None:
                self._with_previous = self._encode_with_previous(history)
            return self._with_previous
        if self._plain is None:
            self._plain = length_delimited(_EVENTS, _event_body(self.record))
        return self._plain

    def _encode_with_previous(self, history: History) -> bytes:
        record = self.record
        creates = not record.tombstone and record.create_revision == record.mod_revision
        previous = None if creates else history.previous(record)
        if previous is None:
            return self.field(history, prev_kv=False)
        previous_field = _PREV_KV + previous.event_field[1:]  # the same field under another number
        return length_delimited(_EVENTS, _event_body(record) + previous_field)


def _event_body(record: Record) -> bytes:
    return _TYPE_DELETE + record.event_field if record.tombstone else record.event_field


def watch_id_field(watch_id: int) -> bytes:
    """The ``watch_id`` field; nothing for 0."""
    return varint_field(_WATCH_ID, watch_id)


def control_response(
    header: bytes,
    watch_id: int,
    *,
    created: bool = False,
    canceled: bool = False,
    compact_revision: int = 0,
    cancel_reason: str = "",
) -> bytes:
    """A response without events; with no further argument it is a progress notification."""
    parts = [header, watch_id_field(watch_id)]
    if created:
        parts.append(_CREATED)
    if canceled:
        parts.append(_CANCELED)
    parts.append(varint_field(_COMPACT_REVISION, compact_revision))
    if cancel_reason:
        parts.append(length_delimited(_CANCEL_REASON, cancel_reason.encode()))
    return b"".join(parts)


def event_responses(head: bytes, fields: Sequence[bytes], fragment_bytes: int) -> list[bytes]:
    """The response with ``fields`` (:meth:`Event.field`) after ``head`` (header and watch id fields).

    One message, unless ``fragment_bytes`` is positive and the message would be that long or
    longer: then several, each with at least one event, all but the last marked as fragments.
    """
    whole = b"".join((head, *fields))
    if fragment_bytes <= 0 or len(whole) < fragment_bytes or len(fields) < 2:
        return [whole]
    messages: list[bytes] = []
    head += _FRAGMENT
    start, size = 0, len(head) + len(fields[0])
    for index in range(1, len(fields)):
        size += len(fields[index])
        if size >= fragment_bytes:
            messages.append(b"".join((head, *fields[start:index])))
            start, size = index, len(head) + len(fields[index])
    head = head[: -len(_FRAGMENT)]
    messages.append(b"".join((head, *fields[start:])))
    return messages


def huge_responses(head: bytes, pieces: Sequence[bytes], *, fragment: bool) -> list[Message]:
    """As :func:`event_responses`, of events that were joined into ``pieces`` already.

    To be sent in fragments, each piece is one.
    """
    if not fragment:
        return [[head, *pieces]]
    messages: list[Message] = [[head, _FRAGMENT, piece] for piece in pieces[:-1]]
    messages.append([head, pieces[-1]])
    return messages
