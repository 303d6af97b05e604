"""The Lease service: keys that live as long as somebody keeps their lease alive.

Grants and revocations go through the log.  Renewals don't: the leader alone keeps
time, so other members pass them on to it, and the question how long a lease has.
"""

from __future__ import annotations

from typing import cast

import trio

from etcdpb import rpc_pb2
from rusd.grpc import Call, EndOfRequests, Pending, Registry, Requests, Responses
from rusd.lease import LeaseError, LeaseExpiredError, LeaseNotFoundError, NotPrimaryError
from rusd.services import errors
from rusd.services.context import Answer, Context
from rusd.services.encoding import LARGE_RECORDS
from rusd.services.quota import LEASE_COST_BYTES
from rusd.services.remote import Handler, NotLeaderHereError
from rusd.services.segments import Segments, collect
from rusd.state import GrantResult, Kind
from rusd.steps import PAGE, Steps, Turn, discard_steps
from rusd.wire import LENGTH_DELIMITED, VARINT, length_delimited, tag, varint_field

RENEW = "lease_renew"
TIME_TO_LIVE = "lease_time_to_live"

_MAX_ID = (1 << 63) - 1

_KEYS = tag(5, LENGTH_DELIMITED)  # of LeaseTimeToLiveResponse
_LEASES = tag(2, LENGTH_DELIMITED)  # of LeaseLeasesResponse
_LEASE_ID = tag(1, VARINT)  # of LeaseStatus


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

    def peer_methods(self) -> dict[str, Handler]:
        """What other members ask this one, when it leads."""
        return {RENEW: self._renew_for_peer, TIME_TO_LIVE: self._time_to_live_for_peer}

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
        header = self._context.header

        def answer_at_once(request: rpc_pb2.LeaseKeepAliveRequest) -> bool:
            if not responses.writable:
                return False
            ttl = self._renew_at_once(request.ID)
            if ttl is None:
                return False
            responses.send_nowait(header.now() + _renewed(request.ID, ttl))
            return True

        while True:
            try:
                request = await requests.receive_rest(answer_at_once)
            except EndOfRequests:
                return
            before = header.now()
            ttl = await self._renew(request.ID)
            await responses.send(before + _renewed(request.ID, ttl))

    def _renew_at_once(self, lease_id: int) -> int | None:
        """:meth:`_renew` where nothing has to be waited for, which is nearly always; else None."""
        context = self._context
        lessor = context.lessor
        if (
            not context.leader.is_here
            or not context.replica.may_read_now()
            or lessor.has_checkpoint(lease_id)
        ):
            return None
        try:
            return lessor.renew(lease_id, context.clock.monotonic())
        except LeaseError:
            return None

    async def _renew(self, lease_id: int) -> int:
        """The TTL that the lease has again, in seconds, or 0."""
        leader = self._context.leader
        if leader.is_here:
            try:
                return await self.renew_here(lease_id)
            except NotLeaderHereError:  # by now it is somebody else
                pass
        request = rpc_pb2.LeaseKeepAliveRequest(ID=lease_id).SerializeToString()
        answer = await leader.answer(RENEW, request, self._renew_for_peer)
        return rpc_pb2.LeaseKeepAliveResponse.FromString(answer).TTL

    async def _renew_for_peer(self, payload: bytes) -> bytes:
        request = rpc_pb2.LeaseKeepAliveRequest.FromString(payload)
        return _renewed(request.ID, await self.renew_here(request.ID))

    async def renew_here(self, lease_id: int) -> int:
        """:meth:`_renew` on the leader.  Raises :class:`NotLeaderHereError`, :class:`StatusError`."""
        context = self._context
        lessor = context.lessor
        if not context.leader.is_here:
            raise NotLeaderHereError
        if not context.replica.may_read_now():
            await self._make_sure()
        try:
            if lessor.has_checkpoint(lease_id):  # or a new leader would remember less than the full time
                await context.replica.propose_and_wait(Kind.LEASE_CHECKPOINT, _no_checkpoint(lease_id))
            return lessor.renew(lease_id, context.clock.monotonic())
        except LeaseExpiredError:
            return await self._wait_until_revoked(lease_id)
        except NotPrimaryError as error:
            raise NotLeaderHereError from error
        except errors.REFUSALS as error:
            raise errors.from_state(error) from error

    async def _make_sure(self) -> None:
        """Have a quorum confirm that this member leads, and see what leases there are."""
        if not await self._context.replica.leadership.confirm():
            raise errors.NOT_PRIMARY()  # the client shall try another member
        await self._context.wait_applied()

    async def _wait_until_revoked(self, lease_id: int) -> int:
        done = trio.Event()
        outcome: list[bool] = []

        def settle(revoked: bool) -> None:
            outcome.append(revoked)
            done.set()

        self._context.lessor.when_revoked(lease_id, settle)
        await done.wait()
        if not outcome[0]:  # without leadership nobody here can tell
            raise NotLeaderHereError
        return 0

    def time_to_live(self, _call: Call, request: rpc_pb2.LeaseTimeToLiveRequest) -> Answer | Pending:
        """How long a lease has left, and its keys if asked for."""
        context = self._context
        if context.leader.is_here:
            return context.read(lambda: self._time_to_live(request, context.header.now()))
        return context.answer_later(lambda: self._ask_time_to_live(request))

    async def _ask_time_to_live(self, request: rpc_pb2.LeaseTimeToLiveRequest) -> bytes:
        """The leader's answer under this member's header."""
        payload = request.SerializeToString()
        answer = await self._context.leader.answer(TIME_TO_LIVE, payload, self._time_to_live_for_peer)
        return self._context.header.now() + answer

    async def _time_to_live_for_peer(self, payload: bytes) -> bytes:
        return await self.time_to_live_here(rpc_pb2.LeaseTimeToLiveRequest.FromString(payload))

    async def time_to_live_here(self, request: rpc_pb2.LeaseTimeToLiveRequest) -> bytes:
        """The leader's answer without a header, which is that of the member the client asked.

        Raises :class:`NotLeaderHereError`, :class:`StatusError`.
        """
        context = self._context
        if not context.leader.is_here:
            raise NotLeaderHereError
        try:
            await context.replica.wait_linearizable()
        except errors.REFUSALS as error:
            raise errors.from_state(error) from error
        answer = self._time_to_live(request, b"")
        return answer if isinstance(answer, bytes) else await collect(answer)

    def _time_to_live(self, request: rpc_pb2.LeaseTimeToLiveRequest, header: bytes) -> Answer:
        context = self._context
        response = rpc_pb2.LeaseTimeToLiveResponse(ID=request.ID)
        with_keys = request.keys
        try:
            response.TTL = context.lessor.remaining(request.ID, context.clock.monotonic())
            response.grantedTTL = context.machine.leases.ttl(request.ID)
        except LeaseNotFoundError:
            response.TTL = -1
            with_keys = False
        except NotPrimaryError as error:
            raise errors.LEADER_CHANGED() from error
        answer = header + response.SerializeToString()
        if not with_keys:
            return answer
        if context.machine.leases.key_count(request.ID) > LARGE_RECORDS:
            return context.long_answer(lambda turn: self._with_keys(answer, request.ID, turn))
        return answer + b"".join(map(_key_field, self._attached(request.ID)))

    def _attached(self, lease_id: int) -> list[bytes]:
        """The keys that have the lease, in order."""
        machine = self._context.machine
        # While a huge transaction is published the lease may have more, or have them still.
        records = map(machine.store.get, machine.leases.keys(lease_id))
        return [record.key for record in records if record is not None and record.lease == lease_id]

    def _with_keys(self, answer: bytes, lease_id: int, turn: Turn) -> Steps[Segments]:
        """The same of very many.  What changes on the way may or may not show, as in etcd."""
        store = self._context.machine.store
        try:
            keys = yield from self._context.machine.leases.keys_steps(lease_id, turn)
        except LeaseNotFoundError:  # revoked since the answer was begun, with all its keys
            keys = []
        segments = Segments()
        segments.add(answer)
        for start in range(0, len(keys), PAGE):
            records = map(store.get, keys[start : start + PAGE])
            segments.add(
                b"".join(
                    _key_field(record.key)
                    for record in records
                    if record is not None and record.lease == lease_id
                )
            )
            turn.left -= PAGE
            if turn.left <= 0:
                yield
        yield from discard_steps([keys], turn)
        return segments

    def leases(self, _call: Call, _request: rpc_pb2.LeaseLeasesRequest) -> Answer:
        """All leases this member knows, the next to expire first."""
        context = self._context
        header = context.header.now()
        if len(context.machine.leases) > LARGE_RECORDS:
            return context.long_answer(lambda turn: self._all_leases(header, turn))
        return header + b"".join(map(_lease_field, context.lessor.by_expiry()))

    def _all_leases(self, header: bytes, turn: Turn) -> Steps[Segments]:
        leases = yield from self._context.lessor.by_expiry_steps(turn)
        segments = Segments()
        segments.add(header)
        for start in range(0, len(leases), PAGE):
            segments.add(b"".join(map(_lease_field, leases[start : start + PAGE])))
            turn.left -= PAGE
            if turn.left <= 0:
                yield
        return segments


def _renewed(lease_id: int, ttl: int) -> bytes:
    return rpc_pb2.LeaseKeepAliveResponse(ID=lease_id, TTL=ttl).SerializeToString()


def _key_field(key: bytes) -> bytes:
    return length_delimited(_KEYS, key)


def _lease_field(lease_id: int) -> bytes:
    return length_delimited(_LEASES, varint_field(_LEASE_ID, lease_id))


def _no_checkpoint(lease_id: int) -> rpc_pb2.LeaseCheckpointRequest:
    return rpc_pb2.LeaseCheckpointRequest(checkpoints=[rpc_pb2.LeaseCheckpoint(ID=lease_id, remaining_TTL=0)])
