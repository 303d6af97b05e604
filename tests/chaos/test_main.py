"""The command line: what is chosen, what is said, and the exit status."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from chaos.__main__ import BROKEN, NOTHING, PASSED, choose, main, replay_command
from chaos.faults import FAULTS
from chaos.history import History, to_line
from chaos.model import Put, Range
from chaos.server import NoServerError, find_server
from tests.chaos.histories import Play, with_answer


def saved(history: History, folder: Path) -> Path:
    """The history as a run leaves it."""
    path = folder / "history.jsonl"
    path.write_text("".join(to_line(record) for record in history.records))
    return path


def test_names_are_chosen_and_left_out() -> None:
    known = ["kill", "pause", "reset"]
    assert choose("all", known) == known
    assert choose("none", known) == choose("", known) == []
    assert choose("pause, kill,pause", known) == ["pause", "kill"]
    assert choose("all,-pause", known) == ["kill", "reset"]
    with pytest.raises(ValueError, match="nonsense"):
        choose("kill,nonsense", known)
    with pytest.raises(ValueError, match="nonsense"):
        choose("all,-nonsense", known)


def test_a_right_history_passes_and_leaves_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    play = Play()
    play.do(Put("register/a", "x"))
    assert main(["check", str(saved(play.history(), tmp_path))]) == PASSED
    assert capsys.readouterr().out.splitlines()[-1].startswith("PASS")
    assert (tmp_path / "report.html").exists()


def test_a_wrong_history_fails_and_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    play = Play()
    play.do(Put("register/a", "x"))
    read = play.do(Range("register/a"))
    wrong = with_answer(play.history(), read, results=((),))
    assert main(["check", str(saved(wrong, tmp_path))]) == BROKEN
    *before, last = capsys.readouterr().out.splitlines()
    assert last.startswith("FAIL")
    assert any("linearizability" in line for line in before)


@pytest.mark.parametrize("content", [None, "nonsense\n"])
def test_what_can_not_be_read_is_no_verdict(
    content: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "history.jsonl"
    if content is not None:
        path.write_text(content)
    assert main(["check", str(path)]) == NOTHING
    assert "NOT CHECKED" in capsys.readouterr().err


def test_the_faults_can_be_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list-faults"]) == PASSED
    listed = capsys.readouterr().out
    assert all(name in listed and fault.summary in listed for name, fault in FAULTS.items())


def test_the_schedule_of_a_seed_can_be_seen_without_running_it(capsys: pytest.CaptureFixture[str]) -> None:
    shown = []
    for _ in range(2):
        assert main(["--seed=4", "--duration=30", "--show-schedule"]) == PASSED
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1]
    assert "Plan(" in shown[0]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--faults=nonsense"],
        ["--workloads=nonsense"],
        ["--nodes=0"],
        ["--duration=-1"],
        ["--server=/nowhere"],
        ["x"],
    ],
)
def test_a_bad_command_line_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([*arguments, "--show-schedule"])
    assert end.value.code == NOTHING
    assert "error" in capsys.readouterr().err


def test_a_server_that_does_not_come_up_is_no_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "server"
    broken.write_text("#!/bin/sh\necho not today\nexit 3\n")
    broken.chmod(0o755)
    arguments = [f"--server={broken}", "--nodes=1", f"--report={tmp_path / 'report'}", "--faults=none"]
    assert main(arguments) == NOTHING
    assert "not today" in capsys.readouterr().err


def test_the_servers_environment_is_not_told_about_other_etcds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ETCD_DATA_DIR", "/elsewhere")
    monkeypatch.setenv("ETCD_BIN", "/nowhere/etcd")
    assert not any(name.startswith("ETCD") for name in find_server("rusd").environment)
    with pytest.raises(NoServerError, match="/nowhere/etcd"):
        find_server("etcd")


def test_the_command_that_plays_a_run_again_has_its_seed() -> None:
    assert shlex.split(replay_command(["--nodes=3"], 7))[-1] == "--seed=7"
    assert replay_command(["--seed", "7"], 7).count("seed") == 1
    assert replay_command(["--seed=7"], 7).count("seed") == 1
