"""What the tool sees of the cluster, and of itself."""

from __future__ import annotations

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from chaos.history import Fault, Recorder
from chaos.observe import watch_self


async def test_a_tool_that_stood_still_says_so(mock_clock: MockClock) -> None:
    recorder = Recorder(trio.current_time)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch_self, recorder)
        for seconds in (0.3, 0.9, 40.0, 0.3):
            await wait_all_tasks_blocked()
            mock_clock.jump(seconds)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert recorder.history.of(Fault) == [Fault("stall", 1.2, 41.2, "the tool itself stood still for 39.8 s")]
