"""Going back to an older version: what may be asked for, and what comes of it."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from etcdpb.rpc_pb2 import DowngradeRequest
from tests.support.town import House, town

INVALID = ("INVALID_ARGUMENT", "etcdserver: invalid downgrade target version")
WRONG = ("INVALID_ARGUMENT", "etcdserver: wrong downgrade target version format")
BUSY = ("FAILED_PRECONDITION", "etcdserver: cluster has a downgrade job in progress")


def request(action: str, version: str = "") -> DowngradeRequest:
    return DowngradeRequest(action=DowngradeRequest.DowngradeAction.Value(action), version=version)


async def downgrade(house: House, action: str, version: str = "") -> str:
    answer = await house.call("Maintenance/Downgrade", request(action, version))
    assert answer.header.revision
    assert answer.header.member_id == house.id
    return str(answer.version)


async def refusal(house: House, action: str, version: str = "") -> tuple[str, str]:
    return await house.refused("Maintenance/Downgrade", request(action, version))


async def seen_by(house: House) -> tuple[bool, str, str]:
    status = await house.status()
    assert status.HasField("downgradeInfo")
    return status.downgradeInfo.enabled, status.downgradeInfo.targetVersion, status.storageVersion


@pytest.mark.parametrize(
    ("version", "answer"),
    [
        ("3.5.0", None),
        ("3.5", None),
        ("3.5.12-rc.1", None),
        ("3.6.0", INVALID),
        ("3.4.0", INVALID),
        ("4.5.0", INVALID),
        ("3", WRONG),
        ("", WRONG),
        ("v3.5.0", WRONG),
        ("three", WRONG),
    ],
)
async def test_only_one_minor_version_back_can_be_gone(
    version: str, answer: tuple[str, str] | None, autojump_clock: Any
) -> None:
    async with town("a") as cluster:
        if answer is None:
            assert await downgrade(cluster["a"], "VALIDATE", version) == "3.6"
            return
        for action in ("VALIDATE", "ENABLE"):
            assert await refusal(cluster["a"], action, version) == answer
        assert await seen_by(cluster["a"]) == (False, "", "3.6.0")


async def test_an_action_that_is_none_is_refused(autojump_clock: Any) -> None:
    async with town("a") as cluster:
        odd = DowngradeRequest(action=7)  # type: ignore[arg-type]
        refused = await cluster["a"].refused("Maintenance/Downgrade", odd)
        assert refused == ("UNKNOWN", "etcdserver: unknown method")


async def test_the_cluster_goes_down_a_version_and_up_again_when_that_is_called_off(
    autojump_clock: Any,
) -> None:
    async with town("a", "b", "c") as cluster:
        leader, (follower, other) = await cluster.leader(), await cluster.followers()
        assert await downgrade(follower, "ENABLE", "3.5") == "3.6"
        for action in ("VALIDATE", "ENABLE"):
            assert await refusal(other, action, "3.5.0") == BUSY
        await trio.sleep(5)
        for house in (leader, follower, other):
            assert await seen_by(house) == (True, "3.5.0", "3.5.0")
            assert house.sink.events("The server is ready to downgrade")
        assert await refusal(other, "VALIDATE", "3.5.0") == INVALID  # it is there already
        await trio.sleep(10)
        assert leader.sink.events("remotes server has mismatching etcd version")

        await cluster.stop(other.name)
        await cluster.start(other.name)
        assert await seen_by(other) == (True, "3.5.0", "3.5.0")
        assert await downgrade(other, "CANCEL") == "3.5"
        await trio.sleep(5)
        assert await seen_by(follower) == (False, "", "3.6.0")


async def test_calling_off_what_was_never_begun_is_no_error(autojump_clock: Any) -> None:
    async with town("a") as cluster:
        assert await downgrade(cluster["a"], "CANCEL") == "3.6"
        (line,) = cluster["a"].sink.events("failed to cancel downgrade")
        assert line["error"] == "etcdserver: no inflight downgrade job"


async def test_it_ends_by_itself_when_all_members_run_the_older_version(
    autojump_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with town("a") as cluster:
        await downgrade(cluster["a"], "ENABLE", "3.5")
        await trio.sleep(5)
        monkeypatch.setattr("rusd.clusterversion.ETCD_VERSION", "3.5.13")
        await trio.sleep(6)
        assert await seen_by(cluster["a"]) == (False, "", "3.5.0")
        assert cluster["a"].sink.events("the cluster has been downgraded")
