"""The seam between rusd and the outside world.

Everything that touches clock, disk, network, threads or chance comes in through an
:class:`Environment`, so that a test can own it.  Here are the contracts and the
real implementations (:func:`real_environment`), a disk in memory among them;
the fakes live in :mod:`rusd.testing`.

Nothing else in rusd may call ``time``, ``random``, ``socket`` or ``open``.
"""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Callable, Sequence
from typing import Protocol

import attrs

from rusd.environment.clock import Clock, RealClock
from rusd.environment.disk import Disk, DiskFile, RealDisk, RealFile
from rusd.environment.memory import MemoryDisk
from rusd.environment.network import (
    Channel,
    Listener,
    Resolver,
    SocketChannel,
    SocketListener,
    SocketTransport,
    SystemResolver,
    Transport,
    descriptor_limit,
    join_address,
)
from rusd.environment.threads import Threads, WorkerThreads

__all__ = [
    "Channel",
    "Clock",
    "Disk",
    "DiskFile",
    "Environment",
    "Hooks",
    "Listener",
    "LogSink",
    "MemoryDisk",
    "RealClock",
    "RealDisk",
    "RealFile",
    "Resolver",
    "SocketChannel",
    "SocketListener",
    "SocketTransport",
    "StderrSink",
    "SystemResolver",
    "Threads",
    "Transport",
    "WorkerThreads",
    "descriptor_limit",
    "join_address",
    "real_environment",
]


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
    """Points at which a test may step in.  These do nothing; override what you need in a subclass."""

    async def before_apply(self, first_index: int, last_index: int) -> None:
        """Runs before committed entries ``first_index`` to ``last_index`` are applied."""

    def before_sync(self, batch_number: int) -> None:
        """Runs before WAL batch ``batch_number`` is synced; an :class:`OSError` fails the sync."""


def _nothing() -> None:
    """What most processes do after a slice of long work."""


@attrs.frozen
class Environment:
    """The outside world of one server.

    ``after_slice`` is called after each slice of work that takes many turns: a process that tunes
    its garbage collector keeps it away from the large lists that are being made.
    """

    clock: Clock
    disk: Disk
    transport: Transport
    random: random.Random
    log_sink: LogSink
    hooks: Hooks = attrs.field(factory=Hooks)
    threads: Threads = attrs.field(factory=WorkerThreads)
    arguments: Sequence[str] = ()
    after_slice: Callable[[], None] = _nothing
    resolver: Resolver = attrs.field(factory=SystemResolver)


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
