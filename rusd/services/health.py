"""The standard health service, as grpc-go serves it.

The whole server is the only service it knows, under the empty name.
"""

from __future__ import annotations

import trio

from etcdpb import health_pb2
from rusd.grpc import Call, Code, Registry, Requests, Responses, StatusError

_SERVING = health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)
_SERVICE_UNKNOWN = health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVICE_UNKNOWN)


class HealthService:
    """grpc.health.v1.Health.  A server that answers at all is serving."""

    def register(self, registry: Registry) -> None:
        """Make the service's methods known."""
        registry.inline("/grpc.health.v1.Health/Check", health_pb2.HealthCheckRequest, self.check)
        registry.inline("/grpc.health.v1.Health/List", health_pb2.HealthListRequest, self.list)
        registry.stream(
            "/grpc.health.v1.Health/Watch", health_pb2.HealthCheckRequest, self.watch, single_request=True
        )

    def check(self, _call: Call, request: health_pb2.HealthCheckRequest) -> bytes:
        """The state of one service."""
        if request.service:
            raise StatusError(Code.NOT_FOUND, "unknown service")
        return _SERVING.SerializeToString()

    def list(self, _call: Call, _request: health_pb2.HealthListRequest) -> bytes:
        """The states of all services."""
        return health_pb2.HealthListResponse(statuses={"": _SERVING}).SerializeToString()

    async def watch(self, _call: Call, requests: Requests, responses: Responses) -> None:
        """The state of one service, now and whenever it changes; ends with the client or the server."""
        request = await requests.receive()
        answer = _SERVICE_UNKNOWN if request.service else _SERVING
        await responses.send(answer.SerializeToString())
        await trio.sleep_forever()
