"""One member of a cluster in one process: a machine that lasts, and the lives of its process.

A life is the real replica with its real loops, log, snapshotter and transfers, over a disk in memory.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

import trio

from etcdpb import rusd_pb2
from rusd.logs import make_logger
from rusd.longwork import LongWork
from rusd.mvcc import Record
from rusd.raft import Configuration, HardState, Log, Node, Role, bootstrap
from rusd.replica import Core, Replica, Snapshotter, SyncPolicy, Transfers, WalFailedError
from rusd.state import Observer, StateMachine
from rusd.state import snapshot as state_snapshot
from rusd.storage.datadir import DataDir
from rusd.testing import FaultDisk, InlineThreads, ListSink, MemoryDisk, TrioClock, make_environment
from rusd.testing.disk import DiskStoppedError
from tests.cluster.network import MemoryPeers, Network

if TYPE_CHECKING:
    from tests.cluster.model import Model

TICK_SECONDS = 0.1
REQUEST_TIMEOUT_SECONDS = 4.0
SNAPSHOT_COUNT = 60
LOG_ENTRIES = 40
DIRECTORY = "/data"


def url(member: int) -> str:
    """Nobody listens there."""
    return f"http://member{member}"


def founders(count: int) -> tuple[HardState, list]:  # type: ignore[type-arg]
    """What the logs of the first ``count`` members begin with."""
    change = rusd_pb2.ConfigurationChange
    return bootstrap(
        [
            (
                member,
                change(
                    type=change.ADD_MEMBER, member=rusd_pb2.Member(id=member, peer_urls=[url(member)])
                ).SerializeToString(),
            )
            for member in range(1, count + 1)
        ]
    )


class _Observer(Observer):
    def __init__(self, member: Member) -> None:
        self._member = member

    def revision_published(self, revision: int, records: Sequence[Record]) -> None:
        self._member.model.published(self._member.id, revision, records)

    def state_replaced(self) -> None:
        self._member.installed += 1


class Member:
    """A machine with an id and a disk.

    ``founding`` is how many members found the cluster, this one among them; 0 if it is added later.
    ``inline`` says whether its log is written in the loop; None leaves that to chance.
    """

    inline: bool | None = None

    def __init__(self, me: int, founding: int, network: Network, model: Model, chance: random.Random) -> None:
        self.id = me
        self.model = model
        self.lives = 0
        self.installed = 0
        self.slow_disk_seconds = 0.0
        self.sink = ListSink()
        self.replica: Replica | None = None
        self.machine = StateMachine()
        self._founding = founding
        self._network = network
        self._chance = chance
        self._disk = MemoryDisk()
        self._stop_after = 0
        self._faults = FaultDisk(self._disk)
        self._scope = trio.CancelScope()
        self._ended = trio.Event()
        self._ended.set()

    @property
    def is_up(self) -> bool:
        """Whether its process runs."""
        return self.replica is not None

    @property
    def leads(self) -> bool:
        """Whether it thinks that it leads."""
        return self.replica is not None and self.replica.core.node.role is Role.LEADER

    async def live(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """One life of the process, until :meth:`crash` or a failed disk."""
        self.lives += 1
        self._scope, self._ended = trio.CancelScope(), trio.Event()
        self._faults = FaultDisk(self._disk)
        if self._stop_after:
            self._faults.stop_after(None, self._stop_after, written=100)
            self._stop_after = 0
        try:
            with self._scope, contextlib.ExitStack() as stack:
                await self._run(stack, task_status)
        except* (WalFailedError, DiskStoppedError):
            assert self._faults.is_stopped, "the disk was fine"
        finally:
            self.replica = None
            self._network.detach(self.id)
            if self._faults.is_stopped:
                self._disk = self._disk.copy()  # without what still holds files and lock
            self._ended.set()

    def stop_disk_after(self, operations: int) -> None:
        """Let the disk of the next life stop for good after so many operations."""
        self._stop_after = operations

    @property
    def disk(self) -> MemoryDisk:
        """As it is, behind the faults."""
        return self._disk

    def files(self, directory: str) -> list[str]:
        """The names in a directory of its disk."""
        return self._disk.list_directory(directory)

    async def crash(self, survival: float | None) -> None:
        """End the process in mid-air; ``survival`` is each unsynced page's chance, None spares them all."""
        self._faults.is_stopped = True
        unsynced = self._disk.unsynced()
        kept = [each for each in unsynced if survival is None or self._chance.random() < survival]
        disk = self._disk.crash(kept)
        self._network.detach(self.id)
        self._scope.cancel()
        await self._ended.wait()
        self._disk = disk

    async def _run(self, stack: contextlib.ExitStack, task_status: trio.TaskStatus[None]) -> None:
        chance = random.Random(self._chance.random())
        clock = TrioClock()
        environment = make_environment(
            clock=clock,
            disk=self._faults,
            log_sink=self.sink,
            threads=InlineThreads(
                lambda: chance.uniform(0, 0.003) + chance.random() * self.slow_disk_seconds
            ),
        )
        log = make_logger(self.sink, clock)
        data_dir = DataDir(self._faults, DIRECTORY)
        stack.callback(data_dir.close)
        if not data_dir.has_member:
            hard_state, entries = founders(self._founding) if self._founding else (HardState(), [])
            data_dir.create_member(b"%d" % self.id, hard_state=hard_state, entries=entries).close()
        opened = data_dir.open_member(segment_bytes=64 * 1024)
        stack.callback(opened.wal.close)
        self.machine = machine = StateMachine(_Observer(self))
        recovered = opened.recovered
        index = term = 0
        configuration = Configuration()
        if opened.snapshot is not None and recovered.marker is not None:
            index, term = recovered.marker.index, recovered.marker.term
            configuration = recovered.marker.configuration
            with contextlib.closing(data_dir.read_snapshot(opened.snapshot)) as reader:
                state_snapshot.load(machine, reader.header, reader.chunks())
        node = Node(
            self.id,
            Log(recovered.entries, base_index=index, base_term=term, max_entries=LOG_ENTRIES),
            recovered.hard_state,
            configuration,
            applied=index,
            random=chance,
        )
        core = Core(node, machine, member=self.id, boot=self.lives)
        peers = MemoryPeers(self._network, self.id)
        work = LongWork()
        replica = Replica(
            core,
            opened.wal,
            environment,
            log,
            tick_interval=TICK_SECONDS,
            request_timeout=REQUEST_TIMEOUT_SECONDS,
            after_apply=lambda: snapshotter.entries_applied(),  # noqa: PLW0108 - made below
            disk_is_shared=lambda: snapshotter.active,
            policy=SyncPolicy(allow_inline=chance.random() < 0.5 if self.inline is None else self.inline),
            peers=peers,
            member_urls=lambda: {each.id: each.peer_urls for each in machine.members.all()},
        )

        def cut(at: int, of: int) -> state_snapshot.Cut:
            configured = node.configuration_at(at)
            return state_snapshot.cut(machine, at, of, configured.voters, configured.learners)

        snapshotter = Snapshotter(
            replica,
            data_dir,
            clock,
            log,
            cut=cut,
            state_bytes=lambda: machine.store.bytes_in_use,
            work=work,
            snapshot_count=SNAPSHOT_COUNT,
            last_index=index,
            log_bytes=opened.wal.bytes_after(index),
            threads=environment.threads,
        )
        transfers = Transfers(
            replica,
            snapshotter,
            peers,
            data_dir=data_dir,
            machine=machine,
            environment=environment,
            log=log,
            work=work,
            tick_interval=TICK_SECONDS,
        )
        replica.connect(transfers=transfers)
        async with trio.open_nursery() as nursery:
            await nursery.start(replica.run)
            nursery.start_soon(snapshotter.run)
            nursery.start_soon(work.clean_up)
            self._network.attach(self.id, replica)
            self.replica = replica
            task_status.started()
