"""The Lease service: keys that live as long as somebody keeps their lease alive."""

from __future__ import annotations

from typing import cast

import trio

from etcdpb import rpc_pb2
from rusd.grpc import Call, Code, EndOfRequests, Pending, Registry, Requests, Responses, StatusError
from rusd.lease import LeaseExpiredError, LeaseNotFoundError, NotPrimaryError
from rusd.services import errors
from rusd.services.context import Context
from rusd.services.quota import LEASE_COST_BYTES
from rusd.state import GrantResult, Kind

_MAX_ID = (1 << 63) - 1


class LeaseService:
    """etcdserverpb.Lease.  ``minimum_ttl``, in seconds, is what shorter leases are raised to."""

    def __init__(self, context: Context, *, minimum_ttl: int) -> None:
        self._context = context
        self._minimum_ttl = minimum_ttl

    def register(self, registry: Registry) -> None:
        """Make the service's methods known."""
        service = "/etcdserverpb.Lease/"
        registry.inline(service + "LeaseGrant", rpc_pb2.LeaseGrantRequest, self.grant)
        registry.inline(service + "LeaseRevoke", rpc_pb2.LeaseRevokeRequest, self.revoke)
        registry.stream(service + "LeaseKeepAlive", rpc_pb2.LeaseKeepAliveRequest, self.keep_alive)
        registry.inline(service + "LeaseTimeToLive", rpc_pb2.LeaseTimeToLiveRequest, self.time_to_live)
        registry.inline(service + "LeaseLeases", rpc_pb2.LeaseLeasesRequest, self.leases)

    def grant(self, _call: Call, request: rpc_pb2.LeaseGrantRequest) -> Pending:
        """Make a lease.  What chance and limits decide is decided here, before the log."""
        context = self._context
        if (refused := context.check_quota(LEASE_COST_BYTES)) is not None:
            return refused
        request.TTL = max(request.TTL, self._minimum_ttl)
        while request.ID == 0:
            request.ID = context.random.getrandbits(64) & _MAX_ID
        return context.propose(Kind.LEASE_GRANT, request, self._grant_answer)

    def _grant_answer(self, result: object) -> bytes:
        granted = cast("GrantResult", result)
        response = rpc_pb2.LeaseGrantResponse(ID=granted.lease_id, TTL=granted.ttl)
        return self._context.header.now() + response.SerializeToString()

    def revoke(self, _call: Call, request: rpc_pb2.LeaseRevokeRequest) -> Pending:
        """End a lease and delete its keys."""
        return self._context.propose(Kind.LEASE_REVOKE, request, lambda _result: self._context.header.now())

    async def keep_alive(self, _call: Call, requests: Requests, responses: Responses) -> None:
        """One answer for each request: the full TTL again, or 0 for a lease that is gone."""
        while True:
            try:
                request = await requests.receive()
            except EndOfRequests:
                return
            header = self._context.header.now()  # as before the renewal
            ttl = await self._renew(request.ID)
            await responses.send(
                header + rpc_pb2.LeaseKeepAliveResponse(ID=request.ID, TTL=ttl).SerializeToString()
            )

    async def _renew(self, lease_id: int) -> int:
        """The TTL that the lease has again, in seconds, or 0."""
        context = self._context
        lessor = context.lessor
        try:
            await context.replica.wait_linearizable()
            if lessor.has_checkpoint(lease_id):  # or a new leader would remember less than the full time
                await context.replica.propose_and_wait(Kind.LEASE_CHECKPOINT, _no_checkpoint(lease_id))
            return lessor.renew(lease_id, context.clock.monotonic())
        except LeaseExpiredError:
            return await self._wait_until_revoked(lease_id)
        except NotPrimaryError as error:
            raise StatusError(Code.UNKNOWN, "not a primary lessor") from error
        except errors.REFUSALS as error:
            raise errors.from_state(error) from error

    async def _wait_until_revoked(self, lease_id: int) -> int:
        done = trio.Event()
        outcome: list[bool] = []

        def settle(revoked: bool) -> None:
            outcome.append(revoked)
            done.set()

        self._context.lessor.when_revoked(lease_id, settle)
        await done.wait()
        # Without leadership nobody here can tell; the client asks again.
        return 0 if outcome[0] else await self._renew(lease_id)

    def time_to_live(self, _call: Call, request: rpc_pb2.LeaseTimeToLiveRequest) -> bytes | Pending:
        """How long a lease has left, and its keys if asked for."""
        return self._context.read(lambda: self._time_to_live(request))

    def _time_to_live(self, request: rpc_pb2.LeaseTimeToLiveRequest) -> bytes:
        context = self._context
        leases = context.machine.leases
        response = rpc_pb2.LeaseTimeToLiveResponse(ID=request.ID)
        try:
            response.TTL = context.lessor.remaining(request.ID, context.clock.monotonic())
            response.grantedTTL = leases.ttl(request.ID)
            if request.keys:
                response.keys.extend(leases.keys(request.ID))
        except LeaseNotFoundError:
            response.TTL = -1
        except NotPrimaryError as error:
            raise StatusError(Code.UNAVAILABLE, "etcdserver: leader changed") from error
        return context.header.now() + response.SerializeToString()

    def leases(self, _call: Call, _request: rpc_pb2.LeaseLeasesRequest) -> bytes:
        """All leases this member knows, the next to expire first."""
        statuses = [rpc_pb2.LeaseStatus(ID=lease_id) for lease_id in self._context.lessor.by_expiry()]
        return self._context.header.now() + rpc_pb2.LeaseLeasesResponse(leases=statuses).SerializeToString()


def _no_checkpoint(lease_id: int) -> rpc_pb2.LeaseCheckpointRequest:
    return rpc_pb2.LeaseCheckpointRequest(checkpoints=[rpc_pb2.LeaseCheckpoint(ID=lease_id, remaining_TTL=0)])
