"""Who did what: the largest matching between steps and what may have caused them.

Kuhn's algorithm: each step takes a free cause, or one whose step can take another.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

C = TypeVar("C", bound=Hashable)


def match(causes: Mapping[int, Sequence[C]]) -> dict[int, C]:
    """A cause for as many steps as can have one of their own; each cause is used once at most."""
    step_of: dict[C, int] = {}
    for step in sorted(causes):
        _place(step, causes, step_of)
    return {step: cause for cause, step in step_of.items()}


def _place(step: int, causes: Mapping[int, Sequence[C]], step_of: dict[C, int]) -> bool:
    """Find a cause for ``step`` along an augmenting path, breadth first: no recursion, paths may be long."""
    reached: dict[C, tuple[C | None, int]] = {}  # cause -> cause before it on the path, step that wants it
    front: list[tuple[C | None, int]] = [(None, step)]
    while front:
        before, wanting = front.pop(0)
        for cause in causes[wanting]:
            if cause in reached:
                continue
            reached[cause] = (before, wanting)
            holder = step_of.get(cause)
            if holder is None:
                _shift(cause, reached, step_of)
                return True
            front.append((cause, holder))
    return False


def _shift(free: C, reached: Mapping[C, tuple[C | None, int]], step_of: dict[C, int]) -> None:
    """Give each step on the path to ``free`` the cause it reached."""
    cause: C | None = free
    while cause is not None:
        cause_before, wanting = reached[cause]
        step_of[cause] = wanting
        cause = cause_before
