"""Single nodes in a given state, and the messages that reach them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from rusd.raft import Configuration, Entry, HardState, Log, Message, MessageType, Node, Ready, Role

APPEND = MessageType.APPEND_ENTRIES
ACK = MessageType.APPEND_RESPONSE


def entries(*terms: int, first: int = 1, data: bytes = b"x") -> list[Entry]:
    """Entries of the given terms, at ``first`` and on."""
    return [Entry(term, index, data=data) for index, term in enumerate(terms, first)]


def make_node(
    terms: Sequence[int] = (),
    *,
    me: int = 1,
    voters: Sequence[int] = (1, 2, 3),
    learners: Sequence[int] = (),
    term: int = 0,
    vote: int = 0,
    commit: int = 0,
    node_class: type[Node] = Node,
    seed: int = 7,
    **options: Any,
) -> Node:
    """A node with entries of ``terms`` on its disk, all of ``voters`` being known from the start."""
    hard_state = HardState(max([term, *terms]), vote, commit)
    configuration = Configuration(frozenset(voters), frozenset(learners))
    return node_class(
        me, Log(entries(*terms)), hard_state, configuration, applied=0, random=random.Random(seed), **options
    )


def message(kind: MessageType, term: int, *, from_: int = 2, to: int = 1, **fields: Any) -> Message:
    return Message(type=kind, from_=from_, to=to, term=term, **fields)


def append(term: int, index: int, log_term: int, new: Sequence[Entry] = (), **fields: Any) -> Message:
    return message(APPEND, term, index=index, log_term=log_term, entries=list(new), **fields)


def carry_out(node: Node) -> Ready:
    """Do everything the node says, at once; returns all of it as one."""
    total = Ready(
        hard_state=None,
        entries=[],
        messages=[],
        messages_after_persist=[],
        committed=[],
        reads=[],
        snapshot=None,
        mark=(0, 0),
    )
    while node.has_ready():
        ready = node.ready()
        if ready.must_sync:
            node.persisted(*ready.mark)
        if ready.committed:
            node.applied(ready.committed[-1].index)
        total.hard_state = ready.hard_state or total.hard_state
        total.snapshot = ready.snapshot or total.snapshot
        total.entries += ready.entries
        total.messages += ready.messages
        total.messages_after_persist += ready.messages_after_persist
        total.committed += ready.committed
        total.reads += ready.reads
    node.check()
    return total


def sent(node: Node) -> list[Message]:
    """Everything the node sends when carried out."""
    total = carry_out(node)
    return total.messages + total.messages_after_persist


def answer(node: Node, to_message: Message) -> Message:
    """The one answer that ``to_message`` gets."""
    carry_out(node)
    node.step(to_message)
    (only,) = sent(node)
    return only


def make_leader(terms: Sequence[int] = (), **kwargs: Any) -> Node:
    """A leader of three (or as given), its first entry appended and durable, everybody else silent so far."""
    node = make_node(terms, **{"pre_vote": False, **kwargs})
    node.campaign()
    for request in sent(node):
        granted = message(MessageType.VOTE_RESPONSE, node.term, from_=request.to, to=node.id)
        node.step(granted)
    assert node.role is Role.LEADER
    carry_out(node)
    return node


def acknowledge(node: Node, from_: int, index: int) -> None:
    """``from_`` has the leader's log up to ``index``."""
    node.step(message(ACK, node.term, from_=from_, to=node.id, index=index))


def appends(node: Node, to: int) -> list[Message]:
    """The appends that the node sends to one peer when carried out."""
    return [m for m in sent(node) if m.type is APPEND and m.to == to]


def replicating(node: Node, *peers: int) -> Node:
    """Bring ``peers`` up to date, so that they are sent to without asking."""
    for peer in peers:
        acknowledge(node, peer, node.last_index)
    carry_out(node)
    return node


def silence(node: Node, *peers: int) -> None:
    """Nothing has been heard of ``peers`` for two election timeouts."""
    for peer in peers:
        node.progress[peer].active = node.progress[peer].lately = False


def tick(node: Node, count: int) -> None:
    for _ in range(count):
        node.tick()
