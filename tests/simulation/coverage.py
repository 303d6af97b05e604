"""What a run has been through: a clean run that met no election says nothing."""

from __future__ import annotations

from collections import Counter


class Coverage(Counter[str]):
    """How often each thing happened.  The names are those of :data:`NAMES`."""

    def report(self, schedules: int) -> str:
        """A line for each thing: in all, and for each schedule."""
        lines = [f"{'':28}{'in all':>12}{'a schedule':>12}"]
        lines += [
            f"{name:28}{self[name]:>12}{self[name] / max(schedules, 1):>12.2f}" for name in sorted(self)
        ]
        return "\n".join(lines)
