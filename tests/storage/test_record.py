"""The payload of a batch: round trips, and refusing what makes no sense."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rusd.raft.messages import Configuration, Entry, EntryType, HardState
from rusd.storage.record import (
    MalformedError,
    Opening,
    SnapshotMarker,
    decode_contents,
    decode_entries,
    encode_payload,
    read_prefix,
)

u64 = st.integers(0, 2**64 - 1)
ids = st.frozensets(u64, max_size=5)
markers = st.builds(SnapshotMarker, u64, u64, st.builds(Configuration, ids, ids))
openings = st.builds(Opening, u64, u64, st.binary(max_size=50), st.lists(markers, max_size=4).map(tuple))
hard_states = st.builds(HardState, u64, u64, u64)


def fields(entry: Entry) -> tuple[int, int, EntryType, bytes]:
    return entry.term, entry.index, entry.type, entry.data


@given(
    hard_states,
    st.integers(1, 2**60),
    st.lists(st.tuples(u64, st.sampled_from(EntryType), st.binary(max_size=40)), max_size=5),
    st.none() | openings,
    st.none() | markers,
    st.booleans(),
)
def test_a_batch_comes_back(
    state: HardState,
    first: int,
    rows: list[tuple[int, EntryType, bytes]],
    opening: Opening | None,
    marker: SnapshotMarker | None,
    resets_log: bool,
) -> None:
    entries = [Entry(term, first + i, kind, data) for i, (term, kind, data) in enumerate(rows)]
    payload = encode_payload(state, entries, opening=opening, marker=marker, resets_log=resets_log)
    contents = decode_contents(payload)
    assert contents.hard_state == state
    assert contents.opening == opening
    assert contents.marker == marker
    assert contents.resets_log == (resets_log and marker is not None)
    decoded = decode_entries(payload, read_prefix(payload, 0))
    assert [fields(entry) for entry in decoded] == [fields(entry) for entry in entries]
    prefix = read_prefix(b"junk" + payload, 4)
    assert (prefix.term, prefix.vote, prefix.commit) == (state.term, state.vote, state.commit)
    assert prefix.entry_count == len(entries)
    assert (prefix.flags == 0) == (opening is None and marker is None)


def test_a_payload_that_ends_too_early_or_too_late_is_refused() -> None:
    opening = Opening(1, 0, b"identity", (SnapshotMarker(5, 1),))
    entries = [Entry(1, 6, EntryType.NORMAL, b"data")]
    payload = encode_payload(HardState(1, 1, 5), entries, opening=opening)
    for end in range(len(payload)):
        with pytest.raises(MalformedError):
            decode_all(payload[:end])
    with pytest.raises(MalformedError):
        decode_all(payload + b"\0")


def test_unknown_flags_and_entry_types_are_refused() -> None:
    payload = encode_payload(HardState(), [Entry(1, 1, EntryType.NORMAL, b"")])
    with pytest.raises(MalformedError, match="flags"):
        decode_all(b"\x80" + payload[1:])
    with pytest.raises(MalformedError, match="type"):
        decode_all(payload[:-13] + b"\x09" + payload[-12:])


def decode_all(payload: bytes) -> list[Entry]:
    decode_contents(payload)
    return decode_entries(payload, read_prefix(payload, 0))
