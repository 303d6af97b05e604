"""What the log says of elections and configurations: lines that operators and test tools know from etcd."""

from __future__ import annotations

import json
import random

from rusd.logs import make_logger
from rusd.raft import Configuration, HardState, Log, Message, MessageType, Node
from rusd.replica.chronicle import Chronicle
from rusd.testing import ListSink, ManualClock


class Told:
    """A node of three, and the lines about it."""

    def __init__(self, *, voters: tuple[int, ...] = (10, 11, 12)) -> None:
        self.sink = ListSink()
        log = make_logger(self.sink, ManualClock())
        self.node = Node(
            10,
            Log([]),
            HardState(term=1),
            Configuration(frozenset(voters), frozenset({13})),
            applied=0,
            random=random.Random(1),
        )
        self.chronicle = Chronicle(self.node, log)

    def new(self) -> list[str]:
        """The lines since the last call."""
        self.chronicle.look()
        lines = [json.loads(line) for line in self.sink.lines]
        self.sink.lines.clear()
        assert all(line["logger"] == "raft" and line["level"] == "info" for line in lines)
        return [line["msg"] for line in lines]

    def hear(self, sender: int, type_: MessageType, term: int) -> None:
        self.node.step(Message(type=type_, to=10, from_=sender, term=term))


def test_a_start_is_told_with_the_peers_and_the_place_in_the_log() -> None:
    told = Told()
    told.chronicle.begin()
    assert told.new() == [
        "newRaft a [peers: [a,b,c], term: 1, commit: 0, applied: 0, lastindex: 0, lastterm: 0]",
        "a became follower at term 1",
    ]


def test_a_leader_is_elected_changes_and_is_lost() -> None:
    told = Told()
    told.hear(11, MessageType.HEARTBEAT, 1)
    assert told.new() == ["raft.node: a elected leader b at term 1"]
    told.hear(12, MessageType.HEARTBEAT, 2)
    assert told.new() == [
        "a became follower at term 2",
        "raft.node: a changed leader from b to c at term 2",
    ]
    while told.node.leader_id:
        told.node.tick()
    assert told.new() == [
        "a is starting a new election at term 2",
        "a became pre-candidate at term 2",
        "raft.node: a lost leader c at term 2",
    ]


def test_a_member_alone_tells_of_its_election_though_it_takes_no_time() -> None:
    told = Told(voters=(10,))
    while not told.node.leader_id:
        told.node.tick()
        while told.node.has_ready():
            ready = told.node.ready()
            if ready.must_sync:
                told.node.persisted(*ready.mark)
    assert told.new() == [
        "a is starting a new election at term 1",
        "a became leader at term 2",
        "raft.node: a elected leader a at term 2",
    ]


def test_nothing_is_told_twice() -> None:
    told = Told()
    told.hear(11, MessageType.HEARTBEAT, 1)
    assert told.new()
    told.hear(11, MessageType.HEARTBEAT, 1)
    told.node.tick()
    assert told.new() == []
