"""What is looked at while a run goes on, and at its end: leaders and terms, the tool itself, hashes."""

from __future__ import annotations

import trio

from chaos.client import CallError
from chaos.faults import Stage
from chaos.history import Fault, Hash, Recorder, Status, Trouble
from etcdpb import rpc_pb2

STATUS_SECONDS = 0.5
LOOK_SECONDS = 0.25
STALL_SECONDS = 1.0
_STATUS = "/etcdserverpb.Maintenance/Status"
_HASH = "/etcdserverpb.Maintenance/HashKV"
HASH_SECONDS = 30.0


async def watch_status(stage: Stage, member: int) -> None:
    """Ask ``member`` for its status, twice a second, until cancelled."""
    while True:
        async with stage.client(member) as client:
            while True:
                try:
                    answer = await client.call(
                        _STATUS, rpc_pb2.StatusRequest(), rpc_pb2.StatusResponse, timeout=STATUS_SECONDS
                    )
                except CallError:
                    break
                leader = stage.cluster.proxy.directory.ids.get(f"{answer.leader:x}", -1)
                status = Status(
                    member,
                    stage.recorder.now(),
                    leader,
                    answer.raftTerm,
                    answer.raftIndex,
                    answer.header.revision,
                )
                stage.statuses[member] = status
                stage.recorder.add(status)
                await trio.sleep(STATUS_SECONDS)
        await trio.sleep(STATUS_SECONDS)


async def watch_self(recorder: Recorder) -> None:
    """Record when this process stood still, until cancelled: a fault like others, though nobody played it.

    Meanwhile no client was served and nothing came through the proxies.
    """
    while True:
        begun = recorder.now()
        await trio.sleep(LOOK_SECONDS)
        late = recorder.now() - begun - LOOK_SECONDS
        if late > STALL_SECONDS:
            recorder.add(
                Fault("stall", begun, recorder.now(), f"the tool itself stood still for {late:.1f} s")
            )


async def compare_hashes(stage: Stage, revision: int) -> None:
    """Record every member's hash at ``revision``; a member that doesn't tell is a :class:`Trouble`.

    Hashes compare only between members that have compacted to the same revision, so this waits for that.
    """
    hashes: list[Hash | None] = [None] * stage.cluster.size
    with trio.move_on_after(HASH_SECONDS):
        while True:
            hashes = [await _hash(stage, member, revision) for member in range(stage.cluster.size)]
            known = [one for one in hashes if one is not None]
            if len(known) == len(hashes) and len({one.compacted for one in known}) == 1:
                break
            await trio.sleep(STATUS_SECONDS)
    for member, found in enumerate(hashes):
        if found is None:
            stage.recorder.add(
                Trouble(stage.recorder.now(), f"n{member} told no hash at revision {revision}")
            )
        else:
            stage.recorder.add(found)


async def _hash(stage: Stage, member: int, revision: int) -> Hash | None:
    request = rpc_pb2.HashKVRequest(revision=revision)
    async with stage.client(member) as client:
        try:
            answer = await client.call(_HASH, request, rpc_pb2.HashKVResponse)
        except CallError:
            return None
    return Hash(member, stage.recorder.now(), revision, answer.hash, answer.compact_revision)
