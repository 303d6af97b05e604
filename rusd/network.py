"""The network between members, as the server puts it together with the rest.

Three sides of one thing: what a replica sends (:class:`rusd.replica.peers.Peers`),
whom services ask (:class:`rusd.services.remote.Remote`), and those a member asks
before it belongs to them (:class:`rusd.bootstrap.Strangers`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import trio

from rusd.replica.peers import PeerError, Peers
from rusd.services.remote import NobodyElse, PeerHandler, Remote

if TYPE_CHECKING:
    from rusd.grpc import Registry
    from rusd.raft import Message
    from rusd.replica import Forward
    from rusd.replica.peers import Inbox


class Network(Peers, Remote, Protocol):
    """One member's way to the others, and theirs to it."""

    def register(self, registry: Registry, calls: Mapping[str, PeerHandler]) -> None:
        """Serve on the peer port, whose methods ``registry`` holds; ``calls`` answer what peers ask."""

    async def run(self, inbox: Inbox, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hand what comes to ``inbox``.  Runs until cancelled."""


class NoNetwork(NobodyElse):
    """That of a member which is alone."""

    def register(self, registry: Registry, calls: Mapping[str, PeerHandler]) -> None:
        pass

    async def run(self, inbox: Inbox, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        await trio.sleep_forever()

    def set_members(self, urls: Mapping[int, Sequence[str]]) -> None:
        pass

    def send(self, messages: Iterable[Message]) -> None:
        pass

    def forward(self, forwards: Iterable[Forward]) -> None:
        pass

    async def send_snapshot(self, message: Message, header: bytes, chunks: AsyncIterator[bytes]) -> None:
        await trio.lowlevel.checkpoint()
        raise PeerError("there are no other members")
