"""The leader's timers."""

from __future__ import annotations

import math

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from rusd.lease import LeaseExpiredError, LeaseNotFoundError, LeaseStore, Lessor, NotPrimaryError
from rusd.lease.lessor import EXPIRED_LIMIT, RETRY_INTERVAL_S, SPREAD_PER_SECOND


class Member:
    """A lease store with its lessor, driven as the apply loop drives them."""

    def __init__(self, *, checkpoints: bool = False) -> None:
        self.leases = LeaseStore()
        self.lessor = Lessor(self.leases, checkpoints=checkpoints)

    def grant(self, lease_id: int, ttl: int, now: float) -> None:
        self.leases.grant(lease_id, ttl)
        self.lessor.on_granted(lease_id, now)
        self.lessor.check()

    def revoke(self, lease_id: int) -> None:
        self.leases.revoke(lease_id)
        self.lessor.on_revoked(lease_id)
        self.lessor.check()

    def checkpoint(self, lease_id: int, remaining: int, now: float) -> None:
        self.leases.checkpoint(lease_id, remaining)
        self.lessor.on_checkpointed(lease_id, now)
        self.lessor.check()


@pytest.fixture
def leader() -> Member:
    member = Member()
    member.lessor.promote(0.0, 1.0)
    return member


def test_a_lease_expires_at_its_ttl_and_not_before(leader: Member) -> None:
    leader.grant(1, 10, 100.0)
    assert leader.lessor.next_deadline() == 110.0
    assert leader.lessor.expired(109.999) == []
    assert leader.lessor.expired(110.0) == [1]


def test_expired_leases_come_in_order_of_their_expiry(leader: Member) -> None:
    for lease_id, ttl in ((1, 30), (2, 10), (3, 20), (4, 10)):
        leader.grant(lease_id, ttl, 0.0)
    assert leader.lessor.expired(50.0) == [2, 4, 3, 1]


def test_a_pass_gives_out_a_limited_number(leader: Member) -> None:
    for lease_id in range(1, EXPIRED_LIMIT + 11):
        leader.grant(lease_id, 10, 0.0)
    first = leader.lessor.expired(10.0)
    assert len(first) == EXPIRED_LIMIT
    assert leader.lessor.next_deadline() == 10.0  # there is more, at once
    assert len(leader.lessor.expired(10.0)) == 10
    assert leader.lessor.expired(10.0) == []


def test_a_lost_revocation_is_proposed_again(leader: Member) -> None:
    leader.grant(1, 10, 0.0)
    assert leader.lessor.expired(10.0) == [1]
    assert leader.lessor.next_deadline() == 10.0 + RETRY_INTERVAL_S
    assert leader.lessor.expired(12.9) == []
    assert leader.lessor.expired(13.0) == [1]
    leader.revoke(1)
    assert leader.lessor.next_deadline() is None
    assert leader.lessor.expired(100.0) == []


def test_renewing_gives_the_full_ttl_again(leader: Member) -> None:
    leader.grant(1, 10, 0.0)
    assert leader.lessor.renew(1, 9.0) == 10
    assert leader.lessor.next_deadline() == 19.0
    assert leader.lessor.expired(18.0) == []
    assert leader.lessor.expired(19.0) == [1]


def test_renewing_an_unknown_lease_gives_zero(leader: Member) -> None:
    assert leader.lessor.renew(5, 0.0) == 0
    assert leader.lessor.renew(0, 0.0) == 0


def test_an_expired_lease_is_not_renewed_and_who_asked_waits_for_its_revocation(leader: Member) -> None:
    leader.grant(1, 10, 0.0)
    with pytest.raises(LeaseExpiredError):
        leader.lessor.renew(1, 10.0)
    told: list[bool] = []
    leader.lessor.when_revoked(1, told.append)
    leader.lessor.when_revoked(1, told.append)
    assert told == []
    leader.revoke(1)
    assert told == [True, True]
    assert leader.lessor.renew(1, 11.0) == 0
    leader.lessor.when_revoked(1, told.append)
    assert told == [True] * 3


def test_who_waits_for_a_revocation_is_told_when_leadership_is_lost(leader: Member) -> None:
    leader.grant(1, 10, 0.0)
    told: list[bool] = []
    leader.lessor.when_revoked(1, told.append)
    leader.lessor.demote()
    assert told == [False]
    leader.lessor.when_revoked(1, told.append)
    assert told == [False, False]
    leader.revoke(1)


def test_the_remaining_time_is_in_whole_seconds_and_may_be_zero_or_less(leader: Member) -> None:
    leader.grant(1, 10, 0.0)
    assert leader.lessor.remaining(1, 0.0) == 10
    assert leader.lessor.remaining(1, 0.1) == 9
    assert leader.lessor.remaining(1, 9.5) == 0
    assert leader.lessor.remaining(1, 10.5) == 0
    assert leader.lessor.remaining(1, 12.5) == -2
    with pytest.raises(LeaseNotFoundError):
        leader.lessor.remaining(2, 0.0)


