"""The core as one of several: forwarding, reads on followers, changes of the configuration, installing."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from google.protobuf.message import Message as Request

from etcdpb import rpc_pb2, rusd_pb2
from rusd.raft import (
    Configuration,
    Entry,
    EntryType,
    HardState,
    Log,
    Message,
    MessageType,
    Node,
    Snapshot,
    bootstrap,
)
from rusd.replica import (
    ChangeRefusedError,
    Core,
    Forward,
    LeaderChangedError,
    NoLeaderError,
    RequestTimeoutError,
)
from rusd.replica.reads import RETRY_TICKS
from rusd.state import Kind, MemberExistsError
from rusd.steps import Turn

FOUNDERS = [
    (
        member,
        rusd_pb2.ConfigurationChange(member=rusd_pb2.Member(id=member)).SerializeToString(),
    )
    for member in (1, 2, 3)
]
FOUNDED = bootstrap(FOUNDERS)
Outcomes = list[tuple[object, Exception | None]]


class Machine:
    """Notes the keys that are put and the changes of the configuration."""

    def __init__(self) -> None:
        self.applied: list[bytes] = []
        self.changes: list[tuple[int, int]] = []
        self.refuses: set[int] = set()

    def apply(self, kind: Kind, request: Request, _turn: Turn) -> object:
        assert kind is Kind.PUT
        key: bytes = request.key  # type: ignore[attr-defined]
        self.applied.append(key)
        return key

    def check_configuration(self, data: bytes) -> None:
        if rusd_pb2.ConfigurationChange.FromString(data).member.id in self.refuses:
            raise MemberExistsError

    def apply_configuration(self, data: bytes) -> object:
        change = rusd_pb2.ConfigurationChange.FromString(data)
        self.changes.append((change.type, change.member.id))
        return change.member.id


class Cluster:
    """Three cores; nothing moves between them unless :meth:`settle` is called, and nothing is lost."""

    def __init__(self) -> None:
        self.machines = {me: Machine() for me in (1, 2, 3)}
        self.cores = {me: self._start(me, boot=1) for me in (1, 2, 3)}
        self.now = 100.0
        self.lost: Callable[[Message | Forward], bool] = lambda _thing: False
        self.hung = 0  # whose disk is done with nothing
        self.cores[1].node.campaign()
        self.settle()
        assert {core.node.leader_id for core in self.cores.values()} == {1}

    def restart(self, me: int) -> None:
        """Another life, with the log of the one before."""
        node = self.cores[me].node
        self.machines[me].applied.clear()
        self.cores[me] = self._start(me, 2, node.hard_state(), node.log.slice(1, node.last_index))

    def _start(
        self,
        me: int,
        boot: int,
        hard_state: HardState = FOUNDED[0],
        entries: Sequence[Entry] = FOUNDED[1],
    ) -> Core:
        node = Node(
            me, Log(entries), hard_state, Configuration(), applied=0, random=random.Random(me), pre_vote=False
        )
        return Core(node, self.machines[me], member=me, boot=boot)

    def settle(self) -> None:
        """Deliver everything, and what comes of it."""
        busy = True
        while busy:
            things = [thing for core in self.cores.values() for thing in self.pump(core)]
            busy = bool(things)
            for thing in things:
                if self.lost(thing):
                    continue
                if isinstance(thing, Forward):
                    self.cores[thing.to].receive_forward(thing)
                else:
                    self.cores[thing.to].node.step(thing)

    def pump(self, core: Core) -> list[Message | Forward]:
        """Carry out what a core says; returns what it sends."""
        sent: list[Message | Forward] = []
        while (ready := core.ready()) is not None:
            sent += ready.messages
            if ready.must_sync:
                if core.node.id == self.hung:
                    continue
                core.persisted(ready)
            sent += ready.messages_after_persist
        core.apply(100)
        core.check()
        return sent + core.take_forwards()

    def put(self, me: int, key: bytes, *, term: int = 0) -> Outcomes:
        outcomes: Outcomes = []
        self.cores[me].propose(
            Kind.PUT,
            rpc_pb2.PutRequest(key=key),
            lambda *outcome: outcomes.append(outcome),
            self.now,
            term=term,
        )
        return outcomes

    def read(self, me: int) -> Outcomes:
        outcomes: Outcomes = []
        assert not self.cores[me].read_index(lambda *outcome: outcomes.append(outcome))
        return outcomes

    def change(self, me: int, kind: Any, member: int) -> Outcomes:
        outcomes: Outcomes = []
        change = rusd_pb2.ConfigurationChange(type=kind, member=rusd_pb2.Member(id=member))
        self.cores[me].propose_configuration(change, lambda *outcome: outcomes.append(outcome), self.now)
        return outcomes

    def tick(self, me: int, count: int = 1) -> None:
        for _ in range(count):
            self.now += 0.1
            self.cores[me].tick(self.now, 7.0)


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


# -- forwarding ---------------------------------------------------------------------------------


def test_a_write_at_a_follower_is_answered_where_it_was_asked(cluster: Cluster) -> None:
    outcomes = cluster.put(2, b"k")
    assert outcomes == []
    cluster.settle()
    assert outcomes == [(b"k", None)]
    assert [machine.applied for machine in cluster.machines.values()] == [[b"k"]] * 3


def test_equal_numbers_of_two_members_are_not_confused(cluster: Cluster) -> None:
    outcomes = {me: cluster.put(me, b"%d" % me) for me in (1, 2, 3)}
    cluster.settle()
    assert outcomes == {me: [(b"%d" % me, None)] for me in (1, 2, 3)}


def test_what_a_leader_decided_by_itself_is_not_forwarded(cluster: Cluster) -> None:
    with pytest.raises(NoLeaderError):
        cluster.put(2, b"k", term=cluster.cores[2].node.term)
    assert cluster.cores[2].take_forwards() == []


def test_a_forward_is_handed_out_once(cluster: Cluster) -> None:
    cluster.put(2, b"k")
    (forward,) = cluster.cores[2].take_forwards()
    assert (forward.from_, forward.to, forward.type) == (2, 1, EntryType.NORMAL)
    assert cluster.cores[2].take_forwards() == []


def test_who_leads_no_more_drops_what_is_forwarded_to_it(cluster: Cluster) -> None:
    """Sent on, it might go round in circles, or come twice."""
    cluster.put(2, b"k")
    (forward,) = cluster.cores[2].take_forwards()
    cluster.cores[3].receive_forward(forward)
    assert cluster.cores[3].take_forwards() == []
    cluster.settle()
    assert cluster.machines[3].applied == []


def test_a_leader_whose_disk_hangs_takes_only_so_much_from_its_followers(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They commit without it, so nothing else would keep its log in memory from growing."""
    monkeypatch.setattr("rusd.replica.proposals.MAX_UNAPPLIED_ENTRIES", 10)
    cluster.hung = 1
    for number in range(30):
        cluster.put(2, b"%d" % number)
        cluster.settle()
    node = cluster.cores[1].node
    assert node.commit_index == node.last_index
    assert 10 <= node.log.entries_held - cluster.cores[1].applied_index <= 12
    assert len(cluster.machines[2].applied) >= 10


