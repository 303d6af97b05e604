"""Which changes endanger the quorum."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from rusd.grpc import StatusError
from rusd.logs import make_logger
from rusd.services.reconfiguration import StrictCheck
from rusd.state import Member, Membership
from rusd.testing import ListSink, ManualClock

NOT_STARTED = "etcdserver: re-configuration failed due to not enough started members"
UNHEALTHY = "etcdserver: unhealthy cluster"
NOW = 1000.0
LONG_AGO, JUST_NOW = NOW - 60, NOW - 1


def membership(started: int, not_started: int = 0, learners: int = 0) -> Membership:
    """Members 1, 2, … in that order."""
    members = Membership()
    for number in range(1, started + not_started + learners + 1):
        learner = number > started + not_started
        name = "" if started < number and not learner else f"m{number}"
        members.add(Member(number, (f"http://{number}:1",), name, is_learner=learner))
    return members


def check(active: Mapping[int, float] | None = None, *, strict: bool = True) -> StrictCheck:
    """That of member 1, which has heard of the others since then."""
    clock = ManualClock(start=NOW)
    times = dict.fromkeys(range(2, 9), LONG_AGO) if active is None else active
    return StrictCheck(1, times.get, clock, make_logger(ListSink(), clock), strict=strict)


@pytest.mark.parametrize(
    ("members", "active", "learner", "refusal"),
    [
        (membership(1), {}, False, None),
        (membership(1), {}, True, None),
        (membership(1, 1), None, False, NOT_STARTED),
        (membership(1, 1), None, True, None),
        (membership(3), None, False, None),
        (membership(3), {2: LONG_AGO}, False, UNHEALTHY),
        (membership(3), {2: LONG_AGO, 3: JUST_NOW}, False, UNHEALTHY),
        (membership(3), {2: LONG_AGO}, True, UNHEALTHY),
        (membership(5), {2: LONG_AGO, 3: LONG_AGO, 4: LONG_AGO}, False, None),
        (membership(5), {2: LONG_AGO, 3: LONG_AGO}, False, UNHEALTHY),
        (membership(2, 2), None, False, NOT_STARTED),
        (membership(3, 0, 1), {2: LONG_AGO, 3: LONG_AGO}, False, None),
    ],
)
def test_what_may_be_added(
    members: Membership, active: Mapping[int, float] | None, learner: bool, refusal: str | None
) -> None:
    if refusal is None:
        check(active).may_add(members, learner=learner)
        return
    with pytest.raises(StatusError) as caught:
        check(active).may_add(members, learner=learner)
    assert caught.value.message == refusal
    check(active, strict=False).may_add(members, learner=learner)


@pytest.mark.parametrize(
    ("members", "active", "member", "refusal"),
    [
        (membership(1), {}, 1, NOT_STARTED),
        (membership(2), None, 2, None),
        (membership(3), None, 2, None),
        (membership(3), {2: LONG_AGO}, 3, None),
        (membership(3), {2: LONG_AGO}, 2, UNHEALTHY),
        (membership(3), {2: LONG_AGO}, 1, UNHEALTHY),
        (membership(2, 1), None, 2, NOT_STARTED),
        (membership(2, 1), None, 3, None),
        (membership(3, 0, 1), {2: LONG_AGO}, 4, None),
    ],
)
def test_what_may_be_removed(
    members: Membership, active: Mapping[int, float] | None, member: int, refusal: str | None
) -> None:
    if refusal is None:
        check(active).may_remove(members, member)
        return
    with pytest.raises(StatusError) as caught:
        check(active).may_remove(members, member)
    assert caught.value.message == refusal
    check(active, strict=False).may_remove(members, member)


def test_a_learner_may_be_promoted_among_enough_that_have_started() -> None:
    check().may_promote(membership(3, 0, 1))
    check().may_promote(membership(1, 1, 1))
    with pytest.raises(StatusError, match="not enough started members"):
        check().may_promote(membership(1, 2, 1))
    check(strict=False).may_promote(membership(1, 2, 1))
