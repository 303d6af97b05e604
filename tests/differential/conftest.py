"""Pairs of servers for the differential tests."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.differential.lockstep import Lockstep
from tests.support.processes import Server, kind_under_test

Pair = Callable[..., contextlib.AbstractContextManager[Lockstep]]


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    """Start a fresh reference and a fresh server under test: ``with pair(flags) as lockstep:``."""
    count = 0

    @contextlib.contextmanager
    def start(*flags: str) -> Iterator[Lockstep]:
        nonlocal count
        count += 1
        folders = [tmp_path / f"{count}-{name}" for name in ("reference", "actual")]
        for folder in folders:
            folder.mkdir()
        with (
            Server("etcd", folders[0], flags, sync=False) as reference,
            Server(kind_under_test(), folders[1], flags, sync=False) as actual,
        ):
            lockstep = Lockstep(reference.target, actual.target)
            try:
                yield lockstep
            finally:
                lockstep.close()

    return start
