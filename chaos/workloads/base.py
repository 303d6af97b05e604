"""What a workload is: some clients that each do their own thing until they are told to stop."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

import attrs

from chaos.session import Session

Play = Callable[[Session, random.Random], Awaitable[None]]
"""One client's life.  All chance comes from the given source, so that a seed repeats every parameter."""


@attrs.frozen
class Workload:
    """A named workload: ``clients`` sessions play ``play``."""

    name: str
    summary: str
    clients: int
    play: Play
