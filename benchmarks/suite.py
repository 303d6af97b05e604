"""All parts of the suite, in the order in which they run."""

from __future__ import annotations

from benchmarks import absence, calls, cluster, growth, memory, watches
from benchmarks.bench import Part

PARTS: tuple[Part, ...] = (
    *memory.PARTS,
    *calls.PARTS,
    *watches.PARTS,
    *growth.PARTS,
    *cluster.PARTS,
    *absence.PARTS,
)
