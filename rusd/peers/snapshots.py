"""A snapshot on its way from one member to another, on a connection of its own.

One gRPC call, whose client streams::

    head                                    see rusd.peers.codec
    PIECE 1 │ last of its chunk 1 │ checksum 4 │ data     … until all chunks are sent
    END 1 │ checksum 4 │ chunks 8 │ bytes 8

Each checksum is CRC-32C, begun from the one before, of whether the piece is the last and of its data; the
head's is the first.  So no piece can be lost, doubled, moved or mixed up with another snapshot's, and an
end that is right says that all came.  Chunks come out as they went in.  Back-pressure is HTTP/2's: the
sender asks for the next chunk only when the last one has nearly left, and the receiver takes the next piece
only when its owner asks for it.

The call is answered when the receiver has the snapshot on disk.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from struct import Struct
from typing import TYPE_CHECKING, Final, Protocol

import google_crc32c

from rusd import net
from rusd.grpc import EndOfRequests, Requests, StatusError
from rusd.peers.codec import Encoder, MalformedError, decode_head
from rusd.peers.surroundings import SNAPSHOT_PATH, Surroundings
from rusd.raft import Message
from rusd.replica.peers import Inbox, PeerError

if TYPE_CHECKING:
    from rusd.net.client import ClientStream
    from rusd.peers.channel import Channel

PIECE_BYTES = 256 * 1024
"""What is sent, and checksummed, in one go: well below a millisecond."""

MOST_CHUNK_BYTES = 256 * 1024 * 1024
"""A chunk is held in memory by its receiver; chunks are about 1 MiB, and hold at least one key's value."""

_PIECE: Final = 1
_END: Final = 2
_PIECE_HEAD = Struct("<BBI")
_END_BODY = Struct("<BIQQ")


# -- sending ---------------------------------------------------------------------------


async def send(
    channel: Channel,
    message: Message,
    header: bytes,
    chunks: AsyncIterator[bytes],
    surroundings: Surroundings,
) -> None:
    """Send all of it and wait until the peer has it.

    Raises :class:`PeerError`, :class:`StatusError` if there is no connection, and what ``chunks`` raises.
    """
    timing = surroundings.timing
    async with channel.connect() as client:
        call = client.engine.start(SNAPSHOT_PATH, channel.metadata)
        async with net.ClientStream(call) as stream:
            head = Encoder().head(message, header)
            pieces, sender = Pieces(head), _Sender(stream, surroundings)
            await sender.send(head)
            async for chunk in chunks:
                for piece in pieces.of(chunk):
                    await sender.send(piece)
            await sender.send(pieces.end())
            stream.end()
            try:
                with surroundings.within(timing.snapshot_end):
                    while await stream.receive() is not None:
                        pass
            except TimeoutError as error:
                raise PeerError("the peer has not answered that it has the snapshot") from error
            except StatusError as error:
                raise PeerError(error.message) from error


class _Sender:
    """Sends the messages of one snapshot, one by one."""

    def __init__(self, stream: ClientStream, surroundings: Surroundings) -> None:
        self._stream = stream
        self._surroundings = surroundings

    async def send(self, payload: bytes) -> None:
        """Send and wait until there is room for more.  Raises :class:`PeerError`."""
        try:
            with self._surroundings.within(self._surroundings.timing.snapshot_step):
                await self._stream.send(payload)
        except TimeoutError as error:
            raise PeerError("the peer takes nothing of the snapshot") from error
        if self._stream.has_ended:
            raise PeerError(await self._why_ended())

    async def _why_ended(self) -> str:
        try:
            await self._stream.receive()
        except StatusError as error:
            return error.message
        return "the peer ended the call before it had the snapshot"


