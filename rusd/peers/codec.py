"""What members say to each other, as bytes.

Sans-IO.  One gRPC message of the message stream is either a run of Raft messages or one
forwarded proposal; the head of a snapshot is one message.  Who sends and to whom stands in the
stream's metadata and not here, so nobody can speak in another member's name.  Little-endian::

    messages:  MESSAGES 1 │ message …
    forward:   FORWARD 1 │ type 1 │ data
    head:      HEAD 1 │ message │ the snapshot's header

    message:   type 1 │ flags 1 │ term 8 │ index 8 │ log term 8 │ commit 8 │ reject hint 8
               │ context length 2 │ entries 4 │ context │ snapshot if HAS_SNAPSHOT │ entry …
    snapshot:  index 8 │ term 8 │ length 4 │ configuration, as in its log entries
    entry:     type 1 │ length 4 │ term 8 │ data        as in the write-ahead log

Packed by hand: an entry of 120 bytes costs 0.1 µs to write and 0.4 µs to read, with protobuf 1.5 and 1.2 µs.
A leader sends the same entries to each of its followers: :class:`Encoder` packs them once.

Whatever is read is judged before anybody acts on it: what Raft would take for a broken invariant,
and stop the process for, is refused here as what it is, a broken message.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from struct import Struct
from struct import error as StructError  # noqa: N812 - an exception's name
from typing import Final

from rusd.raft import (
    Entry,
    EntryType,
    Message,
    MessageType,
    Snapshot,
    decode_configuration,
    encode_configuration,
)
from rusd.replica.forwarding import Forward

_MESSAGES: Final = 1
_FORWARD: Final = 2
_HEAD: Final = 3

_REJECT: Final = 1
_HAS_SNAPSHOT: Final = 2
_KNOWN_FLAGS: Final = _REJECT | _HAS_SNAPSHOT

_MESSAGE = Struct("<BBQQQQQHI")
_SNAPSHOT = Struct("<QQI")
_ENTRY = Struct("<BIQ")

_MESSAGES_MARK: Final = bytes((_MESSAGES,))
_MOST_CONTEXT: Final = 2**16 - 1
_NO_INDEX: Final = 2**64

_ENTRY_TYPES: Final = {int(kind): kind for kind in EntryType}
_MESSAGE_TYPES: Final = {int(kind): kind for kind in MessageType}
_NORMAL: Final = EntryType.NORMAL


class MalformedError(ValueError):
    """Bytes that no member of this version sends."""


class Encoder:
    """Packs messages; remembers the last entries, which the next message may be about to repeat."""

    __slots__ = ("_entries", "_packed")

    def __init__(self) -> None:
        self._entries: Sequence[Entry] = ()
        self._packed = b""

    def messages(self, messages: Iterable[Message]) -> bytes:
        """A run of messages from one member to another, in order."""
        parts = [_MESSAGES_MARK]
        for message in messages:
            self._add(message, parts)
        return b"".join(parts)

    def head(self, message: Message, header: bytes) -> bytes:
        """What a snapshot begins with: its ``INSTALL_SNAPSHOT`` message and its owner's ``header``."""
        parts = [bytes((_HEAD,))]
        self._add(message, parts)
        parts.append(header)
        return b"".join(parts)

    def _add(self, message: Message, parts: list[bytes]) -> None:
        entries, context, snapshot = message.entries, message.context, message.snapshot
        if len(context) > _MOST_CONTEXT:
            raise ValueError(f"a context of {len(context)} bytes")
        flags = _REJECT if message.reject else 0
        if snapshot is not None:
            flags |= _HAS_SNAPSHOT
        parts.append(
            _MESSAGE.pack(
                message.type,
                flags,
                message.term,
                message.index,
                message.log_term,
                message.commit,
                message.reject_hint,
                len(context),
                len(entries),
            )
        )
        if context:
            parts.append(context)
        if snapshot is not None:
            parts += _pack_snapshot(snapshot)
        if entries:
            parts.append(self._pack(entries))

    def _pack(self, entries: Sequence[Entry]) -> bytes:
        """Entries that follow each other in one log.

        If first and last are the very objects packed before, so are all between: a log only ever
        changes by losing its end.
        """
        known = self._entries
        if len(known) == len(entries) and known[0] is entries[0] and known[-1] is entries[-1]:
            return self._packed
        parts: list[bytes] = []
        append, pack = parts.append, _ENTRY.pack
        for entry in entries:
            data = entry.data
            append(pack(entry.type, len(data), entry.term))
            append(data)
        self._entries, self._packed = entries, b"".join(parts)
        return self._packed


def encode_forward(forward: Forward) -> bytes:
    """A forwarded proposal."""
    return bytes((_FORWARD, forward.type)) + forward.data


