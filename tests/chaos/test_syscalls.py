"""A process whose syncs are in our hands: they wait, they fail, and everything else goes on."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from chaos.syscalls import DiskGate, available

PROGRAM = """
import os, sys, time
with open(sys.argv[1], "wb") as file:
    for _ in range(3):
        file.write(b"x")
        begun = time.monotonic()
        try:
            os.fdatasync(file.fileno())
        except OSError as error:
            print("failed", error.errno, flush=True)
        else:
            print("synced", int(1000 * (time.monotonic() - begun)), flush=True)
"""
PATIENCE = 30.0


async def run(gate: DiskGate, path: Path) -> list[list[str]]:
    """What the program says about its syncs."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(path)],
        stdout=subprocess.PIPE,
        preexec_fn=gate.prepare(),  # noqa: PLW1509
    )
    with trio.fail_after(PATIENCE):
        await gate.serve()  # ends with the process
    output, _ = process.communicate()
    assert process.returncode == 0
    return [line.split() for line in output.decode().splitlines()]


@pytest.fixture(autouse=True)
def _possible() -> None:
    if not available():
        pytest.skip("no seccomp user notification here")


async def test_syncs_pass_when_nothing_is_wrong(tmp_path: Path) -> None:
    gate = DiskGate()
    assert [word for word, _ in await run(gate, tmp_path / "file")] == ["synced"] * 3
    assert gate.held == 0


async def test_a_slow_disk_is_slow(tmp_path: Path) -> None:
    gate = DiskGate()
    gate.delay = 0.05
    said = await run(gate, tmp_path / "file")
    assert all(word == "synced" and int(milliseconds) >= 50 for word, milliseconds in said)
    assert gate.held == 3


async def test_a_full_disk_fails_as_a_full_disk_does(tmp_path: Path) -> None:
    gate = DiskGate()
    gate.error = errno.ENOSPC
    assert await run(gate, tmp_path / "file") == [["failed", str(errno.ENOSPC)]] * 3
