"""The Cluster service: who the members are, and how that changes.

A change is first looked at where it was asked for: whether that member sees the
quorum in danger.  Then it is the leader's, which alone can tell whether it makes sense
after all changes before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import trio

from etcdpb import rpc_pb2, rusd_pb2
from rusd.config.urls import parse_url
from rusd.grpc import Call, Pending, Registry, StatusError
from rusd.replica import ChangeRefusedError
from rusd.services import errors
from rusd.services.context import Context
from rusd.services.reconfiguration import StrictCheck, check_in_sync
from rusd.services.remote import Handler, NotLeaderHereError
from rusd.state import Kind, Member, Membership, member_id

CHANGE = "member_change"
PROMOTE = "member_promote"

RETRY_SECONDS = 0.02
"""Until a leader looks again whether the change before is through."""


class ClusterService:
    """etcdserverpb.Cluster.  Its headers carry no revision.

    ``strict`` is ``--strict-reconfig-check``.
    """

    def __init__(self, context: Context, *, strict: bool) -> None:
        self._context = context
        self._check = StrictCheck(
            context.header.member_id,
            context.remote.active_since,
            context.clock,
            context.log,
            strict=strict,
        )

    @property
    def _members(self) -> Membership:
        return self._context.machine.members

    def register(self, registry: Registry) -> None:
        """Make the service's methods known."""
        service = "/etcdserverpb.Cluster/"
        registry.inline(service + "MemberList", rpc_pb2.MemberListRequest, self.member_list)
        registry.task(service + "MemberAdd", rpc_pb2.MemberAddRequest, self.member_add)
        registry.task(service + "MemberRemove", rpc_pb2.MemberRemoveRequest, self.member_remove)
        registry.task(service + "MemberUpdate", rpc_pb2.MemberUpdateRequest, self.member_update)
        registry.task(service + "MemberPromote", rpc_pb2.MemberPromoteRequest, self.member_promote)

    def peer_methods(self) -> dict[str, Handler]:
        """What other members ask this one, when it leads."""
        return {CHANGE: self._change_for_peer, PROMOTE: self._promote_for_peer}

    def member_list(self, _call: Call, request: rpc_pb2.MemberListRequest) -> bytes | Pending:
        """All members by ascending id; after a ReadIndex if ``linearizable``."""
        if request.linearizable:
            return self._context.read(self._list)
        return self._list()

    def _list(self) -> bytes:
        members = as_messages(self._members.all())
        return self._header() + rpc_pb2.MemberListResponse(members=members).SerializeToString()

    async def member_add(self, _call: Call, request: rpc_pb2.MemberAddRequest) -> bytes:
        """Bring in a member, which is to be started afterwards.

        Raft counts a vote from the moment the change is in the log.  So that nobody has to wait for a
        member that is started only when it knows that it was added, it gets its vote when it has
        caught up (:mod:`rusd.admission`), which is what section 4.2.1 of the Raft thesis asks for, too.
        """
        urls = _peer_urls(request.peerURLs)
        self._check.may_add(self._members, learner=request.isLearner)
        # An id of its own, though the same URLs may have belonged to a member before.
        identity = member_id(urls, "", int(self._context.clock.time()))
        kinds = rusd_pb2.ConfigurationChange
        members = await self._change(
            kinds.ADD_LEARNER if request.isLearner else kinds.ADD_CANDIDATE,
            rusd_pb2.Member(id=identity, peer_urls=urls),
        )
        added = rpc_pb2.Member(ID=identity, peerURLs=urls, isLearner=request.isLearner)
        response = rpc_pb2.MemberAddResponse(member=added, members=members)
        return self._header() + response.SerializeToString()

    async def member_remove(self, _call: Call, request: rpc_pb2.MemberRemoveRequest) -> bytes:
        """Let a member go, for good."""
        self._check.may_remove(self._members, request.ID)
        try:
            members = await self._change(
                rusd_pb2.ConfigurationChange.REMOVE_MEMBER, rusd_pb2.Member(id=request.ID)
            )
        except StatusError:
            # Whoever is removed is turned away at once, which may be before it gets its answer.
            if self._context.header.member_id != request.ID or not self._context.expelled.is_set():
                raise
            members = as_messages([member for member in self._members.all() if member.id != request.ID])
        response = rpc_pb2.MemberRemoveResponse(members=members)
        return self._header() + response.SerializeToString()

    async def member_update(self, _call: Call, request: rpc_pb2.MemberUpdateRequest) -> bytes:
        """Give a member other peer URLs.  Their form is not looked at, in etcd and so here."""
        update = rusd_pb2.Member(id=request.ID, peer_urls=request.peerURLs)
        try:
            members = await self._context.replica.propose_and_wait(Kind.MEMBER_UPDATE, update)
        except errors.REFUSALS as error:
            raise errors.from_state(error) from error
        response = rpc_pb2.MemberUpdateResponse(members=as_messages(cast("Sequence[Member]", members)))
        return self._header() + response.SerializeToString()

    async def member_promote(self, _call: Call, request: rpc_pb2.MemberPromoteRequest) -> bytes:
        """Give a learner its vote."""
        return self._header() + await self.promote(request.ID)

    async def promote(self, learner: int) -> bytes:
        """The same; the answer has no header.  Only the leader knows how much of the log the learner has."""
        payload = rpc_pb2.MemberPromoteRequest(ID=learner).SerializeToString()
        return await self._context.leader.answer(PROMOTE, payload, self._promote_for_peer)

    async def _promote_for_peer(self, payload: bytes) -> bytes:
        """The answer without a header, which is that of the member the client asked."""
        request = rpc_pb2.MemberPromoteRequest.FromString(payload)
        context = self._context
        await context.wait_applied()
        if not context.leader.is_here:
            raise NotLeaderHereError
        check_in_sync(context.replica.core.node, request.ID, context.log)
        self._check.may_promote(self._members)
        members = await self._change(
            rusd_pb2.ConfigurationChange.PROMOTE_LEARNER, rusd_pb2.Member(id=request.ID)
        )
        return rpc_pb2.MemberPromoteResponse(members=members).SerializeToString()

    # -- the way of a change --------------------------------------------------------------

    async def _change(
        self, kind: rusd_pb2.ConfigurationChange.Type, member: rusd_pb2.Member
    ) -> Sequence[rpc_pb2.Member]:
        """Have the leader make a change; the members there are then.  Raises :class:`StatusError`.

        The leader itself, since a member that asks for its own removal would not hear of it.
        """
        change = rusd_pb2.ConfigurationChange(type=kind, member=member).SerializeToString()
        answer = await self._context.leader.answer(CHANGE, change, self._change_for_peer, once=True)
        return rpc_pb2.MemberListResponse.FromString(answer).members

    async def _change_for_peer(self, payload: bytes) -> bytes:
        """Make a change here, where it can be told whether it makes sense."""
        if not self._context.leader.is_here:
            raise NotLeaderHereError
        change = rusd_pb2.ConfigurationChange.FromString(payload)
        try:
            members = cast("Sequence[Member]", await self._propose(change))
        except errors.REFUSALS as error:
            raise errors.from_state(error) from error
        self._context.log.info(
            "applied a configuration change through raft",
            local_member_id=f"{self._context.header.member_id:x}",
            raft_conf_change=rusd_pb2.ConfigurationChange.Type.Name(change.type),
            raft_conf_change_node_id=f"{change.member.id:x}",
        )
        return rpc_pb2.MemberListResponse(members=as_messages(members)).SerializeToString()

    async def _propose(self, change: rusd_pb2.ConfigurationChange) -> object:
        """Propose, once the change before is through: there is one at a time."""
        replica, clock = self._context.replica, self._context.clock
        deadline = clock.monotonic() + self._context.request_timeout
        while True:
            try:
                return await replica.change_configuration(change)
            except ChangeRefusedError:
                if not replica.core.change_under_way:
                    raise errors.NOT_ENOUGH_STARTED() from None  # nobody would be left to vote
                if clock.monotonic() >= deadline:
                    raise errors.TIMEOUT() from None
            await clock.sleep_until(clock.monotonic() + RETRY_SECONDS)
            await trio.lowlevel.checkpoint()

    def _header(self) -> bytes:
        return self._context.header.at(0)


def as_messages(members: Sequence[Member]) -> list[rpc_pb2.Member]:
    """Members as clients see them."""
    return [
        rpc_pb2.Member(
            ID=member.id,
            name=member.name,
            peerURLs=member.peer_urls,
            clientURLs=member.client_urls,
            isLearner=member.is_learner,
        )
        for member in members
    ]


def _peer_urls(texts: Sequence[str]) -> list[str]:
    """URLs in order, as they are kept.  Raises :class:`~rusd.grpc.StatusError` if one is none."""
    if not texts:
        raise errors.BAD_MEMBER_URLS()
    try:
        return sorted(str(parse_url(text)) for text in texts)
    except ValueError:
        raise errors.BAD_MEMBER_URLS() from None
