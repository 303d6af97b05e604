"""Calls made again and again: rates, percentiles, and how long another client had to wait meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import attrs

from benchmarks.bench import Bench, Part, Shape, milliseconds, rate
from benchmarks.generator import Flag, Latency, Outcome
from benchmarks.readings import Better, Reading
from benchmarks.servers import Server, Subject

CALLS = "Calls"
WAITS = "Longest wait of another client's GET"
PROBE_INTERVAL = "10ms"
WARMUP_SHARE = 0.05
VALUE_BYTES = 256
GET_KEYS = 10_000
_TOKEN = "kTqVZxUsPNbDyAeC.42"  # as etcd's simple tokens look

# How many calls of a full run take about two seconds.
_WRITES: Mapping[Shape, int] = {
    Shape(1, 1): 6_000,
    Shape(16, 1): 24_000,
    Shape(64, 1): 30_000,
    Shape(4, 64): 60_000,
}
_READS: Mapping[Shape, int] = {
    Shape(1, 1): 14_000,
    Shape(16, 1): 40_000,
    Shape(64, 1): 50_000,
    Shape(4, 64): 100_000,
}


@attrs.frozen
class Dressing:
    """What calls carry besides their request."""

    name: str
    flags: Mapping[str, Flag]


def dressings(subject: Subject) -> tuple[Dressing, ...]:
    """Bare calls; and calls as a client makes them that sets deadlines and is logged in."""
    dressed: dict[str, Flag] = {"deadline": "5s", "header": f"{subject.token_header}:{_TOKEN}"}
    return Dressing("", {}), Dressing(", deadline and token", dressed)


def measure_put(bench: Bench, subject: Subject) -> Iterator[Reading]:
    """Half of the puts make a key, the others change one."""
    yield from _one_key(bench, subject, "put", _WRITES, key_share=0.5)


def measure_get(bench: Bench, subject: Subject) -> Iterator[Reading]:
    """Linearizable, of keys that are there."""
    yield from _one_key(bench, subject, "get", _READS, key_share=0)


def measure_txn(bench: Bench, subject: Subject) -> Iterator[Reading]:
    """Compare a key's revision, put; four rounds over the keys, so that most transactions change one."""
    yield from _one_key(bench, subject, "cas", _WRITES, key_share=0.25)


def measure_delete(bench: Bench, subject: Subject) -> Iterator[Reading]:
    """Of keys that are there, each once."""
    yield from _one_key(bench, subject, "delete", _WRITES, key_share=1)


_TITLES = {"put": "PUT", "get": "GET", "cas": "TXN compare-and-swap", "delete": "DELETE"}


def _one_key(
    bench: Bench, subject: Subject, op: str, full: Mapping[Shape, int], key_share: float
) -> Iterator[Reading]:
    """Every shape, bare and dressed, against one server; keys of their own for each but gets."""
    with bench.server(subject) as server:
        bench.generator.start(server)
        if op == "get":
            bench.generator.fill(server, GET_KEYS, prefix="get/", value=VALUE_BYTES)
        for shape in bench.shapes:
            for number, dressing in enumerate(dressings(subject)):
                calls = bench.calls(full.get(shape, full[Shape(64, 1)]))
                warmup = round(calls * WARMUP_SHARE)
                keys = max(2 * shape.connections * shape.streams, round((calls + warmup) * key_share))
                prefix = f"{op}/{shape}/{number}/"
                if op == "get":
                    keys, prefix = GET_KEYS, "get/"
                if op == "delete":
                    keys = calls + warmup
                    bench.generator.fill(server, keys, prefix=prefix, value=VALUE_BYTES)
                outcome = bench.generator.run(
                    server,
                    op,
                    connections=shape.connections,
                    streams=shape.streams,
                    calls=calls,
                    warmup=warmup,
                    keys=keys,
                    prefix=prefix,
                    value=VALUE_BYTES,
                    probe=PROBE_INTERVAL,
                    **dressing.flags,
                )
                yield from readings(f"{_TITLES[op]} {shape}{dressing.name}", outcome)


