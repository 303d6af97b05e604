"""The Election service: leadership by name, with a value that others can observe."""

from __future__ import annotations

import contextlib

import trio

from etcdpb import kv_pb2, rpc_pb2, v3election_pb2
from rusd.grpc import Call, Code, Registry, Requests, Responses, StatusError
from rusd.services.lock import CLEAN_UP_SECONDS, as_unknown
from rusd.services.recipes import Recipes, get_op, if_create_revision, own_key, prefix_end, put_op


def _not_leader() -> StatusError:
    return StatusError(Code.UNKNOWN, "election: not leader")


def _no_leader() -> StatusError:
    return StatusError(Code.UNKNOWN, "election: no leader")


def _missing_leader_key() -> StatusError:
    return StatusError(Code.UNKNOWN, '"leader" field must be provided')


class ElectionService:
    """v3electionpb.Election."""

    def __init__(self, recipes: Recipes) -> None:
        self._recipes = recipes

    def register(self, registry: Registry) -> None:
        """Make the service's methods known."""
        service = "/v3electionpb.Election/"
        registry.task(service + "Campaign", v3election_pb2.CampaignRequest, self.campaign)
        registry.task(service + "Proclaim", v3election_pb2.ProclaimRequest, self.proclaim)
        registry.task(service + "Leader", v3election_pb2.LeaderRequest, self.leader)
        registry.stream(service + "Observe", v3election_pb2.LeaderRequest, self.observe, single_request=True)
        registry.task(service + "Resign", v3election_pb2.ResignRequest, self.resign)

    async def campaign(self, call: Call, request: v3election_pb2.CampaignRequest) -> bytes:
        """Return once the caller leads; the answer holds the key that proves it."""
        try:
            lease = await self._recipes.lease_or_new(call, request.lease)
            header, leader = await self._campaign(call, request, lease)
        except StatusError as error:
            raise as_unknown(error) from error
        return v3election_pb2.CampaignResponse(header=header, leader=leader).SerializeToString()

    async def proclaim(self, call: Call, request: v3election_pb2.ProclaimRequest) -> bytes:
        """Change the leader's value.  Refused if the leader's key is not the one given."""
        if not request.HasField("leader"):
            raise _missing_leader_key()
        try:
            header = await self._proclaim(call, request.leader, request.value)
        except StatusError as error:
            raise as_unknown(error) from error
        return v3election_pb2.ProclaimResponse(header=header).SerializeToString()

    async def leader(self, call: Call, request: v3election_pb2.LeaderRequest) -> bytes:
        """The present leader's key and value."""
        try:
            oldest = await self._recipes.first(call, request.name + b"/")
        except StatusError as error:
            raise as_unknown(error) from error
        if not oldest.kvs:
            raise _no_leader()
        return v3election_pb2.LeaderResponse(header=oldest.header, kv=oldest.kvs[0]).SerializeToString()

    async def resign(self, call: Call, request: v3election_pb2.ResignRequest) -> bytes:
        """Give leadership up.  Without effect if the key is not the leader's any more."""
        if not request.HasField("leader"):
            raise _missing_leader_key()
        try:
            answer = await self._resign(call, request.leader)
        except StatusError as error:
            raise as_unknown(error) from error
        return v3election_pb2.ResignResponse(header=answer.header).SerializeToString()

    async def observe(self, call: Call, requests: Requests, responses: Responses) -> None:
        """Every value of the leader, and of the leaders after it."""
        request = await requests.receive()
        prefix = request.name + b"/"
        try:
            while True:
                await self._observe_one_leader(call, prefix, responses)
        except StatusError as error:
            raise as_unknown(error) from error

    # -- the recipes ------------------------------------------------------------------------

    async def _campaign(
        self, call: Call, request: v3election_pb2.CampaignRequest, lease: int
    ) -> tuple[rpc_pb2.ResponseHeader, v3election_pb2.LeaderKey]:
        recipes = self._recipes
        prefix = request.name + b"/"
        key = own_key(prefix, lease)
        queued = await recipes.txn(
            call,
            rpc_pb2.TxnRequest(
                compare=[if_create_revision(key, 0)],
                success=[put_op(key, request.value, lease)],
                failure=[get_op(key)],
            ),
        )
        own = v3election_pb2.LeaderKey(name=request.name, key=key, rev=queued.header.revision, lease=lease)
        try:
            if not queued.succeeded:
                present = queued.responses[0].response_range.kvs[0]
                own.rev = present.create_revision
                if present.value != request.value:
                    await self._proclaim(call, own, request.value)
            await recipes.wait_until_first(call, prefix, own.rev)
        except BaseException:
            with trio.move_on_after(CLEAN_UP_SECONDS, shield=True), contextlib.suppress(StatusError):
                await self._resign(call, own)
            raise
        return queued.header, own

    async def _proclaim(
        self, call: Call, leader: v3election_pb2.LeaderKey, value: bytes
    ) -> rpc_pb2.ResponseHeader:
        answer = await self._recipes.txn(
            call,
            rpc_pb2.TxnRequest(
                compare=[if_create_revision(leader.key, leader.rev)],
                success=[put_op(leader.key, value, leader.lease)],
            ),
        )
        if not answer.succeeded:
            raise _not_leader()
        return answer.header

    async def _resign(self, call: Call, leader: v3election_pb2.LeaderKey) -> rpc_pb2.TxnResponse:
        delete = rpc_pb2.RequestOp(request_delete_range=rpc_pb2.DeleteRangeRequest(key=leader.key))
        return await self._recipes.txn(
            call,
            rpc_pb2.TxnRequest(compare=[if_create_revision(leader.key, leader.rev)], success=[delete]),
        )

    async def _observe_one_leader(self, call: Call, prefix: bytes, responses: Responses) -> None:
        """Send the values of the present or next leader until its key is deleted."""
        recipes = self._recipes
        oldest = await recipes.first(call, prefix)
        header = oldest.header
        if oldest.kvs:
            leader = oldest.kvs[0]
        else:
            leader = await self._next_put(prefix, header.revision)
            header.revision = leader.mod_revision
        await self._send(responses, header, leader)
        async with recipes.follow(leader.key, b"", header.revision + 1) as events:
            while (event := await events.next()).type != kv_pb2.Event.DELETE:
                header.revision = event.kv.mod_revision
                await self._send(responses, header, event.kv)

    async def _next_put(self, prefix: bytes, start_revision: int) -> kv_pb2.KeyValue:
        async with self._recipes.follow(prefix, prefix_end(prefix), start_revision) as events:
            while (event := await events.next()).type != kv_pb2.Event.PUT:
                pass
            return event.kv

    async def _send(self, responses: Responses, header: rpc_pb2.ResponseHeader, kv: kv_pb2.KeyValue) -> None:
        await responses.send(v3election_pb2.LeaderResponse(header=header, kv=kv).SerializeToString())
