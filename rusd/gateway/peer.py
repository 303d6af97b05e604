"""The HTTP side of the peer port: who the members are, and which version this is.

Tools and joining members ask; everything else on this port is rusd's own.
"""

from __future__ import annotations

import json

from rusd.gateway.routes import not_found, version_response
from rusd.net import HttpRequest, HttpResponse
from rusd.state import StateMachine


class PeerRoutes:
    """The HTTP handler of a peer listener."""

    def __init__(self, machine: StateMachine, cluster_id: int) -> None:
        self._machine = machine
        self._cluster_id = cluster_id

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer one request."""
        match request.target.partition("?")[0]:
            case "/version":
                return version_response(self._machine.cluster_version)
            case "/members" if request.method == "GET":
                return self._members()
        return not_found()

    def _members(self) -> HttpResponse:
        members: list[dict[str, object]] = []
        for member in self._machine.members.all():
            entry: dict[str, object] = {"id": member.id, "peerURLs": member.peer_urls}
            if member.is_learner:
                entry["isLearner"] = True
            if member.name:  # empty ones are left out, as Go's encoder was told
                entry["name"] = member.name
            if member.client_urls:
                entry["clientURLs"] = member.client_urls
            members.append(entry)
        body = json.dumps(members, separators=(",", ":")) + "\n"
        headers = [
            (b"Content-Type", b"application/json"),
            (b"X-Etcd-Cluster-ID", f"{self._cluster_id:x}".encode()),
        ]
        return HttpResponse(200, headers, body.encode())
