"""Running etcdctl and making what it prints comparable.

Ids of members, raft terms and revisions are the same on both servers (see :mod:`tests.support.processes`) and
stay as they are.  What is replaced: the endpoint, ids of leases that the server chose, sizes, raft indexes,
versions, durations, and how many seconds of a lease are left.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs

from tests.support.processes import Server
from tests.support.tools import etcd_binary

COMMAND_SECONDS = 60.0
_REPLACEMENTS: Sequence[tuple[re.Pattern[str], str]] = (
    (re.compile(r"127\.0\.0\.1:\d+"), "ENDPOINT"),
    # What the client itself logs: clock readings, addresses of its objects.
    (re.compile(r'^\{"level":.*\n?', re.MULTILINE), ""),
    (re.compile(r"took = \S+"), "took = TIME"),
    (re.compile(r'"Took" : \S+'), '"Took" : TIME'),
    (re.compile(r"Took \S+(\. \S+)?"), "Took TIME"),
    (re.compile(r'"took":"[^"]+"'), '"took":"TIME"'),
    (re.compile(r"remaining\(\d+s\)"), "remaining(LEFT)"),
    (re.compile(r'"(dbSize|dbSizeInUse|raftIndex|raftAppliedIndex)":\d+'), r'"\1":NUMBER'),
    (re.compile(r'"(DBSize|DBSizeInUse|RaftIndex|RaftAppliedIndex)" : \d+'), r'"\1" : NUMBER'),
    (re.compile(r'(?<="ttl":)\d+(?=,"granted-ttl")'), "LEFT"),
    (re.compile(r'(?<="TTL" : )\d+'), "LEFT"),
    (re.compile(r"\b3\.[56]\.\d+\b"), "VERSION"),
    (re.compile(r"\d+ [kM]B"), "SIZE"),
    (re.compile(r"\b\d+(\.\d+)?[mµ]s\b"), "TIME"),
    # Of a line of endpoint status: the term stays, the two indexes go.
    (re.compile(r"((?:true|false), \d+), \d+, \d+,"), r"\1, INDEX, INDEX,"),
    (re.compile(r"((?:true|false) \| +\d+ \|) +\d+ \| +\d+ \|"), r"\1 INDEX | INDEX |"),
    # The widths of a table's columns follow what is in them.
    (re.compile(r"-{3,}|-+(?=\+)"), "-"),
    (re.compile(r" {2,}"), " "),
    (re.compile(r"\s+$", re.MULTILINE), ""),
)
# 63-bit ids, in hex as etcdctl prints them and in decimal as its JSON does.  The ids of the member and of the
# cluster here have bit 63 set, and so don't match.
_LEASE_ID = re.compile(r"\b([1-7][0-9a-f]{15}|[0-9a-f]{12,15}|[0-9]{17,19})\b")


@attrs.frozen
class Result:
    """How a command ended and what it printed, comparable."""

    status: int
    stdout: str
    stderr: str


@attrs.define
class Etcdctl:
    """etcdctl against one server.  ``${name}`` in arguments is what :meth:`remember` stored as that."""

    server: Server
    folder: Path
    memory: dict[str, str] = attrs.Factory(dict)
    running: list[Background] = attrs.Factory(list)

    def run(self, *arguments: str, stdin: str = "", seconds: float = COMMAND_SECONDS) -> Result:
        """Run one command to its end."""
        done = subprocess.run(
            self._command(arguments),
            input=stdin,
            capture_output=True,
            text=True,
            errors="backslashreplace",
            timeout=seconds,
            env=_environment(),
            cwd=self.folder,
            check=False,
        )
        return Result(done.returncode, self.normalise(done.stdout), self.normalise(done.stderr))

    def remember(self, name: str, pattern: str, *arguments: str) -> Result:
        """Run a command and store the first group of ``pattern`` in its output under ``name``."""
        done = subprocess.run(
            self._command(arguments), capture_output=True, text=True, env=_environment(), check=False
        )
        found = re.search(pattern, done.stdout)
        assert found is not None, f"{arguments} printed {done.stdout!r} and {done.stderr!r}"
        self.memory[name] = found.group(1)
        return Result(done.returncode, self.normalise(done.stdout), self.normalise(done.stderr))

    def background(self, *arguments: str, stdin: str = "") -> Background:
        """Start a command that runs until it is told to stop, at the latest by :meth:`stop`."""
        started = Background(self._command(arguments), self.folder, stdin, self.normalise)
        self.running.append(started)
        return started

    def stop(self) -> None:
        """Stop whatever runs in the background."""
        for one in self.running:
            one.stop()

    def normalise(self, text: str) -> str:
        """Replace everything that may differ."""
        for name, value in self.memory.items():
            text = text.replace(value, f"<{name}>").replace(str(_number(value)), f"<{name}>")
        for pattern, replacement in _REPLACEMENTS:
            text = pattern.sub(replacement, text)
        return _LEASE_ID.sub("LEASE", text)

    def _command(self, arguments: Sequence[str]) -> list[str]:
        filled = [re.sub(r"\$\{(\w+)\}", lambda found: self.memory[found[1]], one) for one in arguments]
        return [str(etcd_binary("etcdctl")), f"--endpoints={self.server.target}", *filled]


class Background:
    """A running etcdctl whose output is read as it comes."""

    def __init__(
        self, command: Sequence[str], folder: Path, stdin: str, normalise: Callable[[str], str]
    ) -> None:
        self._normalise = normalise
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="backslashreplace",
            env=_environment(),
            cwd=folder,
            preexec_fn=_heed_interrupts,  # noqa: PLW1509 - it calls nothing that takes a lock
        )
        assert self._process.stdin is not None
        self._process.stdin.write(stdin)
        self._process.stdin.flush()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_for_lines(self, count: int, seconds: float = COMMAND_SECONDS) -> list[str]:
        """Wait until so many lines have been printed, and return all there are."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self._lines) >= count, seconds), (
                f"{count} lines expected, but these came: {self._lines}"
            )
            return [self._normalise(line) for line in self._lines]

    def stop(self, number: int = signal.SIGINT) -> list[str]:
        """Interrupt it as a user would, and return everything it printed; once is enough."""
        if self._process.poll() is None:
            self._process.send_signal(number)
        try:
            self._process.wait(COMMAND_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        finally:
            self._reader.join(COMMAND_SECONDS)
            for pipe in (self._process.stdin, self._process.stdout):
                assert pipe is not None
                pipe.close()
        return [self._normalise(line) for line in self._lines]

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._changed:
                self._lines.append(line.rstrip("\n"))
                self._changed.notify_all()


def _heed_interrupts() -> None:
    """Whoever runs tests in the background may have told them, and so their children, to ignore these."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _environment() -> dict[str, str]:
    """No ETCDCTL_* of the user's; version 3 of the API is etcdctl 3.5's default."""
    return {name: value for name, value in os.environ.items() if not name.startswith("ETCD")}


def _number(text: str) -> int | str:
    """A lease id in decimal, as JSON output has it."""
    try:
        return int(text, 16)
    except ValueError:
        return text
