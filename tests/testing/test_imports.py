"""What a server runs on is never in the package of its fakes."""

from __future__ import annotations

import ast
from pathlib import Path

import rusd
from rusd.environment import MemoryDisk
from rusd.testing import MemoryDisk as FromTesting

PACKAGE = Path(rusd.__file__).parent


def imported(source: str) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_nothing_but_the_fakes_imports_the_fakes() -> None:
    files = [path for path in PACKAGE.rglob("*.py") if "testing" not in path.relative_to(PACKAGE).parts]
    assert len(files) > 50
    guilty = [
        str(path)
        for path in files
        if any(f"{name}.".startswith("rusd.testing.") for name in imported(path.read_text()))
    ]
    assert guilty == []


def test_the_disk_in_memory_is_one_and_the_same() -> None:
    assert FromTesting is MemoryDisk
