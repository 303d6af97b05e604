"""The seam between a replica and the network: what it hands to its peers, and what comes from them.

Below it is the replica, which knows members by their ids; above it
:mod:`rusd.peers`, which knows their URLs.  Nothing here waits for a peer that
is slow or gone: Raft repeats what matters, so what can't be sent now is dropped.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Protocol

from rusd.raft import Message
from rusd.replica.forwarding import Forward


class Peers(Protocol):
    """The other members, as a replica reaches them."""

    def set_members(self, urls: Mapping[int, Sequence[str]]) -> None:
        """These are the other members and their peer URLs now: channels are opened, moved and closed."""

    def send(self, messages: Iterable[Message]) -> None:
        """Send ``messages`` to whom they are for, in order, at once.

        Never waits and never raises.  What is for a peer that can't be reached, or takes nothing
        now, is dropped and told to :meth:`Inbox.unreachable`.
        """

    def forward(self, forwards: Iterable[Forward]) -> Sequence[Forward]:
        """Pass proposals on to the leader, at once; returns those of which nothing has left.

        Only what was not handed to a connection at all may be returned: it will be tried again, and
        must not arrive twice.  What is lost on its way is found out by time-out.
        """

    async def send_snapshot(self, message: Message, header: bytes, chunks: AsyncIterator[bytes]) -> None:
        """Send a snapshot, with its ``INSTALL_SNAPSHOT`` message, on a connection of its own.

        Returns when the peer has it on stable storage and has taken the message; asks ``chunks`` for
        more only as the peer takes them.  Raises :class:`PeerError`.
        """


class NoPeers:
    """For a member that is alone: nobody is there."""

    def set_members(self, urls: Mapping[int, Sequence[str]]) -> None:
        pass

    def send(self, messages: Iterable[Message]) -> None:
        pass

    def forward(self, forwards: Iterable[Forward]) -> Sequence[Forward]:
        return tuple(forwards)

    async def send_snapshot(self, message: Message, header: bytes, chunks: AsyncIterator[bytes]) -> None:
        raise PeerError("there are no peers")


class Inbox(Protocol):
    """A replica, as its peers reach it."""

    def receive(self, messages: Sequence[Message]) -> None:
        """Messages from one peer, in the order in which it sent them, as they come."""

    def receive_forward(self, forward: Forward) -> None:
        """A follower passes a proposal on."""

    def unreachable(self, peer: int) -> None:
        """A message to ``peer`` may not have arrived: appends that are on their way are lost."""

    async def receive_snapshot(self, message: Message, header: bytes, chunks: AsyncIterator[bytes]) -> None:
        """Store a snapshot durably, then take ``message`` with it.

        Raises :class:`PeerError` if it is not wanted, or not whole.
        """


class PeerError(Exception):
    """A peer could not be reached, or did not take what it was sent."""
