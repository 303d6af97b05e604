"""Clusters of whole replicas in one process, Trio shell included, under faults by seed."""

from __future__ import annotations

import random

import pytest
import trio
from trio.testing import MockClock

from tests.cluster.run import Run

FEW, MANY = 16, 200


def survive(seed: int, monkeypatch: pytest.MonkeyPatch) -> Run:
    """One run; the same one for the same seed, so Trio must run its tasks in the same order, too."""
    monkeypatch.setattr(trio._core._run, "_ALLOW_DETERMINISTIC_SCHEDULING", True)
    monkeypatch.setattr(trio._core._run, "_r", random.Random(seed))
    run = Run(seed, size=3 if seed % 4 else 5)
    trio.run(run.go, clock=MockClock(autojump_threshold=0))
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
