"""Node: the npm package etcd3, which stands on grpc-js."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.interop.conftest import run
from tests.support.processes import Server
from tests.support.tools import program

pytestmark = pytest.mark.interop

SOURCES = Path(__file__).parent / "node"
INSTALL_SECONDS = 900.0
CHECKS = ["put and get", "txn", "watch", "lease", "lock", "election", "big values", "maintenance"]


def test_node_etcd3_works(server: Server, cache: Path) -> None:
    folder = cache / "node"
    node, lock_file = program("node"), "package-lock.json"
    installed = folder / "node_modules" / "etcd3"
    if not installed.exists() or (folder / lock_file).read_text() != (SOURCES / lock_file).read_text():
        folder.mkdir(exist_ok=True)
        for name in ("package.json", lock_file):
            shutil.copy(SOURCES / name, folder / name)
        install = ["ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        run([program("npm"), *install], folder=folder, seconds=INSTALL_SECONDS)
    shutil.copy(SOURCES / "drive.js", folder / "drive.js")
    assert run([node, str(folder / "drive.js"), server.url]) == CHECKS