class Pieces:
    """Makes the messages that follow the ``head`` of one snapshot."""

    def __init__(self, head: bytes, *, piece_bytes: int = PIECE_BYTES) -> None:
        self.checksum: int = google_crc32c.value(head)
        """Of all so far."""
        self._piece_bytes = piece_bytes
        self._chunks = 0
        self._bytes = 0

    def of(self, chunk: bytes) -> Iterator[bytes]:
        """The messages that carry ``chunk``."""
        view = memoryview(chunk)
        for start in range(0, len(view) or 1, self._piece_bytes):
            piece = bytes(view[start : start + self._piece_bytes])
            last = start + self._piece_bytes >= len(view)
            self.checksum = _extended(self.checksum, last, piece)
            yield _PIECE_HEAD.pack(_PIECE, last, self.checksum) + piece
        self._chunks += 1
        self._bytes += len(view)

    def end(self) -> bytes:
        """The last message."""
        return _END_BODY.pack(_END, self.checksum, self._chunks, self._bytes)


def _extended(checksum: int, last: int, piece: bytes) -> int:
    """The checksum after one more piece."""
    return int(google_crc32c.extend(google_crc32c.extend(checksum, bytes((last,))), piece))


# -- receiving -------------------------------------------------------------------------


async def receive(requests: Requests, sender: int, inbox: Inbox, surroundings: Surroundings) -> None:
    """Hand one snapshot to ``inbox``, as it comes.  Raises :class:`PeerError`, :class:`MalformedError`."""
    incoming = _Incoming(requests, surroundings)
    head = await incoming.next_payload()
    message, header = decode_head(head, sender, surroundings.identity.member_id)
    chunks = Chunks(incoming, Pieces(head).checksum)
    await inbox.receive_snapshot(message, header, chunks)


class _Incoming:
    """The messages of the call, each waited for only so long."""

    def __init__(self, requests: Requests, surroundings: Surroundings) -> None:
        self._requests = requests
        self._surroundings = surroundings

    async def next_payload(self) -> bytes:
        """The next message.  Raises :class:`PeerError` if there is none."""
        try:
            with self._surroundings.within(self._surroundings.timing.snapshot_step):
                payload: bytes = await self._requests.receive()
        except TimeoutError as error:
            raise PeerError("the sender has stopped in the middle of the snapshot") from error
        except (EndOfRequests, StatusError) as error:
            raise PeerError("the snapshot ends before its end") from error
        return payload


class Source(Protocol):
    """Where the messages of a snapshot come from."""

    async def next_payload(self) -> bytes:
        """The next message.  Raises :class:`PeerError` if there is none."""


class Chunks:
    """The chunks of a snapshot, verified; ``checksum`` is its head's.

    Raises :class:`PeerError` unless all of them come, whole."""

    def __init__(self, incoming: Source, checksum: int) -> None:
        self._incoming = incoming
        self._checksum = checksum
        self._chunks = 0
        self._bytes = 0
        self._over = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._over:
            raise StopAsyncIteration
        pieces: list[bytes] = []
        size = 0
        while True:
            payload = await self._incoming.next_payload()
            kind = payload[0] if payload else 0
            if kind == _END and not pieces:
                self._check_end(payload)
                self._over = True
                raise StopAsyncIteration
            if kind != _PIECE or len(payload) < _PIECE_HEAD.size:
                raise PeerError("the snapshot holds what is no piece of one")
            last, piece = self._piece(payload)
            pieces.append(piece)
            size += len(piece)
            if size > MOST_CHUNK_BYTES:
                raise PeerError(f"a chunk of more than {MOST_CHUNK_BYTES} bytes")
            if last:
                self._chunks += 1
                self._bytes += size
                return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _piece(self, payload: bytes) -> tuple[bool, bytes]:
        _, last, checksum = _PIECE_HEAD.unpack_from(payload)
        piece = payload[_PIECE_HEAD.size :]
        self._checksum = _extended(self._checksum, last, piece)
        if checksum != self._checksum:
            raise PeerError("a piece of the snapshot was damaged or lost on its way")
        return bool(last), piece

    def _check_end(self, payload: bytes) -> None:
        expected = _END_BODY.pack(_END, self._checksum, self._chunks, self._bytes)
        if payload != expected:
            raise PeerError("the snapshot is not as long as it was when it was sent")


__all__ = ["MOST_CHUNK_BYTES", "PIECE_BYTES", "Chunks", "MalformedError", "Pieces", "receive", "send"]
