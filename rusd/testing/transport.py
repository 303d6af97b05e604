"""A network in memory: the environment's transport without sockets.

Connections are pairs of bounded buffers, ports are numbers handed out in
order, and nothing happens that a test did not ask for: this is what whole servers run on
under a mock clock, where real sockets would be seen as idleness.

All ends live in one :class:`MemoryTransport`, the network.  It knows no names:
``localhost`` is ``127.0.0.1``, and a listener on ``0.0.0.0`` or ``::`` is found
under every host.

Machines are told apart by :meth:`MemoryTransport.machine`: what is listened and connected
through one is that machine's, and :meth:`MemoryTransport.part` cuts them off from each other, in either
direction.  As with TCP, nothing is lost by that: bytes wait, connections stay open and silent.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Iterable
from weakref import WeakSet

import trio

from rusd.environment import join_address

BUFFER_BYTES = 64 * 1024
FIRST_PORT = 30000

_ANY = ("", "0.0.0.0", "::")  # noqa: S104 - compared with, not bound to


class _Pipe:
    """One direction of a connection: bytes in a bounded buffer."""

    def __init__(self, capacity: int, link: tuple[str, str] = ("", "")) -> None:
        self._capacity = capacity
        self.link = link  # from which machine, to which
        self.held = False  # nothing arrives
        self._data = bytearray()
        self.writer_closed = False
        self.reader_closed = False
        self.broken = False
        self.changed = trio.lowlevel.ParkingLot()

    @property
    def readable(self) -> bool:
        return self.broken or (not self.held and (bool(self._data) or self.writer_closed))

    @property
    def writable(self) -> bool:
        return len(self._data) < self._capacity or self.reader_closed or self.broken

    def read(self, limit: int) -> bytes | None:
        if self.held:
            return None
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

    def hold(self, *, held: bool) -> None:
        """Whether what is written waits instead of arriving."""
        self.held = held
        self.changed.unpark_all()

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

    def __init__(self, network: MemoryTransport, host: str, port: int, machine: str = "") -> None:
        self._network = network
        self._address = (host, port)
        self.machine = machine
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
        self._cut: frozenset[tuple[str, str]] = frozenset()
        self._pipes: WeakSet[_Pipe] = WeakSet()
        self._cut_changed = trio.lowlevel.ParkingLot()

    def machine(self, name: str) -> Machine:
        """The network as the machine ``name`` sees it; who uses the network itself is the machine ``""``."""
        return Machine(self, name)

    def part(self, links: Iterable[tuple[str, str]]) -> None:
        """From now on nothing gets from one machine to the other on ``links``, and on no others."""
        self._cut = frozenset(links)
        for pipe in self._pipes:
            pipe.hold(held=pipe.link in self._cut)
        self._cut_changed.unpark_all()

    def heal(self) -> None:
        """Everything arrives again."""
        self.part(())

    async def listen(self, host: str, port: int, *, machine: str = "") -> MemoryListener:
        await trio.lowlevel.checkpoint()
        host = _canonical(host)
        if port == 0:
            port = self._free_port()
        elif self._find(host, port) is not None or (host in _ANY and self._taken(port)):
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        listener = MemoryListener(self, host, port, machine)
        self._listeners[host, port] = listener
        return listener

    async def connect(self, host: str, port: int, *, machine: str = "") -> MemoryChannel:
        await trio.lowlevel.checkpoint()
        host = _canonical(host)
        while True:
            listener = self._find(host, port)
            if listener is None:
                raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
            links = {(machine, listener.machine), (listener.machine, machine)}
            if not links & self._cut:
                break
            await self._cut_changed.park()  # no answer, no refusal
        there = _Pipe(self._buffer_bytes, (machine, listener.machine))
        back = _Pipe(self._buffer_bytes, (listener.machine, machine))
        self._pipes |= {there, back}
        local = join_address("127.0.0.1", self._free_port())
        listener.enqueue(MemoryChannel(there, back, local))
        return MemoryChannel(back, there, join_address(host, port))

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


class Machine:
    """One machine on a :class:`MemoryTransport`; a :class:`rusd.environment.Transport` too."""

    def __init__(self, network: MemoryTransport, name: str) -> None:
        self._network = network
        self._name = name

    async def listen(self, host: str, port: int) -> MemoryListener:
        return await self._network.listen(host, port, machine=self._name)

    async def connect(self, host: str, port: int) -> MemoryChannel:
        return await self._network.connect(host, port, machine=self._name)


def _canonical(host: str) -> str:
    return "127.0.0.1" if host == "localhost" else host
