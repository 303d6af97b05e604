"""The shell scripts, on a server that only sleeps."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "chaos" / "shell"
SECONDS = 60


class Shell:
    """The scripts, with a folder of their own."""

    def __init__(self, folder: Path) -> None:
        server = folder / "server"
        server.write_text('#!/bin/sh\necho "$@"\nexec sleep 300\n')
        server.chmod(0o755)
        self.folder = folder / "cluster"
        self._environment = {
            **os.environ,
            "CHAOS_DIR": str(self.folder),
            "CHAOS_SERVER": str(server),
            "CHAOS_FLAGS": "--one=1 --two=2",
            "CHAOS_PORT": "23790",
        }

    def run(self, script: str, *arguments: str, status: int = 0) -> str:
        """What the script says."""
        done = subprocess.run(
            [str(SCRIPTS / script), *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == status, done.stderr
        return done.stdout + done.stderr

    def up(self) -> list[str]:
        """The members that run."""
        lines = self.run("cluster.sh", "status").splitlines()
        return [line.split()[0] for line in lines if line.split()[1] == "up,"]


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(tmp_path)
    yield shell
    if (shell.folder / "size").exists():
        shell.run("cluster.sh", "down")


def test_members_start_die_and_come_back(shell: Shell) -> None:
    shell.run("cluster.sh", "start", "3")
    assert shell.up() == ["n0", "n1", "n2"]
    shell.run("cluster.sh", "kill", "1")
    shell.run("cluster.sh", "pause", "2")
    shell.run("cluster.sh", "resume", "2")
    shell.run("cluster.sh", "stop", "2")
    assert shell.up() == ["n0"]
    shell.run("cluster.sh", "restart", "1")
    assert shell.up() == ["n0", "n1"]
    shell.run("cluster.sh", "start")
    assert shell.up() == ["n0", "n1", "n2"]
    shell.run("cluster.sh", "down")
    assert shell.up() == []


def test_members_are_told_their_part(shell: Shell) -> None:
    shell.run("cluster.sh", "start", "2")
    log = shell.folder / "n1" / "log"
    while not log.read_text().endswith("\n"):
        pass
    words = log.read_text().split()
    assert "--name=n1" in words
    assert "--initial-cluster=n0=http://127.0.0.1:23791,n1=http://127.0.0.1:23793" in words
    assert words[-2:] == ["--one=1", "--two=2"]
    assert shell.run("cluster.sh", "endpoints") == "http://127.0.0.1:23790,http://127.0.0.1:23792\n"


def test_a_killing_round_ends_with_everybody_up(shell: Shell) -> None:
    shell.run("cluster.sh", "start", "2")
    before = {name: (shell.folder / name / "pid").read_text() for name in ("n0", "n1")}
    shell.run("kill-loop.sh", "1", "0", "0")
    assert shell.up() == ["n0", "n1"]
    after = {name: (shell.folder / name / "pid").read_text() for name in ("n0", "n1")}
    assert sum(before[name] != after[name] for name in before) == 1


def test_what_makes_no_sense_is_refused(shell: Shell) -> None:
    assert "no cluster" in shell.run("cluster.sh", "kill", "0", status=2)
    shell.run("cluster.sh", "start", "1")
    assert "no member 7" in shell.run("cluster.sh", "kill", "7", status=2)
    assert "which member" in shell.run("cluster.sh", "kill", "x", status=2)
    assert "start [N]" in shell.run("cluster.sh", "nonsense", status=2)
    shell.run("cluster.sh", "kill", "0")
    assert "not running" in shell.run("cluster.sh", "pause", "0", status=2)
