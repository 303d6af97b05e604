"""What a WAL batch says: the payload inside :mod:`rusd.storage.batch`.

Little-endian, every batch the same::

    flags 1 │ entries 4 │ first index 8 │ term 8 │ vote 8 │ commit 8      always
    sequence 8 │ last index 8 │ identity (length 4, bytes) │ markers (count 1, …)   if OPENS_SEGMENT
    marker                                                                 if HAS_MARKER
    entry …                                                                as counted

    marker:  index 8 │ term 8 │ voters 2 │ learners 2 │ ids 8 each
    entry:   type 1 │ length 4 │ term 8 │ data

The hard state stands in every batch (the commit index rides along for free),
and the first batch of a segment repeats identity and live markers.  So the
segments before any given one can be dropped, and nothing is lost but entries.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from struct import error as StructError  # noqa: N812 - an exception's name
from typing import Final, NamedTuple

import attrs

from rusd.raft.messages import Configuration, Entry, EntryType, HardState

_OPENS_SEGMENT: Final = 1
_HAS_MARKER: Final = 2
_RESETS_LOG: Final = 4
_KNOWN_FLAGS: Final = _OPENS_SEGMENT | _HAS_MARKER | _RESETS_LOG

_PREFIX = Struct("<BIQQQQ")
_OPENING = Struct("<QQI")
_MARKER = Struct("<QQHH")
_ENTRY = Struct("<BIQ")
PREFIX_BYTES = _PREFIX.size
ENTRY_OVERHEAD_BYTES = _ENTRY.size

_ENTRY_TYPES = {int(kind): kind for kind in EntryType}
_pack_prefix = _PREFIX.pack
_pack_entry = _ENTRY.pack


@attrs.frozen
class SnapshotMarker:
    """The log's note that a snapshot up to ``index``/``term`` is durable.

    ``configuration`` is the one in effect at ``index``.  ``index`` is at least 1.
    """

    index: int
    term: int
    configuration: Configuration = attrs.field(factory=Configuration)


@attrs.frozen
class Opening:
    """What the first batch of a segment says about the segments before it."""

    sequence: int  # of the segment, counted from 1
    last_index: int  # of the log before this batch
    identity: bytes  # the owner's, opaque
    markers: tuple[SnapshotMarker, ...]  # the newest ones, oldest first


@attrs.frozen
class Contents:
    """A decoded batch, but for its entries, which begin at ``entries_at`` of the payload."""

    hard_state: HardState
    opening: Opening | None
    marker: SnapshotMarker | None
    resets_log: bool  # the marker stands for a received snapshot: no entry before it counts any more
    entries_at: int


class Prefix(NamedTuple):
    """The fields that every batch begins with."""

    flags: int  # 0: nothing but the hard state and entries
    entry_count: int
    first_index: int  # of the entries; 0 without entries
    term: int
    vote: int
    commit: int


class MalformedError(ValueError):
    """A payload with a good checksum that makes no sense: a bug or another version, not damage."""


def encode_payload(
    hard_state: HardState,
    entries: Sequence[Entry],
    *,
    opening: Opening | None = None,
    marker: SnapshotMarker | None = None,
    resets_log: bool = False,
) -> bytes:
    """The payload of one batch; ``entries`` must be consecutive.  About 0.5 µs per entry."""
    flags = 0
    parts = [b""]  # the prefix comes here once the flags are known
    if opening is not None:
        flags = _OPENS_SEGMENT
        parts += (
            _OPENING.pack(opening.sequence, opening.last_index, len(opening.identity)),
            opening.identity,
            bytes((len(opening.markers),)),
            *map(_encode_marker, opening.markers),
        )
    if marker is not None:
        flags |= _HAS_MARKER | (_RESETS_LOG if resets_log else 0)
        parts.append(_encode_marker(marker))
    append = parts.append
    for entry in entries:
        data = entry.data
        append(_pack_entry(entry.type, len(data), entry.term))
        append(data)
    parts[0] = _pack_prefix(
        flags,
        len(entries),
        entries[0].index if entries else 0,
        hard_state.term,
        hard_state.vote,
        hard_state.commit,
    )
    return b"".join(parts)


def read_prefix(data: bytes, at: int) -> Prefix:
    """What stands at the front of every payload, here at ``at`` of ``data``; no copy is made."""
    return Prefix(*_PREFIX.unpack_from(data, at))


def decode_contents(payload: bytes) -> Contents:
    """All but the entries of a batch.

    Raises :class:`MalformedError`.
    """
    try:
        return _decode_contents(payload)
    except (StructError, IndexError) as error:
        raise MalformedError("a batch ends too early") from error


def decode_entries(payload: bytes, prefix: Prefix) -> list[Entry]:
    """The entries of a batch, whose prefix was read already.  About 1 µs each.

    Raises :class:`MalformedError`.
    """
    entries: list[Entry] = []
    at = decode_contents(payload).entries_at if prefix.flags else _PREFIX.size
    unpack, size, types = _ENTRY.unpack_from, _ENTRY.size, _ENTRY_TYPES
    try:
        for index in range(prefix.first_index, prefix.first_index + prefix.entry_count):
            kind, length, term = unpack(payload, at)
            at += size
            entries.append(Entry(term, index, types[kind], payload[at : at + length]))
            at += length
    except (StructError, KeyError) as error:
        raise MalformedError("an entry is cut short or of an unknown type") from error
    if at != len(payload):
        raise MalformedError("a batch does not end with its last entry")
    return entries


def _decode_contents(payload: bytes) -> Contents:
    flags, _, _, term, vote, commit = _PREFIX.unpack_from(payload)
    if flags & ~_KNOWN_FLAGS:
        raise MalformedError(f"unknown flags {flags:#x}")
    at = _PREFIX.size
    opening = marker = None
    if flags & _OPENS_SEGMENT:
        opening, at = _decode_opening(payload, at)
    if flags & _HAS_MARKER:
        marker, at = _decode_marker(payload, at)
    return Contents(HardState(term, vote, commit), opening, marker, bool(flags & _RESETS_LOG), at)


def _decode_opening(payload: bytes, at: int) -> tuple[Opening, int]:
    sequence, last_index, length = _OPENING.unpack_from(payload, at)
    at += _OPENING.size
    identity = payload[at : at + length]
    at += length
    count = payload[at]
    at += 1
    markers = []
    for _ in range(count):
        marker, at = _decode_marker(payload, at)
        markers.append(marker)
    return Opening(sequence, last_index, identity, tuple(markers)), at


def _encode_marker(marker: SnapshotMarker) -> bytes:
    voters = sorted(marker.configuration.voters)
    learners = sorted(marker.configuration.learners)
    ids = voters + learners
    return _MARKER.pack(marker.index, marker.term, len(voters), len(learners)) + b"".join(
        id_.to_bytes(8, "little") for id_ in ids
    )


def _decode_marker(payload: bytes, at: int) -> tuple[SnapshotMarker, int]:
    index, term, voters, learners = _MARKER.unpack_from(payload, at)
    at += _MARKER.size
    ids = Struct(f"<{voters + learners}Q").unpack_from(payload, at)
    configuration = Configuration(frozenset(ids[:voters]), frozenset(ids[voters:]))
    return SnapshotMarker(index, term, configuration), at + 8 * len(ids)
