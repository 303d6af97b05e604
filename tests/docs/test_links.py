"""What the documentation points at is there: files, headings, and the names in the code."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])

_LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([\w.]+)`")
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def links(page: Path) -> list[tuple[str, str]]:
    """The text and the target of every link to something in this repository."""
    found = _LINK.findall(_FENCE.sub("", page.read_text()))
    return [(text, target) for text, target in found if not re.match(r"\w+:", target)]


def anchors(page: Path) -> set[str]:
    """What the headings of a page are reached by."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def names_in(module: Path) -> set[str]:
    """The names a module defines: functions, classes, constants, and ``Class.method``."""
    found: set[str] = set()
    for node in ast.parse(module.read_text()).body:
        found |= _names_of(node)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{name}" for inner in node.body for name in _names_of(inner)}
    return found


def _names_of(node: ast.stmt) -> set[str]:
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return {name}
        case ast.Assign(targets=targets):
            return {target.id for target in targets if isinstance(target, ast.Name)}
        case ast.AnnAssign(target=ast.Name(id=name)):
            return {name}
    return set()


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    for _, target in links(page):
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        if anchor:
            assert anchor in anchors(there), target


@each_page
def test_names_that_link_to_a_module_are_defined_there(page: Path) -> None:
    for text, target in links(page):
        name = _CODE.fullmatch(text)
        if name is None or not target.endswith(".py") or target.endswith(f"/{name[1]}"):
            continue
        module = (page.parent / target).resolve()
        if name[1].endswith(".py"):
            assert str(module).endswith(name[1]), target
            continue
        assert name[1] in names_in(module), f"{name[1]} is not in {target}"
