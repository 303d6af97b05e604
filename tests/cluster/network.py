"""The network of a cluster in one process: each member's transport, and what happens on the way.

Replicas meet here without sockets: what one hands to its transport reaches the
other's inbox after a while, or not.  Messages may overtake each other.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import attrs
import trio

from rusd.raft import Entry, Message
from rusd.replica import Forward, Inbox, PeerError

MAX_DELAY_SECONDS = 0.008


class Network:
    """Knows the members that are up, by id."""

    def __init__(self, nursery: trio.Nursery, chance: random.Random) -> None:
        self._nursery = nursery
        self._chance = chance
        self._up: dict[int, Inbox] = {}
        self._known: dict[int, Collection[int]] = {}  # whom each knows as a member
        self._calls: dict[int, set[trio.CancelScope]] = {}  # under way at each
        self.cut: frozenset[tuple[int, int]] = frozenset()
        self.loss = 0.0
        self.slow_by = 0.0
        self.snapshots = 0

    def attach(self, me: int, inbox: Inbox) -> None:
        """A member is up."""
        self._up[me] = inbox

    def detach(self, me: int) -> None:
        """It is not any more."""
        self._up.pop(me, None)
        for call in self._calls.pop(me, ()):
            call.cancel()

    @contextmanager
    def call(self, to: int) -> Iterator[None]:
        """A call that ends when the member ``to`` does."""
        with trio.CancelScope() as scope:
            calls = self._calls.setdefault(to, set())
            calls.add(scope)
            try:
                yield
            finally:
                calls.discard(scope)
        if scope.cancelled_caught:
            raise PeerError("the connection broke")

    def introduce(self, me: int, members: Collection[int]) -> None:
        """``me`` knows these as members; so they can answer, whomever they know."""
        self._known[me] = members

    def is_known(self, from_: int, to: int) -> bool:
        """Whether one can write to the other, or answer it."""
        return to in self._known.get(from_, ()) or from_ in self._known.get(to, ())

    def part(self, links: Collection[tuple[int, int]]) -> None:
        """Nothing gets from one to the other any more on ``links``; others are whole."""
        self.cut = frozenset(links)

    def heal(self) -> None:
        """Good weather."""
        self.cut = frozenset()
        self.loss = self.slow_by = 0.0

    def find(self, from_: int, to: int) -> Inbox | None:
        """Who is reached on that link now."""
        return None if (from_, to) in self.cut else self._up.get(to)

    def carry(self, from_: int, to: int, thing: Sequence[Message] | Forward) -> None:
        """Let ``thing`` arrive after a while; its sender may be gone by then."""
        if self._chance.random() >= self.loss:
            self._nursery.start_soon(self._carry, from_, to, thing)

    async def delay(self) -> None:
        """What a message takes."""
        await trio.sleep(self._chance.uniform(0, MAX_DELAY_SECONDS) + self._chance.random() * self.slow_by)

    async def _carry(self, from_: int, to: int, thing: Sequence[Message] | Forward) -> None:
        await self.delay()
        inbox = self.find(from_, to)
        if inbox is None:
            return
        if isinstance(thing, Forward):
            inbox.receive_forward(thing)
        else:
            inbox.receive(thing)


class MemoryPeers:
    """One member's way to the others; a :class:`rusd.replica.Peers`."""

    def __init__(self, network: Network, me: int) -> None:
        self._network = network
        self._me = me

    def set_members(self, urls: Mapping[int, Sequence[str]]) -> None:
        self._network.introduce(self._me, frozenset(urls))

    def send(self, messages: Iterable[Message]) -> None:
        for to, for_one in _by_receiver(messages).items():
            network = self._network
            if network.is_known(self._me, to) and network.find(self._me, to) is not None:
                network.carry(self._me, to, for_one)
            elif (own := network.find(self._me, self._me)) is not None:
                own.unreachable(to)

    def forward(self, forwards: Iterable[Forward]) -> Sequence[Forward]:
        unsent: list[Forward] = []
        for forward in forwards:
            if self._network.find(self._me, forward.to) is None:
                unsent.append(forward)
            else:
                self._network.carry(self._me, forward.to, forward)
        return unsent

    async def send_snapshot(self, message: Message, header: bytes, chunks: AsyncIterator[bytes]) -> None:
        inbox = self._network.find(self._me, message.to)
        if inbox is None:
            raise PeerError("nobody there")
        with self._network.call(message.to):
            await inbox.receive_snapshot(message, header, _Chunks(self._network, message, chunks))
        self._network.snapshots += 1


class _Chunks:
    """The chunks of a snapshot as they arrive."""

    def __init__(self, network: Network, message: Message, chunks: AsyncIterator[bytes]) -> None:
        self._network = network
        self._message = message
        self._chunks = chunks

    def __aiter__(self) -> _Chunks:
        return self

    async def __anext__(self) -> bytes:
        await self._network.delay()
        if self._network.find(self._message.from_, self._message.to) is None:
            raise PeerError("the connection broke")
        return await anext(self._chunks)


def _by_receiver(messages: Iterable[Message]) -> dict[int, list[Message]]:
    """Copies: what the sender does to its log later must not reach the receiver."""
    sorted_: dict[int, list[Message]] = {}
    for message in messages:
        entries = [Entry(entry.term, entry.index, entry.type, entry.data) for entry in message.entries]
        sorted_.setdefault(message.to, []).append(attrs.evolve(message, entries=entries))
    return sorted_
