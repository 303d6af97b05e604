"""Each attack against a server process, for some seconds and again and again: what a neighbour notices,
and what it costs in memory.

Prints the figures (``pytest -s``); asserts on them with room for a busy machine.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from etcdpb import rpc_pb2
from tests.floods.attack import HOARDERS
from tests.floods.test_frames import ATTACKS
from tests.support.client import Client
from tests.support.processes import Server

pytestmark = pytest.mark.long

ATTACK_SECONDS = 3.0
ATTACKERS = 2
CALLS_BEFORE = 400
LARGEST_GROWTH_KB = 900 * 1024  # the budget of 512 MiB, what sockets and the allocator add to it, and room
SLOWER = 3.0
SLOWER_ON_A_BUSY_MACHINE_SECONDS = 0.2
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server("rusd", tmp_path_factory.mktemp("floods"), sync=False) as server:
        yield server


@pytest.mark.parametrize("name", [*ATTACKS, *HOARDERS])
def test_a_neighbour_hardly_notices_and_memory_stays_bounded(server: Server, name: str) -> None:
    client = Client(server.target)
    try:
        put(client, b"large", bytes(500_000))
        before = [timed_put(client) for _ in range(CALLS_BEFORE)]
        memory = resident_kb(server.pid)
        forget_peak(server.pid)
        attackers = [start_attacker(name, server) for _ in range(ATTACKERS)]
        for attacker in attackers:
            assert attacker.stdin is not None
            attacker.stdin.write("go\n")
            attacker.stdin.flush()
        during = []
        end = time.monotonic() + ATTACK_SECONDS
        while time.monotonic() < end:
            during.append(timed_put(client))
        highest = resident_kb(server.pid, "VmHWM")
        reports = [json.loads(attacker.communicate(timeout=60)[0].splitlines()[-1]) for attacker in attackers]
        after = [timed_put(client) for _ in range(CALLS_BEFORE)]
    finally:
        client.close()
    print(
        f"\n{name}: p99 {p99(before) * 1e3:.1f} ms before, {p99(during) * 1e3:.1f} during, "
        f"{p99(after) * 1e3:.1f} after; {len(during)} calls; memory {memory // 1024} MB + "
        f"{(highest - memory) // 1024}; {sum(report['connections'] for report in reports)} connections"
    )
    assert server.running
    assert highest - memory < LARGEST_GROWTH_KB
    assert p99(during) < max(SLOWER * p99(before), SLOWER_ON_A_BUSY_MACHINE_SECONDS)


def start_attacker(name: str, server: Server) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.floods.attack", name, str(server.host_and_port[1])]
    attacker = subprocess.Popen(
        [*command, str(ATTACK_SECONDS)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert attacker.stdout is not None
    assert attacker.stdout.readline() == "ready\n"
    return attacker


def put(client: Client, key: bytes, value: bytes) -> None:
    client.ok("KV/Put", rpc_pb2.PutRequest(key=key, value=value))


def timed_put(client: Client) -> float:
    start = time.perf_counter()
    put(client, b"key", b"value")
    return time.perf_counter() - start


def p99(times: list[float]) -> float:
    return sorted(times)[len(times) * 99 // 100]


def resident_kb(pid: int, what: str = "VmRSS") -> int:
    """Memory of a process: now, or its peak (``VmHWM``)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1])
    raise AssertionError(f"no {what}")


def forget_peak(pid: int) -> None:
    """Have the peak counted from now on."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
