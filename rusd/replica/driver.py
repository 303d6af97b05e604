"""The loops of a replica: they carry out what :class:`~rusd.replica.core.Core` says.

::

    driver ──entries──▶ log writer ──persisted──▶ driver ──committed──▶ apply loop
      ▲ │                                                                   │
      │ └── messages ──▶ peers                          answers, events ◀──┘
      └── proposals, ticks, messages

On a fast disk the log is written in the driver's turn (:mod:`rusd.replica.writer`), and where
no hook wants to wait it applies as well: the other two loops then have nothing to do.

All proposals that arrive while a batch is being written form the next batch:
one WAL write and one sync for all of them, and one sync outstanding, ever.  A leader's
messages leave before the sync, so that the followers' disks work at the same time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import trio

from rusd.environment import Environment, Hooks
from rusd.raft import MessageType
from rusd.replica import changes
from rusd.replica.chronicle import Chronicle
from rusd.replica.leadership import Leadership
from rusd.replica.peers import NoPeers
from rusd.replica.sync import SyncPolicy
from rusd.replica.writer import LogWriter
from rusd.signal import Signal

if TYPE_CHECKING:
    from rusd.logs import Logger
    from rusd.raft import Message, Ready, Snapshot
    from rusd.replica.core import Core
    from rusd.replica.peers import Peers
    from rusd.replica.transfers import Transfers
    from rusd.storage import Wal

APPLY_BUDGET = 1024
"""What is applied before the loop gives way, in records: 256 small entries, or as much of a large one."""


class Driver:
    """Runs a core; :class:`rusd.replica.shell.Replica` is what others see of it.

    ``before_answers`` is called before each slice of answers and events, ``after_apply`` after it.
    ``member_urls`` gives the peer URLs of all members, as of the entries applied.
    """

    def __init__(
        self,
        core: Core,
        wal: Wal,
        environment: Environment,
        log: Logger,
        *,
        tick_interval: float,
        request_timeout: float,
        before_answers: Callable[[], None] = lambda: None,
        after_apply: Callable[[], None],
        disk_is_shared: Callable[[], bool] = lambda: False,
        policy: SyncPolicy | None = None,
        peers: Peers | None = None,
        member_urls: Callable[[], Mapping[int, Sequence[str]]] = dict,
    ) -> None:
        self.core = core
        self._clock = environment.clock
        self._hooks = environment.hooks
        self._after_slice = environment.after_slice
        self._log = log
        self._chronicle = Chronicle(core.node, log)
        self._tick_interval = tick_interval
        self._request_timeout = request_timeout
        self._before_answers = before_answers
        self._after_apply = after_apply
        self._peers = peers or NoPeers()
        self._member_urls = member_urls
        self._transfers: Transfers | None = None
        self._writer = LogWriter(
            wal,
            environment,
            log,
            self._persisted_in_thread,
            disk_is_shared=disk_is_shared,
            policy=policy or SyncPolicy(),
        )
        self.leadership = Leadership(
            core,
            environment.clock,
            self.wake,
            tick_interval=tick_interval,
            request_timeout=request_timeout,
        )
        self.removed = trio.Event()
        """Set when this member has left the cluster for good: it can do nothing more than stop."""
        self._work = Signal()  # for the driver: the core has something ready
        self._in_turns = False  # end_turns will be called: the driver need not be woken
        self._asked = False  # since begin_turns
        self._failure: BaseException | None = None  # for the driver to raise
        self._apply_work = Signal()  # for the apply loop: entries or reads are waiting
        self._applying = False  # the apply loop is at work, or waits for a hook
        self._hooks_apply = type(self._hooks).before_apply is not Hooks.before_apply
        self._applied = trio.lowlevel.ParkingLot()
        self._configured_at = -1  # the configuration whose members the peers' transport knows
        self._applied_configurations = 0

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run until cancelled.  Raises :class:`WalFailedError` if the log can't be written."""
        self._chronicle.begin()
        self.members_changed()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._drive)
            nursery.start_soon(self._writer.run)
            nursery.start_soon(self._apply)
            nursery.start_soon(self._tick)
            if self._transfers is not None:
                nursery.start_soon(self._transfers.run)
            task_status.started()

    def members_changed(self) -> None:
        """The members or their URLs are others now: the transport is told."""
        self._configured_at = node_at = self.core.node.configuration_index
        node, applied = self.core.node, self.core.applied_index
        urls = dict(self._member_urls())
        if node_at > applied:
            # In effect as soon as they are in the log: their votes and disks may be needed to commit that.
            positions = node.configurations_after(max(applied, node.log.base_index))
            urls |= changes.urls_of_added(node.log.slice(at, at)[0] for at in positions)
        urls.pop(node.id, None)
        self._peers.set_members(urls)

    # -- the loops --------------------------------------------------------------------

    async def _tick(self) -> None:
        deadline = self._clock.monotonic() + self._tick_interval
        while True:
            await self._clock.sleep_until(deadline)
            now = self._clock.monotonic()
            self.core.tick(now, self._request_timeout)
            self.leadership.ticked(now)
            self._work.set()
            self._applied.unpark_all()  # there may be a leader by now
            # A late tick counts once: missed heartbeats can't be sent any more.
            deadline += self._tick_interval
            if deadline <= now:
                deadline = now + self._tick_interval

    def begin_turns(self) -> None:
        """Connections get their turns now, and :meth:`end_turns` is called after them.

        What they ask for is carried out there at once.  Waking the driver for it would cost a
        switch of tasks, which is dear for a client that is alone.
        """
        self._in_turns = True

    def end_turns(self) -> None:
        """Carry out what was asked for since :meth:`begin_turns`.  Raises nothing: the driver does."""
        self._in_turns = False
        if not self._asked:
            return
        self._asked = False
        if self._failure is not None:
            return
        try:
            self._carry_out()
        except BaseException as error:
            self._give_up(error)

    def _give_up(self, error: BaseException) -> None:
        """End with ``error``, which the driver raises."""
        self._failure = self._failure or error
        self._work.set()

    def wake(self) -> None:
        """The core may have something ready: have it carried out soon."""
        if self._in_turns:
            self._asked = True
        else:
            self._work.set()

    async def _drive(self) -> None:
        while True:
            await self._work.wait()
            if self._failure is not None:
                raise self._failure
            self._carry_out()

    def _carry_out(self) -> None:
        """Do what the core has ready, as far as it may be done here."""
        core, node = self.core, self.core.node
        self._chronicle.look()
        while (ready := core.ready()) is not None:
            if node.configuration_index != self._configured_at:
                self.members_changed()
            if ready.messages:
                self._send(ready.messages)
            if ready.must_sync:
                if self._writer.write(ready):
                    self._persisted(ready)
            elif ready.messages_after_persist:
                self._send(ready.messages_after_persist)
        self._chronicle.look()
        if core.has_forwards:
            core.take_back(self._peers.forward(core.take_forwards()))
        if core.has_work and not self._applying and not self._hooks_apply:
            self._apply_slice()  # at once: a switch of tasks less for every batch
        if core.has_work:
            self._apply_work.set()

    def _persisted(self, ready: Ready) -> None:
        """What ``ready`` asked to persist is durable."""
        self.core.persisted(ready)
        if ready.snapshot is not None:
            self._install(ready.snapshot)
        if ready.messages_after_persist:
            self._send(ready.messages_after_persist)

    def _persisted_in_thread(self, ready: Ready) -> None:
        self._persisted(ready)
        self._work.set()

    def _install(self, snapshot: Snapshot) -> None:
        """The log begins after ``snapshot`` now: let it be the state, in this very turn."""
        assert self._transfers is not None, "a snapshot that nobody received"
        self._before_answers()
        self._transfers.install(snapshot)
        self._after_apply()
        self._after_move()

    def _send(self, messages: Iterable[Message]) -> None:
        for message in messages:
            if message.type is MessageType.INSTALL_SNAPSHOT:
                break
        else:
            self._peers.send(messages)
            return
        self._peers.send([each for each in messages if each.type is not MessageType.INSTALL_SNAPSHOT])
        for message in messages:
            if message.type is MessageType.INSTALL_SNAPSHOT and self._transfers is not None:
                self._transfers.owe(message)

    async def _apply(self) -> None:
        core = self.core
        while True:
            await self._apply_work.wait()
            self._applying = True
            while core.has_work:
                if self._hooks_apply and core.unapplied:
                    core.held = core.between_entries
                    await self._hooks.before_apply(
                        core.applied_index + 1, core.applied_index + core.unapplied
                    )
                    core.held = False
                self._apply_slice()
                if core.has_work:
                    await trio.lowlevel.checkpoint()
            self._applying = False

    def _apply_slice(self) -> None:
        """Apply some entries, and send what comes of them."""
        self._before_answers()
        self.core.apply(APPLY_BUDGET)
        self._after_apply()
        self._after_move()
        if not self.core.between_entries:
            self._after_slice()
        self._writer.prepare_space()

    def _after_move(self) -> None:
        """The state is that of another entry."""
        core = self.core
        self._applied.unpark_all()
        if core.applied_configurations != self._applied_configurations:
            self._applied_configurations = core.applied_configurations
            self.members_changed()
            if core.is_removed:
                self.removed.set()
