"""Go: etcd's own clientv3 and its recipes, from the small module beside this file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.interop.conftest import run
from tests.support.processes import Server
from tests.support.tools import program

pytestmark = pytest.mark.interop

MODULE = Path(__file__).parent / "go"
BUILD_SECONDS = 900.0
CHECKS = [
    *("put and get", "errors", "txn", "watch", "watch of a compacted past", "many watchers", "big values"),
    *("lease", "mutex", "election", "maintenance"),
]


def test_clientv3_works(server: Server, cache: Path) -> None:
    binary = cache / "go-interop"
    run([program("go"), "build", "-o", str(binary), "."], folder=MODULE, seconds=BUILD_SECONDS)
    assert run([str(binary), server.url]) == CHECKS
