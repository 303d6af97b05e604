"""The whole replicated state as one header and a stream of chunks.

A cut is made between two applies.  What is small is copied in that turn; leases and
the keys' history up to that moment are taken out in slices while writes go on.
Everything but the history makes a ``SnapshotHeader``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

import attrs

from etcdpb import rusd_pb2
from rusd.lease import LeaseCut, LeaseState
from rusd.mvcc import Dump
from rusd.state.loading import Loading
from rusd.state.machine import StateMachine
from rusd.steps import ENDLESS, PAGE, Steps, Turn, finish
from rusd.wire import LENGTH_DELIMITED, length_delimited, tag

if TYPE_CHECKING:
    from etcdpb import rpc_pb2

_LEASES = tag(5, LENGTH_DELIMITED)  # of SnapshotHeader


@attrs.frozen
class Cut:
    """The state between two entries.  Close it when done or abandoned."""

    dump: Dump
    _small: rusd_pb2.SnapshotHeader
    _leases: LeaseCut

    @property
    def header(self) -> bytes:
        """:meth:`header_steps` in one go."""
        return finish(self.header_steps(ENDLESS))

    def header_steps(self, turn: Turn) -> Steps[bytes]:
        """The encoded ``SnapshotHeader``."""
        leases = yield from self._leases.steps(turn)
        parts = [self._small.SerializeToString(deterministic=True)]
        for start in range(0, len(leases), PAGE):
            parts += map(_lease_field, leases[start : start + PAGE])  # behind the rest: as good as inside
            turn.left -= PAGE
            if turn.left <= 0:
                yield
        return b"".join(parts)

    def close(self) -> None:
        """Let go of what is held in place."""
        self.dump.close()
        self._leases.close()


def cut(machine: StateMachine, index: int, term: int, voters: Iterable[int], learners: Iterable[int]) -> Cut:
    """Copy the state as of the entry ``index`` of ``term``, which must be the last one applied."""
    dump = machine.store.dump()
    small = rusd_pb2.SnapshotHeader(
        index=index,
        term=term,
        configuration=rusd_pb2.Configuration(voters=sorted(voters), learners=sorted(learners)),
        cluster=_cluster_state(machine),
        current_revision=dump.current_revision,
        compact_revision=dump.compact_revision,
    )
    return Cut(dump, small, machine.leases.cut())


def load(machine: StateMachine, header: bytes, chunks: Iterable[bytes]) -> None:
    """Replace the state of ``machine`` by that of a snapshot.

    Raises :class:`~rusd.mvcc.SnapshotFormatError` if the two don't belong together, and
    :class:`~google.protobuf.message.DecodeError` for a header that is none.
    """
    loading = Loading(header)
    for chunk in chunks:
        loading.feed(chunk)
    finish(loading.finish_steps(ENDLESS))
    loading.adopt(machine)


def _lease_field(lease: LeaseState) -> bytes:
    message = rusd_pb2.Lease(id=lease.lease_id, ttl=lease.ttl, remaining_ttl=lease.remaining)
    return length_delimited(_LEASES, message.SerializeToString())


def _cluster_state(machine: StateMachine) -> rusd_pb2.ClusterState:
    state = rusd_pb2.ClusterState(
        members=[
            rusd_pb2.Member(
                id=member.id,
                name=member.name,
                peer_urls=member.peer_urls,
                client_urls=member.client_urls,
                is_learner=member.is_learner,
            )
            for member in machine.members.all()
        ],
        removed_ids=machine.members.removed(),
        cluster_version=machine.cluster_version,
        alarms=[
            rusd_pb2.Alarm(member_id=member, type=cast("rpc_pb2.AlarmType", alarm))
            for member, alarm in machine.alarms.active()
        ],
    )
    if machine.downgrade_target:
        state.downgrade.enabled, state.downgrade.targetVersion = True, machine.downgrade_target
    return state
