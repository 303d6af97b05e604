"""The order of all changes, as full watches told it.

Every revision should reach every watcher of the whole key space with the same events.  The log is their
union: the changes that the cluster committed to, in order, whoever asked for them.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from chaos.checkers.verdict import Violation
from chaos.history import Delivery, History, Watch
from chaos.model import WHOLE, Event


@attrs.define
class Log:
    """``changes[revision]`` is what it changed; ``seen[revision]`` when the first watcher learned of it."""

    changes: dict[int, tuple[Event, ...]] = attrs.Factory(dict)
    seen: dict[int, float] = attrs.Factory(dict)
    violations: list[Violation] = attrs.Factory(list)

    @property
    def last(self) -> int:
        """The newest revision in the log; 1, the revision of an empty store, if there is none."""
        return max(self.changes, default=1)


def by_revision(events: tuple[Event, ...]) -> Iterator[tuple[int, tuple[Event, ...]]]:
    """Neighbouring events of one revision together."""
    start = 0
    for index in range(1, len(events) + 1):
        if index == len(events) or events[index].kv.mod != events[start].kv.mod:
            yield events[start].kv.mod, events[start:index]
            start = index


def build(history: History) -> Log:
    """Join what the watchers of the whole key space were told; where two differ is a violation."""
    whole = {
        (watch.watcher, watch.session): watch
        for watch in history.of(Watch)
        if watch.key == watch.end == WHOLE and not watch.drop
    }
    log = Log()
    tellers: dict[int, Watch] = {}
    for delivery in history.of(Delivery):
        watch = whole.get((delivery.watcher, delivery.session))
        if watch is None:
            continue
        for revision, events in by_revision(delivery.events):
            bare = tuple(attrs.evolve(event, previous=None) for event in events)
            known = log.changes.setdefault(revision, bare)
            log.seen[revision] = min(log.seen.get(revision, delivery.at), delivery.at)
            teller = tellers.setdefault(revision, watch)
            if known != bare:
                log.violations.append(
                    Violation(
                        "agreement",
                        f"revision {revision} is {_brief(known)} on member {teller.member},"
                        f" but {_brief(bare)} on member {watch.member}",
                        delivery.at,
                    )
                )
    return log


def _brief(events: tuple[Event, ...]) -> str:
    shown = [f"{event.kind} {event.kv.key}={event.kv.value!r}" for event in events[:3]]
    return ", ".join(shown) + (" …" if len(events) > 3 else "")
