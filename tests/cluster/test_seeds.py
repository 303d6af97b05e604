"""Clusters of whole replicas in one process, Trio shell included, under faults by seed."""

from __future__ import annotations

import pytest

from tests.cluster.run import Run
from tests.cluster.seeds import play

FEW, MANY = 16, 200


def survive(seed: int, monkeypatch: pytest.MonkeyPatch) -> Run:
    run = Run(seed, size=3 if seed % 4 else 5)
    play(seed, run.go, monkeypatch)
    return run


@pytest.mark.parametrize("seed", range(FEW))
def test_a_cluster_survives(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    run = survive(seed, monkeypatch)
    assert run.model.writes > 20
    assert run.model.reads > 10


def test_a_seed_is_one_story(monkeypatch: pytest.MonkeyPatch) -> None:
    first, again = survive(1, monkeypatch), survive(1, monkeypatch)
    assert first.model.revisions == again.model.revisions
    assert first.model.errors == again.model.errors


@pytest.mark.long
@pytest.mark.parametrize("seed", range(FEW, MANY))
def test_a_cluster_survives_many_seeds(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    survive(seed, monkeypatch)
