"""The Maintenance service: alarms, status, hashes, defragmentation, and who leads."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import google_crc32c
import trio

from etcdpb import rpc_pb2
from rusd.grpc import Call, Pending, Registry
from rusd.lease import LeaseCut
from rusd.mvcc import MvccError
from rusd.services import errors
from rusd.services.context import Context
from rusd.services.downgrade import Downgrade
from rusd.services.hashing import finish_hash
from rusd.services.remote import Handler
from rusd.state import AlarmResult, Kind, alarm_name
from rusd.steps import PAGE, Steps, Turn
from rusd.version import ETCD_VERSION, storage_version

if TYPE_CHECKING:
    from rusd.mvcc import HashKv

HASH_KV = "hash_kv"


class MaintenanceService:
    """etcdserverpb.Maintenance."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.downgrading = Downgrade(context)

    def register(self, registry: Registry) -> None:
        """Make the service's methods known."""
        service = "/etcdserverpb.Maintenance/"
        registry.inline(service + "Alarm", rpc_pb2.AlarmRequest, self.alarm)
        registry.inline(service + "Status", rpc_pb2.StatusRequest, self.status)
        registry.task(service + "Defragment", rpc_pb2.DefragmentRequest, self.defragment)
        registry.task(service + "Hash", rpc_pb2.HashRequest, self.hash)
        registry.task(service + "HashKV", rpc_pb2.HashKVRequest, self.hash_kv)
        registry.task(service + "MoveLeader", rpc_pb2.MoveLeaderRequest, self.move_leader)
        registry.task(service + "Downgrade", rpc_pb2.DowngradeRequest, self.downgrade)

    def peer_methods(self) -> dict[str, Handler]:
        """What other members ask this one."""
        return {HASH_KV: self._hash_kv_for_peer}

    def alarm(self, _call: Call, request: rpc_pb2.AlarmRequest) -> Pending:
        """List, raise or disarm alarms.  Goes through the log, listing too."""
        return self._context.propose(Kind.ALARM, request, self._alarm_answer)

    def _alarm_answer(self, result: object) -> bytes:
        alarms = [
            rpc_pb2.AlarmMember(memberID=member, alarm=cast("rpc_pb2.AlarmType", alarm))
            for member, alarm in cast("AlarmResult", result).alarms
        ]
        return self._context.header.now() + rpc_pb2.AlarmResponse(alarms=alarms).SerializeToString()

    def status(self, _call: Call, _request: rpc_pb2.StatusRequest) -> bytes:
        """How this member sees itself and the cluster, now."""
        context = self._context
        replica, machine, quota = context.replica, context.machine, context.quota
        problems = [] if replica.leader_id else ["etcdserver: no leader"]
        problems += [_alarm_text(member, alarm) for member, alarm in machine.alarms.active()]
        response = rpc_pb2.StatusResponse(
            version=ETCD_VERSION,
            dbSize=quota.size,
            dbSizeInUse=quota.size_in_use,
            leader=replica.leader_id,
            raftIndex=replica.core.node.commit_index,
            raftAppliedIndex=replica.core.applied_index,
            raftTerm=replica.term,
            errors=problems,
            isLearner=machine.members.is_learner(context.header.member_id),
            storageVersion=storage_version(machine.cluster_version),
            dbSizeQuota=quota.limit,
            downgradeInfo=rpc_pb2.DowngradeInfo(
                enabled=bool(machine.downgrade_target), targetVersion=machine.downgrade_target
            ),
        )
        return context.header.now() + response.SerializeToString()

    async def defragment(self, _call: Call, _request: rpc_pb2.DefragmentRequest) -> bytes:
        """Give freed space back.  The answer has no header."""
        await trio.lowlevel.checkpoint()
        self._context.quota.defragment()
        self._context.log.info("finished defragment", current_db_size_bytes=self._context.quota.size)
        return b""

    async def hash(self, _call: Call, _request: rpc_pb2.HashRequest) -> bytes:
        """A hash over everything this member holds; only compares between rusd servers."""
        context = self._context
        machine = context.machine
        leases = machine.leases.cut()
        state = repr((machine.members.all(), machine.alarms.active()))
        turn = Turn(0)
        try:
            history = await finish_hash(machine.store.hash_kv(0), context.work)
            checksum = int(google_crc32c.extend(history.hash, state.encode()))
            value = await context.work.run(_add_leases(checksum, leases, turn), turn)
        finally:
            leases.close()
        return context.header.now() + rpc_pb2.HashResponse(hash=value).SerializeToString()

    async def move_leader(self, call: Call, request: rpc_pb2.MoveLeaderRequest) -> bytes:
        """Hand leadership over to another voter, and wait until it leads.  The answer has no header."""
        context = self._context
        replica, clock, log = context.replica, context.clock, context.log
        if not context.leader.is_here:
            raise errors.NOT_LEADER()
        target, old = request.targetID, replica.leader_id
        members = context.machine.members
        if members.get(target) is None or members.is_learner(target):
            raise errors.BAD_TRANSFEREE()
        begun = clock.monotonic()
        timeout = context.request_timeout if call.deadline is None else call.deadline - begun
        parties = {
            "local_member_id": f"{old:x}",
            "current_leader_member_id": f"{old:x}",
            "transferee_member_id": f"{target:x}",
        }
        log.info("leadership transfer starting", **parties)
        try:
            await replica.leadership.transfer(target, timeout)
        except errors.REFUSALS as error:
            raise errors.from_state(error) from error
        took = clock.monotonic() - begun
        log.info(
            "leadership transfer finished",
            local_member_id=f"{context.header.member_id:x}",
            old_leader_member_id=f"{old:x}",
            new_leader_member_id=f"{target:x}",
            took=f"{took:.6f}s",
        )
        return b""

    async def downgrade(self, _call: Call, request: rpc_pb2.DowngradeRequest) -> bytes:
        """See whether the cluster could go back to an older version, begin that, or call it off."""
        response = await self.downgrading.answer(request)
        return self._context.header.now() + response.SerializeToString()

    async def _hash_kv_for_peer(self, payload: bytes) -> bytes:
        return await self._hash_kv(rpc_pb2.HashKVRequest.FromString(payload))

    async def hash_kv(self, _call: Call, request: rpc_pb2.HashKVRequest) -> bytes:
        """etcd's hash over the history up to a revision; equal histories give equal numbers."""
        return await self._hash_kv(request)

    async def _hash_kv(self, request: rpc_pb2.HashKVRequest) -> bytes:
        try:
            revision, result = await self.history_hash(request.revision)
        except MvccError as error:
            raise errors.from_state(error) from error
        response = rpc_pb2.HashKVResponse(
            hash=result.hash,
            compact_revision=result.compact_revision,
            hash_revision=result.hash_revision,
        )
        return self._context.header.at(revision) + response.SerializeToString()

    async def history_hash(self, revision: int) -> tuple[int, HashKv]:
        """The hash over the history up to ``revision``, and what was current when that was begun.

        Raises :class:`~rusd.mvcc.MvccError`.
        """
        job = self._context.machine.store.hash_kv(revision)
        return job.current_revision, await finish_hash(job, self._context.work)


def _alarm_text(member: int, alarm: int) -> str:
    """As Go's text encoder writes an ``AlarmMember``: a space after each field, and none that is 0."""
    return (f"memberID:{member} " if member else "") + f"alarm:{alarm_name(alarm)} "


def _add_leases(checksum: int, leases: LeaseCut, turn: Turn) -> Steps[int]:
    states = yield from leases.steps(turn)
    for start in range(0, len(states), PAGE):
        checksum = int(google_crc32c.extend(checksum, repr(states[start : start + PAGE]).encode()))
        turn.left -= PAGE * 2
        if turn.left <= 0:
            yield
    return checksum
