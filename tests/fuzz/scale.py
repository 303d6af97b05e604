"""Limits made so small that a few keys take the ways of millions.

Pages, slices and what counts as large are constants of their modules.  Inside :func:`scaled` they are a few
records or bytes, in whichever modules have taken them over by name.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Final

from sortedcontainers import SortedList

import rusd.grpc
import rusd.lease
import rusd.mvcc
import rusd.services
import rusd.state
import rusd.watch

STATE_SCALES: Final[tuple[Mapping[str, int], ...]] = (
    {},
    {
        "BATCH_BYTES": 200,
        "BATCH_REVISIONS": 2,
        "CHUNK_KEYS": 4,
        "CHUNK_RECORDS": 3,
        "COMPACTION_STEP_RECORDS": 2,
        "DEFAULT_LOAD_FACTOR": 4,
        "FIRST_CHUNK_KEYS": 1,
        "HASH_STEP_RECORDS": 2,
        "HELD_BYTES": 300,
        "LARGE_BYTES": 400,
        "LARGE_OVERLAY": 1,
        "LARGE_RECORDS": 1,
        "LEAVING_AT_ONCE": 1,
        "MASK": 3,
        "PAGE": 1,
        "PART_BYTES": 40,
        "PULL_BYTES": 100,
        "RUN": 4,
        "SAMPLE_EVERY": 2,
        "SHARDS": 4,
        "SLICE_BYTES": 300,
        "SLICE_STEPS": 2,
        "SPREAD_FROM_LEASES": 3,
        "SPREAD_PER_SECOND": 2,
        "TURN_RECORDS": 2,
        "_MANY": 2,
        "_SHARDS": 3,
        "_SLOTS": 2,
    },
    {
        "CHUNK_RECORDS": 2,
        "LARGE_OVERLAY": 3,
        "LARGE_RECORDS": 2,
        "MASK": 0,
        "PAGE": 2,
        "PART_BYTES": 1,
        "PULL_BYTES": 1,
        "RUN": 3,
        "SAMPLE_EVERY": 2,
        "SHARDS": 1,
        "SLICE_STEPS": 1,
        "TURN_RECORDS": 5,
    },
    {
        "LARGE_BYTES": 2000,
        "LARGE_RECORDS": 4,
        "MASK": 7,
        "PAGE": 5,
        "PART_BYTES": 3000,
        "SHARDS": 8,
        "TURN_RECORDS": 40,
    },
)
"""Of the state and the services: as they are, as small as can be, and something between."""

CALL_SCALES: Final[tuple[Mapping[str, int], ...]] = (
    {},
    {"GRAIN_BYTES": 400, "STREAM_BYTES": 100, "_CROWD": 3, "_SOON_GIVEN_BACK": 10, "_LARGEST_COMPRESSED": 50},
    {"MAX_STREAMS": 2, "MAX_STREAM_BYTES": 100, "MAX_UNREAD_BYTES": 1000},
    {"GRAIN_BYTES": 2000, "MAX_STREAMS": 1, "MAX_UNREAD_BYTES": 0, "_CROWD": 1},
)
"""Of the gRPC engine."""


@cache
def _places(names: frozenset[str]) -> tuple[tuple[object, str], ...]:
    """Where each name is a number of a module's own, or of the sorted lists'."""
    modules = [importlib.import_module(f"rusd.{name}") for name in ("steps", "sorting", "longwork")]
    for package in (rusd.grpc, rusd.lease, rusd.mvcc, rusd.services, rusd.state, rusd.watch):
        found = pkgutil.iter_modules(package.__path__, package.__name__ + ".")
        modules += [importlib.import_module(module.name) for module in found if "purerpc" not in module.name]
    owners: list[object] = [*modules, SortedList]
    places = [(owner, name) for owner in owners for name in sorted(names) if name in vars(owner)]
    missing = names - {name for _, name in places}
    assert not missing, f"no module has {missing}"
    return tuple(places)


@contextmanager
def scaled(values: Mapping[str, int]) -> Iterator[None]:
    """Have these values for the constants of these names."""
    places = _places(frozenset(values))
    before = [(owner, name, getattr(owner, name)) for owner, name in places]
    try:
        for owner, name in places:
            setattr(owner, name, values[name])
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)
