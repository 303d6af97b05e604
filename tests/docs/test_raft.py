"""docs/raft.md names, for each rule of Raft, a test that fails without it: this tries them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import attrs
import pytest

from rusd.raft import Node
from tests.raft.breaking import find

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "raft.md"

_CELL = re.compile(r"\[`([\w.]+)`\]\(\.\./([\w/.]+)\)")


@attrs.frozen
class Rule:
    """A row: the method that is the rule, the test that knows it, the class that breaks it."""

    method: str
    test: str
    test_module: str
    mutant: str


def rules() -> list[Rule]:
    found = []
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and len(cells) == 5 and cells[2].startswith("["):
            method, test, mutant = (_CELL.fullmatch(cell) for cell in cells[2:])
            assert method, line
            assert test, line
            assert mutant, line
            found.append(Rule(method[1], test[1], test[2], mutant[1]))
    return found


RULES = rules()

each_rule = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.mutant)


def test_the_page_has_the_rules() -> None:
    assert len(RULES) > 30
    assert len({rule.mutant for rule in RULES}) == len(RULES)


@each_rule
def test_a_rule_is_a_method_that_a_node_has(rule: Rule) -> None:
    owner, _, name = rule.method.partition(".")
    classes = {found.__name__: found for found in Node.__mro__}
    assert owner == "Log" or name in vars(classes[owner])
    assert issubclass(find(rule.mutant), Node)


def outcome(rule: Rule, *options: str) -> int:
    """Run the rule's test in a process of its own; pytest's exit status."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *options]
    done = subprocess.run(
        [*command, f"{rule.test_module}::{rule.test}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}, done.stdout + done.stderr
    return done.returncode


@pytest.mark.long
@each_rule
def test_a_rules_test_fails_without_the_rule(rule: Rule) -> None:
    broken = ("-p", "tests.raft.breaking", "--broken", rule.mutant)
    assert outcome(rule, *broken) == pytest.ExitCode.TESTS_FAILED
    assert outcome(rule) == pytest.ExitCode.OK
