"""How a proposal gets into the log: appended here, passed on to the leader, or kept until there is one.

Part of :class:`rusd.replica.core.Core`.  Whoever proposes waits for the entry to be applied,
known by a request id of member, boot and number, which is in the entry (:mod:`rusd.state.proposal`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from etcdpb import rusd_pb2
from rusd.raft import ChangeRefused, EntryType, Node, NotLeader, ProposalDropped, Role, TransferInProgress
from rusd.replica import changes
from rusd.replica.errors import TooManyRequestsError, refusal_of
from rusd.replica.forwarding import Forward
from rusd.replica.holding import Held
from rusd.replica.machine import Machine
from rusd.replica.timeouts import Causes
from rusd.replica.waiting import Waiter, Waiting
from rusd.state import Kind, MemberError, proposal

if TYPE_CHECKING:
    from google.protobuf.message import Message

MAX_UNAPPLIED_ENTRIES = 5000
"""Committed but unapplied entries above which proposals are refused, as etcd does, and forwards dropped."""


class Proposals:
    """The proposals made on one replica that are not applied yet."""

    applied_index: int

    def __init__(
        self, node: Node, machine: Machine, *, member: int, boot: int, election_timeout: float
    ) -> None:
        self.node = node
        self.causes = Causes(node, election_timeout)
        self._machine = machine
        self._member = member
        self._boot = boot
        self._last_number = 0
        self._waiting: dict[int, Waiting] = {}
        self._forwards: list[Forward] = []
        self._unled = Held()

    def propose(self, kind: Kind, request: Message, waiter: Waiter, now: float, *, term: int = 0) -> None:
        """Append ``request`` to the log; ``waiter`` gets its result once it is applied.

        A follower passes it on to the leader (:meth:`take_forwards`), once there is one.  ``now`` is
        in seconds of the monotonic clock.  ``term`` is given for what a leader decided by itself.
        Raises a :class:`ReplicaError` if nothing was appended or passed on, nor will be.
        """
        if self._is_behind():
            raise TooManyRequestsError
        number = self._last_number + 1
        data = proposal.encode(kind, self._member, self._boot, number, request, term=term)
        try:
            self.node.propose(data)
        except ProposalDropped as error:
            if term:
                raise refusal_of(error) from error
            self._pass_on(error, number, EntryType.NORMAL, data)
        self._last_number = number
        self._waiting[number] = Waiting(kind, request, waiter, now)

    def propose_configuration(self, change: rusd_pb2.ConfigurationChange, waiter: Waiter, now: float) -> None:
        """Append ``change``, whose ``request_id`` is set here; ``waiter`` gets what the machine makes of it.

        A follower passes it on, and the leader drops what it would refuse.  Raises
        :class:`ChangeRefusedError` if Raft can't make the change, or not now, a
        :class:`~rusd.state.MemberError`, and what :meth:`propose` raises.
        """
        number = self._last_number + 1
        request_id = rusd_pb2.RequestId(member=self._member, boot=self._boot, number=number)
        change.request_id.CopyFrom(request_id)
        data = change.SerializeToString()
        try:
            self._append_change(change, data)
        except ProposalDropped as error:
            self._pass_on(error, number, EntryType.CONFIGURATION, data)
        self._last_number = number
        self._waiting[number] = Waiting(None, change, waiter, now)

    def _is_behind(self) -> bool:
        """Whether so much is committed and not applied that no more should be appended."""
        return self.node.commit_index - self.applied_index > MAX_UNAPPLIED_ENTRIES

    def _pass_on(self, error: ProposalDropped, number: int, kind: EntryType, data: bytes) -> None:
        """What was not appended goes to the leader, if it should have gone there, or waits for one."""
        if isinstance(error, NotLeader) and error.leader_id:
            self._forwards.append(Forward(self._member, error.leader_id, kind, data))
        elif isinstance(error, NotLeader | TransferInProgress):
            self._unled.add(number, kind, data)
        else:
            raise refusal_of(error) from error

    def take_back(self, forwards: Iterable[Forward]) -> None:
        """These could not be sent: they wait for the next tick, or another leader."""
        for forward in forwards:
            if forward.type == EntryType.CONFIGURATION:
                number = changes.request_number(forward.data, self._member, self._boot)
            else:
                _, _, _, number, _ = proposal.read_head(forward.data)
            with contextlib.suppress(TooManyRequestsError):  # its caller's time will run out
                self._unled.add(number, forward.type, forward.data)

    def offer_again(self) -> None:
        """Propose what found no leader, if there is one now."""
        if self._unled:
            self._unled.offer(self._offer)

    def _offer(self, number: int, kind: EntryType, data: bytes) -> bool:
        """Propose again what found no leader, unless its caller has gone.  False if there still is none."""
        waiting = self._waiting.get(number)
        if waiting is None:
            return True
        try:
            if kind == EntryType.CONFIGURATION:
                self._append_change(rusd_pb2.ConfigurationChange.FromString(data), data)
            else:
                self.node.propose(data)
        except (NotLeader, TransferInProgress) as error:
            leader = error.leader_id if isinstance(error, NotLeader) else 0
            if leader:
                self._forwards.append(Forward(self._member, leader, kind, data))
            return leader != 0
        except (ProposalDropped, MemberError) as error:
            del self._waiting[number]
            waiting.waiter(None, refusal_of(error) if isinstance(error, ProposalDropped) else error)
        return True

    def receive_forward(self, forward: Forward) -> None:
        """A follower passes a proposal on.

        Dropped if this member can't append it or is too far behind, or if it makes no sense.
        """
        if self._is_behind():
            return  # perhaps for long: the others commit without this member's disk
        try:
            if forward.type == EntryType.CONFIGURATION:
                change = rusd_pb2.ConfigurationChange.FromString(forward.data)
                self._append_change(change, forward.data)
            else:
                proposal.decode(forward.data)  # what is appended must apply
                self.node.propose(forward.data)
        except (ProposalDropped, MemberError, ValueError, DecodeError):
            return

    def _append_change(self, change: rusd_pb2.ConfigurationChange, data: bytes) -> None:
        """What a leader does with a change: look whether it makes sense, and append it."""
        if self.node.role is Role.LEADER:
            self.require_sense(data)
        self.node.propose_configuration(changes.raft_change(change), data)

    def require_sense(self, data: bytes) -> None:
        """A change is judged by the state that all changes before it have made, here, where it is appended.

        Who asked may be behind: what it takes for a stranger may have become a learner, and then
        Raft would promote what the state machine adds.
        """
        if self.node.configuration_index > self.applied_index:
            raise ChangeRefused("an earlier change is not applied yet")
        self._machine.check_configuration(data)

    @property
    def change_under_way(self) -> bool:
        """Whether a change of the configuration has to wait for what was appended before it."""
        node = self.node
        return not node.may_change_configuration() or node.configuration_index > self.applied_index

    @property
    def has_forwards(self) -> bool:
        """Whether :meth:`take_forwards` has something."""
        return bool(self._forwards)

    def take_forwards(self) -> list[Forward]:
        """Proposals to pass on to the leader, each handed out once."""
        forwards, self._forwards = self._forwards, []
        return forwards

    def _expire(self, now: float, timeout: float) -> None:
        """Give up on proposals older than ``timeout`` seconds."""
        # Numbers grow and so does `since`: the oldest call stands first.
        while self._waiting:
            number = next(iter(self._waiting))
            waiting = self._waiting[number]
            if now - waiting.since < timeout:
                break
            del self._waiting[number]
            waiting.waiter(None, self.causes.error(waiting.since))

    def _fail_waiting(self, error: Exception) -> None:
        """Tell everybody that what becomes of their proposals will not be known here."""
        waiting, self._waiting = self._waiting, {}
        self._unled.clear()
        for entry in waiting.values():
            entry.waiter(None, error)
