"""Clusters of whole servers in one process, from the gRPC call to the disk, under faults by seed."""

from __future__ import annotations

import random

import pytest
import trio
from trio.testing import MockClock

from tests.cluster.servers import Servers

FEW, MANY = 8, 200


def survive(seed: int, monkeypatch: pytest.MonkeyPatch) -> Servers:
    """One run; Trio must run its tasks in the same order for the same seed."""
    monkeypatch.setattr(trio._core._run, "_ALLOW_DETERMINISTIC_SCHEDULING", True)
    monkeypatch.setattr(trio._core._run, "_r", random.Random(seed))
    run = Servers(seed, size=3 if seed % 4 else 5)
    trio.run(run.go, clock=MockClock(autojump_threshold=0))
    return run


@pytest.mark.parametrize("seed", range(FEW))
def test_a_cluster_of_servers_survives(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    run = survive(seed, monkeypatch)
    assert len(run.told) > 50


@pytest.mark.long
@pytest.mark.parametrize("seed", range(FEW, MANY))
def test_a_cluster_of_servers_survives_many_seeds(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    survive(seed, monkeypatch)
