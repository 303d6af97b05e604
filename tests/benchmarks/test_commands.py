"""The command lines; the order of a run; a folder that is no disk."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import benchmarks.__main__ as command
from benchmarks import compare, machine
from benchmarks.bench import SHAPES, Bench, Part, Shape, Turn, rate, run
from benchmarks.command import turns, working_folder
from benchmarks.generator import Generator
from benchmarks.readings import Reading
from benchmarks.servers import BenchmarkError, Subject, rusd
from benchmarks.suite import PARTS
from tests.support.tools import program


def test_everything_is_measured_unless_told_otherwise() -> None:
    options = command.arguments([])
    assert options.only == PARTS
    assert options.clients == SHAPES
    assert options.servers == ("etcd", "rusd")
    assert turns(options) == (5, 3)


def test_parts_and_clients_can_be_chosen() -> None:
    options = command.arguments(["--only", "put,growth", "--skip", "put", "--clients", "1x1,4x64"])
    assert [part.name for part in options.only] == ["put", "growth"]
    assert [part.name for part in options.skip] == ["put"]
    assert options.clients == (Shape(1, 1), Shape(4, 64))
    assert str(options.clients[1]) == "4x64"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--quick"], (1, 1)),
        (["--quick", "--alternations=3"], (3, 3)),
        (["--alternations=2"], (2, 2)),
        (["--alternations=9"], (9, 3)),
        (["--alternations=2", "--heavy-alternations=4"], (2, 4)),
    ],
)
def test_heavy_parts_have_fewer_alternations(words: list[str], expected: tuple[int, int]) -> None:
    assert turns(command.arguments(words)) == expected


@pytest.mark.parametrize(
    "words",
    [
        ["--only", "nosuch"],
        ["--clients", "16"],
        ["--clients", "0x1"],
        ["--alternations", "0"],
        ["--servers", "zookeeper"],
        ["surplus"],
    ],
)
def test_a_command_line_without_sense_is_refused(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        command.arguments(words)
    assert ended.value.code == 2
    assert words[-1] in capsys.readouterr().err


@pytest.mark.parametrize(("words", "name"), [(["--docs"], "results"), (["--docs", "cluster"], "cluster")])
def test_docs_are_three_files_beside_each_other(words: list[str], name: str) -> None:
    options = command.arguments(words)
    names = {
        path.relative_to(command.ROOT).as_posix() for path in (options.json, options.markdown, options.plot)
    }
    assert names == {f"docs/benchmarks/{name}.{suffix}" for suffix in ("json", "md", "svg")}


def test_a_comparison_takes_two_commits() -> None:
    options = compare.arguments(["v1", ".", "--only", "get"])
    assert (options.before, options.after, options.only[0].name) == ("v1", ".", "get")


def test_an_unknown_commit_is_named(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="no-such-commit"):
        compare.checked_out("no-such-commit", tmp_path)


def test_servers_take_turns_and_a_failure_stops_nothing_else(tmp_path: Path) -> None:
    announced: list[str] = []
    failures: list[str] = []

    def measure(_bench: Bench, subject: Subject) -> Iterator[Reading]:
        yield rate("Calls", "row", "calls", 1.0)
        if announced[-1] == "light b 1/2":
            raise BenchmarkError("no more")

    def announce(turn: Turn) -> None:
        announced.append(f"{turn.part.name} {turn.subject.label} {turn.number}/{turn.of}")

    def failed(turn: Turn, error: BenchmarkError) -> None:
        failures.append(f"{turn.subject.label} {turn.number}: {error}")

    parts = [Part("light", "", measure), Part("heavy", "", measure, heavy=True)]
    bench = Bench(Generator(tmp_path / "load"), tmp_path)
    so_far = list(run(bench, parts, [Subject("a", ()), Subject("b", ())], 2, 1, announce, failed))

    assert announced == [
        "light a 1/2",
        "light b 1/2",
        "light b 2/2",
        "light a 2/2",
        "heavy a 1/1",
        "heavy b 1/1",
    ]
    assert failures == ["b 1: no more"]
    assert so_far[0][0].values == {"a": [1.0, 1.0], "b": [None, 1.0]}


def test_a_folder_in_memory_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with working_folder(tmp_path) as folder:
        (folder / "data").write_text("x")
    assert list(tmp_path.iterdir()) == []

    monkeypatch.setattr(machine, "file_system", lambda _folder: "tmpfs")
    with pytest.raises(BenchmarkError, match="--directory"), working_folder(tmp_path):
        pytest.fail("it was taken")


def test_a_folder_without_rusd_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="no rusd"):
        rusd(tmp_path)


@pytest.mark.long
def test_a_quick_run_measures_rusd(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program("go")
    written = tmp_path / "readings.json"
    words = ["--quick", "--servers=rusd", "--only=put,memory", "--clients=4x64", f"--json={written}"]
    assert command.main([*words, f"--directory={tmp_path}"]) == 0
    readings = {
        (one["row"], one["measure"]): one["values"] for one in json.loads(written.read_text())["readings"]
    }
    for row in ("PUT 4x64", "PUT 4x64, deadline and token"):
        assert readings[row, "calls"]["rusd"][0] > 0
    assert readings["idle", ""]["rusd"][0] > 1
    assert "| PUT 4x64 |" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["readings.json"]


@pytest.mark.long
def test_a_cluster_is_measured_through_each_of_its_members(tmp_path: Path) -> None:
    program("go")
    written = tmp_path / "readings.json"
    words = ["--quick", "--servers=rusd", "--only=cluster,failover,catch-up", "--clients=4x64"]
    assert command.main([*words, f"--json={written}", f"--directory={tmp_path}"]) == 0
    readings = {
        (one["row"], one["measure"]): one["values"]["rusd"][0]
        for one in json.loads(written.read_text())["readings"]
    }
    for row in ("PUT 4x64", "GET 64x1 through the leader", "GET 64x1 through a follower"):
        assert readings[f"cluster: {row}", "calls"] > 0
    assert readings["to the first write through another, longest", ""] > 0
    assert readings["PUT 64x1, one away", ""] > 0
    assert readings["of the rate with all there", ""] > 0
    assert [path.name for path in tmp_path.iterdir()] == ["readings.json"]
