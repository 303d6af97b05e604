"""A member's durable side: made once, found again after every restart.

A new member computes its ids, writes the configuration entries every initial
member begins with, and from then on is opened like any other: the newest
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
from rusd.config import check_bootstrap, parse_initial_cluster
from rusd.mvcc import SnapshotFormatError
from rusd.raft import Configuration, Log, Node, bootstrap
from rusd.state import StateMachine, cluster_id, member_id
from rusd.state import snapshot as state_snapshot
from rusd.storage import StorageError
from rusd.storage.datadir import DataDir

if TYPE_CHECKING:
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


def open_member(config: Config, environment: Environment, machine: StateMachine, log: Logger) -> OpenMember:
    """Open the member in the data directory of ``config``, making it first if there is none.

    Raises :class:`~rusd.storage.StorageError`, :class:`~rusd.config.UsageError` and :class:`OSError`.
    """
    directory = _MEMORY_DIRECTORY if config.in_memory else config.directory
    if not environment.disk.exists(posixpath.join(directory, "member", "wal")):
        check_bootstrap(config)  # before anything is made
    data_dir = DataDir(environment.disk, directory)
    try:
        is_new = not data_dir.has_member
        if is_new:
            _create(config, data_dir)
        opened = data_dir.open_member()
    except BaseException:
        data_dir.close()
        raise
    try:
        for problem in opened.skipped:
            log.warn("skipped a snapshot that can't be used", error=problem)
        return _start(config, environment, data_dir, opened, machine, is_new=is_new)
    except BaseException:
        opened.wal.close()
        data_dir.close()
        raise


def _create(config: Config, data_dir: DataDir) -> None:
    """Found the cluster: ids and first entries, durable before anything else happens."""
    check_bootstrap(config)
    token = config.initial_cluster_token
    members: dict[int, rusd_pb2.ConfigurationChange] = {}
    own = 0
    for name, urls in parse_initial_cluster(config.initial_cluster).items():
        peer_urls = sorted(map(str, urls))
        number = member_id(peer_urls, token)
        members[number] = rusd_pb2.ConfigurationChange(
            type=rusd_pb2.ConfigurationChange.ADD_MEMBER,
            member=rusd_pb2.Member(id=number, peer_urls=peer_urls),
        )
        if name == config.name:
            own = number
    identity = rusd_pb2.Identity(cluster_id=cluster_id(members), member_id=own)
    hard_state, entries = bootstrap(
        [(number, change.SerializeToString()) for number, change in sorted(members.items())]
    )
    # All in one batch: a crash leaves either no member or a whole one.
    data_dir.create_member(identity.SerializeToString(), hard_state=hard_state, entries=entries).close()


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
        Log(recovered.entries, base_index=index, base_term=term),
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
