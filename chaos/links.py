"""What the network between members does at the moment: rules on the way from one member to another.

No sockets here.  The proxy asks :meth:`Link.passage` before it hands bytes on; faults add rules and take them
away again, several at a time if they like.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs
import trio

Way = tuple[int, int]
"""From which member to which, by index."""


@attrs.frozen(eq=False)
class Rule:
    """What happens to bytes on a link while the rule is there; rules add up.

    ``hold``: nothing passes until the rule is gone, and is then delivered, as by a network that comes back
    before TCP gives up.  ``delay`` in seconds for each piece.  ``rate`` in bytes a second; 0 is no limit.
    """

    hold: bool = False
    delay: float = 0.0
    rate: float = 0.0


class Link:
    """The way from one member to another."""

    def __init__(self) -> None:
        self._rules: list[Rule] = []
        self._changed = trio.Event()

    @property
    def held(self) -> bool:
        """Whether nothing passes."""
        return any(rule.hold for rule in self._rules)

    def add(self, rule: Rule) -> None:
        """Begin ``rule``."""
        self._rules.append(rule)

    def remove(self, rule: Rule) -> None:
        """End ``rule``; what waited because of it goes on."""
        if rule in self._rules:
            self._rules.remove(rule)
        self._changed.set()
        self._changed = trio.Event()

    async def passage(self, size: int) -> None:
        """Wait until ``size`` bytes may pass."""
        rules = list(self._rules)
        pause = sum(rule.delay for rule in rules) + sum(size / rule.rate for rule in rules if rule.rate)
        if pause:
            # A rule that ends ends the pause, too: nobody waits for a network that is well again.
            with trio.move_on_after(pause):
                await self._changed.wait()
        while self.held:
            await self._changed.wait()


class Network:
    """All links.  A link from or to an unknown sender (None) is there, too, and no rule ever names it."""

    def __init__(self) -> None:
        self._links: dict[tuple[int | None, int | None], Link] = {}

    def link(self, sender: int | None, receiver: int | None) -> Link:
        """The way from ``sender`` to ``receiver``."""
        return self._links.setdefault((sender, receiver), Link())

    def add(self, ways: Iterable[Way], rule: Rule) -> None:
        """Begin ``rule`` on all ``ways``."""
        for sender, receiver in ways:
            self.link(sender, receiver).add(rule)

    def remove(self, ways: Iterable[Way], rule: Rule) -> None:
        """End ``rule`` on all ``ways``."""
        for sender, receiver in ways:
            self.link(sender, receiver).remove(rule)
