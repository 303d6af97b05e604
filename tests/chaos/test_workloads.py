"""A seed decides what clients ask for; and what the workloads do to a correct server passes every check."""

from __future__ import annotations

import random

import pytest
import trio
from trio.testing import MockClock

from chaos.checkers.judge import judge
from chaos.history import UNKNOWN
from chaos.model import Answer, Grant, KeepAlive, Request
from chaos.session import Session, pacing
from chaos.watching import Watcher
from chaos.workloads import WORKLOADS, Workload
from tests.chaos.histories import Play

SECONDS = 30.0


class ModelSession(Session):
    """A session with a correct server of its own; now and then an answer gets lost."""

    def __init__(self, play: Play, interval: random.Random) -> None:
        self.process = 7
        self.play = play
        self.requests: list[Request] = []
        self._values = 0
        self._interval = pacing(interval, 0.2)

    async def do(self, request: Request, note: str = "", timeout: float = 0) -> Answer | None:
        await trio.sleep(0.01)
        self.requests.append(request)
        self.play.now = max(self.play.now, trio.current_time())
        ttl = request.ttl if isinstance(request, Grant) else 3 * isinstance(request, KeepAlive)
        outcome = UNKNOWN if len(self.requests) % 10 == 0 else "ok"
        return self.play.do(request, note=note, ttl=ttl, outcome=outcome).answer

    def watcher(self, *_: object, **__: object) -> Watcher:
        return _Idle()  # type: ignore[return-value]

    def move(self) -> None:
        pass


class _Idle:
    async def run(self) -> None:
        await trio.sleep_forever()


async def played(workload: Workload, seed: int) -> ModelSession:
    """Half a minute of one client."""
    chance = random.Random(seed)
    session = ModelSession(Play(), chance)
    with trio.move_on_after(SECONDS):
        await workload.play(session, chance)
    return session


@pytest.mark.parametrize("name", WORKLOADS)
async def test_a_seed_repeats_every_request(name: str, autojump_clock: MockClock) -> None:
    workload = WORKLOADS[name]
    first, again, other = [await played(workload, seed) for seed in (1, 1, 2)]
    assert len(first.requests) > 3
    assert first.requests == again.requests
    if name not in ("counter", "append", "watch"):  # these ask for the same whatever the seed
        assert first.requests != other.requests


@pytest.mark.parametrize("name", [name for name in WORKLOADS if name not in ("lease", "lock")])
async def test_what_a_workload_does_to_a_correct_server_passes(name: str, autojump_clock: MockClock) -> None:
    session = await played(WORKLOADS[name], 3)
    assert judge(session.play.history()).violations == ()
