"""A pytest plugin that breaks one rule of Raft, for the tests of ``tests/raft``.

``python -m pytest -p tests.raft.breaking --broken VotesTwice tests/raft/test_elections.py``
has every node be of that class, so that one can see which tests notice.  The
classes are those of :mod:`tests.raft.mutants` and :mod:`tests.simulation.mutants`.
"""

from __future__ import annotations

from types import ModuleType

import pytest

import rusd.raft
from tests.raft import mutants as raft_mutants
from tests.simulation import mutants as simulation_mutants


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--broken", required=True, help="a class that breaks a rule of Raft")


def pytest_configure(config: pytest.Config) -> None:
    name = config.getoption("--broken")
    rusd.raft.Node = find(name)  # type: ignore[misc]


def find(name: str) -> type[rusd.raft.Node]:
    """The mutant of that name."""
    modules: tuple[ModuleType, ...] = (raft_mutants, simulation_mutants)
    for module in modules:
        found = getattr(module, name, None)
        if isinstance(found, type) and issubclass(found, rusd.raft.Node):
            return found
    raise pytest.UsageError(f"no mutant is called {name}")