def test_the_others_go_on_without_a_leader_whose_disk_hangs(cluster: Cluster) -> None:
    cluster.hung = 1
    waiting = cluster.put(1, b"lost")
    cluster.settle()
    for _ in range(100):
        for me in (1, 2, 3):
            cluster.tick(me)
        cluster.settle()
    [(result, error)] = waiting
    assert (result, type(error)) == (None, RequestTimeoutError)
    leaders = {core.node.leader_id for core in cluster.cores.values()}
    assert len(leaders) == 1
    assert not leaders & {0, 1}
    outcomes = cluster.put(2, b"k")
    cluster.settle()
    assert outcomes == [(b"k", None)]
    assert cluster.machines[3].applied[-1] == b"k"


@pytest.mark.parametrize("kind", EntryType)
def test_a_forward_that_makes_no_sense_is_dropped(cluster: Cluster, kind: EntryType) -> None:
    cluster.cores[1].receive_forward(Forward(2, 1, kind, b"\xff" * 5))
    cluster.cores[1].receive_forward(Forward(2, 1, kind, b"\xff" * 50))
    cluster.settle()
    assert cluster.cores[1].node.last_index == 4


# -- reads --------------------------------------------------------------------------------------


def test_a_read_at_a_follower_sees_what_was_committed_before_it(cluster: Cluster) -> None:
    cluster.put(1, b"k")
    cluster.lost = lambda thing: isinstance(thing, Message) and thing.to == 2 and thing.commit > 4
    cluster.settle()
    assert cluster.machines[2].applied == []
    outcomes = cluster.read(2)
    cluster.settle()
    assert outcomes == []  # confirmed, but not there yet
    cluster.lost = lambda _thing: False
    cluster.tick(1)
    cluster.settle()
    assert outcomes == [(None, None)]
    assert cluster.machines[2].applied == [b"k"]


