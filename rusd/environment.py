"""The seam between rusd and the outside world.

Everything that touches clock, disk, network or chance comes in through an
:class:`Environment`, so that a test can own it.  This module holds the
contracts and the real implementations (:func:`real_environment`); the fakes
live in :mod:`rusd.testing`.

Nothing else in rusd may call ``time``, ``random``, ``socket`` or ``open``.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import random
import socket
import sys
import time
from collections.abc import Sequence
from typing import Protocol

import attrs
import trio

# -- clock ------------------------------------------------------------------


class Clock(Protocol):
    """Two readings and one way to wait.  All in seconds."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary start; never goes back."""

    def time(self) -> float:
        """Seconds since the Unix epoch; for log lines and ids, never for deadlines."""

    async def sleep_until(self, deadline: float) -> None:
        """Return once :meth:`monotonic` has reached ``deadline``; always a checkpoint."""


class RealClock:
    """The machine's clock, waited for through Trio."""

    def monotonic(self) -> float:
        return time.monotonic()

    def time(self) -> float:
        return time.time()

    async def sleep_until(self, deadline: float) -> None:
        # Trio keeps its own time base; only the difference carries over.
        await trio.sleep(max(0.0, deadline - time.monotonic()))


# -- disk -------------------------------------------------------------------


class DiskFile(Protocol):
    """An open file, addressed by offset.  Every method may raise :class:`OSError`."""

    def size(self) -> int:
        """The length of the file in bytes."""

    def read_at(self, offset: int, length: int) -> bytes:
        """Up to ``length`` bytes from ``offset``; shorter only at the end of the file."""

    def write_at(self, offset: int, data: bytes) -> None:
        """Write all of ``data`` at ``offset``, growing the file as needed."""

    def truncate(self, size: int) -> None:
        """Set the length of the file to ``size`` bytes."""

    def sync(self) -> None:
        """Return once contents and length are on stable storage (``fdatasync``)."""

    def close(self) -> None:
        """Release the file; writes that were not synced may be lost in a crash."""


class Disk(Protocol):
    """A file system.  Paths are absolute or relative strings; errors are :class:`OSError`."""

    def make_directory(self, path: str) -> None:
        """Create ``path`` and missing parents, mode 0700; fine if it exists."""

    def list_directory(self, path: str) -> list[str]:
        """The names in ``path``, sorted."""

    def exists(self, path: str) -> bool:
        """Whether ``path`` names a file or a directory."""

    def open(self, path: str, *, create: bool = False) -> DiskFile:
        """Open for reading and writing; ``create`` makes a new file and refuses an existing one."""

    def rename(self, source: str, target: str) -> None:
        """Replace ``target`` by ``source`` atomically (durable after :meth:`sync_directory`)."""

    def remove(self, path: str) -> None:
        """Delete the file ``path``."""

    def sync_directory(self, path: str) -> None:
        """Return once creations, renames and removals in ``path`` are on stable storage."""

    def lock(self, path: str) -> DiskFile:
        """Take an exclusive lock on the file ``path`` (made if missing) until it is closed.

        Raises :class:`BlockingIOError` if another holder has it.
        """


class RealFile:
    """A file of the operating system."""

    def __init__(self, fd: int, *, fsync: bool) -> None:
        self._fd = fd
        self._fsync = fsync

    def size(self) -> int:
        return os.fstat(self._fd).st_size

    def read_at(self, offset: int, length: int) -> bytes:
        parts: list[bytes] = []
        while length > 0:
            part = os.pread(self._fd, length, offset)
            if not part:
                break
            parts.append(part)
            offset += len(part)
            length -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def write_at(self, offset: int, data: bytes) -> None:
        written = os.pwrite(self._fd, data, offset)
        while written < len(data):  # a short write is legal, if rare, on a regular file
            count = os.pwrite(self._fd, memoryview(data)[written:], offset + written)
            if count == 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            written += count

    def truncate(self, size: int) -> None:
        os.ftruncate(self._fd, size)

    def sync(self) -> None:
        if not self._fsync:
            return
        if sys.platform == "darwin":
            fcntl.fcntl(self._fd, fcntl.F_FULLFSYNC)
        else:
            os.fdatasync(self._fd)

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class RealDisk:
    """The file system of the operating system.

    ``fsync=False`` (``--unsafe-no-fsync``) turns every sync into nothing.
    """

    def __init__(self, *, fsync: bool = True) -> None:
        self._fsync = fsync

    def make_directory(self, path: str) -> None:
        os.makedirs(path, mode=0o700, exist_ok=True)

    def list_directory(self, path: str) -> list[str]:
        return sorted(os.listdir(path))

    def exists(self, path: str) -> bool:
        return os.path.exists(path)

    def open(self, path: str, *, create: bool = False) -> RealFile:
        flags = os.O_RDWR | os.O_CLOEXEC
        if create:
            flags |= os.O_CREAT | os.O_EXCL
        return RealFile(os.open(path, flags, 0o600), fsync=self._fsync)

    def rename(self, source: str, target: str) -> None:
        os.replace(source, target)

    def remove(self, path: str) -> None:
        os.unlink(path)

    def sync_directory(self, path: str) -> None:
        if not self._fsync:
            return
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def lock(self, path: str) -> RealFile:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            raise
        return RealFile(fd, fsync=self._fsync)


# -- network ----------------------------------------------------------------


