"""Byte streams: four methods that every connection is used through, and what makes connections."""

from __future__ import annotations

import contextlib
import errno
import resource
import socket
from typing import Protocol

import trio

_KEEPALIVE_SECONDS = 30  # as etcd's listeners have it


class Channel(Protocol):
    """A connected byte stream with one owner.

    The two ``try_`` methods never wait; the two ``wait_`` methods never move a
    byte.  All raise :class:`OSError` once the connection is broken.
    """

    @property
    def peer(self) -> str:
        """The other end as ``host:port``, for log lines and access control."""

    def fileno(self) -> int:
        """A descriptor that is readable when :meth:`try_receive` is worth a try; negative if none tells."""

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


class Resolver(Protocol):
    """Knows the addresses of hosts."""

    async def address(self, host: str) -> str:
        """The first IP address of ``host``.  Raises :class:`OSError`."""


class SystemResolver:
    """The operating system's: hosts file, DNS."""

    async def address(self, host: str) -> str:
        try:
            infos = await trio.socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except UnicodeError as error:
            raise _bad_name(host, error) from None
        return str(infos[0][4][0])


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
        self._peer = join_address(name[0], name[1]) if isinstance(name, tuple) else str(name)

    @property
    def peer(self) -> str:
        return self._peer

    def fileno(self) -> int:
        return self._socket.fileno()

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
                _keep_alive(sock)
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
        try:
            stream = await trio.open_tcp_stream(host, port)
        except UnicodeError as error:  # no name at all, such as "a..b"; members' URLs are anybody's text
            raise _bad_name(host, error) from None
        # Trio's wrapper has done its work (happy eyeballs); we keep the bare socket.
        fd = stream.socket.detach()
        return SocketChannel(socket.socket(fileno=fd))


def _bad_name(host: str, error: UnicodeError) -> OSError:
    return OSError(errno.EINVAL, f"bad host name {host!r}: {error}")


def descriptor_limit() -> int | None:
    """How many files and sockets this process may have open; ``None`` for any number."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def _keep_alive(sock: socket.socket) -> None:
    """Have the system find out that the other machine is gone, when it goes without a word."""
    with contextlib.suppress(OSError):  # not a TCP socket
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option in ("TCP_KEEPIDLE", "TCP_KEEPINTVL"):  # macOS has no name for the first
            if hasattr(socket, option):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), _KEEPALIVE_SECONDS)


def join_address(host: str, port: int) -> str:
    """``host:port``, IPv6 hosts in brackets, as Go prints addresses."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
