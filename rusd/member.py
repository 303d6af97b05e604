"""A member's durable side: made once, found again after every restart.

A new member finds out who it is (:mod:`rusd.bootstrap`), writes that down with
what its log begins with, and from then on is opened like any other: the newest
snapshot is loaded, the log after it goes to Raft, and Raft hands out what is
committed to be applied.
"""

from __future__ import annotations

import contextlib
import posixpath
from typing import TYPE_CHECKING

import attrs
from google.protobuf.message import DecodeError

from etcdpb import rusd_pb2
from rusd.bootstrap import found
from rusd.forcing import sole_member_entries
from rusd.mvcc import SnapshotFormatError
from rusd.raft import Configuration, Log, Node
from rusd.state import StateMachine
from rusd.state import snapshot as state_snapshot
from rusd.storage import StorageError
from rusd.storage.datadir import DataDir
from rusd.storage.recovery import segment_names

if TYPE_CHECKING:
    from rusd.bootstrap import Beginning
    from rusd.config import Config
    from rusd.environment import Environment
    from rusd.logs import Logger
    from rusd.storage import Wal
    from rusd.storage.datadir import OpenedMember

_MEMORY_DIRECTORY = "/member"
"""On a disk in memory, which has no working directory."""


@attrs.frozen
class OpenMember:
    """A member ready to run: its place on disk, its log, its Raft node and its state so far."""

    member_id: int
    cluster_id: int
    data_dir: DataDir
    wal: Wal
    node: Node
    machine: StateMachine
    snapshot_index: int
    is_new: bool

    def close(self) -> None:
        """Release files and the lock of the data directory."""
        self.wal.close()
        self.data_dir.close()


def has_member(config: Config, environment: Environment) -> bool:
    """Whether there is a member in the data directory of ``config``, so that nothing has to be founded."""
    logs = posixpath.join(_directory(config), "member", "wal")
    return environment.disk.exists(logs) and bool(segment_names(environment.disk, logs))


def open_member(
    config: Config,
    environment: Environment,
    machine: StateMachine,
    log: Logger,
    beginning: Beginning | None = None,
) -> OpenMember:
    """Open the member in the data directory of ``config``, making it first if there is none.

    A new one begins with ``beginning``, or else founds its cluster without asking anybody.
    Raises :class:`~rusd.storage.StorageError`, :class:`~rusd.config.UsageError` and :class:`OSError`.
    """
    if beginning is None and not has_member(config, environment):
        beginning = found(config)  # which may be refused, before anything is made
    data_dir = DataDir(environment.disk, _directory(config))
    try:
        is_new = not data_dir.has_member
        if is_new:
            assert beginning is not None
            # All in one batch: a crash leaves either no member or a whole one.
            data_dir.create_member(
                beginning.identity.SerializeToString(),
                hard_state=beginning.hard_state,
                entries=beginning.entries,
            ).close()
        opened = data_dir.open_member()
    except BaseException:
        data_dir.close()
        raise
    try:
        for problem in opened.skipped:
            log.warn("skipped a snapshot that can't be used", error=problem)
        if not is_new:
            opened = _restarted(config, opened, log)
        return _start(config, environment, data_dir, opened, machine, is_new=is_new)
    except BaseException:
        opened.wal.close()
        data_dir.close()
        raise


def _directory(config: Config) -> str:
    return _MEMORY_DIRECTORY if config.in_memory else config.directory


def _start(
    config: Config,
    environment: Environment,
    data_dir: DataDir,
    opened: OpenedMember,
    machine: StateMachine,
    *,
    is_new: bool,
) -> OpenMember:
    recovered = opened.recovered
    identity = rusd_pb2.Identity.FromString(recovered.identity)
    index = term = 0
    configuration = Configuration()
    if opened.snapshot is not None and recovered.marker is not None:
        index, term = recovered.marker.index, recovered.marker.term
        configuration = recovered.marker.configuration
        with contextlib.closing(data_dir.read_snapshot(opened.snapshot)) as reader:
            try:
                state_snapshot.load(machine, reader.header, reader.chunks())
            except (SnapshotFormatError, DecodeError) as error:  # whole, and yet not what we write
                raise StorageError(f"{reader.path}: {error}") from error
    node = Node(
        identity.member_id,
        Log(
            recovered.entries,
            base_index=index,
            base_term=term,
            max_entries=max(1, config.snapshot_catchup_entries),
        ),
        recovered.hard_state,
        configuration,
        applied=index,
        random=environment.random,
        election_ticks=config.election_ticks,
        pre_vote=config.pre_vote,
    )
    return OpenMember(
        member_id=identity.member_id,
        cluster_id=identity.cluster_id,
        data_dir=data_dir,
        wal=opened.wal,
        node=node,
        machine=machine,
        snapshot_index=index,
        is_new=is_new,
    )


def _restarted(config: Config, opened: OpenedMember, log: Logger) -> OpenedMember:
    """What was found on disk; with ``--force-new-cluster``, what was made of it, durably."""
    recovered = opened.recovered
    identity = rusd_pb2.Identity.FromString(recovered.identity)
    log.info(
        "forcing restart member" if config.force_new_cluster else "restarting local member",
        cluster_id=f"{identity.cluster_id:x}",
        local_member_id=f"{identity.member_id:x}",
        commit_index=recovered.hard_state.commit,
    )
    if not config.force_new_cluster:
        return opened
    hard_state, forged = sole_member_entries(identity.member_id, recovered)
    opened.wal.write(hard_state, forged)
    opened.wal.sync()
    recovered = attrs.evolve(recovered, hard_state=hard_state, entries=[*recovered.entries, *forged])
    return attrs.evolve(opened, recovered=recovered)
