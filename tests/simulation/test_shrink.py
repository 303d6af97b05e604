"""Failing schedules are cut down to what matters, and their story can be read."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.raft.mutants import VotesForAnyLog
from tests.simulation import properties
from tests.simulation.__main__ import attempt, main
from tests.simulation.mutants import settings_with
from tests.simulation.schedule import ROUGH, Decision, draw
from tests.simulation.shrink import shrink
from tests.simulation.world import Settings

MANY = [Decision(at, "ask", ("put", 1, at)) for at in range(100)]


def test_what_does_not_matter_is_left_out() -> None:
    wanted = {MANY[7], MANY[8], MANY[93]}
    assert set(shrink(MANY, lambda some: wanted <= set(some))) == wanted


def test_order_is_kept() -> None:
    def fails(some: Sequence[Decision]) -> bool:
        return [each.at for each in some if each.at in {3, 50, 60}] == [3, 50, 60]

    assert [each.at for each in shrink(MANY, fails)] == [3, 50, 60]


def test_shrinking_stops_when_its_budget_is_spent() -> None:
    runs = []

    def fails(some: Sequence[Decision]) -> bool:
        runs.append(some)
        return {MANY[3], MANY[50]} <= set(some)

    found = shrink(MANY, fails, budget=5)
    assert len(runs) == 5
    assert {MANY[3], MANY[50]} <= set(found)


def test_a_failure_that_needs_no_decision_shrinks_to_none() -> None:
    assert shrink(MANY, lambda _some: True) == []


def test_a_failing_schedule_shrinks_to_a_story_that_fails_in_the_same_way() -> None:
    settings = settings_with(VotesForAnyLog, Settings(pre_vote=False, check_quorum=False))
    for seed in range(30):
        decisions = draw(seed, settings.size, ROUGH)
        violation, _ = attempt(seed, settings, ROUGH, decisions)
        if violation is not None:
            break
    assert violation is not None

    def fails(some: Sequence[Decision]) -> bool:
        found, _ = attempt(seed, settings, ROUGH, some)
        return found is not None and found.property == properties.LEADER_COMPLETENESS

    least = shrink(decisions, fails, budget=120)
    assert len(least) <= len(decisions) // 10
    again, world = attempt(seed, settings, ROUGH, least, traced=True)
    assert again is not None and again.property == properties.LEADER_COMPLETENESS
    assert any("leads term" in line for line in world.trace.lines)
    sound, _ = attempt(seed, Settings(), ROUGH, least)
    assert sound is None


def test_the_command_line_tells_what_it_ran(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "0:2", "--nodes", "3", "--seconds", "4"]) == 0
    out = capsys.readouterr().out
    assert "2 seeds, 0 failed" in out
    assert "elections" in out


def test_the_command_line_tells_how_to_see_a_failure_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["--mutant", "ForgetsItsVote", "--seeds", "0:3", "--seconds", "3"]
    monkeypatch.setattr("sys.argv", ["simulation", *arguments])
    assert main() == 1
    out = capsys.readouterr().out
    assert "stable storage before responding" in out
    again = "python -m tests.simulation --mutant ForgetsItsVote --seconds 3 --seeds 0 --trace"
    assert again in out
    assert main(again.split()[3:]) == 1
    story = capsys.readouterr().out
    assert "decisions:" in story


def test_a_clean_seed_has_no_story(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "0", "--seconds", "3", "--trace"]) == 0
    assert "seed 0 is clean" in capsys.readouterr().out
