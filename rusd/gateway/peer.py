"""The HTTP side of the peer port: what etcd's members ask each other there, for tools and joining members.

Members of rusd use only ``/members``, ``/version`` and ``/downgrade/enabled``; the rest of what they say to
each other is gRPC, on the same port.  Paths, codes and texts are etcd's
(``server/etcdserver/api/etcdhttp/peer.go``, ``lease/leasehttp/http.go``, ``corrupt.go``, release 3.6).
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError

from etcdpb import rpc_pb2, rusd_pb2
from rusd.gateway.routes import json_response, method_not_allowed, not_found, text_response, version_response
from rusd.grpc import StatusError
from rusd.mvcc import MvccError
from rusd.net import HttpRequest, HttpResponse
from rusd.services import errors
from rusd.services.remote import NotLeaderHereError
from rusd.state import Member

if TYPE_CHECKING:
    from rusd.services import Context, Services

LEASE_REQUEST_BYTES = 64 * 1024
"""The body of a question about a lease, at most."""

_PROMOTE = "/members/promote/"
_MOST_ID = 2**64 - 1

_NOT_PRIMARY = "not a primary lessor"
_LEASE_NOT_FOUND = "lease not found"
_LEASE_TIMEOUT = "waiting for node to catch up its applied index has timed out"

_PROMOTION_REFUSALS = {
    errors.MEMBER_NOT_FOUND.text: (404, "membership: ID not found"),
    errors.MEMBER_NOT_LEARNER.text: (412, "membership: can only promote a learner member"),
    errors.LEARNER_NOT_READY.text: (412, errors.LEARNER_NOT_READY.text),
}

_Handler = Callable[[HttpRequest], Awaitable[HttpResponse]]


class PeerRoutes:
    """The HTTP handler of a peer listener."""

    def __init__(self, context: Context, services: Services) -> None:
        self._machine = context.machine
        self._log = context.log
        self._cluster_id = f"{context.header.cluster_id:x}".encode()
        self._services = services
        self._routes: dict[str, tuple[str, _Handler]] = {
            "/members": ("GET", self._members),
            "/members/hashkv": ("GET", self._hash_kv),
            "/downgrade/enabled": ("GET", self._downgrade_enabled),
            "/version": ("GET", self._version),
            "/leases": ("POST", self._renew),
            "/leases/internal": ("POST", self._time_to_live),
        }

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer one request."""
        path = request.target.partition("?")[0]
        route = ("POST", self._promote) if path.startswith(_PROMOTE) else self._routes.get(path)
        if route is None:
            return not_found()
        method, handler = route
        if request.method != method:
            return method_not_allowed("" if path.startswith("/leases") else method)
        return await handler(request)

    async def _version(self, _request: HttpRequest) -> HttpResponse:
        return version_response(self._machine.cluster_version)

    # -- members ---------------------------------------------------------------------------

    async def _members(self, _request: HttpRequest) -> HttpResponse:
        return self._listing(self._machine.members.all())

    async def _promote(self, request: HttpRequest) -> HttpResponse:
        """Give a learner its vote; whoever leads decides."""
        text = request.target.partition("?")[0].removeprefix(_PROMOTE)
        number = int(text) if text.isascii() and text.isdigit() and len(text) <= 20 else -1
        if not 0 <= number <= _MOST_ID:
            return self._of_cluster(text_response(404, f"member {text} not found in cluster"))
        try:
            await self._services.cluster.promote(number)
        except StatusError as error:
            self._log.warn("failed to promote a member", member_id=f"{number:x}", error=error.message)
            if error.message in _PROMOTION_REFUSALS:
                return self._of_cluster(text_response(*_PROMOTION_REFUSALS[error.message]))
            return self._of_cluster(json_response({"message": "Internal Server Error"}, status=500))
        return self._listing(self._machine.members.all())

    def _listing(self, members: list[Member]) -> HttpResponse:
        return self._of_cluster(json_response([_as_json(member) for member in members], newline=True))

    def _of_cluster(self, response: HttpResponse) -> HttpResponse:
        """With the header that says which cluster this is."""
        headers = [(b"X-Etcd-Cluster-ID", self._cluster_id), *response.headers]
        return HttpResponse(response.status, headers, response.body)

    # -- history, and versions ---------------------------------------------------------------

    async def _hash_kv(self, request: HttpRequest) -> HttpResponse:
        cluster = request.header(b"x-etcd-cluster-id")
        if cluster and cluster != self._cluster_id:
            return text_response(412, "cluster ID mismatch")
        try:
            revision = _revision(request.body)
        except (ValueError, RecursionError):
            return text_response(400, "error unmarshalling request")
        try:
            current, result = await self._services.maintenance.history_hash(revision)
        except MvccError as error:
            return text_response(400, errors.from_state(error).message.removeprefix("etcdserver: "))
        answer = {
            "header": {"revision": current},
            "hash": result.hash,
            "compact_revision": result.compact_revision,
            "hash_revision": result.hash_revision,
        }
        # What is 0 is left out, as Go's encoder was told.
        return self._of_cluster(json_response({name: value for name, value in answer.items() if value}))

    async def _downgrade_enabled(self, _request: HttpRequest) -> HttpResponse:
        try:
            enabled = await self._services.maintenance.downgrading.is_enabled()
        except StatusError as error:
            return self._of_cluster(text_response(500, f"failed linearized read: {error.message}"))
        headers = [(b"Content-Type", b"text/plain")]
        return self._of_cluster(HttpResponse(200, headers, b"true" if enabled else b"false"))

    # -- leases ------------------------------------------------------------------------------

    async def _renew(self, request: HttpRequest) -> HttpResponse:
        """A follower passes a keep-alive on."""
        if len(request.body) > LEASE_REQUEST_BYTES:
            return text_response(413, "request body too large")
        try:
            lease = rpc_pb2.LeaseKeepAliveRequest.FromString(request.body).ID
        except DecodeError:
            return text_response(400, "error unmarshalling request")
        try:
            ttl = await self._services.lease.renew_here(lease)
        except StatusError as error:
            return _lease_refusal(error, not_leader=400)
        if not ttl:
            return text_response(404, _LEASE_NOT_FOUND)
        return _protobuf(rpc_pb2.LeaseKeepAliveResponse(ID=lease, TTL=ttl).SerializeToString())

    async def _time_to_live(self, request: HttpRequest) -> HttpResponse:
        """A follower passes the question on how long a lease has."""
        if len(request.body) > LEASE_REQUEST_BYTES:
            return text_response(413, "request body too large")
        try:
            asked = rusd_pb2.LeaseInternalRequest.FromString(request.body)
        except DecodeError:
            return text_response(400, "error unmarshalling request")
        if not asked.HasField("LeaseTimeToLiveRequest"):
            return text_response(400, "error unmarshalling request")
        try:
            found = await self._services.lease.time_to_live_here(asked.LeaseTimeToLiveRequest)
        except StatusError as error:
            return _lease_refusal(error, not_leader=500)
        answer = rpc_pb2.LeaseTimeToLiveResponse.FromString(found)
        if answer.TTL == -1 and not answer.grantedTTL:
            return text_response(404, _LEASE_NOT_FOUND)
        answer.header.SetInParent()
        return _protobuf(rusd_pb2.LeaseInternalResponse(LeaseTimeToLiveResponse=answer).SerializeToString())


