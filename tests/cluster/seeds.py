"""Playing a seed so that it is the same story each time."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock


def play(seed: int, go: Callable[[], Awaitable[None]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run ``go`` under a mock clock, with Trio's tasks in the same order for the same seed."""
    monkeypatch.setattr(trio._core._run, "_ALLOW_DETERMINISTIC_SCHEDULING", True)
    monkeypatch.setattr(trio._core._run, "_r", random.Random(seed))
    trio.run(go, clock=MockClock(autojump_threshold=0))
