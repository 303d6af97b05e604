"""``/health``, ``/livez`` and ``/readyz``: may this member be asked?

``/health`` is etcd's old question with a JSON answer.  The other two follow
Kubernetes: a list of named checks, each of which can be asked alone
(``/readyz/linearizable_read``), left out (``?exclude=``) or shown (``?verbose``).
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs

from rusd.net import HttpResponse
from rusd.replica import Replica, ReplicaError
from rusd.services.errors import from_state
from rusd.state import CORRUPT, NOSPACE, StateMachine, alarm_name

_TEXT = (b"Content-Type", b"text/plain; charset=utf-8")
_NOSNIFF = (b"X-Content-Type-Options", b"nosniff")

Check = Callable[[], Awaitable[None]]


class CheckFailedError(Exception):
    """A check said no; the text says why."""


class Health:
    """Answers health questions from the replica and its state."""

    def __init__(self, replica: Replica, machine: StateMachine, member_id: int) -> None:
        self._member_id = member_id
        self._replica = replica
        self._machine = machine
        self._livez: dict[str, Check] = {"serializable_read": self._serializable_read}
        self._readyz: dict[str, Check] = {
            "data_corruption": self._data_corruption,
            "serializable_read": self._serializable_read,
            "linearizable_read": self._linearizable_read,
            "non_learner": self._non_learner,
        }

    async def health(self, query: str) -> HttpResponse:
        """``/health``: alarms, then the leader, then a read."""
        options = parse_qs(query, keep_blank_values=True)
        serializable = options.get("serializable", [""])[0] == "true"
        reason = self._alarm(set(options.get("exclude", ())))
        if not reason and not serializable and self._replica.leader_id == 0:
            reason = "RAFT NO LEADER"
        if not reason and not serializable:
            try:
                await self._replica.wait_linearizable()
            except ReplicaError as error:
                reason = f"RANGE ERROR:{_text(error)}"
        body = json.dumps(
            {"health": "false" if reason else "true", "reason": reason}, separators=(",", ":")
        ).encode()
        if reason:
            return HttpResponse(503, [_TEXT, _NOSNIFF], body + b"\n")
        return HttpResponse(200, [_TEXT], body)

    async def livez(self, name: str, query: str) -> HttpResponse | None:
        """``/livez`` or, with a name, ``/livez/<name>``; None if there is no such check."""
        return await self._answer(self._livez, name, query)

    async def readyz(self, name: str, query: str) -> HttpResponse | None:
        """``/readyz`` or, with a name, ``/readyz/<name>``; None if there is no such check."""
        return await self._answer(self._readyz, name, query)

    async def _answer(self, checks: dict[str, Check], name: str, query: str) -> HttpResponse | None:
        if name and name not in checks:
            return None
        options = parse_qs(query, keep_blank_values=True)
        excluded = set(options.get("exclude", ()))
        chosen = {name: checks[name]} if name else {n: c for n, c in checks.items() if n not in excluded}
        lines: list[str] = []
        failed = False
        for check_name, check in chosen.items():
            try:
                await check()
            except (CheckFailedError, ReplicaError) as error:
                failed = True
                lines.append(f"[-]{check_name} failed: {_text(error)}\n")
            else:
                lines.append(f"[+]{check_name} ok\n")
        shown = "".join(lines)
        if failed:
            return HttpResponse(503, [_TEXT, _NOSNIFF], f"{shown}\n".encode())
        prefix = shown if "verbose" in options else ""
        return HttpResponse(200, [_TEXT, _NOSNIFF], f"{prefix}ok\n".encode())

    # -- the checks -----------------------------------------------------------------

    def _alarm(self, excluded: set[str]) -> str:
        for _, alarm in self._machine.alarms.active():
            if alarm_name(alarm) not in excluded:
                return f"ALARM {alarm_name(alarm)}" if alarm in (NOSPACE, CORRUPT) else "ALARM UNKNOWN"
        return ""

    async def _data_corruption(self) -> None:
        if self._machine.alarms.corrupt:
            raise CheckFailedError("alarm activated: CORRUPT")

    async def _serializable_read(self) -> None:
        self._machine.store.range(b"\0", b"", limit=1)

    async def _linearizable_read(self) -> None:
        await self._replica.wait_linearizable()

    async def _non_learner(self) -> None:
        if self._machine.members.is_learner(self._member_id):
            raise CheckFailedError("not supported for learner")


def _text(error: Exception) -> str:
    """What etcd says of it."""
    return from_state(error).message if isinstance(error, ReplicaError) else str(error)
