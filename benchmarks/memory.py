"""Small stores: how soon an empty server answers, and the memory that few keys take.

What a million keys take is measured with the rest about them, in :mod:`benchmarks.growth`.
"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.bench import ONLY, Bench, Part, megabytes, milliseconds
from benchmarks.growth import VALUE_BYTES
from benchmarks.readings import Reading
from benchmarks.servers import Subject

START = "Start-up"
MEMORY = "Resident memory"


def measure_memory(bench: Bench, subject: Subject) -> Iterator[Reading]:
    """From a process's start on an empty folder; the keys of one row are there in the next."""
    with bench.server(subject) as server:
        seconds = bench.generator.start(server)
        yield milliseconds(START, "empty, to the first answer", ONLY, seconds * 1e3)
        bench.settle()
        yield megabytes(MEMORY, "idle", ONLY, server.memory_bytes())
        for keys in bench.sizes.remembered:
            bench.generator.fill(server, keys, value=VALUE_BYTES)
            bench.settle()
            row = f"{keys:,} keys of {VALUE_BYTES} bytes"
            yield megabytes(MEMORY, row, ONLY, server.memory_bytes())


PARTS = (Part("memory", "start-up, and memory idle and with few keys", measure_memory),)
