"""A member replaced: removed, its data gone, a new one in its place.

Each request of the replacement may fail with its end unknown, in a cluster under load and while leaders
change. So nothing is remembered: every step looks at the member list and does what is missing, until
nothing is.
"""

from __future__ import annotations

import random

import attrs
import trio

from chaos.client import CallError, Client
from chaos.faults.base import Fault, Plan, Stage
from etcdpb import rpc_pb2

AGAIN_SECONDS = 0.3
_CLUSTER = "/etcdserverpb.Cluster/"


@attrs.frozen
class Replace:
    """A member is removed and a new one without data takes its place."""

    name: str = "replace"
    summary: str = "a member is removed and a new one without data takes its place, as voter or learner first"
    nodes: int = 3
    alone: bool = True
    flags: tuple[str, ...] = ()

    def plan(self, chance: random.Random, nodes: int, at: float, seconds: float) -> Plan:
        order, shape = tuple(chance.sample(range(nodes), nodes)), chance.choice(("voter", "learner"))
        return Plan(at, seconds, self.name, order, leader=chance.random() < 0.3, shape=shape)

    async def play(self, stage: Stage, plan: Plan) -> str:
        victim, *helpers = stage.aim(plan)
        old = stage.cluster.id_of(victim)
        tries, done = 0, False
        while not done:
            helper = helpers[tries % len(helpers)]
            tries += 1
            try:
                async with stage.client(helper) as client:
                    done = await _advance(stage, client, plan, victim, old)
            except CallError:
                pass  # looked at again in the next round, perhaps by another member
            await trio.sleep(AGAIN_SECONDS)
        return f"n{victim} replaced as {plan.shape}, in {tries} steps"


async def _advance(stage: Stage, client: Client, plan: Plan, victim: int, old: int) -> bool:
    """Do the next step of the replacement; whether there is none left."""
    cluster = stage.cluster
    listed = await client.call(
        f"{_CLUSTER}MemberList", rpc_pb2.MemberListRequest(linearizable=True), rpc_pb2.MemberListResponse
    )
    url = cluster.members[victim].peer_url
    present = next((member for member in listed.members if url in member.peerURLs), None)
    if present is None:
        if cluster.members[victim].running:
            await cluster.kill(victim)
            await trio.sleep(plan.seconds)
        add = rpc_pb2.MemberAddRequest(peerURLs=[url], isLearner=plan.shape == "learner")
        await client.call(f"{_CLUSTER}MemberAdd", add, rpc_pb2.MemberAddResponse)
        return False
    if old == present.ID:
        cluster.let_end(victim)
        remove = rpc_pb2.MemberRemoveRequest(ID=old)
        await client.call(f"{_CLUSTER}MemberRemove", remove, rpc_pb2.MemberRemoveResponse)
        return False
    if cluster.id_of(victim) != present.ID:
        await cluster.kill(victim)
        cluster.renew(victim, present.ID)
        cluster.launch(victim)
        return False
    if present.isLearner:
        promote = rpc_pb2.MemberPromoteRequest(ID=present.ID)
        await client.call(f"{_CLUSTER}MemberPromote", promote, rpc_pb2.MemberPromoteResponse)
        return False
    return bool(present.name)  # it has one once it has started


FAULTS: tuple[Fault, ...] = (Replace(),)
