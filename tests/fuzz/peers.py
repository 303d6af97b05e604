"""Target: what one member takes from another: messages, forwards, snapshots, metadata, answers over HTTP.

The first octet chooses which.  Asserted: any bytes are refused as what they are, by the reader's own error,
or are something that encodes back to the very same bytes, and that Raft may see; of a snapshot nothing comes
out but what went in, and its end only if all of it did.
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any, Final, TypeVar

from rusd.grpc import Metadata
from rusd.peers import Identity, http
from rusd.peers.codec import Encoder, MalformedError, decode, decode_head, encode_forward
from rusd.peers.identity import RefusedError, judge
from rusd.peers.snapshots import Chunks, Pieces
from rusd.raft import Entry, EntryType, Message, MessageType, decode_configuration
from rusd.replica.forwarding import Forward
from rusd.replica.intake import problem_with
from rusd.replica.peers import PeerError
from tests.fuzz.source import Source

SENDER: Final = 0xA
RECEIVER: Final = 0xB
REMOVED: Final = 0xD
HERE: Final = Identity(RECEIVER, 0xC)
NAMES: Final = ("x-server-from", "x-raft-to", "x-etcd-cluster-id", "x-rusd-peer-format", "x-peerurls")
GOOD: Final = dict(HERE.metadata(SENDER)) | {"x-server-from": b"a", "x-raft-to": b"b"}
KINDS: Final = [kind for kind in MessageType if kind is not MessageType.INSTALL_SNAPSHOT]

T = TypeVar("T")


def target(data: bytes) -> None:
    source = Source(data)
    match source.byte() % 6:
        case 0:
            read_message(source.rest())
        case 1:
            read_head(source.rest())
        case 2:
            read_message(spoiled(Encoder().messages(some_messages(source)), source))
        case 3:
            take_snapshot(source)
        case 4:
            let_in(source)
        case 5:
            take_answer(source)


# -- messages -----------------------------------------------------------------------------------------


def read_message(payload: bytes) -> None:
    try:
        read = decode(payload, SENDER, RECEIVER)
    except MalformedError:
        return
    if isinstance(read, Forward):
        assert (read.from_, read.to) == (SENDER, RECEIVER)
        assert encode_forward(read) == payload
        return
    assert Encoder().messages(read) == payload
    for message in read:
        judge_message(message)


def read_head(payload: bytes) -> None:
    try:
        message, header = decode_head(payload, SENDER, RECEIVER)
    except MalformedError:
        return
    assert message.type is MessageType.INSTALL_SNAPSHOT
    assert Encoder().head(message, header) == payload
    judge_message(message)


def judge_message(message: Message) -> None:
    """What a member acts on is in order, and comes from whom the stream belongs to."""
    assert (message.from_, message.to) == (SENDER, RECEIVER)
    for place, entry in enumerate(message.entries, 1):
        assert entry.index == message.index + place
        if entry.type is EntryType.CONFIGURATION:
            configuration, _ = decode_configuration(entry.data)
            assert not configuration.voters & configuration.learners
    if message.entries and problem_with(message, RECEIVER) is not None:
        assert not 0 < message.term < 1 << 62  # the only thing that the codec leaves to the replica


def some_messages(source: Source) -> list[Message]:
    messages = []
    for _ in range(source.byte() % 4):
        kind = source.pick(KINDS)
        term, index = source.word(), source.word()
        entries: Sequence[Entry] = ()
        if kind is MessageType.APPEND_ENTRIES:
            count = source.byte() % 4
            places = range(index + 1, index + 1 + count)
            entries = [Entry(term, place, data=source.chunk()) for place in places] or ()
        message = Message(
            type=kind,
            from_=SENDER,
            to=RECEIVER,
            term=term,
            index=index,
            log_term=source.byte() % (term + 1),
            entries=entries,
            commit=source.word(),
            reject=source.flag(),
            reject_hint=source.word(),
            context=source.chunk(),
        )
        messages.append(message)
    assert decode(Encoder().messages(messages), SENDER, RECEIVER) == messages
    return messages


def spoiled(payload: bytes, source: Source) -> bytes:
    """With an octet changed, some left out or some added, or as it was."""
    content = bytearray(payload)
    at = source.short() % (len(content) + 1)
    match source.byte() & 3:
        case 1 if at < len(content):
            content[at] ^= source.byte()
        case 2:
            del content[at : at + source.byte()]
        case 3:
            content[at:at] = source.chunk()
    return bytes(content)


# -- snapshots ------------------------------------------------------------------------------------------


class Incoming:
    """The messages of a call, all there."""

    def __init__(self, payloads: Sequence[bytes]) -> None:
        self._payloads = list(payloads)

    async def next_payload(self) -> bytes:
        if not self._payloads:
            raise PeerError("the snapshot ends before its end")
        return self._payloads.pop(0)


def take_snapshot(source: Source) -> None:
    """Pieces of a snapshot, some of them spoiled, doubled, moved or left out."""
    head = source.chunk()
    pieces = Pieces(head, piece_bytes=1 + source.byte() % 64)
    sent = [source.chunk() for _ in range(source.byte() % 5)]
    payloads = [piece for chunk in sent for piece in pieces.of(chunk)]
    payloads.append(pieces.end())
    whole = list(payloads)
    while source.more and payloads:
        at = source.byte() % len(payloads)
        match source.byte() & 3:
            case 0:
                payloads[at] = spoiled(payloads[at], source)
            case 1:
                del payloads[at]
            case 2:
                payloads.insert(source.byte() % len(payloads), payloads[at])
            case 3:
                payloads.insert(at, payloads.pop())
    chunks = Chunks(Incoming(payloads), Pieces(head).checksum)
    received: list[bytes] = []
    try:
        while (chunk := now(_next(chunks))) is not None:
            received.append(chunk)
        ended = True
    except PeerError:
        ended = False
    # Whatever stands behind the end is not read.
    assert ended or payloads[: len(whole)] != whole, "a whole snapshot was refused"
    assert not ended or received == sent, "a snapshot ended well that is another one"
    assert received == sent[: len(received)], "what came out did not go in"


async def _next(chunks: Chunks) -> bytes | None:
    try:
        return await anext(chunks)
    except StopAsyncIteration:
        return None


def now(work: Coroutine[Any, Any, T]) -> T:
    """The result of what never waits."""
    try:
        work.send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    raise AssertionError("it waits")


# -- who calls, and what is answered ---------------------------------------------------------------------


class Visit:
    """A call, as far as it is judged."""

    peer = "127.0.0.1:1"

    def __init__(self, metadata: dict[str, bytes]) -> None:
        self.metadata = Metadata(list(metadata.items()))


def let_in(source: Source) -> None:
    metadata = dict(GOOD)
    while source.more:
        name = source.pick(NAMES)
        if source.flag():
            metadata[name] = source.chunk()
        else:
            metadata.pop(name, None)
    try:
        visitor = judge(Visit(metadata), HERE, {REMOVED}.__contains__)  # type: ignore[arg-type]
    except RefusedError:
        visitor = None
    if visitor is None:
        assert metadata != GOOD, "a peer is turned away"
        return
    assert visitor.member_id == int(metadata["x-server-from"], 16) not in (0, REMOVED, RECEIVER)
    assert int(metadata["x-etcd-cluster-id"], 16) == HERE.cluster_id
    assert int(metadata["x-raft-to"], 16) == RECEIVER
    assert all(visitor.peer_urls)


def take_answer(source: Source) -> None:
    """What a peer port says of its members."""
    cluster = {b"x-etcd-cluster-id": source.chunk()}
    try:
        number, members = http.parse_cluster(cluster, source.rest())
    except PeerError as error:
        str(error).encode()
        return
    assert 0 <= number < 2**64
    assert members
    for member in members:
        assert 0 < member.id < 2**64
        "".join((member.name, *member.peer_urls, *member.client_urls)).encode()
