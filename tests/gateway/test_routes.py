"""The HTTP/1.1 side of the client and peer ports, as tools see it."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
import trio.testing

from etcdpb.rpc_pb2 import CORRUPT, NOSPACE, AlarmRequest
from rusd.testing import ApplyGate
from tests.support import http
from tests.support.http import Answer
from tests.support.inprocess import Etcd, running

TEXT = "text/plain; charset=utf-8"
CORS = {
    "access-control-allow-methods": "POST, GET, OPTIONS, PUT, DELETE",
    "access-control-allow-origin": "*",
    "access-control-allow-headers": "accept, content-type, authorization",
}


async def ask(etcd: Etcd, target: str, method: str = "GET", *, url: str = "") -> Answer:
    """One request on a connection of its own."""
    return await http.ask(etcd.environment, url or etcd.server.client_urls[0], target, method)


async def raise_alarm(etcd: Etcd, kind: Any, action: Any = AlarmRequest.ACTIVATE) -> None:
    await etcd.call("Maintenance/Alarm", AlarmRequest(action=action, memberID=7, alarm=kind))


# -- /health ------------------------------------------------------------------------------------


async def test_a_healthy_server_says_so() -> None:
    async with running() as etcd:
        for target in ("/health", "/health?serializable=true", "/health?exclude=NOSPACE"):
            answer = await ask(etcd, target)
            assert (answer.status, answer.body) == (200, '{"health":"true","reason":""}')
            assert answer.headers["content-type"] == TEXT


@pytest.mark.parametrize(
    ("kind", "reason"), [(NOSPACE, "ALARM NOSPACE"), (CORRUPT, "ALARM CORRUPT"), (77, "ALARM UNKNOWN")]
)
async def test_an_alarm_makes_a_server_unhealthy_unless_it_is_left_out(kind: Any, reason: str) -> None:
    async with running() as etcd:
        await raise_alarm(etcd, kind)
        answer = await ask(etcd, "/health")
        assert (answer.status, answer.body) == (503, f'{{"health":"false","reason":"{reason}"}}\n')
        assert answer.headers["content-type"] == TEXT
        assert answer.headers["x-content-type-options"] == "nosniff"
        name = {NOSPACE: "NOSPACE", CORRUPT: "CORRUPT"}.get(kind, str(kind))
        assert (await ask(etcd, f"/health?exclude={name}")).status == 200
        assert (await ask(etcd, f"/health?exclude=&exclude={name}&exclude=other")).status == 200
        assert (await ask(etcd, "/health?exclude=other&serializable=true")).status == 503
        await raise_alarm(etcd, kind, AlarmRequest.DEACTIVATE)
        assert (await ask(etcd, "/health")).status == 200


async def test_a_server_that_cannot_read_says_why() -> None:
    gate = ApplyGate()
    async with running(hooks=gate) as etcd:
        gate.close()
        answers: list[Answer] = []

        async def look(target: str) -> None:
            answers.append(await ask(etcd, target))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(_put_anyway, etcd)
            await gate.waiting.wait()
            assert (await ask(etcd, "/health?serializable=true")).status == 200
            assert (await ask(etcd, "/livez")).body == "ok\n"
            nursery.start_soon(look, "/health")
            nursery.start_soon(look, "/readyz")
            await trio.testing.wait_all_tasks_blocked()
            for _ in range(9):
                await etcd.pass_time(1.0)
            gate.open()
        bodies = sorted(answer.body for answer in answers)
        assert [answer.status for answer in answers] == [503, 503]
        assert "[-]linearizable_read failed: etcdserver: request timed out\n" in bodies[0]
        assert "[+]serializable_read ok\n" in bodies[0]
        assert bodies[0].endswith("\n\n")
        assert bodies[1] == '{"health":"false","reason":"RANGE ERROR:etcdserver: request timed out"}\n'


async def _put_anyway(etcd: Etcd) -> None:
    from etcdpb.rpc_pb2 import PutRequest

    await etcd.refused("KV/Put", PutRequest(key=b"k"))


# -- /livez and /readyz -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    [
        "/livez",
        "/livez/serializable_read",
        "/readyz",
        "/readyz/data_corruption",
        "/readyz/serializable_read",
        "/readyz/linearizable_read",
        "/readyz/non_learner",
        "/readyz?exclude=linearizable_read&exclude=nothing_known",
    ],
)
async def test_a_ready_server_is_ok(target: str) -> None:
    async with running() as etcd:
        answer = await ask(etcd, target)
        assert (answer.status, answer.body) == (200, "ok\n")
        assert answer.headers["content-type"] == TEXT
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_verbose_shows_each_check() -> None:
    async with running() as etcd:
        lines = (await ask(etcd, "/readyz?verbose")).body.splitlines()
        checks = ("data_corruption", "serializable_read", "linearizable_read", "non_learner")
        assert sorted(lines[:-1]) == sorted(f"[+]{check} ok" for check in checks)
        assert lines[-1] == "ok"
        assert (await ask(etcd, "/livez?verbose")).body == "[+]serializable_read ok\nok\n"
        shown = (await ask(etcd, "/readyz?verbose&exclude=non_learner")).body
        assert "non_learner" not in shown


async def test_a_corrupt_cluster_is_not_ready_and_a_full_one_is() -> None:
    async with running() as etcd:
        await raise_alarm(etcd, NOSPACE)
        assert (await ask(etcd, "/readyz")).status == 200
        await raise_alarm(etcd, CORRUPT)
        answer = await ask(etcd, "/readyz")
        assert answer.status == 503
        assert "[-]data_corruption failed: alarm activated: CORRUPT\n" in answer.body
        assert "[+]linearizable_read ok\n" in answer.body
        assert answer.body.endswith("\n\n")
        alone = await ask(etcd, "/readyz/data_corruption")
        assert alone.body == "[-]data_corruption failed: alarm activated: CORRUPT\n\n"
        assert (await ask(etcd, "/readyz?exclude=data_corruption")).status == 200
        assert (await ask(etcd, "/livez")).status == 200


# -- the rest -------------------------------------------------------------------------------------------


async def test_the_version_is_told_as_etcd_tells_it() -> None:
    async with running() as etcd:
        answer = await ask(etcd, "/version")
        assert answer.status == 200
        assert answer.headers["content-type"] == "application/json"
        assert answer.body == '{"etcdserver":"3.6.14","etcdcluster":"3.6.0","storage":"3.6.0"}'


@pytest.mark.parametrize(
    "target",
    ["/", "/nope", "/health/", "/healthz", "/livez/nope", "/livez/", "/readyz/", "/version/x", "/v2/keys"],
)
async def test_what_is_not_there_is_not_found_in_gos_words(target: str) -> None:
    async with running() as etcd:
        answer = await ask(etcd, target)
        assert (answer.status, answer.body) == (404, "404 page not found\n")
        assert answer.headers["content-type"] == TEXT


@pytest.mark.parametrize("target", ["/health", "/livez", "/readyz/non_learner", "/version"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD"])
async def test_other_methods_are_not_allowed(target: str, method: str) -> None:
    async with running() as etcd:
        answer = await ask(etcd, target, method)
        assert answer.status == 405
        assert answer.headers["allow"] == "GET"
        assert answer.body == ("" if method == "HEAD" else "Method Not Allowed\n")


@pytest.mark.parametrize("target", ["/health", "/nope", "/v3/kv/range"])
async def test_browsers_may_ask_from_anywhere(target: str) -> None:
    async with running() as etcd:
        answer = await ask(etcd, target, "OPTIONS")
        assert (answer.status, answer.body) == (200, "")
        assert answer.headers.items() >= CORS.items()
        assert (await ask(etcd, target)).headers.items() >= CORS.items()


async def test_the_peer_port_tells_members_and_version() -> None:
    async with running(name="me", initial_cluster="me=http://127.0.0.1:0") as etcd:
        url = etcd.server.peer_urls[0]
        answer = await ask(etcd, "/members", url=url)
        assert answer.status == 200
        assert answer.headers["x-etcd-cluster-id"] == f"{etcd.server.cluster_id:x}"
        assert json.loads(answer.body) == [
            {
                "id": etcd.server.member_id,
                "peerURLs": etcd.server.advertised_peer_urls,
                "name": "me",
                "clientURLs": etcd.server.advertised_client_urls,
            }
        ]
        assert json.loads((await ask(etcd, "/version", url=url)).body)["etcdserver"] == "3.6.14"
        for target in ("/health", "/raft", "/"):
            assert (await ask(etcd, target, url=url)).status == 404
