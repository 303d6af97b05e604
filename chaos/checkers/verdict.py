"""What checkers answer with."""

from __future__ import annotations

import attrs


@attrs.frozen
class Violation:
    """A promise that was broken: which ``rule``, what happened, and where in the history to look."""

    rule: str
    text: str
    at: float | None = None
    operations: tuple[int, ...] = ()
