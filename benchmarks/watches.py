"""Watches: how fast events reach watchers, and what watchers cost while nothing happens to them."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.bench import ONLY, Bench, Part, milliseconds, rate
from benchmarks.generator import Flag
from benchmarks.readings import Better, Reading
from benchmarks.servers import Server, Subject

FAN_OUT = "Watch fan-out"
CONNECTIONS = 10
VALUE_BYTES = 256


def measure_fan_out(bench: Bench, subject: Subject) -> Iterator[Reading]:
    """One put at a time, to its last event; then as many from 16 writers.  Each watcher has a stream."""
    watchers = bench.sizes.watchers
    each = max(1, watchers // CONNECTIONS)
    crowd: dict[str, Flag] = {"connections": CONNECTIONS, "streams": each}
    yield from _fan_out(bench, subject, "1 watcher of one key", 5_000, keys=1)
    yield from _fan_out(bench, subject, f"{CONNECTIONS * each:,} watchers of one key", 100, keys=1, **crowd)
    prefixes: dict[str, Flag] = {**crowd, "keys": CONNECTIONS * each, "prefixes": True}
    yield from _fan_out(bench, subject, f"{CONNECTIONS * each:,} watchers, a prefix each", 5_000, **prefixes)


def _fan_out(bench: Bench, subject: Subject, row: str, puts: int, **flags: Flag) -> Iterator[Reading]:
    with bench.server(subject) as server:
        bench.generator.start(server)
        calls = bench.calls(puts)
        flags = {"prefix": "watched/", "value": VALUE_BYTES, "warmup": max(1, calls // 10), **flags}
        outcome = bench.generator.fan_out(server, calls=calls, **flags)
        yield rate(FAN_OUT, row, "events", outcome.events_per_second)
        yield rate(FAN_OUT, row, "puts", outcome.puts_per_second)
        yield milliseconds(FAN_OUT, row, "put to last event, p50", outcome.latency.p50)
        yield milliseconds(FAN_OUT, row, "p99", outcome.latency.p99)


def measure_idle(bench: Bench, subject: Subject) -> Iterator[Reading]:
    """Memory for each, and puts of other keys with and without them."""
    sizes = bench.sizes
    streams = sizes.idle_watchers // sizes.idle_connections
    watchers = sizes.idle_connections * streams
    table = f"{watchers:,} idle watchers on {sizes.idle_connections} connections"
    with bench.server(subject) as server:
        bench.generator.start(server)
        # The first round is for the memory that puts take, with or without watchers.
        _puts_per_second(bench, server, "warm/")
        yield rate(table, "PUT 16x1 of other keys, before", ONLY, _puts_per_second(bench, server, "before/"))
        bench.settle()
        memory = server.memory_bytes()
        with bench.generator.hold_watchers(server, sizes.idle_connections, streams):
            bench.settle()
            each = (server.memory_bytes() - memory) / watchers
            yield Reading(table, "memory for each", ONLY, "kB", Better.LOWER, each / 1e3)
            yield rate(
                table, "PUT 16x1 of other keys, with them", ONLY, _puts_per_second(bench, server, "with/")
            )


def _puts_per_second(bench: Bench, server: Server, prefix: str) -> float:
    calls = bench.calls(24_000)
    flags: dict[str, Flag] = {"connections": 16, "calls": calls, "warmup": calls // 20, "keys": calls}
    return bench.generator.run(server, "put", prefix=prefix, value=VALUE_BYTES, **flags).rate


PARTS = (
    Part(
        "fan-out",
        "events to 1 and 1,000 watchers of a key, and to 1,000 of 1,000 prefixes",
        measure_fan_out,
    ),
    Part("idle-watchers", "10,000 idle watchers on 100 connections", measure_idle),
)
