"""The replicated half of leases: what exists and what is attached."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from rusd.lease import (
    MAX_TTL,
    LeaseExistsError,
    LeaseNotFoundError,
    LeaseState,
    LeaseStore,
    LeaseTTLTooLargeError,
    minimum_ttl,
)
from rusd.steps import PAGE
from tests.support.slices import Sliced


def test_a_granted_lease_has_its_ttl_and_no_keys() -> None:
    leases = LeaseStore()
    leases.grant(7, 60)
    assert leases.exists(7)
    assert leases.ttl(7) == 60
    assert leases.keys(7) == []
    assert list(leases.ids()) == [7]


def test_grants_are_refused_as_etcd_refuses_them() -> None:
    leases = LeaseStore()
    leases.grant(7, 60)
    with pytest.raises(LeaseNotFoundError):
        leases.grant(0, 60)
    with pytest.raises(LeaseNotFoundError):
        leases.grant(0, MAX_TTL + 1)
    with pytest.raises(LeaseTTLTooLargeError):
        leases.grant(7, MAX_TTL + 1)
    with pytest.raises(LeaseExistsError):
        leases.grant(7, MAX_TTL)
    leases.grant(-1, MAX_TTL)  # negative ids are accepted
    assert leases.ttl(7) == 60


def test_revoking_gives_the_keys_and_frees_them() -> None:
    leases = LeaseStore()
    leases.grant(7, 60)
    for key in (b"b", b"\xff", b"a", b"a\x00"):
        leases.attach(key, 7)
    assert leases.keys(7) == [b"a", b"a\x00", b"b", b"\xff"]
    assert leases.key_count(7) == 4
    assert set().union(*leases.revoke(7)) == {b"a", b"a\x00", b"b", b"\xff"}
    assert not leases.exists(7)
    with pytest.raises(LeaseNotFoundError):
        leases.revoke(7)
    leases.check()


def test_a_key_belongs_to_one_lease_at_most() -> None:
    leases = LeaseStore()
    leases.grant(1, 60)
    leases.grant(2, 60)
    leases.attach(b"k", 1)
    leases.attach(b"k", 2, former=1)
    leases.attach(b"k", 2, former=2)
    assert leases.keys(1) == []
    assert leases.keys(2) == [b"k"]
    leases.detach(b"k", 2)
    leases.detach(b"k", 2)
    assert leases.revoke(2) == [set()]
    leases.detach(b"k", 2)
    leases.check()


def test_many_keys_are_listed_in_steps() -> None:
    leases = LeaseStore()
    leases.grant(1, 60)
    names = [b"%06d" % (number * 7919 % 5000) for number in range(5000)]
    for name in names:
        leases.attach(name, 1)
    job = Sliced(lambda turn: leases.keys_steps(1, turn))
    while not job.step(100):
        leases.check()
    assert job.result == sorted(names)
    assert job.pauses >= 5000 // PAGE
    with pytest.raises(LeaseNotFoundError):
        Sliced(lambda turn: leases.keys_steps(2, turn)).step()


@pytest.mark.parametrize("count", [900, 5000])
def test_keys_come_and_go_while_they_are_listed(count: int) -> None:
    leases = LeaseStore()
    leases.grant(1, 60)
    for number in range(count):
        leases.attach(b"old %d" % number, 1)
    job = Sliced(lambda turn: leases.keys_steps(1, turn))
    step = 0
    while not job.step():
        leases.detach(b"old %d" % step, 1)
        for number in range(10):
            leases.attach(b"new %d" % (10 * step + number), 1)
        step += 1
    assert job.result == sorted(set(job.result))
    assert {b"old %d" % number for number in range(step, count)} <= set(job.result)
    leases.check()


def test_attaching_to_an_unknown_lease_changes_nothing() -> None:
    leases = LeaseStore()
    leases.grant(1, 60)
    leases.attach(b"k", 1)
    with pytest.raises(LeaseNotFoundError):
        leases.attach(b"k", 2, former=1)
    assert leases.keys(1) == [b"k"]


@pytest.mark.parametrize("ask", [LeaseStore.ttl, LeaseStore.remaining, LeaseStore.keys])
def test_questions_about_an_unknown_lease_say_so(ask) -> None:
    with pytest.raises(LeaseNotFoundError) as caught:
        ask(LeaseStore(), 5)
    assert caught.value.lease_id == 5


def test_a_checkpoint_is_kept_cleared_by_zero_and_ignored_for_unknown_leases() -> None:
    leases = LeaseStore()
    leases.grant(1, 600)
    leases.checkpoint(1, 200)
    leases.checkpoint(2, 200)
    assert leases.remaining(1) == 200
    assert len(leases) == 1
    leases.checkpoint(1, 0)
    assert leases.remaining(1) == 0


def test_a_dump_is_in_order_of_ids_and_loads_without_attachments() -> None:
    leases = LeaseStore()
    leases.grant(9, 60)
    leases.grant(-3, 600)
    leases.checkpoint(-3, 100)
    leases.attach(b"k", 9)
    dump = leases.dump()
    assert dump == (LeaseState(-3, 600, 100), LeaseState(9, 60))
    copy = LeaseStore()
    copy.grant(5, 5)
    loaded = LeaseStore()
    loaded.restore(dump)
    assert set(copy.take_over(loaded)) == {5}
    assert copy.dump() == dump
    assert copy.keys(9) == []
    copy.attach(b"k", 9)
    copy.check()


@pytest.mark.parametrize(
    ("election_ticks", "heartbeat_ms", "seconds"),
    [(10, 100, 2), (10, 1000, 15), (11, 100, 2), (20, 100, 3), (2, 1, 1), (10, 500, 8)],
)
def test_the_minimum_ttl_is_one_and_a_half_election_timeouts_rounded_up(
    election_ticks: int, heartbeat_ms: int, seconds: int
) -> None:
    assert minimum_ttl(election_ticks, heartbeat_ms) == seconds


IDS = st.integers(min_value=0, max_value=4)
KEYS = st.sampled_from([b"a", b"b", b"c", b"d"])


class StoreMachine(RuleBasedStateMachine):
    """Against two plain dictionaries."""

    def __init__(self) -> None:
        super().__init__()
        self.leases = LeaseStore()
        self.granted: dict[int, tuple[int, int]] = {}
        self.attached: dict[bytes, int] = {}

    @rule(lease_id=IDS, ttl=st.sampled_from([1, 60, MAX_TTL, MAX_TTL + 1]))
    def grant(self, lease_id: int, ttl: int) -> None:
        if lease_id == 0 or ttl > MAX_TTL or lease_id in self.granted:
            with pytest.raises((LeaseNotFoundError, LeaseTTLTooLargeError, LeaseExistsError)):
                self.leases.grant(lease_id, ttl)
            return
        self.leases.grant(lease_id, ttl)
        self.granted[lease_id] = (ttl, 0)

    @rule(lease_id=IDS)
    def revoke(self, lease_id: int) -> None:
        if lease_id not in self.granted:
            with pytest.raises(LeaseNotFoundError):
                self.leases.revoke(lease_id)
            return
        keys = {key for key, owner in self.attached.items() if owner == lease_id}
        assert set().union(*self.leases.revoke(lease_id)) == keys
        del self.granted[lease_id]
        for key in keys:
            del self.attached[key]

    @rule(key=KEYS, lease_id=IDS)
    def attach(self, key: bytes, lease_id: int) -> None:
        if lease_id not in self.granted:
            with pytest.raises(LeaseNotFoundError):
                self.leases.attach(key, lease_id)
            return
        self.leases.attach(key, lease_id, self.attached.get(key, 0))
        self.attached[key] = lease_id

    @rule(key=KEYS)
    def detach(self, key: bytes) -> None:
        self.leases.detach(key, self.attached.pop(key, 0))

    @rule(lease_id=IDS, remaining=st.integers(min_value=0, max_value=50))
    def checkpoint(self, lease_id: int, remaining: int) -> None:
        self.leases.checkpoint(lease_id, remaining)
        if lease_id in self.granted:
            self.granted[lease_id] = (self.granted[lease_id][0], remaining)

    @rule()
    def restart_from_a_snapshot(self) -> None:
        states = self.leases.dump()
        self.leases = LeaseStore()
        loaded = LeaseStore()
        loaded.restore(states)
        self.leases.take_over(loaded)
        for key, lease_id in self.attached.items():
            self.leases.attach(key, lease_id)

    @invariant()
    def it_agrees_with_the_model(self) -> None:
        self.leases.check()
        assert {s.lease_id: (s.ttl, s.remaining) for s in self.leases.dump()} == self.granted
        for lease_id in self.granted:
            assert self.leases.keys(lease_id) == sorted(k for k, o in self.attached.items() if o == lease_id)


TestStoreMachine = StoreMachine.TestCase
