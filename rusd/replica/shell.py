"""What a server sees of a replica: proposals, reads, leadership; and what its peers see of it.

Below it are the loops (:mod:`rusd.replica.driver`) around the sans-IO core.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING

import trio

from rusd.raft import Message
from rusd.replica.driver import Driver
from rusd.replica.errors import ReplicaError, StoppedError
from rusd.replica.intake import problem_with
from rusd.replica.outcome import Outcome
from rusd.replica.peers import PeerError, Peers
from rusd.replica.waiting import Waiter

if TYPE_CHECKING:
    from google.protobuf.message import Message as Request

    from etcdpb import rusd_pb2
    from rusd.replica.forwarding import Forward
    from rusd.replica.transfers import Transfers
    from rusd.state import Kind
    from rusd.storage import Wal

COMPLAINT_SECONDS = 10.0
"""Between two log lines about messages that no correct peer sends."""


class Replica(Driver):
    """Runs one replica; its peers' :class:`~rusd.replica.peers.Inbox`.  Made like a :class:`Driver`."""

    _stopped = False
    _complained_at = float("-inf")

    def connect(self, *, peers: Peers | None = None, transfers: Transfers | None = None) -> None:
        """Give it what could not be made before it; before :meth:`run`."""
        self._peers = peers or self._peers
        self._transfers = transfers or self._transfers

    # -- what services call ---------------------------------------------------------

    @property
    def term(self) -> int:
        """The Raft term."""
        return self.core.node.term

    @property
    def leader_id(self) -> int:
        """The member that leads, or 0."""
        return self.core.node.leader_id

    def propose(self, kind: Kind, request: Request, waiter: Waiter, *, term: int = 0) -> None:
        """Put ``request`` into the log; ``waiter(result, error)`` is called once it is applied.

        Raises a :class:`~rusd.replica.core.ReplicaError` if it can't be proposed.
        """
        if self._stopped:
            raise StoppedError
        self.core.propose(kind, request, waiter, self._clock.monotonic(), term=term)
        self.wake()

    async def propose_and_wait(self, kind: Kind, request: Request, *, term: int = 0) -> object:
        """Propose and return the result.  Raises what the waiter would have got."""
        outcome = Outcome()
        self.propose(kind, request, outcome.settle, term=term)
        return await outcome.wait()

    async def change_configuration(self, change: rusd_pb2.ConfigurationChange) -> object:
        """Change who belongs to the cluster; returns the members there are then.

        Raises what :meth:`Core.propose_configuration <rusd.replica.core.Core.propose_configuration>` does,
        and what its waiter gets.
        """
        if self._stopped:
            raise StoppedError
        outcome = Outcome()
        self.core.propose_configuration(change, outcome.settle, self._clock.monotonic())
        self.wake()
        return await outcome.wait()

    def read_index(self, waiter: Waiter) -> bool:
        """A linearizable read: True if the state may be read now, else ``waiter`` is called later."""
        if self._stopped:
            raise StoppedError
        if self.core.read_index(waiter):
            return True
        self.wake()
        return False

    def may_read_now(self) -> bool:
        """Whether a linearizable read may read the state now, with nothing to wait for."""
        if self._stopped:
            raise StoppedError
        return self.core.may_read_now()

    async def wait_linearizable(self) -> None:
        """Return when a linearizable read may read the state."""
        outcome = Outcome()
        if not self.read_index(outcome.settle):
            await outcome.wait()

    async def between_entries(self) -> None:
        """Return in a turn in which no entry is applied in part."""
        while not self.core.between_entries:
            await self._applied.park()

    async def wait_applied(self) -> None:
        """Return once all is applied that is committed now."""
        index = self.core.node.commit_index
        while self.core.applied_index < index:
            await self._applied.park()

    @property
    def log_bytes_written(self) -> int:
        """How many bytes this process has written to the log so far."""
        return self._writer.bytes_written

    async def with_log(self, run: Callable[[Wal], None]) -> None:
        """:meth:`LogWriter.with_log <rusd.replica.writer.LogWriter.with_log>`."""
        await self._writer.with_log(run)

    # -- what peers call: rusd.replica.peers.Inbox --------------------------------------

    def receive(self, messages: Sequence[Message]) -> None:
        """Messages from one peer, in the order in which it sent them, as they come."""
        if self._failure is not None:
            return
        node = self.core.node
        try:
            for message in messages:
                problem = problem_with(message, node.id)
                if problem is None:
                    node.step(message)
                else:
                    self._complain(message, problem)
        except Exception as error:  # an invariant is broken: the driver ends everything, not the connection
            self._give_up(error)
            return
        self.wake()

    def receive_forward(self, forward: Forward) -> None:
        """A follower passes a proposal on."""
        self.core.receive_forward(forward)
        self.wake()

    def unreachable(self, peer: int) -> None:
        """A message to ``peer`` may not have arrived: appends that are on their way are lost."""
        self.core.node.report_unreachable(peer)
        self.core.causes.unreachable(peer, self._clock.monotonic())
        self.wake()

    async def receive_snapshot(self, message: Message, header: bytes, chunks: AsyncIterator[bytes]) -> None:
        """Store a snapshot durably, then take ``message`` with it.  Raises :class:`PeerError`."""
        problem = problem_with(message, self.core.node.id)
        if problem is not None:
            raise PeerError(f"a snapshot is refused: {problem}")
        if self._transfers is None:
            raise PeerError("this member takes no snapshots")
        await self._transfers.receive(message, header, chunks)

    def _complain(self, message: Message, problem: str) -> None:
        now = self._clock.monotonic()
        if now - self._complained_at < COMPLAINT_SECONDS:
            return
        self._complained_at = now
        self._log.warn(
            "dropped a message that no correct peer sends",
            remote_peer_id=f"{message.from_:x}",
            message_type=message.type.name,
            problem=problem,
        )

    # -- life -----------------------------------------------------------------------

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """:meth:`Driver.run`; once that has ended nothing can be asked for any more."""
        try:
            await super().run(task_status)
        finally:
            # Before anybody else hears of a failure: who then cleans up must not wait for an answer.
            self._stopped = True

    async def campaign(self) -> None:
        """Return once there is a leader and its first entry is applied.

        The sole voter of a cluster stands for election at once: there is nobody to wait for.
        """
        node = self.core.node
        if node.configuration.voters == {node.id}:
            node.campaign()
            self._work.set()
        while not self._follows_and_applied():
            await self._applied.park()

    async def hand_over(self, timeout: float) -> bool:
        """Before a stop, let the member that is furthest lead; whether it does in ``timeout`` seconds."""
        heir = self.leadership.heir()
        if not heir:
            return False
        try:
            await self.leadership.transfer(heir, timeout)
        except ReplicaError as error:
            self._log.warn("leadership transfer failed", error=error)
            return False
        return True

    def stop(self) -> None:
        """Refuse new requests and tell the waiting ones that the server stops.

        After a failed write they are told nothing: what became of them is unknown.
        """
        self._stopped = True
        if not self._writer.failed:
            self.core.fail_all(StoppedError())

    def _follows_and_applied(self) -> bool:
        core = self.core
        return core.node.leader_id != 0 and core.applied_term == core.node.term
