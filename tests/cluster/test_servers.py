"""Clusters of whole servers in one process, from the gRPC call to the disk, under faults by seed."""

from __future__ import annotations

import pytest

from tests.cluster.seeds import play
from tests.cluster.servers import Servers

FEW, MANY = 8, 200


def survive(seed: int, monkeypatch: pytest.MonkeyPatch) -> Servers:
    run = Servers(seed, size=3 if seed % 4 else 5)
    play(seed, run.go, monkeypatch)
    return run


@pytest.mark.parametrize("seed", range(FEW))
def test_a_cluster_of_servers_survives(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    run = survive(seed, monkeypatch)
    assert len(run.told) > 50


@pytest.mark.long
@pytest.mark.parametrize("seed", range(FEW, MANY))
def test_a_cluster_of_servers_survives_many_seeds(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    survive(seed, monkeypatch)