def test_a_follower_keeps_leases_forever() -> None:
    member = Member()
    member.grant(1, 10, 0.0)
    assert member.lessor.next_deadline() is None
    assert member.lessor.expired(1e9) == []
    assert member.lessor.by_expiry() == [1]
    for ask in (member.lessor.renew, member.lessor.remaining):
        with pytest.raises(NotPrimaryError, match="not a primary lessor"):
            ask(1, 0.0)


def test_a_new_leader_gives_every_lease_its_ttl_and_an_election_timeout() -> None:
    member = Member()
    member.grant(1, 10, 0.0)
    member.grant(2, 60, 0.0)
    member.lessor.promote(1000.0, 1.5)
    assert member.lessor.expired(1011.4) == []
    assert member.lessor.expired(1011.5) == [1]
    assert member.lessor.remaining(2, 1000.0) == 61


def test_a_new_leader_gives_a_checkpointed_lease_what_is_left_of_it() -> None:
    member = Member()
    member.grant(1, 6000, 0.0)
    member.checkpoint(1, 700, 0.0)
    member.lessor.promote(0.0, 1.0)
    assert member.lessor.remaining(1, 0.0) == 701
    assert member.lessor.has_checkpoint(1)
    assert not member.lessor.has_checkpoint(2)


def test_a_leader_promoted_anew_shortens_no_lease(leader: Member) -> None:
    leader.grant(1, 600, 0.0)
    leader.checkpoint(1, 100, 0.0)
    leader.lessor.promote(10.0, 1.0)
    assert leader.lessor.remaining(1, 0.0) == 600
    leader.lessor.promote(595.0, 1.0)
    assert leader.lessor.remaining(1, 595.0) == 101
    leader.lessor.check()


def test_a_demoted_leader_lets_nothing_expire(leader: Member) -> None:
    leader.grant(1, 10, 0.0)
    leader.lessor.demote()
    leader.lessor.check()
    assert not leader.lessor.primary
    assert leader.lessor.expired(100.0) == []
    leader.lessor.promote(100.0, 1.0)
    assert leader.lessor.next_deadline() == 111.0


def test_an_id_granted_again_has_the_new_time_only(leader: Member) -> None:
    leader.grant(1, 100, 0.0)
    leader.revoke(1)
    leader.grant(1, 10, 50.0)
    assert leader.lessor.expired(60.0) == [1]
    leader.revoke(1)
    leader.grant(1, 100, 60.0)
    assert leader.lessor.expired(159.0) == []
    assert leader.lessor.expired(160.0) == [1]


def test_leases_are_listed_by_the_time_they_have_left(leader: Member) -> None:
    for lease_id, ttl in ((1, 30), (2, 10), (3, 20)):
        leader.grant(lease_id, ttl, 0.0)
    leader.lessor.renew(2, 9.0)
    leader.lessor.renew(3, 15.0)
    assert leader.lessor.by_expiry() == [2, 1, 3]


def test_up_to_a_thousand_leases_a_new_leader_does_not_spread() -> None:
    member = Member()
    for lease_id in range(1, 1000):
        member.leases.grant(lease_id, 10)
    member.lessor.promote(0.0, 1.0)
    assert {member.lessor.remaining(lease_id, 0.0) for lease_id in range(1, 1000)} == {11}


def test_many_leases_of_a_new_leader_run_out_spread_over_time() -> None:
    member = Member()
    count = 4000
    for lease_id in range(1, count + 1):
        member.leases.grant(lease_id, 10)
    member.leases.grant(count + 1, 3600)
    member.lessor.promote(0.0, 1.0)
    member.lessor.check()
    last = 0.0
    per_second: dict[int, int] = {}
    while (deadline := member.lessor.next_deadline()) is not None and deadline < 100:
        assert deadline >= last >= 0.0
        last = deadline
        for lease_id in member.lessor.expired(deadline):
            per_second[int(deadline)] = per_second.get(int(deadline), 0) + 1
            member.leases.revoke(lease_id)
            member.lessor.on_revoked(lease_id)
    assert sum(per_second.values()) == count
    assert min(per_second) == 11  # none early
    assert max(per_second.values()) <= SPREAD_PER_SECOND + 1
    assert last <= 11 + count / SPREAD_PER_SECOND + 1
    assert member.lessor.remaining(count + 1, 0.0) == 3601


def test_leases_that_lie_apart_are_not_delayed() -> None:
    member = Member()
    for lease_id in range(1, 1501):
        member.leases.grant(lease_id, 10 * lease_id)
    member.lessor.promote(0.0, 1.0)
    assert [member.lessor.remaining(lease_id, 0.0) for lease_id in range(1, 1501)] == [
        10 * lease_id + 1 for lease_id in range(1, 1501)
    ]


# -- checkpoints ----------------------------------------------------------------------------


def test_checkpoints_are_off_unless_asked_for(leader: Member) -> None:
    leader.grant(1, 3600, 0.0)
    assert leader.lessor.next_deadline() == 3600.0
    assert leader.lessor.due_checkpoints(3000.0) == []


