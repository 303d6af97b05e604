"""A whole run: start a cluster, load it, play the faults, let it recover, ask it everything once more.

The order of the end matters.  First the load stops, then all faults are undone and every member must serve
again; then the revision is read that all watchers have to reach; then hashes are compared.  Only then is
the history complete enough to be judged.
"""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import attrs
import trio

from chaos.client import Address, CallError, opened
from chaos.cluster import Cluster, running
from chaos.faults import FAULTS, Fault, Plan, Stage
from chaos.faults.disk import gates_needed
from chaos.faults.schedule import make_schedule
from chaos.history import End, History, Recorder, Run, Trouble
from chaos.history import Fault as FaultRecord
from chaos.liar import Liar
from chaos.model import WHOLE, Range
from chaos.observe import compare_hashes, watch_self, watch_status
from chaos.server import Server
from chaos.session import Session, pacing
from chaos.watching import Watcher
from chaos.workloads import Workload
from rusd.environment import Environment, real_environment

READY_SECONDS = 60.0
RECOVERY_SECONDS = 60.0
DRAIN_SECONDS = 30.0
FAULT_PATIENCE_SECONDS = 60.0
RETRY_SECONDS = 0.2
REVIVAL_SECONDS = 3.0
"""Between two looks for members that ended by themselves."""
MEMBERS = "members"
"""The folder, in that of the run, with data and logs of the members."""


class NotStartedError(Exception):
    """The cluster did not come up, so there was nothing to check."""


@attrs.frozen
class Settings:
    """What to run.  ``rate`` is about how many operations all clients together send in a second.

    ``stale_reads`` puts a proxy that lies before the first member: see :mod:`chaos.liar`.
    """

    server: Server
    nodes: int
    seed: int
    duration: float
    faults: Sequence[Fault]
    workloads: Sequence[Workload]
    folder: Path
    rate: float = 60.0
    flags: Sequence[str] = ()
    stale_reads: bool = False
    command: str = ""

    @property
    def schedule(self) -> tuple[Plan, ...]:
        """The faults to come."""
        return make_schedule(self.seed, self.nodes, self.duration, self.faults)

    @property
    def member_flags(self) -> list[str]:
        """The flags of every member: those asked for, and those that faults need."""
        return [*self.flags, *dict.fromkeys(flag for fault in self.faults for flag in fault.flags)]


async def run(settings: Settings) -> History:
    """Run, and return what happened; also written to ``history.jsonl`` in the folder, record by record.

    Raises :class:`NotStartedError`.
    """
    began = time.monotonic()
    settings.folder.mkdir(parents=True, exist_ok=True)
    members = settings.folder / MEMBERS
    shutil.rmtree(members, ignore_errors=True)  # of an earlier run with the same folder
    problem = ""
    with (settings.folder / "history.jsonl").open("w") as file:
        recorder = Recorder(lambda: round(time.monotonic() - began, 6), file)
        recorder.add(_head(settings))
        async with (
            running(
                settings.server,
                settings.nodes,
                members,
                token=f"chaos-{settings.seed}",
                more=settings.member_flags,
                gated=gates_needed({fault.name for fault in settings.faults}),
            ) as cluster,
            trio.open_nursery() as nursery,
        ):
            problem = await _Running(settings, cluster, recorder, real_environment()).play(nursery)
            nursery.cancel_scope.cancel()
    if problem:
        raise NotStartedError(problem)
    return recorder.history


def _head(settings: Settings) -> Run:
    return Run(
        seed=settings.seed,
        nodes=settings.nodes,
        duration=settings.duration,
        faults=tuple(sorted(fault.name for fault in settings.faults)),
        workloads=tuple(workload.name for workload in settings.workloads),
        server=settings.server.name,
        command=settings.command,
    )


