"""One socket and one HTTP/2 connection: moves bytes between them, in turns.

A turn is: receive once, parse a bounded number of frames, send once.  What the
socket doesn't take at once is left to a writer task that exists only as long as
there is something left.  While more than a bound is left nothing is read, so a
client that never reads can't make us keep what it asks for; one that takes
nothing at all for a while loses its connection.

Nothing that goes wrong in a turn leaves this module: a broken socket closes the
connection, anything else is logged and closes it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import trio

from rusd.environment import Channel, Clock
from rusd.grpc.deadlines import Deadline, Deadlines
from rusd.http2 import Connection
from rusd.logs import Logger
from rusd.net.limits import Limits
from rusd.net.poller import Poller
from rusd.signal import Signal


class Engine(Protocol):
    """The gRPC side of the connection, either role."""

    @property
    def http2(self) -> Connection: ...

    def begin_turn(self) -> None: ...

    def end_turn(self) -> None: ...

    def lost(self) -> None:
        """No more bytes will come or go."""


class Link:
    """Owns ``channel``; :meth:`run` is its reading task, ``nursery`` gets the writing one."""

    def __init__(
        self,
        channel: Channel,
        engine: Engine,
        nursery: trio.Nursery,
        *,
        clock: Clock,
        deadlines: Deadlines,
        limits: Limits,
        log: Logger,
        poller: Poller | None = None,
    ) -> None:
        self._channel = channel
        self._poller = poller
        self._engine = engine
        self._http2 = engine.http2
        self._nursery = nursery
        self._clock = clock
        self._deadlines = deadlines
        self._limits = limits
        self._log = log
        self._left: list[bytes] = []  # taken from http2, not taken by the socket
        self._left_bytes = 0
        self._writing = False
        self._stall: Deadline | None = None  # set as long as the writer runs
        self._room = Signal()
        self._flushing = False
        self._closed = False
        self._more = False  # whether whole frames are left after a turn that the poller called
        self.turns = 0
        """How many times something was read."""
        self.relieved = 0
        """How many times a socket that was full took more: the peer takes what is sent."""
        self.on_kept: Callable[[], None] | None = None
        """Called when the socket has taken less than there was."""
        self.close_when: Callable[[], bool] | None = None
        """Asked whenever all is sent; the connection closes once it says yes."""
        engine.http2.initiate()

    # -- reading -----------------------------------------------------------------------

    async def run(self, initial: bytes = b"") -> None:
        """Serve the connection until either side ends it; ``initial`` was read before."""
        try:
            more = self._turn(initial)
            while True:
                if self.paused:
                    # Not until there is room when this task runs: the writer has filled it by then, as
                    # long as there is more, and whoever reads slowly would not be heard before the end.
                    await self._room.wait()
                if self._http2.closed or self._closed:
                    break
                if more:
                    await trio.lowlevel.checkpoint()
                    more = self._turn(b"")
                elif self._poller is not None and await self._poller.attend(self._channel, self._read):
                    more = self._more
                elif data := await self._receive():
                    more = self._turn(data)
                else:
                    break
            if self._http2.closed:
                await self._say_goodbye()
        finally:
            self._engine.lost()
            self.flush()
            self.close()
            self._http2.abandon()  # cuts the cycle between it and the engine, which no collector looks for

    async def _receive(self) -> bytes:
        """The next bytes; ``b""`` if there will be none."""
        try:
            while True:
                await self._channel.wait_readable()
                data = self._channel.try_receive(self._limits.receive_bytes)
                if data is not None:
                    return data
        except (OSError, trio.ClosedResourceError):
            return b""

    def _read(self) -> bool:
        """A turn of a connection that is idle; False if anything but the next bytes is to be waited for."""
        try:
            data = self._channel.try_receive(self._limits.receive_bytes)
        except OSError:
            data = b""
        if data is None:
            return True
        if not data:
            self.close()
            return False
        self._more = self._turn(data)
        return not (self._more or self.paused or self._http2.closed or self._closed)

    def _turn(self, data: bytes) -> bool:
        """Parse, call, send; returns whether whole frames are left."""
        if self._closed:
            return False
        engine, http2 = self._engine, self._http2
        self.turns += 1
        try:
            engine.begin_turn()
            http2.receive(data)
            more = http2.advance(self._limits.turn_frames)
            engine.end_turn()
        except Exception as error:
            self._log.error("connection failed", remote_addr=self._channel.peer, error=error)
            self.close()
            return False
        self.flush()
        return more

    async def _say_goodbye(self) -> None:
        """Read and drop for a moment: closing with unread bytes would take our GOAWAY away from the peer."""
        deadline = self._clock.monotonic() + self._limits.goodbye_timeout
        entry = self._deadlines.add(deadline, self.close)
        try:
            while not self._closed and await self._receive():
                pass
        finally:
            self._deadlines.cancel(entry)

    # -- writing ---------------------------------------------------------------------------

    @property
    def left_bytes(self) -> int:
        """What the socket has not taken yet."""
        return self._left_bytes

    @property
    def paused(self) -> bool:
        """Whether nothing is read for now, because too much is left to write."""
        return self._left_bytes > self._limits.output_bytes

    def flush(self) -> None:
        """Send what can be sent without waiting; a writer task takes care of the rest."""
        if self._closed or self._flushing:
            return
        self._flushing = True  # taking from http2 may wake a stream that writes, and flushes
        try:
            if self._left:
                self._collect()
                return
            http2, channel = self._http2, self._channel
            while data := http2.data_to_send():
                sent = channel.try_send(data)
                if sent < len(data):
                    self._keep(data[sent:])
                    self._begin_writing()
                    return
            if self.close_when is not None and self.close_when():
                self.close()
        except OSError:
            self.close()
        except Exception as error:
            self._log.error("connection failed", remote_addr=self._channel.peer, error=error)
            self.close()
        finally:
            self._flushing = False

    def _keep(self, data: bytes) -> None:
        """The socket is full: keep ``data`` until it is not."""
        self._left.append(data)
        self._left_bytes += len(data)
        if self.on_kept is not None:
            self.on_kept()

    def _begin_writing(self) -> None:
        """Have the writer task wait for the socket."""
        if not self._writing:
            self._writing = True
            self._watch_progress()
            self._nursery.start_soon(self._write)

    def _collect(self) -> None:
        """Take more from http2, but not without bound: what stays there waits in its stream."""
        while not self.paused and (data := self._http2.data_to_send()):
            self._keep(data)

    async def _write(self) -> None:
        try:
            while self._left:
                await self._channel.wait_writable()
                self._write_some()
                self.flush()  # what was queued meanwhile
        except (OSError, trio.ClosedResourceError):
            self.close()
        finally:
            self._writing = False
            if self._stall is not None:
                self._deadlines.cancel(self._stall)
                self._stall = None
            self._room.set()

    def _write_some(self) -> None:
        data = self._left[0] if len(self._left) == 1 else b"".join(self._left)
        sent = self._channel.try_send(data)
        rest = data[sent:]
        self._left = [rest] if rest else []
        self._left_bytes = len(rest)
        if sent:
            self.relieved += 1
            self._watch_progress()
        if not self.paused:
            self._room.set()

    def _watch_progress(self) -> None:
        if self._stall is not None:
            self._deadlines.cancel(self._stall)
        deadline = self._clock.monotonic() + self._limits.stall_timeout
        self._stall = self._deadlines.add(deadline, self._on_stalled)

    def _on_stalled(self) -> None:
        self._log.warn("closing a connection that takes no data", remote_addr=self._channel.peer)
        self.close()

    # -- the end --------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the socket; :meth:`run` returns soon."""
        if self._closed:
            return
        self._closed = True
        self._left.clear()
        self._left_bytes = 0
        if self._poller is not None:
            self._poller.forget(self._channel)
        self._channel.close()
        self._room.set()
