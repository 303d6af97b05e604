"""The garbage collector of a server process: short looks, between turns, and at new objects only.

Python's collector goes through all objects of a generation in one go.  A full
collection of a large store takes seconds.  A collection of the youngest is short
only as long as no list of a million records is among them, and a request may
make one.  So the collector's own timing is off; here the young objects are looked at
after each pass of the event loop that has made enough of them, and what survives
(nearly all of it is the store's) is never looked at again.

What that costs: a cycle that survives one look and dies later is never freed.  The store
and the engine make none; what there is are tracebacks, which die young.
"""

from __future__ import annotations

import gc

import trio

YOUNG_OBJECTS = 1000
"""New objects after which they are looked at: a quarter of a millisecond."""

TOO_MANY_YOUNG_OBJECTS = 100_000
"""Not looked at at all: a start has just read its log."""


class Collector(trio.abc.Instrument):
    """Collects between two passes of the event loop it is an instrument of."""

    def __init__(self) -> None:
        gc.disable()

    def before_io_wait(self, timeout: float) -> None:
        """All tasks that could run have had their turn."""
        young = gc.get_count()[0]
        if young >= TOO_MANY_YOUNG_OBJECTS:
            gc.freeze()
        elif young >= YOUNG_OBJECTS:
            self.collect()

    def collect(self) -> None:
        """Look at the young objects now: for those who are making a very large one."""
        gc.collect(0)
        gc.freeze()