def decode(payload: bytes, from_: int, to: int) -> list[Message] | Forward:
    """The messages, or the forward, in one message of ``from_``'s stream to ``to``.

    Raises :class:`MalformedError`.
    """
    kind = payload[0] if payload else 0
    try:
        if kind == _MESSAGES:
            return _decode_messages(payload, from_, to)
        if kind == _FORWARD:
            return Forward(from_, to, _ENTRY_TYPES[payload[1]], payload[2:])
    except (StructError, IndexError, KeyError) as error:
        raise MalformedError("cut short, or of an unknown type") from error
    raise MalformedError(f"a message of the unknown kind {kind}")


def decode_head(payload: bytes, from_: int, to: int) -> tuple[Message, bytes]:
    """The message and the owner's header a snapshot begins with.  Raises :class:`MalformedError`."""
    if not payload or payload[0] != _HEAD:
        raise MalformedError("a snapshot does not begin with its head")
    try:
        message, at = _decode_message(payload, 1, from_, to)
    except (StructError, KeyError) as error:
        raise MalformedError("cut short, or of an unknown type") from error
    if message.type is not MessageType.INSTALL_SNAPSHOT or at > len(payload):
        raise MalformedError("a snapshot without its message")
    return message, payload[at:]


def _decode_messages(payload: bytes, from_: int, to: int) -> list[Message]:
    messages: list[Message] = []
    at, end = 1, len(payload)
    while at < end:
        message, at = _decode_message(payload, at, from_, to)
        if message.type is MessageType.INSTALL_SNAPSHOT:
            raise MalformedError("a snapshot's message without its snapshot")
        messages.append(message)
    if at != end:
        raise MalformedError("a message is cut short")
    return messages


def _decode_message(payload: bytes, at: int, from_: int, to: int) -> tuple[Message, int]:
    """The message at ``at``, and where the next one begins: beyond the end if this one is cut short."""
    kind, flags, term, index, log_term, commit, reject_hint, context_length, count = _MESSAGE.unpack_from(
        payload, at
    )
    at += _MESSAGE.size
    if flags & ~_KNOWN_FLAGS:
        raise MalformedError(f"unknown flags {flags:#x}")
    context = b""
    if context_length:
        context = payload[at : at + context_length]
        at += context_length
    snapshot = None
    if flags & _HAS_SNAPSHOT:
        snapshot, at = _decode_snapshot(payload, at)
    entries: Sequence[Entry] = ()
    if count:
        if kind != MessageType.APPEND_ENTRIES or index + count >= _NO_INDEX:
            raise MalformedError("entries where none can be")
        entries, at = _decode_entries(payload, at, index, count, log_term)
        if entries[-1].term > term:
            raise MalformedError("an entry of a term to come")
    message = Message(
        type=_MESSAGE_TYPES[kind],
        from_=from_,
        to=to,
        term=term,
        index=index,
        log_term=log_term,
        entries=entries,
        commit=commit,
        reject=flags & _REJECT != 0,
        reject_hint=reject_hint,
        context=context,
        snapshot=snapshot,
    )
    return message, at


def _decode_entries(
    payload: bytes, at: int, index: int, count: int, last_term: int
) -> tuple[list[Entry], int]:
    """``count`` entries after ``index``, whose term is ``last_term``."""
    entries: list[Entry] = []
    unpack, size, types = _ENTRY.unpack_from, _ENTRY.size, _ENTRY_TYPES
    for position in range(index + 1, index + count + 1):
        kind, length, term = unpack(payload, at)
        at += size
        data = payload[at : at + length]
        at += length
        if term < last_term:
            raise MalformedError("terms that fall along the log")
        last_term = term
        if kind:
            _check_configuration(kind, data)
        entries.append(Entry(term, position, types[kind], data))
    return entries, at


def _check_configuration(kind: int, data: bytes) -> None:
    if kind == EntryType.CONFIGURATION:
        try:
            decode_configuration(data)
        except ValueError as error:
            raise MalformedError(str(error)) from error


def _pack_snapshot(snapshot: Snapshot) -> tuple[bytes, bytes]:
    configuration = encode_configuration(snapshot.configuration)
    return _SNAPSHOT.pack(snapshot.index, snapshot.term, len(configuration)), configuration


def _decode_snapshot(payload: bytes, at: int) -> tuple[Snapshot, int]:
    index, term, length = _SNAPSHOT.unpack_from(payload, at)
    at += _SNAPSHOT.size
    try:
        configuration, rest = decode_configuration(payload[at : at + length])
    except ValueError as error:
        raise MalformedError(str(error)) from error
    if rest:
        raise MalformedError("a snapshot's configuration is followed by something")
    return Snapshot(index, term, configuration), at + length
