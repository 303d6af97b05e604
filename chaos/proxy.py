"""The network between the members: one TCP listener before each member's peer port.

Members advertise the proxy's addresses, so all their traffic comes through here.  Bytes on a connection
from A to B belong to the link A→B, those that come back to the link B→A, whoever opened it: a cut of one
way is a cut of that way on every connection.  The rules are in :mod:`chaos.links`.

What it can't do: lose, repeat or reorder messages.  TCP doesn't, either; that is for a simulated network.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable, Iterable, Mapping

import attrs
import trio

from chaos.links import Link, Network, Way
from chaos.sender import HEAD_BYTES, owner_of_port, read_head

PIECE_BYTES = 64 * 1024
HEAD_SECONDS = 5.0


@attrs.define
class Directory:
    """Who is who: member ids (hexadecimal) as they are learnt, and the processes of the members."""

    ids: dict[str, int] = attrs.Factory(dict)
    pids: Callable[[], Mapping[int, int]] = dict


@attrs.define(eq=False)
class Connection:
    """One connection through the proxy, both legs of it."""

    receiver: int
    near: trio.SocketStream
    far: trio.SocketStream | None = None
    sender: int | None = None
    scope: trio.CancelScope = attrs.Factory(trio.CancelScope)
    swallowing: bool = False


class Proxy:
    """Listeners for all members, and what a fault may do to connections that are there."""

    def __init__(self, network: Network, directory: Directory) -> None:
        self.network = network
        self.directory = directory
        self._connections: set[Connection] = set()

    async def serve(
        self,
        receiver: int,
        listener: trio.SocketListener,
        target_port: int,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Hand what arrives at ``listener`` to ``target_port`` of member ``receiver``, until cancelled."""

        async def handle(stream: trio.SocketStream) -> None:
            connection = Connection(receiver, stream)
            self._connections.add(connection)
            try:
                with connection.scope:
                    await self._carry(connection, target_port)
            except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
                pass  # either end is gone; so is the connection
            finally:
                self._connections.discard(connection)
                for leg in (connection.near, connection.far):
                    if leg is not None:
                        leg.socket.close()

        async with trio.open_nursery() as nursery:
            task_status.started()
            await trio.serve_listeners(handle, [listener], handler_nursery=nursery)

    # -- faults -------------------------------------------------------------------------

    def reset(self, ways: Iterable[Way]) -> int:
        """Break all connections on ``ways`` with RST to both ends; returns how many."""
        return self.drop(self._between(ways))

    def drop(self, connections: Iterable[Connection]) -> int:
        """Break these connections, as far as they are still there, with RST to both ends.

        Returns how many.
        """
        broken = [one for one in connections if one in self._connections]
        for connection in broken:
            for leg in (connection.near, connection.far):
                if leg is not None:
                    _send_reset(leg)
            connection.scope.cancel()
        return len(broken)

    def half_open(self, ways: Iterable[Way]) -> list[Connection]:
        """Take the far end of all connections on ``ways`` away without telling the near one; returns them.

        A real network finds out sooner or later, by keep-alive or because somebody answers with RST: end it
        with :meth:`drop`.
        """
        broken = self._between(ways)
        for connection in broken:
            connection.swallowing = True
            if connection.far is not None:
                _send_reset(connection.far)
                connection.far.socket.close()
        return broken

    def _between(self, ways: Iterable[Way]) -> list[Connection]:
        wanted = set(ways)
        return [one for one in self._connections if (one.sender, one.receiver) in wanted]

    # -- carrying --------------------------------------------------------------------------

    async def _carry(self, connection: Connection, target_port: int) -> None:
        head = await self._identify(connection)
        if not head:
            return
        there = self.network.link(connection.sender, connection.receiver)
        back = self.network.link(connection.receiver, connection.sender)
        await there.passage(len(head))
        connection.far = far = await trio.open_tcp_stream("127.0.0.1", target_port)
        await far.send_all(head)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._pump, connection, connection.near, far, there)
            nursery.start_soon(self._pump, connection, far, connection.near, back)

    async def _identify(self, connection: Connection) -> bytes:
        """Read until the sender is known, or can't be; returns what was read."""
        data = b""
        with trio.move_on_after(HEAD_SECONDS):
            while not (head := read_head(data)).complete and len(data) < HEAD_BYTES:
                piece = await connection.near.receive_some(PIECE_BYTES)
                if not piece:
                    return data
                data += piece
        head = read_head(data)
        connection.sender = self.directory.ids.get(head.sender)
        if connection.sender is None:
            port = connection.near.socket.getpeername()[1]
            connection.sender = owner_of_port(port, self.directory.pids())
        return data

    async def _pump(
        self, connection: Connection, source: trio.SocketStream, sink: trio.SocketStream, link: Link
    ) -> None:
        try:
            while piece := await source.receive_some(PIECE_BYTES):
                await link.passage(len(piece))
                if not connection.swallowing:
                    await sink.send_all(piece)
            if not connection.swallowing:
                await sink.send_eof()
                return
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            if not connection.swallowing:
                connection.scope.cancel()
                return
        if source is connection.near:
            connection.scope.cancel()  # the near end gave up: nothing is left of it


def _send_reset(stream: trio.SocketStream) -> None:
    """Have closing send RST."""
    with contextlib.suppress(OSError, trio.ClosedResourceError):  # it is closed already
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def open_listeners(count: int) -> list[tuple[trio.SocketListener, int]]:
    """``count`` listeners on free loopback ports, with the ports."""
    opened = []
    for _ in range(count):
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        opened.append((listener, int(listener.socket.getsockname()[1])))
    return opened
