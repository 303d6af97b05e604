"""Everything members say survives the way, and nothing else gets through."""

from __future__ import annotations

import contextlib
import struct
from typing import Any

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rusd.peers.codec import Encoder, MalformedError, decode, decode_head, encode_forward
from rusd.raft import Configuration, Entry, EntryType, Message, MessageType, Snapshot, encode_configuration
from rusd.replica.forwarding import Forward

NUMBERS = st.integers(0, 2**64 - 1)
IDS = st.integers(1, 2**64 - 1)
CONFIGURATIONS = st.builds(
    lambda voters, learners: Configuration(voters, learners - voters),
    st.frozensets(IDS, max_size=5),
    st.frozensets(IDS, max_size=3),
)
SNAPSHOTS = st.builds(Snapshot, NUMBERS, NUMBERS, CONFIGURATIONS)


@st.composite
def entry_lists(draw: Any, index: int, log_term: int) -> list[Entry]:
    entries = []
    term = log_term
    for position in range(draw(st.integers(0, 6))):
        term = min(2**64 - 1, term + draw(st.integers(0, 2)))
        if draw(st.booleans()):
            data, kind = draw(st.binary(max_size=50)), EntryType.NORMAL
        else:
            data = encode_configuration(draw(CONFIGURATIONS), draw(st.binary(max_size=10)))
            kind = EntryType.CONFIGURATION
        entries.append(Entry(term, index + 1 + position, kind, data))
    return entries


@st.composite
def messages(draw: Any) -> Message:
    kind = draw(st.sampled_from([kind for kind in MessageType if kind is not MessageType.INSTALL_SNAPSHOT]))
    index, log_term = draw(st.integers(0, 2**63)), draw(st.integers(0, 2**63))
    entries = draw(entry_lists(index, log_term)) if kind is MessageType.APPEND_ENTRIES else []
    return Message(
        type=kind,
        from_=1,
        to=2,
        term=max(draw(NUMBERS), entries[-1].term if entries else 0),
        index=index,
        log_term=log_term,
        entries=entries or (),
        commit=draw(NUMBERS),
        reject=draw(st.booleans()),
        reject_hint=draw(NUMBERS),
        context=draw(st.binary(max_size=40)),
    )


@given(st.lists(messages(), max_size=5))
def test_messages_come_out_as_they_went_in(sent: list[Message]) -> None:
    assert decode(Encoder().messages(sent), 1, 2) == sent


@given(st.sampled_from(EntryType), st.binary(max_size=100))
def test_so_do_forwards(kind: EntryType, data: bytes) -> None:
    forward = Forward(1, 2, kind, data)
    assert decode(encode_forward(forward), 1, 2) == forward


@given(st.none() | SNAPSHOTS, st.binary(max_size=100), NUMBERS)
def test_so_do_the_heads_of_snapshots(snapshot: Snapshot | None, header: bytes, index: int) -> None:
    message = Message(
        type=MessageType.INSTALL_SNAPSHOT, from_=1, to=2, term=3, index=index, snapshot=snapshot
    )
    assert decode_head(Encoder().head(message, header), 1, 2) == (message, header)


def test_sender_and_receiver_are_the_streams_whatever_the_message_said() -> None:
    message = Message(type=MessageType.HEARTBEAT, from_=66, to=77, term=3)
    assert decode(Encoder().messages([message]), 1, 2) == [attrs.evolve(message, from_=1, to=2)]


def test_entries_sent_to_several_peers_are_packed_once_and_others_are_not_mistaken_for_them() -> None:
    entries = [Entry(1, index, data=b"%d" % index) for index in range(1, 9)]
    others = [Entry(2, index, data=b"other %d" % index) for index in range(1, 9)]
    encoder = Encoder()

    def append(to: int, held: list[Entry]) -> Message:
        return Message(
            type=MessageType.APPEND_ENTRIES, from_=9, to=to, term=3, index=held[0].index - 1, entries=held
        )

    lists = (entries, entries[:], others, entries[:4], entries[4:], entries, others[:1], entries[:1])
    for to, held in enumerate(lists, 1):
        sent = append(to, held)
        assert decode(encoder.messages([sent]), 9, to) == [sent]


