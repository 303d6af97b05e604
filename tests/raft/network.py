"""A small world for Raft: hosts that crash, their disks, and a network that loses, repeats and reorders.

Everything happens in one thread and is drawn from one seed, so every failure
can be replayed.  After each event the paper's safety properties (figure 3) are
checked against everything that ever happened in this world.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

import attrs

from rusd.raft import (
    Change,
    ChangeKind,
    HardState,
    Message,
    MessageType,
    Node,
    ProposalDropped,
    Role,
    bootstrap,
)
from tests.raft.history import History, SafetyViolation
from tests.raft.hosts import Disk, Host


@attrs.frozen
class Chances:
    """Relative weights of what may happen next."""

    deliver: int = 500
    drop: int = 15
    duplicate: int = 15
    tick: int = 60
    sync: int = 200
    propose: int = 60
    read: int = 20
    crash: int = 4
    restart: int = 10
    partition: int = 2
    heal: int = 4
    compact: int = 4
    change: int = 0
    transfer: int = 2
    skew: int = 2


class Network:
    """Hosts 1 to ``size``, of which ``voters`` form the first configuration."""

    def __init__(
        self,
        size: int,
        seed: int,
        *,
        voters: int | None = None,
        node_class: type[Node] = Node,
        chances: Chances | None = None,
        log_limit: int = 24,
        pre_vote: bool = True,
        check_quorum: bool = True,
    ) -> None:
        self.random = random.Random(seed)
        self.node_class = node_class
        self.log_limit = log_limit
        self.pre_vote = pre_vote
        self.check_quorum = check_quorum
        self.chances = chances or Chances()
        self.history = History()
        self.pool: list[Message] = []
        self.side: frozenset[int] = frozenset()  # the hosts cut off from the others
        self.counter = 0
        hard_state, entries = bootstrap([(member, b"") for member in range(1, (voters or size) + 1)])
        self.hosts: dict[int, Host] = {}
        for me in range(1, size + 1):
            disk = Disk(hard_state, entries) if me <= (voters or size) else Disk(HardState(), [])
            self.hosts[me] = Host(self, me, disk)

    # -- messages -----------------------------------------------------------------

    def send(self, messages: Iterable[Message]) -> None:
        for message in messages:
            if message.type is MessageType.INSTALL_SNAPSHOT:
                self._send_snapshot(message)
            else:
                self.pool.append(message)

    def _send_snapshot(self, message: Message) -> None:
        """Add the host's snapshot, which has to reach up to what the message asks for."""
        host = self.hosts[message.from_]
        if host.disk.base.index < message.index:
            host.compact()
        if host.disk.base.index < message.index:
            self._undelivered(message)
        else:
            self.pool.append(attrs.evolve(message, snapshot=host.disk.base))

    def deliver(self, message: Message) -> None:
        host = self.hosts[message.to]
        cut = (message.from_ in self.side) != (message.to in self.side)
        if host.node is None or cut:
            self._undelivered(message)
            return
        host.node.step(message)
        if message.type is MessageType.INSTALL_SNAPSHOT:
            self._undelivered(message)
        self.after(host)

    def _undelivered(self, message: Message) -> None:
        """Whoever sends a snapshot has to say when it is done with it."""
        if message.type is not MessageType.INSTALL_SNAPSHOT:
            return
        sender = self.hosts[message.from_]
        if sender.node is not None:
            sender.node.report_snapshot(message.to)

    def after(self, host: Host) -> None:
        if host.node is None:
            return
        host.pump()
        host.node.check()
        self.history.observe(host.node)

    # -- what may happen ------------------------------------------------------------

    def run(self, steps: int) -> None:
        names = [field.name for field in attrs.fields(Chances)]
        weights = [getattr(self.chances, name) for name in names]
        actions: list[Callable[[], None]] = [getattr(self, f"do_{name}") for name in names]
        for action in self.random.choices(actions, weights, k=steps):
            action()

    def _some_host(self) -> Host:
        return self.random.choice(list(self.hosts.values()))

    def _some_message(self) -> Message | None:
        if not self.pool:
            return None
        # Mostly the oldest, so that the world gets somewhere.
        position = self.random.randrange(len(self.pool)) if self.random.random() < 0.2 else 0
        return self.pool.pop(position)

    def do_deliver(self) -> None:
        message = self._some_message()
        if message is not None:
            self.deliver(message)

    def do_drop(self) -> None:
        message = self._some_message()
        if message is not None:
            self._undelivered(message)

    def do_duplicate(self) -> None:
        if self.pool:
            self.pool.append(self.random.choice(self.pool))

    def do_tick(self) -> None:
        """Time passes, not quite evenly."""
        for host in self.hosts.values():
            if host.node is not None and self.random.random() < 0.8:
                host.node.tick()
                self.after(host)

    def do_skew(self) -> None:
        """One host's clock runs ahead: enough for it to stand for election."""
        host = self._some_host()
        for _ in range(12):
            if host.node is not None:
                host.node.tick()
                self.after(host)

    def do_sync(self) -> None:
        busy = [host for host in self.hosts.values() if host.out is not None]
        if busy:
            host = self.random.choice(busy)
            host.sync()
            self.after(host)

    def do_propose(self) -> None:
        for host in self.hosts.values():
            if host.node is None or host.node.role is not Role.LEADER:
                continue
            self.counter += 1
            try:
                host.node.propose(b"%d" % self.counter * self.random.randrange(1, 5))
            except ProposalDropped:
                continue
            self.after(host)

    def do_read(self) -> None:
        host = self._some_host()
        if host.node is None:
            return
        self.counter += 1
        context = b"%d" % self.counter
        self.history.reads_asked[context] = max(self.history.committed, default=0)
        try:
            host.node.read_index(context)
        except ProposalDropped:
            return
        self.after(host)

    def do_crash(self) -> None:
        self._some_host().crash(written=self.random.random() < 0.5)

    def do_restart(self) -> None:
        dead = [host for host in self.hosts.values() if host.node is None]
        if dead:
            host = self.random.choice(dead)
            host.start()
            self.after(host)

    def do_partition(self) -> None:
        size = self.random.randrange(len(self.hosts))
        self.side = frozenset(self.random.sample(sorted(self.hosts), size))

    def do_heal(self) -> None:
        self.side = frozenset()

    def do_compact(self) -> None:
        self._some_host().compact()

    def do_change(self) -> None:
        change = Change(self.random.choice(list(ChangeKind)), self.random.choice(sorted(self.hosts)))
        for host in self.hosts.values():
            if host.node is None or host.node.role is not Role.LEADER:
                continue
            try:
                host.node.propose_configuration(change)
            except ProposalDropped:
                continue
            self.after(host)

    def do_transfer(self) -> None:
        target = self.random.choice(sorted(self.hosts))
        for host in self.hosts.values():
            if host.node is None or host.node.role is not Role.LEADER:
                continue
            try:
                host.node.transfer_leadership(target)
            except ProposalDropped:
                continue
            self.after(host)

    # -- without faults ---------------------------------------------------------------

    def settle(self, rounds: int = 1) -> None:
        """Deliver and sync everything, and what comes of it; time stands still."""
        for _ in range(rounds * 1000):
            for host in self.hosts.values():
                host.sync()
                self.after(host)
            if not self.pool:
                return
            pool, self.pool = self.pool, []
            for message in pool:
                self.deliver(message)
        raise SafetyViolation("the network never falls silent")

    def settle_until(self, done: Callable[[], bool]) -> None:
        """Like :meth:`settle`, one exchange at a time, until ``done``."""
        for _ in range(100):
            for host in self.hosts.values():
                host.sync()
                self.after(host)
                if done():
                    return
            pool, self.pool = self.pool, []
            for message in pool:
                self.deliver(message)
        raise AssertionError("it never came to that")

    def beat(self, me: int) -> None:
        """Let ``me``, a leader, send a heartbeat."""
        self.node(me).tick()
        self.after(self.hosts[me])

    def elect(self, me: int) -> Node:
        """Let ``me`` stand for election and win."""
        node = self.node(me)
        node.campaign()
        self.after(self.hosts[me])
        self.settle()
        assert node.role is Role.LEADER
        return node

    def node(self, me: int) -> Node:
        node = self.hosts[me].node
        assert node is not None
        return node

    def leader(self) -> Node | None:
        """The leader of the highest term, if there is one."""
        nodes = [host.node for host in self.hosts.values() if host.node is not None]
        leaders = [node for node in nodes if node.role is Role.LEADER]
        return max(leaders, key=lambda node: node.term, default=None)

    def recover(self) -> None:
        """Faults stop: a leader must be found, and what it proposes must reach every member."""
        self.side = frozenset()
        for host in self.hosts.values():
            if host.node is None:
                host.start()
        marker: tuple[int, int] | None = None
        for _ in range(200):
            for host in self.hosts.values():
                if host.node is not None:
                    host.node.tick()
                self.after(host)
            self.settle()
            leader = self.leader()
            if leader is None:
                continue
            if marker is None or marker[0] != leader.term:
                try:
                    marker = leader.propose(b"the last one")
                except ProposalDropped:
                    continue
                self.after(self.hosts[leader.id])
                self.settle()
            members = [self.node(member) for member in leader.configuration.members]
            if all(node.applied_index >= marker[1] for node in members):
                return
        raise SafetyViolation("no progress although nothing fails any more")
