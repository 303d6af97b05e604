"""Server processes for black-box tests: start, wait until ready, kill, start again.

The same class runs rusd and the reference etcd, so that each test can be checked against the original:
``RUSD_TEST_SERVER=etcd`` makes :func:`kind_under_test` answer ``"etcd"``, and a path there runs that etcd.

Both get the same advertised URLs, whatever ports they listen on.  Member and cluster ids are computed
from those, so two servers started here agree on every id, and answers compare without touching them.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.tools import etcd_binary

ADDRESSES_LINE = "now serving peer/client/metrics"
READY_LINE = "ready to serve client requests"
POLL_SECONDS = 0.01
START_SECONDS = 60.0
STOP_SECONDS = 30.0
ADVERTISED_CLIENT_URL = "http://localhost:2379"
ADVERTISED_PEER_URL = "http://localhost:2380"


def kind_under_test() -> str:
    """Which server the tests are about: rusd, unless ``RUSD_TEST_SERVER`` says otherwise."""
    return os.environ.get("RUSD_TEST_SERVER", "rusd")


class StartError(Exception):
    """The process ended, or wasn't ready in time; carries the tail of its log."""


class Server:
    """One server and the folder it lives in.  A context manager: the process is gone after it.

    ``kind`` is ``"rusd"``, ``"etcd"`` for the reference, or the path of another etcd binary.
    ``directory`` holds the data and the log; it must exist.  ``flags`` go to the process as they are.
    ``sync=False`` runs without fsync, for tests that don't kill.
    """

    def __init__(self, kind: str, directory: Path, flags: Sequence[str] = (), *, sync: bool = True) -> None:
        self.kind = kind
        self.data_dir = directory / "data"
        self.log_path = directory / "server.log"
        self._ready_file = directory / "ready.json"
        self._flags = [*flags, *([] if sync else ["--unsafe-no-fsync"])]
        self._client_port = 0
        self._peer_port = 0
        self._process: subprocess.Popen[bytes] | None = None

    # -- addresses ------------------------------------------------------------

    @property
    def target(self) -> str:
        """``host:port`` of the client listener, as gRPC clients take it."""
        return f"127.0.0.1:{self._client_port}"

    @property
    def url(self) -> str:
        """The client listener as a URL."""
        return f"http://{self.target}"

    @property
    def host_and_port(self) -> tuple[str, int]:
        """The client listener as a pair."""
        return "127.0.0.1", self._client_port

    # -- life -----------------------------------------------------------------

    @property
    def pid(self) -> int:
        """The process id; the process must have been started."""
        assert self._process is not None, "not started"
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is there and hasn't ended."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the process and wait until it serves.  The second start takes the same ports and data.

        Raises :class:`StartError`.
        """
        self.launch()
        self.wait_until_ready()

    def launch(self) -> None:
        """Start the process without waiting; :meth:`wait_until_ready` does that."""
        assert not self.running, "already running"
        if self.kind != "rusd" and not self._client_port:
            # etcd doesn't tell which port it got for port 0, so two are chosen for it.
            self._client_port, self._peer_port = free_port(), free_port()
        self._ready_file.unlink(missing_ok=True)
        with self.log_path.open("wb") as log:
            command = [*self._command(), *self._flags]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=_clean_environment())

    def wait_until_ready(self, seconds: float = START_SECONDS) -> None:
        """Wait for the ready line (etcd) or the ready file (rusd); raises :class:`StartError`."""
        assert self._process is not None, "not launched"
        deadline = time.monotonic() + seconds
        while not self._ready():
            if self._process.poll() is not None:
                raise StartError(f"{self.kind} ended with {self._process.returncode}:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                self.kill()
                raise StartError(f"{self.kind} wasn't ready after {seconds} s:\n{self.log_tail()}")
            time.sleep(POLL_SECONDS)

    def kill(self) -> None:
        """SIGKILL, and wait until the process is gone.  Fine when it already is."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait(STOP_SECONDS)

    def terminate(self) -> int:
        """SIGTERM, wait for the end, and return the exit status as subprocess gives it."""
        assert self._process is not None, "not started"
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def restart(self) -> None:
        """End the process in an orderly way and start it again on the same data and ports."""
        self.terminate()
        self.start()

    def log_tail(self, lines: int = 40) -> str:
        """The last lines of what the process wrote."""
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    # -- helpers --------------------------------------------------------------

    def _command(self) -> list[str]:
        if self.kind == "rusd":
            program = [sys.executable, "-m", "rusd", f"--ready-file={self._ready_file}"]
        else:
            program = [str(etcd_binary()) if self.kind == "etcd" else self.kind]
        return [
            *program,
            "--name=default",
            f"--data-dir={self.data_dir}",
            f"--listen-client-urls=http://127.0.0.1:{self._client_port}",
            f"--listen-peer-urls=http://127.0.0.1:{self._peer_port}",
            f"--advertise-client-urls={ADVERTISED_CLIENT_URL}",
            f"--initial-advertise-peer-urls={ADVERTISED_PEER_URL}",
            f"--initial-cluster=default={ADVERTISED_PEER_URL}",
        ]

    def _ready(self) -> bool:
        if self.kind != "rusd":
            return READY_LINE.encode() in self.log_path.read_bytes()
        if not self._ready_file.exists():
            return False
        # The ready file has the URLs that others are told, which are made up here; the log has the real ones.
        addresses = self._log_entry(ADDRESSES_LINE)
        self._client_port = _port(addresses["listen-client-urls"][0])
        self._peer_port = _port(addresses["listen-peer-urls"][0])
        return True

    def _log_entry(self, message: str) -> dict[str, Any]:
        for line in self.log_path.read_text().splitlines():
            if message in line:
                entry: dict[str, Any] = json.loads(line)
                return entry
        raise StartError(f"no {message!r} in the log:\n{self.log_tail()}")


def free_port() -> int:
    """A TCP port of the loopback interface that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _port(url: str) -> int:
    return int(url.rsplit(":", 1)[1].rstrip("/"))


def _clean_environment() -> dict[str, str]:
    """This process's environment without ``ETCD_*``, which are flags to a server, and with rusd to import."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ETCD")}
    found = importlib.util.find_spec("rusd")
    if found is not None and found.origin is not None:
        environment["PYTHONPATH"] = str(Path(found.origin).parent.parent)
    return environment
