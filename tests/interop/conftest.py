"""What the interoperability tests share: a server, and environments for other people's clients."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.support.processes import Server, kind_under_test

ROOT = Path(__file__).resolve().parents[2]
RUN_SECONDS = 300.0
INSTALL_SECONDS = 900.0

PythonWith = Callable[[Sequence[str]], Path]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A fresh server under test."""
    with Server(kind_under_test(), tmp_path) as server:
        yield server


@pytest.fixture(scope="session")
def cache() -> Path:
    """A folder that outlives the run, for what was installed or built."""
    folder = Path(os.environ.get("TOX_WORK_DIR", ROOT / ".tox")) / "interop"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def python_with(cache: Path) -> PythonWith:
    """Makes an environment that has some packages and nothing of ours; returns its interpreter."""

    def make(requirements: Sequence[str]) -> Path:
        text = f"{sys.version} {' '.join(requirements)}"
        folder = cache / f"python-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
        python = folder / "bin" / "python"
        done = folder / "installed"
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            venv.create(folder, with_pip=True)
            run([str(python), "-m", "pip", "install", "--quiet", *requirements], seconds=INSTALL_SECONDS)
            done.touch()
        return python

    return make


def run(
    command: Sequence[str],
    *,
    folder: Path | None = None,
    extra: dict[str, str] | None = None,
    seconds: float = RUN_SECONDS,
) -> list[str]:
    """Run a program that must succeed, and return the checks it says have passed."""
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **(extra or {})},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, (
        f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    )
    return [line.removeprefix("ok ") for line in done.stdout.splitlines() if line.startswith("ok ")]
