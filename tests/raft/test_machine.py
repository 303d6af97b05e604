"""Hypothesis drives a cluster: it searches for a schedule that breaks safety, and shrinks what it finds."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from rusd.raft import Change, ChangeKind, ProposalDropped
from tests.raft.network import Network

HOSTS = st.integers(1, 4)


class Cluster(RuleBasedStateMachine):
    """Four hosts, three of them voters at first; every step is checked by the network itself."""

    def __init__(self) -> None:
        super().__init__()
        self.network = Network(4, seed=0, voters=3, pre_vote=False, check_quorum=False)

    @initialize(seed=st.integers(0, 2**16), additions=st.booleans())
    def begin(self, seed: int, additions: bool) -> None:
        self.network = Network(4, seed, voters=3, pre_vote=additions, check_quorum=additions, log_limit=6)

    @rule(host=HOSTS, count=st.integers(1, 12))
    def tick(self, host: int, count: int) -> None:
        for _ in range(count):
            if self.network.hosts[host].node is not None:
                self.network.beat(host)

    @rule(host=HOSTS)
    def campaign(self, host: int) -> None:
        if self.network.hosts[host].node is not None:
            self.network.node(host).campaign()
            self.network.after(self.network.hosts[host])

    @precondition(lambda self: self.network.pool)
    @rule(position=st.integers(0, 50), keep=st.booleans())
    def deliver(self, position: int, keep: bool) -> None:
        pool = self.network.pool
        message = pool[position % len(pool)]
        if not keep:
            pool.remove(message)
        self.network.deliver(message)

    @precondition(lambda self: self.network.pool)
    @rule(count=st.integers(1, 20))
    def lose(self, count: int) -> None:
        for _ in range(count):
            self.network.do_drop()

    @rule()
    def settle(self) -> None:
        self.network.settle()

    @rule(host=HOSTS)
    def sync(self, host: int) -> None:
        self.network.hosts[host].sync()
        self.network.after(self.network.hosts[host])

    @rule(host=HOSTS, written=st.booleans())
    def crash(self, host: int, written: bool) -> None:
        self.network.hosts[host].crash(written=written)

    @rule(host=HOSTS)
    def restart(self, host: int) -> None:
        if self.network.hosts[host].node is None:
            self.network.hosts[host].start()
            self.network.after(self.network.hosts[host])

    @rule()
    def propose(self) -> None:
        self.network.do_propose()

    @rule()
    def read(self) -> None:
        self.network.do_read()

    @rule(host=HOSTS)
    def compact(self, host: int) -> None:
        self.network.hosts[host].compact()

    @rule(side=st.frozensets(HOSTS))
    def partition(self, side: frozenset[int]) -> None:
        self.network.side = side

    @rule(kind=st.sampled_from(ChangeKind), member=HOSTS)
    def change(self, kind: ChangeKind, member: int) -> None:
        leader = self.network.leader()
        if leader is None:
            return
        try:
            leader.propose_configuration(Change(kind, member))
        except ProposalDropped:
            return
        self.network.after(self.network.hosts[leader.id])

    @rule(heir=HOSTS)
    def transfer(self, heir: int) -> None:
        leader = self.network.leader()
        if leader is None:
            return
        try:
            leader.transfer_leadership(heir)
        except ProposalDropped:
            return
        self.network.after(self.network.hosts[leader.id])

    def teardown(self) -> None:
        self.network.recover()


TestCluster = Cluster.TestCase
TestCluster.settings = settings(
    max_examples=40,
    stateful_step_count=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