def readings(row: str, outcome: Outcome, table: str = CALLS) -> Iterator[Reading]:
    """What a run of calls is reported as."""
    yield rate(table, row, "calls", outcome.rate)
    yield milliseconds(table, row, "p50", outcome.latency.p50)
    yield milliseconds(table, row, "p99", outcome.latency.p99)
    yield Reading(table, row, "server CPU per call", "µs", Better.LOWER, outcome.server_cpu_us)
    yield Reading(table, row, "generator CPU per call", "µs", Better.NEITHER, outcome.generator_cpu_us)
    if outcome.probe is not None:
        yield from waits(row, outcome.probe)


def waits(row: str, probe: Latency) -> Iterator[Reading]:
    """What another client saw meanwhile: its slowest answer is the server's longest turn, from outside."""
    yield milliseconds(WAITS, row, "longest", probe.longest)
    yield milliseconds(WAITS, row, "p99", probe.p99)


# -- many keys, leases --------------------------------------------------------------------


def measure_list(bench: Bench, subject: Subject) -> Iterator[Reading]:
    """Keys with their values, from anywhere in the store, for 1 client and for 16."""
    sizes = bench.sizes
    with bench.server(subject) as server:
        bench.generator.start(server)
        held = max(sizes.counted, *sizes.listed)
        bench.generator.fill(server, held, prefix="list/", value=VALUE_BYTES)
        for keys in sizes.listed:
            for clients in (1, 16):
                yield from _many(
                    bench,
                    server,
                    f"LIST of {keys:,} keys, {clients}x1",
                    "list",
                    connections=clients,
                    calls=bench.calls(600_000 // keys),
                    keys=held,
                    span=keys,
                )


def measure_count(bench: Bench, subject: Subject) -> Iterator[Reading]:
    """count_only over everything."""
    held = bench.sizes.counted
    with bench.server(subject) as server:
        bench.generator.start(server)
        bench.generator.fill(server, held, prefix="list/", value=VALUE_BYTES)
        for clients in (1, 16):
            row = f"count of {held:,} keys, {clients}x1"
            flags: dict[str, Flag] = {"connections": clients, "keys": held, "expect": held}
            yield from _many(bench, server, row, "count", bench.calls(400), **flags)


def _many(bench: Bench, server: Server, row: str, op: str, calls: int, **flags: Flag) -> Iterator[Reading]:
    outcome = bench.generator.run(
        server,
        op,
        prefix="list/",
        calls=calls,
        warmup=max(1, round(calls * WARMUP_SHARE)),
        probe=PROBE_INTERVAL,
        **flags,
    )
    yield from readings(row, outcome)


def measure_lease(bench: Bench, subject: Subject) -> Iterator[Reading]:
    """Grants, and renewals over LeaseKeepAlive streams with a lease each."""
    with bench.server(subject) as server:
        bench.generator.start(server)
        for title, op, full in (
            ("lease grant", "lease-grant", _WRITES),
            ("lease keep-alive", "lease-keepalive", _READS),
        ):
            for shape in bench.shapes:
                calls = bench.calls(full.get(shape, full[Shape(64, 1)]) // 2)
                outcome = bench.generator.run(
                    server,
                    op,
                    connections=shape.connections,
                    streams=shape.streams,
                    calls=calls,
                    warmup=round(calls * WARMUP_SHARE),
                    probe=PROBE_INTERVAL,
                )
                yield from readings(f"{title} {shape}", outcome)


PARTS = (
    Part("put", "PUT, one key a call", measure_put),
    Part("get", "GET, one key a call", measure_get),
    Part("txn", "TXN compare-and-swap", measure_txn),
    Part("delete", "DELETE, one key a call", measure_delete),
    Part("list", "LIST of 1,000 and 10,000 keys", measure_list),
    Part("count", "count of 100,000 keys", measure_count),
    Part("lease", "lease grant and keep-alive", measure_lease),
)
