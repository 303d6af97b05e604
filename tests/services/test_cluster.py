"""The Cluster service, and the ids that etcd would compute."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from etcdpb.rpc_pb2 import MemberListRequest
from rusd.config import parse_urls
from rusd.testing import ApplyGate, MemoryDisk
from tests.support.inprocess import Etcd, running


async def members(etcd: Etcd, *, linearizable: bool = False) -> Any:
    return await etcd.call("Cluster/MemberList", MemberListRequest(linearizable=linearizable))


@pytest.mark.parametrize("linearizable", [False, True])
async def test_the_list_names_this_member_with_its_real_ports(*, linearizable: bool) -> None:
    async with running(name="me", initial_cluster="me=http://127.0.0.1:0") as etcd:
        answer = await members(etcd, linearizable=linearizable)
        (member,) = answer.members
        assert member.ID == etcd.server.member_id
        assert (member.name, member.isLearner) == ("me", False)
        assert list(member.peerURLs) == etcd.server.advertised_peer_urls
        assert list(member.clientURLs) == etcd.server.advertised_client_urls
        assert not member.clientURLs[0].endswith(":0")


async def test_the_header_has_no_revision() -> None:
    async with running() as etcd:
        header = (await members(etcd)).header
        assert (header.cluster_id, header.member_id) == (etcd.server.cluster_id, etcd.server.member_id)
        assert (header.revision, header.raft_term) == (0, 2)


async def test_a_default_member_has_the_ids_that_etcd_gives_it() -> None:
    peer = parse_urls("http://localhost:2380")
    settings = {
        "initial_advertise_peer_urls": peer,
        "initial_cluster": "default=http://localhost:2380",
        "explicit": frozenset({"initial-advertise-peer-urls", "initial-cluster"}),
    }
    async with running(**settings) as etcd:
        assert f"{etcd.server.member_id:x}" == "8e9e05c52164694d"
        assert f"{etcd.server.cluster_id:x}" == "cdf818194e3a8c32"


async def test_a_name_and_urls_that_change_are_published_anew() -> None:
    disk = MemoryDisk()
    urls = parse_urls("http://localhost:4444")
    settings = {"initial_cluster": "default=http://127.0.0.1:0"}
    async with running(disk=disk, **settings) as etcd:
        before = (await members(etcd)).members[0]
        assert before.name == "default"
    async with running(disk=disk, name="renamed", **settings, advertise_client_urls=urls) as etcd:
        (after,) = (await members(etcd)).members
        assert (after.ID, after.name, list(after.clientURLs)) == (before.ID, "renamed", list(map(str, urls)))


async def test_a_linearizable_list_waits_for_what_is_committed() -> None:
    gate = ApplyGate()
    async with running(hooks=gate) as etcd:
        gate.close()
        done = trio.Event()

        async def ask() -> None:
            await members(etcd, linearizable=True)
            done.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(etcd.put, b"k")
            await gate.waiting.wait()
            await members(etcd)
            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            assert not done.is_set()
            gate.open()