def test_a_long_lease_is_checkpointed_every_five_minutes_until_little_is_left() -> None:
    member = Member(checkpoints=True)
    member.lessor.promote(0.0, 1.0)
    member.grant(1, 1000, 0.0)
    member.grant(2, 300, 0.0)  # not longer than the interval
    member.revoke(2)
    recorded = []
    now = 0.0
    while (deadline := member.lessor.next_deadline()) is not None and deadline < 1000.0:
        now = deadline
        for lease_id, left in member.lessor.due_checkpoints(now + 0.25):
            recorded.append((now, lease_id, left))
            member.checkpoint(lease_id, left, now)
    assert recorded == [(300.0, 1, 700), (600.0, 1, 400), (900.0, 1, 100)]


def test_a_lease_with_all_its_time_needs_no_checkpoint() -> None:
    member = Member(checkpoints=True)
    member.lessor.promote(0.0, 1.0)
    member.grant(1, 1000, 0.0)
    member.lessor.renew(1, 300.0)
    assert member.lessor.due_checkpoints(300.0) == []


def test_checkpoints_are_limited_in_number_and_the_rest_follows() -> None:
    member = Member(checkpoints=True)
    member.lessor.promote(0.0, 1.0)
    for lease_id in range(1, 8):
        member.grant(lease_id, 1000, 0.0)
    member.revoke(3)
    assert [lease_id for lease_id, _ in member.lessor.due_checkpoints(301.0, limit=4)] == [1, 2, 4, 5]
    assert [lease_id for lease_id, _ in member.lessor.due_checkpoints(301.0, limit=4)] == [6, 7]


# -- against a model ---------------------------------------------------------------------------


IDS = st.integers(min_value=1, max_value=5)


class LessorMachine(RuleBasedStateMachine):
    """Against a dictionary of expiries that is searched from end to end."""

    def __init__(self) -> None:
        super().__init__()
        self.member = Member()
        self.now = 0.0
        self.expiry: dict[int, float] = {}
        self.given_out: dict[int, float] = {}

    @property
    def lessor(self) -> Lessor:
        return self.member.lessor

    @rule(lease_id=IDS, ttl=st.integers(min_value=2, max_value=20))
    def grant(self, lease_id: int, ttl: int) -> None:
        if not self.member.leases.exists(lease_id):
            self.member.grant(lease_id, ttl, self.now)
            self.expiry[lease_id] = self.now + ttl
            self.given_out.pop(lease_id, None)

    @rule(lease_id=IDS)
    def revoke(self, lease_id: int) -> None:
        if self.member.leases.exists(lease_id):
            self.member.revoke(lease_id)
            del self.expiry[lease_id]

    @rule(lease_id=IDS)
    def renew(self, lease_id: int) -> None:
        if not self.lessor.primary:
            with pytest.raises(NotPrimaryError):
                self.lessor.renew(lease_id, self.now)
        elif lease_id not in self.expiry:
            assert self.lessor.renew(lease_id, self.now) == 0
        elif self.expiry[lease_id] <= self.now:
            with pytest.raises(LeaseExpiredError):
                self.lessor.renew(lease_id, self.now)
        else:
            ttl = self.member.leases.ttl(lease_id)
            assert self.lessor.renew(lease_id, self.now) == ttl
            self.expiry[lease_id] = self.now + ttl

    @rule(seconds=st.floats(min_value=0.125, max_value=8, width=16))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(extend=st.sampled_from([0.5, 1.0]))
    def promote(self, extend: float) -> None:
        was_primary = self.lessor.primary
        self.lessor.promote(self.now, extend)
        self.given_out.clear()
        for lease_id in self.expiry:
            full = self.now + self.member.leases.ttl(lease_id) + extend
            self.expiry[lease_id] = max(full, self.expiry[lease_id]) if was_primary else full

    @rule()
    def demote(self) -> None:
        self.lessor.demote()

    @precondition(lambda self: self.lessor.primary)
    @rule(limit=st.integers(min_value=1, max_value=3))
    def expire(self, limit: int) -> None:
        due = self.due()
        found = self.lessor.expired(self.now, limit)
        assert len(found) == min(limit, len(due))
        assert set(found) <= set(due)
        latest = max((self.due_at(lease_id) for lease_id in found), default=-math.inf)
        assert all(self.due_at(lease_id) >= latest for lease_id in set(due) - set(found))
        self.given_out.update(dict.fromkeys(found, self.now))

    def due_at(self, lease_id: int) -> float:
        if lease_id in self.given_out:
            return self.given_out[lease_id] + RETRY_INTERVAL_S
        return self.expiry[lease_id]

    def due(self) -> list[int]:
        return [lease_id for lease_id in self.expiry if self.due_at(lease_id) <= self.now]

    @invariant()
    def it_agrees_with_the_model(self) -> None:
        self.lessor.check()
        if not self.lessor.primary:
            assert self.lessor.next_deadline() is None
            return
        deadlines = [self.due_at(lease_id) for lease_id in self.expiry]
        assert self.lessor.next_deadline() == min(deadlines, default=None)
        for lease_id, expiry in self.expiry.items():
            assert self.lessor.remaining(lease_id, self.now) == int(expiry - self.now)


TestLessorMachine = LessorMachine.TestCase
