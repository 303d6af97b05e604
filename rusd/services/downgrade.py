"""Going back to an older version: what ``Maintenance/Downgrade`` does.

A downgrade that is enabled lets the leader lower the cluster version by one
minor (:mod:`rusd.clusterversion`), so that older members may take the place of
those there are.  Rules and words are etcd's (``server/etcdserver/v3_server.go`` and
``version/manager.go``, release 3.6).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from etcdpb import rpc_pb2
from rusd.grpc import StatusError
from rusd.services import errors
from rusd.state import Kind
from rusd.version import downgrade_target, parse_version, short

if TYPE_CHECKING:
    from rusd.services.context import Context


class Downgrade:
    """The cluster's downgrade, as one member sees and changes it.  All raise :class:`StatusError`."""

    def __init__(self, context: Context) -> None:
        self._replica = context.replica
        self._machine = context.machine
        self._log = context.log

    async def answer(self, request: rpc_pb2.DowngradeRequest) -> rpc_pb2.DowngradeResponse:
        """Do what is asked for; the answer, without its header, tells the cluster's version."""
        match request.action:
            case rpc_pb2.DowngradeRequest.VALIDATE:
                version = self._machine.cluster_version
                await self._validate(_target(request.version))
                return rpc_pb2.DowngradeResponse(version=short(version))
            case rpc_pb2.DowngradeRequest.ENABLE:
                await self._enable(request.version)
            case rpc_pb2.DowngradeRequest.CANCEL:
                await self._cancel()
            case _:
                raise errors.UNKNOWN_METHOD()
        return rpc_pb2.DowngradeResponse(version=short(self._machine.cluster_version))

    async def is_enabled(self) -> bool:
        """Whether there is one, linearizably."""
        await self._catch_up()
        return bool(self._machine.downgrade_target)

    async def _validate(self, target: str) -> None:
        """Raise an error if a downgrade to ``target`` can't be enabled."""
        if not self._machine.cluster_version:
            raise errors.NO_CLUSTER_VERSION()
        is_enabled = await self.is_enabled()
        if target != downgrade_target(self._machine.cluster_version):
            raise errors.INVALID_DOWNGRADE_TARGET()
        if is_enabled:
            raise errors.DOWNGRADE_IN_PROGRESS()

    async def _enable(self, version: str) -> None:
        try:
            target = _target(version)
            await self._validate(target)
            await self._propose(rpc_pb2.DowngradeInfo(enabled=True, targetVersion=target))
        except StatusError as error:
            self._log.warn("reject downgrade request", error=error.message)
            raise

    async def _cancel(self) -> None:
        """As in etcd, who asks does not hear of what goes wrong."""
        try:
            if await self.is_enabled():
                await self._propose(rpc_pb2.DowngradeInfo())
                return
            problem = "etcdserver: no inflight downgrade job"
        except StatusError as error:
            problem = error.message
        self._log.warn("failed to cancel downgrade", error=problem)

    async def _catch_up(self) -> None:
        try:
            await self._replica.wait_linearizable()
        except errors.REFUSALS as error:
            raise errors.from_state(error) from error

    async def _propose(self, info: rpc_pb2.DowngradeInfo) -> None:
        try:
            await self._replica.propose_and_wait(Kind.DOWNGRADE, info)
        except errors.REFUSALS as error:
            raise errors.from_state(error) from error


def _target(text: str) -> str:
    """``text``, a version or major and minor of one, as a cluster version."""
    version = parse_version(text) or parse_version(text + ".0")
    if version is None:
        raise errors.WRONG_DOWNGRADE_FORMAT()
    return f"{version[0]}.{version[1]}.0"