# -- what no member sends ---------------------------------------------------------------


@given(st.binary(max_size=300))
@example(b"")
@example(b"\x01")
@example(b"\x02")
@example(b"\x02\x07")
def test_any_bytes_are_messages_or_refused(data: bytes) -> None:
    for read in (decode, decode_head):
        with contextlib.suppress(MalformedError):
            read(data, 1, 2)


@given(st.lists(messages(), min_size=1, max_size=3), st.data())
def test_cut_anywhere_it_is_refused_or_shorter_by_whole_messages(sent: list[Message], data: Any) -> None:
    whole = Encoder().messages(sent)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    try:
        read = decode(cut, 1, 2)
    except MalformedError:
        return
    assert isinstance(read, list)
    assert read == sent[: len(read)]
    assert len(read) < len(sent)


@given(st.lists(messages(), min_size=1, max_size=3), st.data())
def test_a_changed_byte_gives_nothing_that_can_not_be_sent(sent: list[Message], data: Any) -> None:
    changed = bytearray(Encoder().messages(sent))
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        read = decode(bytes(changed), 1, 2)
    except MalformedError:
        return
    if isinstance(read, list):
        assert decode(Encoder().messages(read), 1, 2) == read


def packed(**fields: Any) -> bytes:
    """One message, packed without the encoder's help."""
    values = {"type": 5, "flags": 0, "term": 5, "index": 10, "log_term": 4, "commit": 0, "hint": 0}
    values |= {"context": 0, "count": 0} | fields
    return b"\x01" + struct.pack("<BBQQQQQHI", *values.values())


def entry(kind: int = 0, term: int = 5, data: bytes = b"") -> bytes:
    return struct.pack("<BIQ", kind, len(data), term) + data


def configured(*voters: int, learners: tuple[int, ...] = ()) -> bytes:
    ids = (*voters, *learners)
    return struct.pack(f">II{len(ids)}Q", len(voters), len(learners), *ids)


@pytest.mark.parametrize(
    "data",
    [
        packed(type=0),
        packed(type=13),
        packed(type=9),  # a snapshot's message belongs to the snapshot
        packed(flags=4),
        packed(count=1),
        packed(count=2**32 - 1),
        packed(count=1) + entry(kind=2),
        packed(count=1) + entry(kind=1, data=b"no configuration"),
        packed(count=1) + entry(kind=1, data=configured(1, 1)),  # a member counts once
        packed(count=1) + entry(kind=1, data=configured(1, learners=(1,))),  # with a vote or without
        packed(count=1) + entry(kind=1, data=configured(2, 1)),
        packed(count=1) + entry(kind=1, data=configured(0)),
        packed(flags=2) + struct.pack("<QQI", 1, 1, len(configured(1, 1))) + configured(1, 1),
        packed(count=1) + entry(term=3),  # terms never fall along a log
        packed(count=2) + entry(term=5) + entry(term=4),
        packed(count=1) + entry(term=6),  # nor are they above the sender's
        packed(count=1, type=7) + entry(),
        packed(count=1, index=2**64 - 1) + entry(),
        packed(context=3) + b"ab",
        packed(flags=2) + bytes(19),
        packed(flags=2) + struct.pack("<QQI", 1, 1, 9) + bytes(9),
        packed()[:-1],
        packed() + b"\x05",
        packed(count=1) + entry()[:-1],
        packed(count=1) + entry(data=b"abc")[:-1],
    ],
)
def test_what_raft_would_stop_for_does_not_reach_it(data: bytes) -> None:
    with pytest.raises(MalformedError):
        decode(data, 1, 2)


def test_what_is_packed_by_hand_above_is_right_where_nothing_is_wrong() -> None:
    assert configured(1, 2, learners=(3,)) == encode_configuration(
        Configuration(frozenset({1, 2}), frozenset({3}))
    )
    (read,) = decode(packed(count=1) + entry(data=b"abc"), 1, 2)  # type: ignore[misc]
    assert read.entries == [Entry(5, 11, EntryType.NORMAL, b"abc")]
