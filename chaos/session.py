"""One client of a workload: its requests go out, and what became of them into the history."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import attrs
import trio

from chaos.client import CALL_SECONDS, CallError, Client, Failed, Unclear
from chaos.history import FAILED, OK, UNKNOWN, Operation, Recorder
from chaos.model import WHOLE, Answer, Put, Request, shortened
from chaos.watching import Watcher

PATIENCE_SECONDS = 0.2
"""How long a client rests after an error, before it tries another member."""


class Session:
    """A client process in the sense of the history: one operation at a time, each recorded."""

    def __init__(
        self, process: int, workload: str, client: Client, recorder: Recorder, interval: Callable[[], float]
    ) -> None:
        self.process = process
        self._workload = workload
        self._client = client
        self._recorder = recorder
        self._interval = interval
        self._values = 0
        self._watchers = 0

    def unique(self) -> str:
        """A value that nobody else ever writes."""
        self._values += 1
        return f"{self.process}.{self._values}"

    def watcher(self, key: str = WHOLE, end: str = WHOLE, **more: Any) -> Watcher:
        """A new logical watcher of a range; it shares the client, so one thing at a time."""
        self._watchers += 1
        name = f"{self._workload} {self.process}.{self._watchers}"
        return Watcher(name, self._recorder, self._client, key, end, **more)

    def move(self) -> None:
        """Talk to the next member from now on."""
        self._client.move()

    async def pace(self) -> None:
        """Wait for the time of the next request."""
        await trio.sleep(self._interval())

    async def do(self, request: Request, note: str = "", timeout: float = CALL_SECONDS) -> Answer | None:
        """Carry ``request`` out; None if it failed or its end is unknown.

        Then the next one goes elsewhere.
        """
        number, invoked, member = self._recorder.next_id(), self._recorder.now(), self._client.member
        outcome, answer, error = UNKNOWN, None, "the run ended"
        try:
            answer = await self._client.send(request, timeout)
            outcome, error = OK, ""
        except CallError as failure:
            outcome, error = (FAILED if isinstance(failure, Failed) else UNKNOWN), str(failure)
            if isinstance(failure, Unclear) or error.startswith("not sent"):
                self._client.move()
        finally:
            returned = None if outcome == UNKNOWN else self._recorder.now()
            self._recorder.add(
                Operation(
                    id=number,
                    process=self.process,
                    member=member,
                    workload=self._workload,
                    request=_shortened(request),
                    invoked=invoked,
                    returned=returned,
                    outcome=outcome,
                    answer=answer,
                    error=error,
                    note=note,
                )
            )
        if answer is None:
            await trio.sleep(PATIENCE_SECONDS)
        return answer


def _shortened(request: Request) -> Request:
    return attrs.evolve(request, value=shortened(request.value)) if isinstance(request, Put) else request


def pacing(chance: random.Random, mean: float) -> Callable[[], float]:
    """Pauses around ``mean`` seconds, so that clients don't march in step."""
    return lambda: chance.uniform(0.2, 1.8) * mean