def _lease_refusal(error: StatusError, *, not_leader: int) -> HttpResponse:
    if isinstance(error, NotLeaderHereError) or error.message == errors.LEADER_CHANGED.text:
        return text_response(not_leader, _NOT_PRIMARY)
    if error.message == errors.APPLY_TIMEOUT.text:
        return text_response(408, _LEASE_TIMEOUT)
    return text_response(not_leader, error.message)


def _protobuf(body: bytes) -> HttpResponse:
    return HttpResponse(200, [(b"Content-Type", b"application/protobuf")], body)


def _revision(body: bytes) -> int:
    """The revision in a request like ``{"revision":7}``.  Raises :class:`ValueError`."""
    request: Any = json.loads(body)
    revision = request.get("revision") if isinstance(request, dict) else None
    if request is not None and not isinstance(request, dict):
        raise ValueError("no object")
    if revision is None:
        return 0
    if type(revision) is not int or not -(2**63) <= revision < 2**63:
        raise ValueError("no revision")
    return revision


def _as_json(member: Member) -> dict[str, object]:
    """A member as Go's encoder writes it: what is empty is left out, where it was told so."""
    entry: dict[str, object] = {"id": member.id, "peerURLs": member.peer_urls}
    if member.is_learner:
        entry["isLearner"] = True
    if member.name:
        entry["name"] = member.name
    if member.client_urls:
        entry["clientURLs"] = member.client_urls
    return entry
