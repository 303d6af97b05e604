"""The standard health service."""

from __future__ import annotations

from etcdpb.health_pb2 import HealthCheckRequest, HealthCheckResponse, HealthListRequest
from tests.support.inprocess import running


async def test_the_server_is_the_one_service_and_is_serving() -> None:
    async with running() as etcd:
        answer = await etcd.call("Health/Check", HealthCheckRequest())
        assert answer.status == HealthCheckResponse.SERVING
        refused = await etcd.refused("Health/Check", HealthCheckRequest(service="etcdserverpb.KV"))
        assert refused == ("NOT_FOUND", "unknown service")
        listed = await etcd.call("Health/List", HealthListRequest())
        assert {name: entry.status for name, entry in listed.statuses.items()} == {"": 1}


async def test_a_watch_of_health_stays_open() -> None:
    async with running() as etcd:
        for service, status in (
            ("", HealthCheckResponse.SERVING),
            ("x", HealthCheckResponse.SERVICE_UNKNOWN),
        ):
            async with etcd.open("Health/Watch", HealthCheckRequest(service=service)) as stream:
                assert (await stream.receive()).status == status
                assert await stream.is_silent()


async def test_a_watch_of_health_does_not_keep_a_server_from_stopping() -> None:
    async with running() as etcd, etcd.open("Health/Watch", HealthCheckRequest()) as stream:
        await stream.receive()
        await etcd.server.drain(0.0)
