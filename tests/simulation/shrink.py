"""Cutting a failing schedule down to the decisions that matter: delta debugging.

Zeller and Hildebrandt, *Simplifying and Isolating Failure-Inducing Input*, 2002:
leave out ever smaller pieces for as long as the same property still fails.
Delays and losses come from streams of their own, so what is left out changes
little for the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.simulation.schedule import Decision

Fails = Callable[[Sequence[Decision]], bool]


def shrink(decisions: Sequence[Decision], fails: Fails, *, budget: int = 400) -> list[Decision]:
    """The least of ``decisions`` found, in at most ``budget`` runs, that still ``fails``.

    ``fails`` must be true of all of them.
    """
    kept = list(decisions)
    pieces = 2
    while len(kept) > 1 and budget > 0:
        size = -(-len(kept) // pieces)
        for start in range(0, len(kept), size):
            without = kept[:start] + kept[start + size :]
            budget -= 1
            if fails(without):
                kept = without
                pieces = max(pieces - 1, 2)
                break
            if budget <= 0:
                return kept
        else:
            if size == 1:
                return kept
            pieces = min(2 * pieces, len(kept))
    return kept if not kept or not fails([]) else []
