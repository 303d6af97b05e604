"""Whole runs on real processes: one rusd in the fast tier, a cluster of the real etcd in the long one."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import trio

from chaos import history
from chaos.__main__ import BROKEN, PASSED, main
from chaos.cluster import running
from chaos.history import Fault, Hash, History, Operation
from chaos.model import Compact, Delete, Put
from chaos.server import find_server
from tests.support.tools import etcd_binary


def played(folder: Path, *arguments: str) -> tuple[int, History]:
    """A run by its command line, and its history."""
    status = main([f"--report={folder}", *arguments])
    with (folder / "history.jsonl").open() as lines:
        return status, history.read(lines)


def gone(pid: int) -> bool:
    """Whether there is no such process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_member_that_is_killed_under_load_comes_back_and_passes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--nodes=1", "--duration=5", "--seed=4", "--faults=kill", "--rate=100"]
    status, happened = played(tmp_path, *arguments)
    assert status == PASSED, capsys.readouterr().out
    assert {fault.name for fault in happened.of(Fault)} == {"kill"}
    assert len(happened.of(Operation)) > 50
    assert len(happened.of(Hash)) == 1
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")
    assert (tmp_path / "members" / "n0" / "server.log").exists()
    assert not (tmp_path / "members" / "n0" / "data").exists()


def test_a_member_that_is_killed_at_work_comes_back_and_passes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--nodes=1", "--duration=8", "--seed=4", "--faults=crash", "--rate=50"]
    status, happened = played(tmp_path, *arguments)
    assert status == PASSED, capsys.readouterr().out
    (fault, *_) = happened.of(Fault)
    assert re.match("[1-9].* in compact", fault.detail)
    asked = [one.request for one in happened.of(Operation) if one.workload == "crash"]
    assert {type(request) for request in asked} == {Put, Delete, Compact}


async def test_a_cluster_leaves_no_process_behind(tmp_path: Path) -> None:
    with trio.fail_after(60):
        async with running(find_server("rusd"), 1, tmp_path) as cluster:
            pid = cluster.pids()[0]
            await cluster.kill(0)
            assert gone(pid)
            assert cluster.died() == []
            cluster.launch(0)
            cluster.pause(0)
            paused = cluster.pids()[0]
            await cluster.terminate(0)  # a stopped process must not hold it up
            assert gone(paused)
            cluster.launch(0)
            last = cluster.pids()[0]
            os.kill(last, 9)
            while not cluster.died():
                await trio.sleep(0.01)
            cluster.launch(0)
            last = cluster.pids()[0]
        assert gone(last)


@pytest.mark.long
def test_three_etcds_without_kill_pause_and_compaction_pass(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    faults = "partition,delay,rate,reset,half-open,leader,slow-disk,restart"
    arguments = ["--nodes=3", "--duration=60", "--seed=1", f"--faults={faults}"]
    status, happened = played(tmp_path, f"--server={etcd_binary()}", *arguments)
    assert status == PASSED, capsys.readouterr().out
    assert len(happened.of(Fault)) > 5
    assert len({one.hash for one in happened.of(Hash)}) == 1


@pytest.mark.long
@pytest.mark.parametrize("server", ["rusd", "etcd"])
def test_a_proxy_that_serves_stale_reads_is_caught(
    server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    which = "rusd" if server == "rusd" else str(etcd_binary())
    arguments = ["--nodes=1", "--duration=10", "--seed=2", "--faults=none", "--stale-reads"]
    status, _ = played(tmp_path, f"--server={which}", *arguments)
    assert status == BROKEN
    assert "linearizability" in capsys.readouterr().out.splitlines()[-1]