class Channel(Protocol):
    """A connected byte stream with one owner.

    The two ``try_`` methods never wait; the two ``wait_`` methods never move a
    byte.  All raise :class:`OSError` once the connection is broken.
    """

    @property
    def peer(self) -> str:
        """The other end as ``host:port``, for log lines and access control."""

    def try_receive(self, limit: int) -> bytes | None:
        """Up to ``limit`` bytes; ``b""`` at the end of the stream; ``None`` if none are there."""

    def try_send(self, data: bytes) -> int:
        """How many leading bytes of ``data`` were taken; 0 if the buffer is full."""

    async def wait_readable(self) -> None:
        """Return when :meth:`try_receive` is worth a try."""

    async def wait_writable(self) -> None:
        """Return when :meth:`try_send` is worth a try."""

    def close(self) -> None:
        """Close both directions; waiting tasks get :class:`trio.ClosedResourceError`."""


class Listener(Protocol):
    """A bound and listening address."""

    @property
    def address(self) -> tuple[str, int]:
        """Host and the real port, also where port 0 was asked for."""

    async def accept(self) -> Channel:
        """The next connection.  Raises :class:`OSError` when the system has no room for it."""

    def close(self) -> None:
        """Stop listening; a waiting :meth:`accept` gets :class:`trio.ClosedResourceError`."""


class Transport(Protocol):
    """Makes listeners and connections."""

    async def listen(self, host: str, port: int) -> Listener:
        """Bind ``host:port``; port 0 takes any free one.  Raises :class:`OSError`."""

    async def connect(self, host: str, port: int) -> Channel:
        """Connect to ``host:port``.  Raises :class:`OSError`."""


class SocketChannel:
    """A connected, non-blocking TCP socket."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        with contextlib.suppress(OSError):  # not a TCP socket
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = sock
        try:
            name = sock.getpeername()
        except OSError:  # gone before we looked; the first read says so
            name = ("", 0)
        self._peer = _join_address(name)

    @property
    def peer(self) -> str:
        return self._peer

    def try_receive(self, limit: int) -> bytes | None:
        try:
            return self._socket.recv(limit)
        except (BlockingIOError, InterruptedError):
            return None

    def try_send(self, data: bytes) -> int:
        try:
            return self._socket.send(data)
        except (BlockingIOError, InterruptedError):
            return 0

    async def wait_readable(self) -> None:
        await trio.lowlevel.wait_readable(self._socket)

    async def wait_writable(self) -> None:
        await trio.lowlevel.wait_writable(self._socket)

    def close(self) -> None:
        if self._socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()


class SocketListener:
    """A listening TCP socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        name = sock.getsockname()
        self._address = (str(name[0]), int(name[1]))

    @property
    def address(self) -> tuple[str, int]:
        return self._address

    async def accept(self) -> SocketChannel:
        while True:
            try:
                sock, _ = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                await trio.lowlevel.wait_readable(self._socket)
            else:
                return SocketChannel(sock)

    def close(self) -> None:
        if self._socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()


class SocketTransport:
    """TCP over the operating system's sockets."""

    def __init__(self, *, reuse_port: bool = False, backlog: int = 1024) -> None:
        self._reuse_port = reuse_port
        self._backlog = backlog

    async def listen(self, host: str, port: int) -> SocketListener:
        infos = await trio.socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        # "localhost" may give both ::1 and 127.0.0.1; etcd's listeners take IPv4 where there is one.
        infos.sort(key=lambda info: info[0] != socket.AF_INET)
        family, kind, protocol, _, address = infos[0]
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if self._reuse_port:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.bind(address)
            sock.listen(self._backlog)
        except BaseException:
            sock.close()
            raise
        return SocketListener(sock)

    async def connect(self, host: str, port: int) -> SocketChannel:
        stream = await trio.open_tcp_stream(host, port)
        # Trio's wrapper has done its work (happy eyeballs); we keep the bare socket.
        fd = stream.socket.detach()
        return SocketChannel(socket.socket(fileno=fd))


def _join_address(name: object) -> str:
    """``host:port``, IPv6 hosts in brackets, as Go prints addresses."""
    if not isinstance(name, tuple):
        return str(name)
    host, port = name[0], name[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


# -- log, hooks, the whole -----------------------------------------------------


class LogSink(Protocol):
    """Where finished log lines go."""

    def write(self, line: str) -> None:
        """Take one line, without its line feed.  Must not raise and must not wait for long."""


class StderrSink:
    """Log lines on standard error, one write each."""

    def write(self, line: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # a closed stderr must not stop the server
            sys.stderr.write(line + "\n")
            sys.stderr.flush()


class Hooks:
    """Points at which a test may step in.  These do nothing; override what you need."""

    async def before_apply(self, first_index: int, last_index: int) -> None:
        """Runs before committed entries ``first_index`` to ``last_index`` are applied."""

    def before_sync(self, batch_number: int) -> None:
        """Runs before WAL batch ``batch_number`` is synced; an :class:`OSError` fails the sync."""


@attrs.frozen
class Environment:
    """The outside world of one server."""

    clock: Clock
    disk: Disk
    transport: Transport
    random: random.Random
    log_sink: LogSink
    hooks: Hooks = attrs.field(factory=Hooks)
    arguments: Sequence[str] = ()


def real_environment(*, fsync: bool = True) -> Environment:
    """The environment of a real process: machine clock, files, sockets, kernel randomness."""
    return Environment(
        clock=RealClock(),
        disk=RealDisk(fsync=fsync),
        transport=SocketTransport(),
        random=random.SystemRandom(),
        log_sink=StderrSink(),
        arguments=tuple(sys.argv),
    )
