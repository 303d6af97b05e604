"""Faults on real processes: what they do is done, and undone."""

from __future__ import annotations

import errno
import os
import signal
import sys
from pathlib import Path

import pytest
import trio

from chaos import run
from chaos.cluster import Cluster, running
from chaos.faults import Plan, Stage
from chaos.faults.disk import BadDisk
from chaos.history import Recorder, Trouble
from chaos.server import Server, find_server
from chaos.syscalls import available
from rusd.environment import real_environment

PATIENCE = 60.0

SLOW_TO_DIE = """
import os, sys, time
folder = next(word for word in sys.argv if word.startswith("--data-dir=")).partition("=")[2]
file = open(folder, "w")
while True:
    try:
        os.fsync(file.fileno())
    except OSError:
        time.sleep(1)
        sys.exit(1)
"""


def stage_of(cluster: Cluster) -> Stage:
    """What faults of ``cluster`` can reach."""
    return Stage(cluster, Recorder(trio.current_time), real_environment(), gates=cluster.gates)


async def new_process(cluster: Cluster, old: int) -> None:
    """Return once the only member is another process than ``old``."""
    while cluster.pids().get(0, old) == old:
        await trio.sleep(0.01)


@pytest.mark.skipif(not available(), reason="no seccomp user notification here")
async def test_who_takes_its_time_to_die_of_a_bad_disk_is_started_again_all_the_same(tmp_path: Path) -> None:
    server = Server("slow to die", (sys.executable, "-c", SLOW_TO_DIE), os.environ)
    with trio.fail_after(PATIENCE):
        async with running(server, 1, tmp_path, gated=True) as cluster:
            stage, old = stage_of(cluster), cluster.pids()[0]
            fault, said = BadDisk("bad-disk", "", errno.EIO), "n0: 0 syncs"
            while said.startswith("n0: 0 syncs"):  # it has to come as far as that
                said = await fault.play(stage, Plan(0, 0.1, fault.name, (0,)))
            assert said == "n0: 1 syncs failed with EIO, ended"
            assert cluster.pids()[0] != old


async def test_who_ends_by_itself_is_started_again_and_that_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "REVIVAL_SECONDS", 0.01)
    server = find_server("rusd")
    settings = run.Settings(server, 1, seed=1, duration=1.0, faults=(), workloads=(), folder=tmp_path)
    with trio.fail_after(PATIENCE):
        async with running(server, 1, tmp_path) as cluster, trio.open_nursery() as nursery:
            recorder = Recorder(trio.current_time)
            playing = run._Running(settings, cluster, recorder, real_environment())
            old = cluster.pids()[0]
            os.kill(old, signal.SIGKILL)
            nursery.start_soon(playing._revive)
            await new_process(cluster, old)
            (trouble,) = recorder.history.of(Trouble)
            assert trouble.text.startswith("n0 ended by itself")
            assert not trouble.fatal
            cluster.let_end(0)
            os.kill(cluster.pids()[0], signal.SIGKILL)
            while cluster.pids():
                await trio.sleep(0.01)
            playing._launch_dead()  # as it would, but this end was expected
            assert not cluster.pids()
            nursery.cancel_scope.cancel()