@pytest.mark.parametrize("lost", [MessageType.READ_INDEX, MessageType.READ_INDEX_RESPONSE])
def test_a_read_whose_question_or_answer_was_lost_is_asked_again(cluster: Cluster, lost: MessageType) -> None:
    cluster.tick(2, RETRY_TICKS)
    cluster.tick(1)
    cluster.settle()  # the leader lives
    cluster.lost = lambda thing: isinstance(thing, Message) and thing.type is lost
    outcomes = cluster.read(2)
    cluster.settle()
    cluster.lost = lambda _thing: False
    cluster.settle()
    assert outcomes == []
    cluster.tick(2, RETRY_TICKS)
    cluster.settle()
    assert outcomes == [(None, None)]


def test_a_read_under_way_is_told_of_another_leader(cluster: Cluster) -> None:
    cluster.tick(2)
    cluster.lost = lambda thing: thing.to == 1
    outcomes = cluster.read(2)
    cluster.settle()
    cluster.cores[3].node._elapsed = cluster.cores[2].node._elapsed = 99  # nobody heard from it for long
    cluster.cores[3].node.campaign()
    cluster.settle()
    assert cluster.cores[2].node.leader_id == 3
    assert [type(error) for _, error in outcomes] == [LeaderChangedError]
    again = cluster.read(2)
    cluster.settle()
    assert again == [(None, None)]


def test_a_read_at_a_leader_that_was_deposed_is_told_of_its_successor(cluster: Cluster) -> None:
    cluster.tick(1)
    cluster.lost = lambda thing: 1 in (thing.from_, thing.to)
    outcomes = cluster.read(1)
    cluster.settle()
    cluster.cores[3].node._elapsed = cluster.cores[2].node._elapsed = 99
    cluster.cores[3].node.campaign()
    cluster.settle()
    cluster.lost = lambda _thing: False
    cluster.tick(3)
    cluster.settle()
    assert cluster.cores[1].node.leader_id == 3
    assert [type(error) for _, error in outcomes] == [LeaderChangedError]


def test_an_answer_to_a_read_of_an_earlier_life_confirms_none_of_this_one(cluster: Cluster) -> None:
    """Read numbers begin anew with each start; an answer may be on its way across it."""
    late: list[Message] = []

    def keep(thing: Message | Forward) -> bool:
        if isinstance(thing, Message) and thing.type is MessageType.READ_INDEX_RESPONSE:
            late.append(thing)
            return True
        return False

    cluster.lost = keep
    cluster.read(2)
    cluster.settle()
    assert len(late) == 1
    cluster.restart(2)
    cluster.lost = lambda _thing: False
    cluster.tick(1)
    cluster.settle()
    cluster.put(1, b"newer")
    cluster.lost = lambda thing: thing.to == 2
    cluster.settle()
    outcomes = cluster.read(2)
    cluster.cores[2].node.step(late[0])
    cluster.settle()
    assert cluster.machines[2].applied == []
    assert outcomes == []


@pytest.mark.parametrize("become", ["alone", "with a learner"])
def test_who_is_left_as_the_only_voter_still_shows_what_others_have_answered(
    cluster: Cluster, become: str
) -> None:
    """A quorum of one may leave entries for later that nobody was told of; these were answered elsewhere."""
    kinds = rusd_pb2.ConfigurationChange
    cluster.lost = lambda thing: 3 in (thing.from_, thing.to)
    cluster.change(1, kinds.REMOVE_MEMBER, 3)
    cluster.settle()
    if become == "with a learner":
        cluster.change(1, kinds.REMOVE_MEMBER, 2)
        cluster.settle()
        cluster.change(1, kinds.ADD_LEARNER, 2)
        cluster.settle()
    leader = cluster.cores[1]
    leader.apply = lambda budget: 0  # type: ignore[method-assign]
    outcomes = cluster.put(2, b"k")
    cluster.settle()
    cluster.tick(1)
    cluster.settle()
    assert outcomes == [(b"k", None)]
    if become == "alone":
        cluster.change(1, kinds.REMOVE_MEMBER, 2)
    assert leader.node.is_sole_leader
    assert not leader.may_read_now()
    reads = cluster.read(1)
    cluster.settle()
    assert reads == []
    del leader.apply
    cluster.settle()
    assert reads == [(None, None)]
    assert cluster.machines[1].applied == [b"k"]
    assert leader.may_read_now()


# -- the configuration ----------------------------------------------------------------------------


@pytest.mark.parametrize("asked", [1, 2])
def test_a_change_of_the_configuration_is_answered_where_it_was_asked(cluster: Cluster, asked: int) -> None:
    add = rusd_pb2.ConfigurationChange.ADD_LEARNER
    outcomes = cluster.change(asked, add, 9)
    cluster.lost = lambda thing: thing.to == 9
    cluster.settle()
    assert outcomes == [(9, None)]
    assert [machine.changes[-1] for machine in cluster.machines.values()] == [(add, 9)] * 3
    assert cluster.cores[3].node.configuration.learners == {9}


