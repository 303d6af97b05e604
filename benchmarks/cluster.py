"""Three members on one machine: calls through the leader, and through a follower."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.bench import Bench, Part, Shape
from benchmarks.calls import GET_KEYS, PROBE_INTERVAL, VALUE_BYTES, WARMUP_SHARE, readings
from benchmarks.generator import Outcome
from benchmarks.members import Through
from benchmarks.readings import Reading
from benchmarks.servers import BenchmarkError, Subject

TABLE = "Calls to a cluster of 3 members"
READERS = Shape(64, 1)

# How many calls of a full run take about four seconds.
_WRITES = {Shape(1, 1): 4_000, Shape(16, 1): 20_000, Shape(64, 1): 30_000, Shape(4, 64): 60_000}
_READS = 60_000


def measure(bench: Bench, subject: Subject) -> Iterator[Reading]:
    """Puts, half of which make a key, through the leader; linearizable gets through it and a follower."""
    with bench.cluster(subject) as cluster:
        leader = cluster.leader()
        behind = cluster.through(leader)
        bench.generator.fill(behind, GET_KEYS, prefix="get/", value=VALUE_BYTES)
        for shape in bench.shapes:
            calls = bench.calls(_WRITES.get(shape, _WRITES[READERS]))
            keys = max(2 * shape.connections * shape.streams, calls // 2)
            outcome = _run(bench, behind, "put", shape, calls, keys=keys, prefix=f"put/{shape}/")
            yield from readings(f"cluster: PUT {shape}", outcome, TABLE)
        follower = cluster.through(cluster.followers()[0])
        for target, way in ((behind, "the leader"), (follower, "a follower")):
            outcome = _run(bench, target, "get", READERS, bench.calls(_READS), keys=GET_KEYS, prefix="get/")
            yield from readings(f"cluster: GET {READERS} through {way}", outcome, TABLE)
        if cluster.leader() is not leader:
            raise BenchmarkError("there was an election meanwhile")


def _run(
    bench: Bench, target: Through, op: str, shape: Shape, calls: int, *, keys: int, prefix: str
) -> Outcome:
    return bench.generator.run(
        target,
        op,
        connections=shape.connections,
        streams=shape.streams,
        calls=calls,
        warmup=round(calls * WARMUP_SHARE),
        keys=keys,
        prefix=prefix,
        value=VALUE_BYTES,
        probe=PROBE_INTERVAL,
    )


PARTS = (Part("cluster", "three members: PUT; GET through the leader and through a follower", measure),)
