"""Fakes for the seam to the outside world, and what tests of users need around them.

* :mod:`~rusd.testing.kit`: a configuration and an environment for tests
* :mod:`~rusd.testing.clock`: a clock that stands still until it is moved
* :mod:`~rusd.testing.disk`: a disk in memory that can lose power; one that fails on request
* :mod:`~rusd.testing.transport`: connections in memory
"""

from rusd.testing.clock import ManualClock
from rusd.testing.disk import FaultDisk, MemoryDisk
from rusd.testing.kit import ApplyGate, ListSink, local_config, make_environment
from rusd.testing.transport import MemoryTransport

__all__ = [
    "ApplyGate",
    "FaultDisk",
    "ListSink",
    "ManualClock",
    "MemoryDisk",
    "MemoryTransport",
    "local_config",
    "make_environment",
]
