"""One large store: filling, reading, restarting and pruning it, and another client's GETs meanwhile."""

from __future__ import annotations

import time
from collections.abc import Iterator

from benchmarks.bench import ONLY, Bench, Part, megabytes, milliseconds, rate
from benchmarks.calls import waits
from benchmarks.generator import Flag, Latency, Outcome, UnimplementedCallError
from benchmarks.readings import Reading
from benchmarks.servers import Server, Subject

VALUE_BYTES = 256
PAGE_KEYS = 1_000
PROBE: dict[str, Flag] = {"probe": "2ms"}
ONCE: dict[str, Flag] = {**PROBE, "calls": 1, "lead": "300ms"}
"""One call, and the probe from a little before it to a little after."""


def measure_growth(bench: Bench, subject: Subject) -> Iterator[Reading]:
    """The life of a store: loaded, read, restarted in order and after a kill, pruned."""
    keys = bench.sizes.grown
    table = f"A store of {keys:,} keys of {VALUE_BYTES} bytes"
    with bench.server(subject) as server:
        bench.generator.start(server)
        yield from _load(bench, server, table, keys)
        yield from _read(bench, server, table, keys)
        yield from _scan(bench, server, table)
        yield from _start_again(bench, server, table, keys)
        yield from _prune(bench, server, table, bench.sizes.deleted)


def _load(bench: Bench, server: Server, table: str, keys: int) -> Iterator[Reading]:
    outcome = bench.generator.fill(server, keys, value=VALUE_BYTES, **PROBE)
    yield rate(table, "load, 100 puts a transaction, keys", ONLY, keys / outcome.seconds)
    yield from _probed(f"load of {keys:,} keys", outcome)
    yield megabytes(table, "most memory during the load", ONLY, server.peak_memory_bytes())
    bench.settle()
    yield megabytes(table, "memory after the load", ONLY, server.memory_bytes())
    yield megabytes(table, "disk after the load", ONLY, server.disk_bytes())


def _read(bench: Bench, server: Server, table: str, keys: int) -> Iterator[Reading]:
    counted = bench.generator.run(server, "count", keys=keys, expect=keys, calls=10, warmup=1, **PROBE)
    yield milliseconds(table, "count of all keys", ONLY, counted.latency.p50)
    yield from _probed("count of all keys", counted)
    page: dict[str, Flag] = {"keys": keys, "limit": PAGE_KEYS, "calls": 20, "warmup": 2}
    listed = bench.generator.run(server, "page", **page, **PROBE)
    yield milliseconds(table, f"LIST with a limit of {PAGE_KEYS:,}", ONLY, listed.latency.p50)
    yield from _probed(f"LIST with a limit of {PAGE_KEYS:,}", listed)


def _scan(bench: Bench, server: Server, table: str) -> Iterator[Reading]:
    hashed = bench.generator.run(server, "hashkv", **ONCE)
    yield milliseconds(table, "HashKV", ONLY, hashed.latency.longest)
    yield from _probed("HashKV", hashed)
    try:
        taken = bench.generator.run(server, "snapshot", **ONCE)
    except UnimplementedCallError:
        yield milliseconds(table, "snapshot to a client", ONLY, None)
        return
    yield milliseconds(table, "snapshot to a client", ONLY, taken.latency.longest)
    yield from _probed("snapshot to a client", taken)


def _start_again(bench: Bench, server: Server, table: str, keys: int) -> Iterator[Reading]:
    """Counts afterwards: a start that loses something is no start."""
    generator = bench.generator
    server.stop()
    yield milliseconds(table, "start-up, to the first answer", ONLY, generator.start(server) * 1e3)
    generator.run(server, "count", keys=keys, expect=keys, calls=1)
    bench.settle()
    yield megabytes(table, "memory after the start-up", ONLY, server.memory_bytes())
    killed = time.time_ns()
    server.kill()
    server.launch()
    answered = generator.first_answer(server, killed)
    yield milliseconds(table, "kill -9 to the first answer of the next process", ONLY, answered * 1e3)
    generator.run(server, "count", keys=keys, expect=keys, calls=1)


def _prune(bench: Bench, server: Server, table: str, deleted: int) -> Iterator[Reading]:
    """Delete keys; make them again and change as many others; compact all that away."""
    row = f"DeleteRange of {deleted:,} keys"
    outcome = bench.generator.run(server, "delete-range", keys=bench.sizes.grown, span=deleted, **ONCE)
    yield milliseconds(table, row, ONLY, outcome.latency.longest)
    yield from _probed(row, outcome)
    bench.generator.fill(server, 2 * deleted, value=VALUE_BYTES, seed=2)
    row = f"compaction of {3 * deleted:,} revisions"
    outcome = bench.generator.run(server, "compact", **ONCE)
    yield milliseconds(table, row, ONLY, outcome.latency.longest)
    yield from _probed(row, outcome)


def _probed(row: str, outcome: Outcome) -> Iterator[Reading]:
    probe: Latency | None = outcome.probe
    if probe is not None:
        yield from waits(row, probe)


PARTS = (
    Part("growth", "a store of 1,000,000 keys, from its load to its compaction", measure_growth, heavy=True),
)
