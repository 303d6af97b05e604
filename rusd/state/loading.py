"""Making a state of a snapshot while another one is in use, and putting it in place at once.

What comes from another member is loaded as it arrives: what can't be loaded is known
before anything depends on it, and when the log goes over to the snapshot, so does the
state, in the same turn.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from etcdpb import rusd_pb2
from rusd.lease import LeaseState, LeaseStore
from rusd.mvcc import Loader, SnapshotFormatError, Store
from rusd.state.members import Member
from rusd.steps import PAGE, Steps, Turn

if TYPE_CHECKING:
    from rusd.state.machine import StateMachine


class Loading:
    """The state of a snapshot with that ``header``: feed it the chunks, finish it, have a machine adopt it.

    No part of it takes long.  Raises :class:`~google.protobuf.message.DecodeError` for a header that is none.
    """

    def __init__(self, header: bytes) -> None:
        self._summary = rusd_pb2.SnapshotHeader.FromString(header)
        self._loader = Loader()
        self._store: Store | None = None
        self._leases = LeaseStore()

    @property
    def place(self) -> tuple[int, int]:
        """Index and term of the last entry in it."""
        return self._summary.index, self._summary.term

    @property
    def configuration(self) -> tuple[frozenset[int], frozenset[int]]:
        """Voters and learners as of that entry."""
        configuration = self._summary.configuration
        return frozenset(configuration.voters), frozenset(configuration.learners)

    def feed(self, chunk: bytes) -> None:
        """Take the next chunk.  Raises :class:`~rusd.mvcc.SnapshotFormatError`."""
        self._loader.feed(chunk)

    def finish_steps(self, turn: Turn) -> Steps[None]:
        """All chunks have come.  Raises :class:`~rusd.mvcc.SnapshotFormatError` if they make no state."""
        summary = self._summary
        store = yield from self._loader.finish_steps(turn)
        if (store.current_revision, store.compact_revision) != (
            summary.current_revision,
            summary.compact_revision,
        ):
            raise SnapshotFormatError("header and history of the snapshot are of different revisions")
        leases = self._leases
        granted = iter(summary.leases)
        while page := list(islice(granted, PAGE)):
            leases.restore(LeaseState(lease.id, lease.ttl, lease.remaining_ttl) for lease in page)
            turn.left -= PAGE
            if turn.left <= 0:
                yield
        # Attachments are not written down: every live key's record names its lease.
        leased = iter(self._loader.leased.items())
        while pairs := list(islice(leased, PAGE)):
            for key, lease_id in pairs:
                if not leases.exists(lease_id):
                    raise SnapshotFormatError(
                        f"a key of the snapshot names lease {lease_id}, which is not in it"
                    )
                leases.attach(key, lease_id)
            turn.left -= PAGE
            if turn.left <= 0:
                yield
        self._store = store

    def adopt(self, machine: StateMachine) -> tuple[Store, dict[Any, Any]]:
        """Let this be the state of ``machine``, at once.

        Returns the store and the leases that it had, to be let go of bit by bit.
        """
        assert self._store is not None, "the snapshot is not loaded"
        former, machine.store = machine.store, self._store
        leases = machine.leases.take_over(self._leases)
        cluster = self._summary.cluster
        machine.alarms.load((alarm.member_id, alarm.type) for alarm in cluster.alarms)
        machine.members.load(map(_member, cluster.members), cluster.removed_ids)
        machine.cluster_version = cluster.cluster_version
        machine.downgrade_target = cluster.downgrade.targetVersion if cluster.downgrade.enabled else ""
        return former, leases


def _member(message: rusd_pb2.Member) -> Member:
    return Member(
        id=message.id,
        peer_urls=tuple(message.peer_urls),
        name=message.name,
        client_urls=tuple(message.client_urls),
        is_learner=message.is_learner,
    )
