"""Waiting for clusters of real processes, and judging them at the end."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from chaos.cluster import Cluster, Member
from tests.cluster.load import Calls, Load

NEAR = 2_000
"""Entries behind a leader under load that are no more than what is on its way."""
PATIENCE_SECONDS = 240.0


def events(member: Member, message: str) -> list[dict[str, Any]]:
    """What a member has logged under that heading, in all its lives."""
    lines = (json.loads(line) for line in member.log_path.read_text().splitlines() if line.startswith("{"))
    return [line for line in lines if line["msg"] == message]


async def until(condition: Callable[[], Awaitable[bool]], what: str) -> float:
    """Wait for what nobody announces; how many seconds it took."""
    start = trio.current_time()
    with trio.move_on_after(PATIENCE_SECONDS):
        while not await condition():
            await trio.sleep(0.05)
        return trio.current_time() - start
    raise AssertionError(f"not within {PATIENCE_SECONDS} s: {what}")


async def caught_up(calls: Calls, member: Member, leader: Member) -> float:
    """Wait until a member has what its leader has."""

    async def near() -> bool:
        own, its = await calls.applied(member), await calls.applied(leader)
        return 0 < its < own + NEAR

    return await until(near, f"{member.name} catches up:\n{member.log_tail()}")


async def check_that_all_agree(calls: Calls, cluster: Cluster, load: Load) -> None:
    """Nothing acknowledged is lost, and all members have the same history; nobody writes any more."""
    members = [member for member in cluster.members if member.belongs]
    for member in members:
        found = await calls.everything(member)
        lost = {key: value for key, value in load.acknowledged.items() if found.get(key) != value}
        assert lost == {}, member.name
    hashes: set[int] = set()

    async def hashed() -> bool:
        """They compare only between members that have compacted to the same revision."""
        nonlocal hashes
        revision = (await calls.status(members[0])).header.revision
        hashes, compacted = await calls.hashes(revision, members)
        return len(compacted) == 1

    await until(hashed, "all compact to the same revision")
    assert len(hashes) == 1, hashes
    assert cluster.died() == []
