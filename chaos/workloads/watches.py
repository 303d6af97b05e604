"""A workload of watchers: from the past or the present, of ranges, filtered, slow, moving between members."""

from __future__ import annotations

import random

import trio

from chaos.model import DELETE, PUT, WHOLE, Range, prefix_end
from chaos.session import Session
from chaos.workloads.base import Workload

RANGES = (
    (WHOLE, WHOLE),
    ("register/", prefix_end("register/")),
    ("leased/", prefix_end("leased/")),
    ("account/", prefix_end("account/")),
    ("count/a", ""),
)
FAR_BACK = 200
LONGEST_NAP_SECONDS = 6.0


async def play_watches(session: Session, chance: random.Random) -> None:
    """Watches some range from some revision on, from one member after the other, resuming each time."""
    while True:
        await session.pace()
        key, end = chance.choice(RANGES)
        back = chance.randrange(-5, FAR_BACK)
        drop = chance.choices(((), (PUT,), (DELETE,)), (8, 1, 1))[0]
        previous, bookmarks = chance.random() < 0.5, chance.random() < 0.5
        stays = [chance.uniform(0.2, 4) for _ in range(chance.randint(1, 5))]
        nap = chance.uniform(0.5, LONGEST_NAP_SECONDS) if chance.random() < 0.25 else 0.0
        answer = await session.do(Range("register/a"))
        if answer is None:
            continue
        start = max(2, answer.revision + 1 - back)
        watcher = session.watcher(
            key, end, next=start, previous=previous, drop=drop, bookmarks=bookmarks, nap=nap
        )
        for stay in stays:
            with trio.move_on_after(nap + stay):
                await watcher.run()
            session.move()


WORKLOADS = (Workload("watch", "watchers of ranges that move between members and resume", 2, play_watches),)
