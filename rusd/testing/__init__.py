"""Fakes for the seam to the outside world, and what tests of users need around them.

* :mod:`~rusd.testing.kit`: a configuration and an environment for tests
* :mod:`~rusd.testing.clock`: a clock that stands still until it is moved; Trio's own
* :mod:`~rusd.testing.threads`: threads that are none, for Trio's mock clock
* :mod:`~rusd.testing.disk`: a disk in memory that can lose power; one that fails on request
* :mod:`~rusd.testing.transport`: connections in memory
"""

from rusd.testing.clock import ManualClock, TrioClock
from rusd.testing.disk import FaultDisk, MemoryDisk
from rusd.testing.kit import ApplyGate, ListSink, local_config, make_environment
from rusd.testing.threads import InlineThreads
from rusd.testing.transport import MemoryTransport

__all__ = [
    "ApplyGate",
    "FaultDisk",
    "InlineThreads",
    "ListSink",
    "ManualClock",
    "MemoryDisk",
    "MemoryTransport",
    "TrioClock",
    "local_config",
    "make_environment",
]
