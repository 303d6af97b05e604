"""Clients: what they ask for, what they are told, and whether that was right.

Every request is a client of its own, so any two may overlap.  Values are unique:
a value that is found says which request wrote it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from google.protobuf.message import Message

from etcdpb import rpc_pb2
from rusd.lease import LeaseError
from rusd.mvcc import MvccError
from rusd.replica import ReplicaError
from rusd.state import Kind
from tests.simulation import properties
from tests.simulation.model import Outcome, Value, change_of, outcome_of
from tests.simulation.properties import Violation

if TYPE_CHECKING:
    from tests.simulation.host import Host
    from tests.simulation.process import Process
    from tests.simulation.world import World

KEYS = tuple(b"k%d" % number for number in range(6))
EVERYTHING = (b"\0", b"\0")


@attrs.frozen
class Asked:
    """A request under way."""

    text: str
    at: int
    floor: int  # the newest revision that anybody had been told of when it was asked
    value: bytes = b""
    lease: int = 0
    ttl: int = 0


class Clients:
    """All of them, and what they have been told."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._number = 0
        self.newest = 1  # the newest revision anybody has been told of
        self.leases: dict[int, tuple[int, int]] = {}  # granted ones: TTL, and until when they must live (ms)
        self.answered = 0

    # -- asking -----------------------------------------------------------------------

    def ask(self, what: str, host: Host, choice: int) -> None:
        """Ask ``host`` for something; ``choice`` is a large number that settles the details."""
        process = host.process
        if process is None or not process.serving:
            return
        self._number += 1
        self._world.trace.note(process, f"request {self._number} is {what}")
        process.do(lambda: getattr(self, f"_{what}")(process, choice))

    def _put(self, process: Process, choice: int) -> None:
        value = b"v%d" % self._number + b"." * (choice // 7 % 40)
        lease = 0
        if self.leases and choice % 3 == 0:
            lease = sorted(self.leases)[choice // 11 % len(self.leases)]
        request = rpc_pb2.PutRequest(key=self._key(choice), value=value, lease=lease)
        self._propose(process, Kind.PUT, request, value=value)

    def _delete(self, process: Process, choice: int) -> None:
        key = self._key(choice)
        request = rpc_pb2.DeleteRangeRequest(key=key, range_end=b"k9" if choice % 5 == 0 else b"")
        self._propose(process, Kind.DELETE_RANGE, request)

    def _swap(self, process: Process, choice: int) -> None:
        """Compare and swap: write if the key is as this server has it, perhaps long outdated, now."""
        key, other = self._key(choice), self._key(choice // 6)
        held = process.machine.store.get(key)
        value = b"v%d" % self._number
        compare = rpc_pb2.Compare(
            key=key, target=rpc_pb2.Compare.MOD, mod_revision=held.mod_revision if held else 0
        )
        put = rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=key, value=value))
        success = [put]
        if other != key:
            delete = rpc_pb2.DeleteRangeRequest(key=other)
            success.append(rpc_pb2.RequestOp(request_delete_range=delete))
        everything = rpc_pb2.RangeRequest(key=EVERYTHING[0], range_end=EVERYTHING[1])
        failure = [rpc_pb2.RequestOp(request_range=everything)]
        request = rpc_pb2.TxnRequest(compare=[compare], success=success, failure=failure)
        self._propose(process, Kind.TXN, request, value=value)

    def _compact(self, process: Process, choice: int) -> None:
        request = rpc_pb2.CompactionRequest(revision=max(1, self.newest - choice % 8))
        self._propose(process, Kind.COMPACT, request)

    def _grant(self, process: Process, choice: int) -> None:
        request = rpc_pb2.LeaseGrantRequest(ID=1000 + self._number, TTL=1 + choice % 4)
        self._propose(process, Kind.LEASE_GRANT, request, lease=request.ID, ttl=request.TTL)

    def _revoke(self, process: Process, choice: int) -> None:
        if self.leases:
            lease = sorted(self.leases)[choice % len(self.leases)]
            self._propose(process, Kind.LEASE_REVOKE, rpc_pb2.LeaseRevokeRequest(ID=lease))

    def _renew(self, process: Process, choice: int) -> None:
        """Only a leader renews, and only after a quorum has confirmed that it is one."""
        if not self.leases or not process.leads:
            return
        lease = sorted(self.leases)[choice % len(self.leases)]
        asked = self._asked(f"renew {lease}", lease=lease)

        def confirmed(_result: object, error: Exception | None) -> None:
            if error is None and process.leads:
                self._renewed(process, asked)

        self._read_index(process, confirmed)

    def _read(self, process: Process, choice: int) -> None:
        """A linearizable read of a key or of everything."""
        start, end = (self._key(choice), b"") if choice % 2 else EVERYTHING
        asked = self._asked(f"read {start!r}")

        def confirmed(_result: object, error: Exception | None) -> None:
            if error is None:
                self._found(process, asked, start, end)

        self._read_index(process, confirmed)

    def _look(self, process: Process, _choice: int) -> None:
        """A serializable read: whatever this server has."""
        self._found(process, self._asked("look"), *EVERYTHING, serializable=True)

    def _key(self, choice: int) -> bytes:
        return KEYS[choice % len(KEYS)]

    def _asked(self, text: str, *, value: bytes = b"", lease: int = 0, ttl: int = 0) -> Asked:
        return Asked(f"{self._number} {text}", self._world.scheduler.now, self.newest, value, lease, ttl)

    def _propose(
        self,
        process: Process,
        kind: Kind,
        request: Message,
        *,
        value: bytes = b"",
        lease: int = 0,
        ttl: int = 0,
    ) -> None:
        asked = self._asked(f"{kind.name} {value!r}", value=value, lease=lease, ttl=ttl)

        def settled(result: object, error: Exception | None) -> None:
            process.host.answer_later(lambda: self._written(process, asked, result, error))

        try:
            process.core.propose(kind, request, settled, process.seconds)
        except ReplicaError:
            self._world.coverage["requests refused"] += 1

    def _read_index(self, process: Process, confirmed: object) -> None:
        assert callable(confirmed)
        try:
            if process.core.read_index(confirmed):
                confirmed(None, None)
        except ReplicaError:
            self._world.coverage["requests refused"] += 1

    # -- being told -------------------------------------------------------------------

    def _written(self, process: Process, asked: Asked, result: object, error: Exception | None) -> None:
        coverage = self._world.coverage
        if isinstance(error, ReplicaError):
            coverage["requests timed out"] += 1
            return
        coverage["requests answered"] += 1
        self.answered += 1
        if isinstance(error, MvccError | LeaseError):
            return
        outcome = outcome_of(result, None)
        if asked.ttl:
            self.leases[asked.lease] = (asked.ttl, asked.at + 1000 * asked.ttl)
        if outcome[0] not in {"put", "delete", "txn"}:
            return
        revision = outcome[1]
        assert isinstance(revision, int)
        self._check_own(process, asked, outcome, revision)
        self._told(process, asked, revision)

    def _check_own(self, process: Process, asked: Asked, outcome: Outcome, revision: int) -> None:
        """The answer is to this request: its value is there, at a revision that is new."""
        changes = self._world.model.revisions.get(revision, [])
        values = [change.value for _, change in changes if change is not None]
        wrote = outcome[0] == "put" or (outcome[0] == "txn" and outcome[2] is True)
        if wrote and asked.value not in values:
            text = f"{asked.text} is answered by {process} with revision {revision}, which is {changes}"
            raise Violation(properties.ONCE, text)
        if wrote and revision == asked.floor:
            text = f"{asked.text} is answered by {process} with {revision}, known before it was asked"
            raise Violation(properties.LINEARIZABILITY, text)

    def _told(self, process: Process, asked: Asked, revision: int) -> None:
        self._world.trace.note(process, f"answers {asked.text} with revision {revision}")
        if revision < asked.floor:
            text = f"{asked.text} is answered by {process} as of revision {revision}"
            raise Violation(properties.LINEARIZABILITY, f"{text}, {asked.floor} was known when it was asked")
        self.newest = max(self.newest, revision)

    def _found(
        self, process: Process, asked: Asked, start: bytes, end: bytes, *, serializable: bool = False
    ) -> None:
        """Look now; compare once this step is over."""
        result = process.machine.store.range(start, end)
        found: list[tuple[bytes, Value | None]] = [change_of(record) for record in result.records]
        process.host.answer_later(
            lambda: self._check_read(process, asked, (start, end), result.revision, found, serializable)
        )

    def _check_read(
        self,
        process: Process,
        asked: Asked,
        where: tuple[bytes, bytes],
        revision: int,
        found: list[tuple[bytes, Value | None]],
        serializable: bool,
    ) -> None:
        expected = self._world.model.range(*where, revision)
        if found != expected:
            what = properties.SERIALIZABLE if serializable else properties.LINEARIZABILITY
            raise Violation(what, f"{asked.text} at {process} finds {found}, {revision} has {expected}")
        host = process.host
        if revision < host.served_revision:
            text = f"{process} answers with revision {revision} after {host.served_revision}"
            raise Violation(properties.SERIALIZABLE, text)
        host.served_revision = revision
        self._world.coverage["serializable reads" if serializable else "linearizable reads"] += 1
        if not serializable:
            self.answered += 1
            self._told(process, asked, revision)

    # -- leases -----------------------------------------------------------------------

    def _renewed(self, process: Process, asked: Asked) -> None:
        try:
            ttl = process.lessor.renew(asked.lease, process.seconds)
        except LeaseError:
            return
        if ttl:
            process.host.answer_later(lambda: self._extend(asked, ttl))

    def _extend(self, asked: Asked, ttl: int) -> None:
        self._world.coverage["leases renewed"] += 1
        if asked.lease in self.leases:  # else it was revoked while the answer was on its way
            _, until = self.leases[asked.lease]
            self.leases[asked.lease] = (ttl, max(until, asked.at + 1000 * ttl))

    def expired(self, lease: int) -> None:
        """The log revokes a lease because a leader found it out of time."""
        self._world.coverage["leases expired"] += 1
        _, until = self.leases.pop(lease, (0, 0))
        if self._world.scheduler.now < until:
            text = f"lease {lease} is revoked at {self._world.scheduler.now} and was good until {until}"
            raise Violation(properties.LEASE, text)

    def revoked(self, lease: int) -> None:
        """A client revoked it."""
        self.leases.pop(lease, None)
