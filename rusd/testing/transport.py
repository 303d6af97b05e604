"""A network in memory: the environment's transport without sockets.

Connections are pairs of bounded buffers, ports are numbers handed out in
order, and nothing happens that a test did not ask for: this is what whole servers run on
under a mock clock, where real sockets would be seen as idleness.

All ends live in one :class:`MemoryTransport`, the network.  It knows no names:
``localhost`` is ``127.0.0.1``, and a listener on ``0.0.0.0`` or ``::`` is found
under every host.
"""

from __future__ import annotations

import errno
import os
from collections import deque

import trio

from rusd.environment import join_address

BUFFER_BYTES = 64 * 1024
FIRST_PORT = 30000

_ANY = ("", "0.0.0.0", "::")  # noqa: S104 - compared with, not bound to


class _Pipe:
    """One direction of a connection: bytes in a bounded buffer."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._data = bytearray()
        self.writer_closed = False
        self.reader_closed = False
        self.broken = False
        self.changed = trio.lowlevel.ParkingLot()

    @property
    def readable(self) -> bool:
        return bool(self._data) or self.writer_closed or self.broken

    @property
    def writable(self) -> bool:
        return len(self._data) < self._capacity or self.reader_closed or self.broken

    def read(self, limit: int) -> bytes | None:
        if self._data:
            data = bytes(self._data[:limit])
            del self._data[:limit]
            self.changed.unpark_all()
            return data
        return b"" if self.writer_closed else None

    def write(self, data: bytes) -> int:
        room = self._capacity - len(self._data)
        taken = data[:room]
        if taken:
            self._data += taken
            self.changed.unpark_all()
        return len(taken)

    def close_reader(self) -> None:
        self.reader_closed = True
        self._data.clear()
        self.changed.unpark_all()

    def close_writer(self) -> None:
        self.writer_closed = True
        self.changed.unpark_all()

    def break_off(self) -> None:
        self.broken = True
        self._data.clear()
        self.changed.unpark_all()


class MemoryChannel:
    """One end of a connection; a :class:`rusd.environment.Channel`.

    Closing an end is seen by the other as the end of the stream once it has read
    what was sent, and as a broken pipe when it sends.
    """

    def __init__(self, incoming: _Pipe, outgoing: _Pipe, peer: str) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._peer = peer
        self._closed = False

    @property
    def peer(self) -> str:
        return self._peer

    def fileno(self) -> int:
        return -1

    def try_receive(self, limit: int) -> bytes | None:
        self._check()
        return self._incoming.read(limit)

    def try_send(self, data: bytes) -> int:
        self._check()
        if self._outgoing.reader_closed:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
        return self._outgoing.write(data)

    async def wait_readable(self) -> None:
        await trio.lowlevel.checkpoint()
        while not self._closed and not self._incoming.readable:
            await self._incoming.changed.park()
        self._check_waited()

    async def wait_writable(self) -> None:
        await trio.lowlevel.checkpoint()
        while not self._closed and not self._outgoing.writable:
            await self._outgoing.changed.park()
        self._check_waited()

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._incoming.close_reader()
        self._outgoing.close_writer()

    def reset(self) -> None:
        """Break the connection, as a machine that loses power does: both ends get an error."""
        self._incoming.break_off()
        self._outgoing.break_off()

    def _check(self) -> None:
        if self._closed:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        if self._incoming.broken:
            raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))

    def _check_waited(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("another task closed this channel")


def channel_pair(
    first: str = "127.0.0.1:1", second: str = "127.0.0.1:2", *, buffer_bytes: int = BUFFER_BYTES
) -> tuple[MemoryChannel, MemoryChannel]:
    """Two connected ends with the addresses ``first`` and ``second``."""
    there, back = _Pipe(buffer_bytes), _Pipe(buffer_bytes)
    return MemoryChannel(back, there, second), MemoryChannel(there, back, first)


class MemoryListener:
    """A listening address; a :class:`rusd.environment.Listener`."""

    def __init__(self, network: MemoryTransport, host: str, port: int) -> None:
        self._network = network
        self._address = (host, port)
        self._waiting: deque[MemoryChannel] = deque()
        self._changed = trio.lowlevel.ParkingLot()
        self._closed = False
        self._errors: deque[OSError] = deque()

    @property
    def address(self) -> tuple[str, int]:
        return self._address

    async def accept(self) -> MemoryChannel:
        await trio.lowlevel.checkpoint()
        while True:
            if self._closed:
                raise trio.ClosedResourceError("this listener is closed")
            if self._errors:
                raise self._errors.popleft()
            if self._waiting:
                return self._waiting.popleft()
            await self._changed.park()

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._network.forget(self)
        for channel in self._waiting:  # connected, never accepted
            channel.reset()
        self._waiting.clear()
        self._changed.unpark_all()

    def fail_next_accept(self, error: OSError) -> None:
        """Have one :meth:`accept` raise ``error``."""
        self._errors.append(error)
        self._changed.unpark_all()

    def enqueue(self, channel: MemoryChannel) -> None:
        """A client has connected."""
        self._waiting.append(channel)
        self._changed.unpark()


class MemoryTransport:
    """A network; a :class:`rusd.environment.Transport` for all who are on it."""

    def __init__(self, *, buffer_bytes: int = BUFFER_BYTES) -> None:
        self._buffer_bytes = buffer_bytes
        self._listeners: dict[tuple[str, int], MemoryListener] = {}
        self._next_port = FIRST_PORT

    async def listen(self, host: str, port: int) -> MemoryListener:
        await trio.lowlevel.checkpoint()
        host = _canonical(host)
        if port == 0:
            port = self._free_port()
        elif self._find(host, port) is not None or (host in _ANY and self._taken(port)):
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        listener = MemoryListener(self, host, port)
        self._listeners[host, port] = listener
        return listener

    async def connect(self, host: str, port: int) -> MemoryChannel:
        await trio.lowlevel.checkpoint()
        host = _canonical(host)
        listener = self._find(host, port)
        if listener is None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        here, there = channel_pair(
            join_address("127.0.0.1", self._free_port()),
            join_address(host, port),
            buffer_bytes=self._buffer_bytes,
        )
        listener.enqueue(there)
        return here

    def forget(self, listener: MemoryListener) -> None:
        """``listener`` is closed: its address is free again."""
        self._listeners.pop(listener.address, None)

    def _find(self, host: str, port: int) -> MemoryListener | None:
        for name in (host, *_ANY):
            listener = self._listeners.get((name, port))
            if listener is not None:
                return listener
        return None

    def _taken(self, port: int) -> bool:
        return any(taken == port for _, taken in self._listeners)

    def _free_port(self) -> int:
        while True:
            self._next_port += 1
            if not self._taken(self._next_port):
                return self._next_port


def _canonical(host: str) -> str:
    return "127.0.0.1" if host == "localhost" else host
