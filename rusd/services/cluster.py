"""The Cluster service: who the members are."""

from __future__ import annotations

from etcdpb import rpc_pb2
from rusd.grpc import Call, Pending, Registry
from rusd.services.context import Context
from rusd.state import Member


class ClusterService:
    """etcdserverpb.Cluster.  Its headers carry no revision."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def register(self, registry: Registry) -> None:
        """Make the service's methods known."""
        registry.inline("/etcdserverpb.Cluster/MemberList", rpc_pb2.MemberListRequest, self.member_list)

    def member_list(self, _call: Call, request: rpc_pb2.MemberListRequest) -> bytes | Pending:
        """All members by ascending id; after a ReadIndex if ``linearizable``."""
        if request.linearizable:
            return self._context.read(self._members)
        return self._members()

    def _members(self) -> bytes:
        members = [as_message(member) for member in self._context.machine.members.all()]
        return self._context.header.at(0) + rpc_pb2.MemberListResponse(members=members).SerializeToString()


def as_message(member: Member) -> rpc_pb2.Member:
    """A member as clients see it."""
    return rpc_pb2.Member(
        ID=member.id,
        name=member.name,
        peerURLs=member.peer_urls,
        clientURLs=member.client_urls,
        isLearner=member.is_learner,
    )
