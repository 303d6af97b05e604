"""A cluster to be told what to do, step by step: for stories with a point."""

from __future__ import annotations

from rusd.mvcc import Store
from rusd.raft import InvariantViolation, Message, MessageType
from tests.simulation import properties
from tests.simulation.faults import Faults
from tests.simulation.host import Crash
from tests.simulation.liveness import Liveness
from tests.simulation.process import Process
from tests.simulation.properties import Violation
from tests.simulation.watchers import Watcher
from tests.simulation.world import Settings, World


class Stage:
    """A cluster in good weather, with a leader and everybody serving.

    Every step may raise :class:`Violation`.
    """

    def __init__(self, settings: Settings | None = None, *, seed: int = 1) -> None:
        self.world = World(seed, settings or Settings())
        self.faults = Faults(self.world)
        for host in self.world.hosts.values():
            host.start()
        self.until(
            lambda: all(process.serving for process in self.world.processes()) and self.world.leaders()
        )

    def wait(self, milliseconds: int) -> None:
        """Let time pass."""
        try:
            self.world.scheduler.run_until(self.world.scheduler.now + milliseconds)
        except (AssertionError, InvariantViolation) as error:
            if isinstance(error, Violation):
                raise
            raise Violation(properties.INVARIANTS, str(error)) from error

    def until(self, done: object, *, milliseconds: int = 20_000) -> None:
        """Let time pass until ``done()``."""
        assert callable(done)
        for _ in range(milliseconds // 10):
            self.wait(10)
            if done():
                return
        raise AssertionError("it never came to that")

    @property
    def leader(self) -> Process:
        """The newest leader."""
        return self.world.leaders()[0]

    @property
    def followers(self) -> list[Process]:
        """Who does not lead."""
        return [process for process in self.world.processes() if not process.leads]

    def process(self, me: int) -> Process:
        """The process that runs on a host."""
        process = self.world.hosts[me].process
        assert process is not None
        return process

    def store(self, me: int) -> Store:
        """The store of a host."""
        return self.process(me).machine.store

    def ask(self, what: str, me: int, choice: int = 0, *, wait: int = 100) -> None:
        """A client asks for something; by default its answer is waited for."""
        self.world.clients.ask(what, self.world.hosts[me], choice)
        self.wait(wait)

    def put(self, count: int = 1) -> None:
        """Clients put one thing after the other at the leader."""
        for number in range(count):
            self.ask("put", self.leader.host.id, 6 * number + number % 6 + 1, wait=30)

    def watch(self, *, start: int, patience: int = 20, at: int = 0) -> Watcher:
        """Somebody watches everything from ``start``, at one host or wherever there is one."""
        watcher = Watcher(self.world, 0, start=start, patience=patience, at=at)
        self.world.watchers.append(watcher)
        return watcher

    def isolate(self, me: int) -> int:
        """Cut a host off; returns the number to mend it by."""
        others = [host for host in self.world.hosts if host != me]
        return self.world.network.part([(me, it) for it in others] + [(it, me) for it in others])

    def cut_power(self, me: int, *, survival: float = 0.0, down: int = 100) -> None:
        """A host loses power, and with it what it was not told to sync."""
        host = self.world.hosts[me]
        host.crash_soon(Crash(survival, down))
        host.die()

    def snapshot_message(self, leader: Process, follower: Process) -> Message:
        """With this a leader's core asks for any snapshot to be sent to a follower."""
        return Message(
            type=MessageType.INSTALL_SNAPSHOT,
            from_=leader.host.id,
            to=follower.host.id,
            term=leader.node.term,
            index=1,
        )

    def finish(self) -> None:
        """All is well in the end."""
        self.faults.end()
        Liveness(self.world).check()
