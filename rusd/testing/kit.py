"""A configuration and an environment for tests, with the handles to step in."""

from __future__ import annotations

import json
import random
from typing import Any

import trio

from rusd.config import Config, parse_urls
from rusd.environment import (
    Clock,
    Disk,
    Environment,
    Hooks,
    RealClock,
    SocketTransport,
    Threads,
    Transport,
    WorkerThreads,
)
from rusd.testing.disk import MemoryDisk


class ListSink:
    """Keeps log lines: ``lines`` as text, :meth:`events` parsed."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, line: str) -> None:
        self.lines.append(line)

    def events(self, message: str | None = None) -> list[dict[str, Any]]:
        """The JSON lines, or those with that ``msg``."""
        parsed: list[dict[str, Any]] = [json.loads(line) for line in self.lines]
        return [event for event in parsed if message is None or event["msg"] == message]


class ApplyGate(Hooks):
    """Hooks that hold committed entries back while the gate is closed.

    Writes are then on disk and not answered; linearizable reads wait, others see the state before.
    """

    def __init__(self) -> None:
        self._open = trio.Event()
        self._open.set()
        self.waiting = trio.Event()
        """Set once an entry waits at the closed gate."""

    def close(self) -> None:
        """Hold back what is applied from now on."""
        self._open = trio.Event()
        self.waiting = trio.Event()

    def open(self) -> None:
        """Let everything through."""
        self._open.set()

    async def before_apply(self, first_index: int, last_index: int) -> None:
        if not self._open.is_set():
            self.waiting.set()
        await self._open.wait()


def local_config(**settings: Any) -> Config:
    """A member in memory, on free ports of the loopback interface; ``settings`` are fields of ``Config``."""
    any_port = parse_urls("http://127.0.0.1:0")
    defaults: dict[str, Any] = {
        "data_dir": ":memory:",
        "listen_client_urls": any_port,
        "advertise_client_urls": any_port,
        "listen_peer_urls": any_port,
        "initial_advertise_peer_urls": any_port,
        "initial_cluster": "default=http://127.0.0.1:0",
        "log_level": "warn",
    }
    return Config(**(defaults | settings))


def make_environment(
    *,
    clock: Clock | None = None,
    disk: Disk | None = None,
    transport: Transport | None = None,
    seed: int = 0,
    hooks: Hooks | None = None,
    log_sink: ListSink | None = None,
    threads: Threads | None = None,
) -> Environment:
    """An environment with the fakes given; else the real clock and sockets, and a disk in memory.

    To have ``disk`` used, give ``Config`` a ``data_dir`` other than ``:memory:``.
    """
    return Environment(
        clock=clock or RealClock(),
        disk=disk or MemoryDisk(),
        transport=transport or SocketTransport(),
        random=random.Random(seed),
        log_sink=log_sink or ListSink(),
        hooks=hooks or Hooks(),
        threads=threads or WorkerThreads(),
    )