def test_a_member_is_promoted_and_removed(cluster: Cluster) -> None:
    cluster.lost = lambda thing: thing.to == 9
    kinds = rusd_pb2.ConfigurationChange
    for kind, voters in (
        (kinds.ADD_LEARNER, {1, 2, 3}),
        (kinds.PROMOTE_LEARNER, {1, 2, 3, 9}),
        (kinds.REMOVE_MEMBER, {1, 2, 3}),
    ):
        outcomes = cluster.change(1, kind, 9)
        cluster.settle()
        assert outcomes == [(9, None)]
        assert cluster.cores[2].node.configuration.voters == voters


def test_a_change_while_another_is_under_way_is_refused(cluster: Cluster) -> None:
    cluster.change(1, rusd_pb2.ConfigurationChange.ADD_LEARNER, 8)
    with pytest.raises(ChangeRefusedError):
        cluster.change(1, rusd_pb2.ConfigurationChange.ADD_LEARNER, 9)


def test_a_change_that_makes_no_sense_to_the_leader_is_refused_whoever_asked(cluster: Cluster) -> None:
    """The follower that asks may be behind, and not know of the member."""
    cluster.machines[1].refuses = {9}
    outcomes = cluster.change(2, rusd_pb2.ConfigurationChange.ADD_MEMBER, 9)
    cluster.settle()
    assert outcomes == []
    assert cluster.cores[1].node.configuration.voters == {1, 2, 3}
    with pytest.raises(MemberExistsError):
        cluster.change(1, rusd_pb2.ConfigurationChange.ADD_MEMBER, 9)


def test_a_change_waits_until_the_one_before_is_applied(cluster: Cluster) -> None:
    """Only then does the state say what makes sense."""
    cluster.lost = lambda thing: thing.to == 9
    core = cluster.cores[1]
    cluster.change(1, rusd_pb2.ConfigurationChange.ADD_LEARNER, 9)
    core.apply = lambda limit: 0  # type: ignore[method-assign]
    cluster.settle()
    assert core.node.commit_index == core.node.configuration_index > core.applied_index
    with pytest.raises(ChangeRefusedError):
        cluster.change(1, rusd_pb2.ConfigurationChange.PROMOTE_LEARNER, 9)


def test_a_change_without_a_leader_waits_for_one(cluster: Cluster) -> None:
    cluster.lost = lambda thing: thing.to == 9
    cluster.cores[2].node.leader_id = 0
    outcomes = cluster.change(2, rusd_pb2.ConfigurationChange.ADD_LEARNER, 9)
    cluster.settle()
    assert outcomes == []
    cluster.tick(1)  # a heartbeat tells who leads
    cluster.settle()
    assert [error for _, error in outcomes] == [None]
    assert cluster.cores[1].node.configuration.learners == {9}


# -- snapshots ------------------------------------------------------------------------------------


def receive_snapshot(core: Core, index: int) -> None:
    """A leader of term 9 sends a snapshot up to ``index``, and two entries after it, all committed."""
    snapshot = Snapshot(index, 9, Configuration(frozenset({1, 2, 3})))
    message = Message(
        type=MessageType.INSTALL_SNAPSHOT, from_=3, to=core.node.id, term=9, index=index, snapshot=snapshot
    )
    core.node.step(message)


def test_nothing_is_applied_or_read_until_a_snapshot_is_installed(cluster: Cluster) -> None:
    core, machine = cluster.cores[2], cluster.machines[2]
    cluster.put(1, b"before")
    cluster.settle()
    receive_snapshot(core, 50)
    ready = core.ready()
    reads = cluster.read(2)
    assert ready is not None and ready.snapshot is core.installing
    core.persisted(ready)
    assert not core.has_work
    assert core.apply(100) == 0
    core.check()
    core.installed()
    assert (core.applied_index, core.applied_term, core.installing) == (50, 9, None)
    assert core.node.applied_index == 50
    assert machine.applied == [b"before"]
    assert reads == []
    core.check()


def test_of_two_snapshots_on_the_way_the_newer_is_installed(cluster: Cluster) -> None:
    core = cluster.cores[2]
    for index in (50, 80):
        receive_snapshot(core, index)
        ready = core.ready()
        assert ready is not None
        core.persisted(ready)
    assert core.installing is not None and core.installing.index == 80
    core.installed()
    assert core.applied_index == 80