class _Running:
    """A run while it goes on."""

    def __init__(
        self, settings: Settings, cluster: Cluster, recorder: Recorder, environment: Environment
    ) -> None:
        self._settings = settings
        self._cluster = cluster
        self._recorder = recorder
        self._environment = environment
        self._stage = Stage(cluster, recorder, environment, gates=cluster.gates)

    async def play(self, nursery: trio.Nursery) -> str:
        """From the first answer of the cluster to the last; ``nursery`` is for what serves it meanwhile.

        Returns why there was nothing to play, if so.
        """
        members = range(self._cluster.size)
        if not await self._serving(READY_SECONDS, patient=False):
            stuck = self._cluster.died() or self._cluster.members
            return f"the cluster did not come up\n{stuck[0].log_tail()}"
        if self._settings.stale_reads:
            target = self._cluster.addresses[0]
            liar = Liar(self._environment, target, random.Random(f"liar {self._settings.seed}"))
            self._cluster.detours[0] = Address(target.host, await nursery.start(liar.serve))
        async with trio.open_nursery() as observers, AsyncExitStack() as stack:
            watchers = [await self._everything(stack, member) for member in members]
            self._stage.recorders = watchers
            for member in members:
                observers.start_soon(watch_status, self._stage, member)
                observers.start_soon(watchers[member].run)
            observers.start_soon(self._revive)
            observers.start_soon(watch_self, self._recorder)
            await self._load()
            await self._recover()
            observers.cancel_scope.cancel()
        return ""

    async def _everything(self, stack: AsyncExitStack, member: int) -> Watcher:
        """A watcher of the whole key space that stays with ``member``."""
        address = self._cluster.addresses[member]
        client = await stack.enter_async_context(opened([address], 0, self._environment))
        return Watcher(f"all@n{member}", self._recorder, client, member=member)

    # -- the run proper -------------------------------------------------------------------

    async def _load(self) -> None:
        """Clients and faults, side by side, for as long as was asked."""
        async with trio.open_nursery() as nursery:
            faults = await nursery.start(self._play_schedule)
            async with trio.open_nursery() as clients:
                process = 0
                for workload in self._settings.workloads:
                    for _ in range(workload.clients):
                        process += 1
                        clients.start_soon(self._play_client, workload, process)
                await trio.sleep(self._settings.duration)
                clients.cancel_scope.cancel()
            faults.deadline = trio.current_time() + FAULT_PATIENCE_SECONDS

    async def _play_client(self, workload: Workload, process: int) -> None:
        chance = random.Random(f"client {self._settings.seed} {workload.name} {process}")
        clients = sum(one.clients for one in self._settings.workloads)
        interval = pacing(chance, clients / self._settings.rate)
        async with opened(self._cluster.addresses, process, self._environment) as client:
            session = Session(process, workload.name, client, self._recorder, interval)
            await workload.play(session, chance)

    async def _play_schedule(
        self, task_status: trio.TaskStatus[trio.CancelScope] = trio.TASK_STATUS_IGNORED
    ) -> None:
        began = trio.current_time()
        with trio.CancelScope() as scope:
            task_status.started(scope)
            async with trio.open_nursery() as nursery:
                late = 0.0  # what has to be alone may take its time; the rest of the schedule waits for it
                for plan in self._settings.schedule:
                    if plan.at + late + plan.seconds > self._settings.duration:
                        break
                    await trio.sleep_until(began + late + plan.at)
                    if FAULTS[plan.fault].alone:
                        await self._play_fault(plan)
                        late = max(late, trio.current_time() - began - plan.at - plan.seconds)
                    else:
                        nursery.start_soon(self._play_fault, plan)

    async def _play_fault(self, plan: Plan) -> None:
        begun, detail = self._recorder.now(), "cut off"
        try:
            detail = await FAULTS[plan.fault].play(self._stage, plan)
        except CallError as error:
            detail = f"could not: {error}"
        finally:
            self._recorder.add(FaultRecord(plan.fault, begun, self._recorder.now(), detail))

    async def _revive(self) -> None:
        """Start members again that ended though nobody ended them: the others shall not do without them."""
        while True:
            await trio.sleep(REVIVAL_SECONDS)
            self._launch_dead()

    def _launch_dead(self) -> None:
        for member in self._cluster.died():
            self._trouble(f"n{member.index} ended by itself:\n{member.log_tail(5)}")
            self._cluster.launch(member.index)

    # -- the end ------------------------------------------------------------------------------

    async def _recover(self) -> None:
        """Everything undone, everybody serving, everything told, everything compared."""
        self._launch_dead()
        for index in range(self._cluster.size):
            self._cluster.resume(index)
            self._cluster.launch(index)
        if not await self._serving(RECOVERY_SECONDS):
            for member in self._cluster.died():
                self._trouble(f"n{member.index} does not stay up:\n{member.log_tail(5)}")
            self._trouble(f"not everybody served again within {RECOVERY_SECONDS} s", fatal=True)
            return
        revision = 0
        with trio.move_on_after(RECOVERY_SECONDS):
            revision = await self._read_revision()
        if not revision:
            self._trouble("somebody stopped serving once more, without any fault", fatal=True)
            return
        with trio.move_on_after(DRAIN_SECONDS):
            while any(watcher.next <= revision for watcher in self._stage.recorders):
                await trio.sleep(RETRY_SECONDS)
        names = tuple(watcher.name for watcher in self._stage.recorders)
        self._recorder.add(End(self._recorder.now(), revision, names))
        await compare_hashes(self._stage, revision)

    async def _read_revision(self) -> int:
        """The present revision, from a read of all keys through each member: operations like any others."""
        revision = 0
        async with opened(self._cluster.addresses, 0, self._environment) as client:
            session = Session(0, "last look", client, self._recorder, lambda: 0.0)
            for member in range(self._cluster.size):
                answer = None
                while answer is None:
                    client.move(member)
                    answer = await session.do(Range(WHOLE, WHOLE))
                revision = max(revision, answer.revision)
        return revision

    async def _serving(self, seconds: float, *, patient: bool = True) -> bool:
        """Wait until every member answers a linearizable read; False if that takes too long.

        Who isn't patient doesn't wait for members that have ended.
        """
        with trio.move_on_after(seconds) as scope:
            async with trio.open_nursery() as nursery:
                for member in range(self._cluster.size):
                    nursery.start_soon(self._wait_for, member, None if patient else scope)
        return not scope.cancelled_caught

    async def _wait_for(self, member: int, scope: trio.CancelScope | None) -> None:
        async with opened(self._cluster.addresses, member, self._environment) as client:
            while True:
                try:
                    await client.send(Range("ready"))
                except CallError:
                    if scope is not None and self._cluster.died():
                        scope.cancel()
                    await trio.sleep(RETRY_SECONDS)
                else:
                    return

    def _trouble(self, text: str, *, fatal: bool = False) -> None:
        self._recorder.add(Trouble(self._recorder.now(), text, fatal))
