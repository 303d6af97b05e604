"""How often: when to try a peer again, when to say so in the log, how long to wait for it."""

from __future__ import annotations

import random

import attrs


@attrs.frozen
class Timing:
    """Seconds.

    ``connect``     to reach a peer's address;
    ``silence``     a peer that says nothing for so long, not even the answer to a ping, is given up, for a
                    new connection works at once where the network has come back, while an old one waits
                    for TCP to repeat itself, more and more seldom (etcd's ``raft-read-timeout``);
    ``ping``        after so much silence it is asked for a sign of life;
    ``write``       how long a peer may take nothing of what waits for it (etcd's ``raft-write-timeout``);
    ``first_pause``, ``longest_pause``  between two attempts;
    ``refused_pause``  after a peer has said that it does not talk to us;
    ``report``      one log line in so many seconds for a peer that stays away;
    ``snapshot_step``  how long a peer may take over one piece of a snapshot;
    ``snapshot_end``   and how long until it has it on disk, after the last one.
    """

    connect: float = 1.0
    silence: float = 5.0
    ping: float = 1.0
    write: float = 5.0
    first_pause: float = 0.05
    longest_pause: float = 0.5
    refused_pause: float = 5.0
    report: float = 5.0
    snapshot_step: float = 10.0
    snapshot_end: float = 120.0


class Backoff:
    """Growing pauses, each a random part of what it may be, so that peers don't try in step."""

    def __init__(self, random: random.Random, timing: Timing) -> None:
        self._random = random
        self._timing = timing
        self._next = timing.first_pause

    def pause(self) -> float:
        """How many seconds to wait this time; between half and all of what grows."""
        pause, self._next = self._next, min(2 * self._next, self._timing.longest_pause)
        return pause * self._random.uniform(0.5, 1.0)

    def reset(self) -> None:
        """It went well: begin anew."""
        self._next = self._timing.first_pause


class Seldom:
    """Whether it is time to say something again; one memory for a bounded number of things."""

    _MOST = 256

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._said: dict[object, float] = {}

    def permits(self, thing: object, now: float) -> bool:
        """Whether ``thing`` was not permitted in the last so many seconds; then it is now."""
        last = self._said.get(thing)
        if last is not None and now - last < self._seconds:
            return False
        if len(self._said) >= self._MOST:
            self._said.clear()
        self._said[thing] = now
        return True
