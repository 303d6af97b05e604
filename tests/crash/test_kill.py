"""SIGKILL under load: what was acknowledged is there, once, at its revision, and nothing else is.

After each kill the whole history since the one before is read back, and every revision in it must be the work
of exactly one request: an acknowledged one, or one of the few (at most one a writer) whose answer never came.
One kill in three is followed by another while the server is still recovering.

``RUSD_CRASH_SEED=<text>`` chooses other moments.  With ``RUSD_TEST_SERVER=etcd`` the reference is killed.
"""

from __future__ import annotations

import os
import random
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import attrs
import pytest

from etcdpb import kv_pb2, rpc_pb2
from tests.crash.writers import LEASE_SECONDS, Change, Write, random_pause, six_writers, write_until_gone
from tests.support.client import Client
from tests.support.processes import Server, kind_under_test

ALL_KEYS = {"key": b"\x00", "range_end": b"\x00"}
# Small enough that snapshots and the dropping of old log happen under the kills, too.
FLAGS = ["--snapshot-count=500"]


@attrs.define
class Model:
    """What the server has to hold, built only from what was checked."""

    revision: int = 1
    state: dict[bytes, bytes] = attrs.Factory(dict)
    leases: set[int] = attrs.Factory(set)
    perhaps_leases: set[int] = attrs.Factory(set)

    def take_round(self, history: dict[int, tuple[Change, ...]], current: int, writes: list[Write]) -> None:
        """Match every revision with the request that made it; raises AssertionError for whatever is left."""
        assert current >= max((write.revision or 0 for write in writes), default=0), "the revision went back"
        assert current >= self.revision, "the revision went back"
        assert sorted(history) == list(range(self.revision + 1, current + 1)), "revisions are missing"
        unclaimed = dict(history)
        for write in writes:
            if write.revision is not None and write.changes:
                found = unclaimed.pop(write.revision, None)
                assert found == write.changes, f"acknowledged: {write}, but the history has {found}"
        unanswered = [write.changes for write in writes if write.revision is None]
        for revision, changes in unclaimed.items():
            assert changes in unanswered, f"revision {revision} is nobody's (or somebody's twice): {changes}"
            unanswered.remove(changes)
        for revision in sorted(history):
            for kind, key, value in history[revision]:
                if kind == "PUT":
                    self.state[key] = value
                else:
                    del self.state[key]
        self.revision = current
        for write in writes:
            self._take_lease(write)

    def _take_lease(self, write: Write) -> None:
        match write.request:
            case rpc_pb2.LeaseGrantRequest(ID=lease):
                (self.perhaps_leases if write.revision is None else self.leases).add(lease)
            case rpc_pb2.LeaseRevokeRequest(ID=lease):
                self.leases.discard(lease)
                if write.revision is None:
                    self.perhaps_leases.add(lease)

    def check_server(self, client: Client) -> None:
        """Compare with what the server says it holds."""
        found = client.get(**ALL_KEYS)
        assert found.header.revision == self.revision
        assert {kv.key: kv.value for kv in found.kvs} == self.state
        leases = {one.ID for one in client.ok("Lease/LeaseLeases", rpc_pb2.LeaseLeasesRequest()).leases}
        assert self.leases <= leases <= self.leases | self.perhaps_leases
        for lease in list(self.leases)[:5]:
            left = client.ok("Lease/LeaseTimeToLive", rpc_pb2.LeaseTimeToLiveRequest(ID=lease))
            assert 0 < left.TTL <= left.grantedTTL == LEASE_SECONDS


def read_history(client: Client, first: int, last: int) -> dict[int, tuple[Change, ...]]:
    """All changes from revision ``first`` to ``last``, from a watch that starts in the past."""
    history: defaultdict[int, list[Change]] = defaultdict(list)
    if first > last:
        return {}
    with client.watch() as watch:
        assert not watch.create(**ALL_KEYS, start_revision=first).canceled
        watch.wait(lambda: any(_last(response) >= last for response in watch.responses), f"revision {last}")
        for event in watch.events():
            kind = "DELETE" if event.type == kv_pb2.Event.DELETE else "PUT"
            history[event.kv.mod_revision].append((kind, event.kv.key, event.kv.value))
    return {revision: tuple(changes) for revision, changes in history.items()}


def _last(response: Any) -> int:
    return int(response.events[-1].kv.mod_revision) if response.events else 0


def kill_and_check(folder: Path, kills: int, chance: random.Random) -> None:
    """The whole test: ``kills`` rounds of writing, killing, recovering and checking."""
    model = Model()
    server = Server(kind_under_test(), folder, FLAGS)
    with server:
        recovery_seconds = 0.5
        for number in range(kills):

            def strike() -> None:
                time.sleep(random_pause(chance))
                server.kill()

            writes = write_until_gone(server.target, six_writers(number), chance.randrange(50, 600), strike)
            if number % 3 == 2:
                server.launch()
                time.sleep(chance.uniform(0, recovery_seconds))
                server.kill()
            begun = time.monotonic()
            server.start()
            recovery_seconds = time.monotonic() - begun
            with Client(server.target) as client:
                current = client.get(b"x").header.revision
                model.take_round(read_history(client, model.revision + 1, current), current, writes)
                model.check_server(client)
                if number % 4 == 3:
                    old = rpc_pb2.CompactionRequest(revision=model.revision - chance.randrange(20))
                    client.ok("KV/Compact", old)


def run(folder: Path, kills: int) -> None:
    """Run with a seed that a failure shows."""
    seed = os.environ.get("RUSD_CRASH_SEED") or str(random.SystemRandom().randrange(1_000_000))
    try:
        kill_and_check(folder, kills, random.Random(seed))
    except AssertionError as error:
        raise AssertionError(f"RUSD_CRASH_SEED={seed}, data kept in {folder}: {error}") from error


def test_three_kills_lose_nothing_acknowledged(tmp_path: Path) -> None:
    run(tmp_path, 3)


@pytest.mark.long
def test_fifty_kills_lose_nothing_acknowledged(tmp_path: Path) -> None:
    run(tmp_path, 50)
