"""The Maintenance service, as far as a single member needs it: alarms, status, hashes, defragmentation."""

from __future__ import annotations

from typing import cast

import google_crc32c
import trio

from etcdpb import rpc_pb2
from rusd.grpc import Call, Pending, Registry
from rusd.lease import LeaseCut
from rusd.mvcc import HashKv, HashKvJob, MvccError
from rusd.services import errors
from rusd.services.context import Context
from rusd.state import AlarmResult, Kind, alarm_name
from rusd.steps import PAGE, Steps, Turn
from rusd.version import ETCD_VERSION, STORAGE_VERSION

HASH_STEP_RECORDS = 1000
"""Records hashed before others get their turn."""


class MaintenanceService:
    """etcdserverpb.Maintenance."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def register(self, registry: Registry) -> None:
        """Make the service's methods known."""
        service = "/etcdserverpb.Maintenance/"
        registry.inline(service + "Alarm", rpc_pb2.AlarmRequest, self.alarm)
        registry.inline(service + "Status", rpc_pb2.StatusRequest, self.status)
        registry.task(service + "Defragment", rpc_pb2.DefragmentRequest, self.defragment)
        registry.task(service + "Hash", rpc_pb2.HashRequest, self.hash)
        registry.task(service + "HashKV", rpc_pb2.HashKVRequest, self.hash_kv)

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
            storageVersion=STORAGE_VERSION if machine.cluster_version else "",
            dbSizeQuota=quota.limit,
            downgradeInfo=rpc_pb2.DowngradeInfo(),
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
            history = await self._finish(machine.store.hash_kv(0))
            checksum = int(google_crc32c.extend(history.hash, state.encode()))
            value = await context.work.run(_add_leases(checksum, leases, turn), turn)
        finally:
            leases.close()
        return context.header.now() + rpc_pb2.HashResponse(hash=value).SerializeToString()

    async def hash_kv(self, _call: Call, request: rpc_pb2.HashKVRequest) -> bytes:
        """etcd's hash over the history up to a revision; equal histories give equal numbers."""
        try:
            job = self._context.machine.store.hash_kv(request.revision)
        except MvccError as error:
            raise errors.from_state(error) from error
        header = self._context.header.at(job.current_revision)
        result = await self._finish(job)
        response = rpc_pb2.HashKVResponse(
            hash=result.hash,
            compact_revision=result.compact_revision,
            hash_revision=result.hash_revision,
        )
        return header + response.SerializeToString()

    async def _finish(self, job: HashKvJob) -> HashKv:
        """Run a hash to its end, giving way now and then."""
        try:
            while job.result is None:
                async with self._context.work.turn():
                    job.step(HASH_STEP_RECORDS)
        finally:
            job.close()
        return job.result


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
