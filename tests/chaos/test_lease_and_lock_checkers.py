"""Leases and locks: too early, too late, after the end, and by the wrong one."""

from __future__ import annotations

import attrs

from chaos.checkers import judge as judging
from chaos.checkers import lease, log
from chaos.checkers.judge import judge
from chaos.history import OK, UNKNOWN, Fault, History
from chaos.model import Compare, Grant, KeepAlive, Lock, Put, Range, Revoke, Txn, Unlock
from tests.chaos.histories import Play, changed, rules

LEASE = 0x17


def leased(ttl: int = 10) -> Play:
    """A lease with two keys."""
    play = Play()
    play.do(Grant(LEASE, ttl), ttl=ttl)
    play.do(Put("leased/x", "1", LEASE))
    play.do(Put("leased/y", "1", LEASE))
    return play


def test_a_lease_that_runs_out_in_time_is_fine() -> None:
    play = leased()
    play.expire(LEASE, after=11)
    assert judge(play.history()).passed


def test_a_lease_that_ends_too_early_is_caught() -> None:
    play = leased()
    play.expire(LEASE, after=5)
    verdict = judge(play.history())
    assert rules(verdict.violations) == {"lease"}
    assert "before its 10 s were over" in verdict.violations[0].text


def test_a_renewal_counts_from_when_it_was_sent() -> None:
    play = leased()
    play.do(KeepAlive(LEASE), ttl=10, early=0.4)
    play.expire(LEASE, after=9.5)  # told 0.1 later: 10 s after the renewal was sent
    assert judge(play.history()).passed
    play = leased()
    play.do(KeepAlive(LEASE), ttl=10, early=0.4)
    play.expire(LEASE, after=9)
    assert rules(judge(play.history()).violations) == {"lease"}


def test_an_unanswered_renewal_promises_nothing() -> None:
    play = leased()
    play.do(KeepAlive(LEASE), ttl=10, outcome=UNKNOWN)
    play.expire(LEASE, after=8)
    assert judge(play.history()).passed


def test_a_revoked_lease_may_end_at_any_time() -> None:
    for outcome in (OK, UNKNOWN):
        play = leased()
        play.do(Revoke(LEASE), outcome=outcome)
        assert judge(play.history()).passed


def test_a_renewal_after_the_end_is_caught() -> None:
    play = leased()
    play.expire(LEASE, after=12)
    play.do(KeepAlive(LEASE), ttl=10)
    assert rules(judge(play.history()).violations) == {"lease"}
    play = leased()
    play.expire(LEASE, after=12)
    play.do(KeepAlive(LEASE), ttl=0)
    assert judge(play.history()).passed


def test_a_key_that_survives_its_revoked_lease_is_caught() -> None:
    play = leased()
    revoke = play.do(Revoke(LEASE), happens=False, outcome=UNKNOWN)
    answered = attrs.evolve(revoke, outcome=OK, returned=play.now, answer=play.operations[-2].answer)
    assert rules(judge(changed(play.history(), revoke, answered)).violations) == {"lease"}


def test_a_lease_that_loses_only_some_of_its_keys_is_caught() -> None:
    play = leased()
    play.store.keys["leased/y"] = attrs.evolve(play.store.keys["leased/y"], lease=0)
    play.expire(LEASE, after=20)
    assert rules(judge(play.history()).violations) == {"linearizability"}


def test_a_lease_that_outlives_itself_is_caught_unless_something_was_going_on() -> None:
    play = leased(ttl=2)
    play.expire(LEASE, after=40)
    history = play.history()
    assert rules(judge(history).violations) == {"lease"}
    assert judge(History([*history.records, Fault("pause", 10, 11)])).passed


# -- locks ---------------------------------------------------------------------------------------


def guarded(key: str, value: str) -> Txn:
    """The write that a lock's holder makes."""
    return Txn((Compare(key, "create", ">", 0),), (Put("guarded/value", value),), (Range(key),))


def test_a_lock_that_is_handed_over_is_fine() -> None:
    play = Play()
    first = play.do(Lock("lock", 1))
    assert first.answer is not None
    play.do(guarded(first.answer.key, "a"), note=f"guard:{first.answer.key}")
    play.do(Unlock(first.answer.key))
    play.do(guarded(first.answer.key, "too late"), note=f"guard:{first.answer.key}")
    second = play.do(Lock("lock", 2))
    assert second.answer is not None
    play.do(guarded(second.answer.key, "b"), note=f"guard:{second.answer.key}")
    assert judge(play.history()).passed


def test_a_write_under_a_lost_lock_is_caught() -> None:
    play = Play()
    lock = play.do(Lock("lock", 1))
    assert lock.answer is not None
    key = lock.answer.key
    play.do(Unlock(key))
    # The server forgets to look at the condition.
    unguarded = play.do(Put("guarded/value", "fenced off"))
    write = attrs.evolve(unguarded, request=guarded(key, "fenced off"), note=f"guard:{key}")
    found = rules(judge(changed(play.history(), unguarded, write)).violations)
    assert found == {"linearizability", "lock"}


def test_a_write_by_somebody_who_waits_for_the_lock_is_caught() -> None:
    play = Play()
    play.do(Lock("lock", 1))
    waiting = play.do(Lock("lock", 2), outcome=UNKNOWN)
    play.do(guarded("lock/2", "x"), note="guard:lock/2")
    assert rules(judge(play.history()).violations) == {"lock"}
    assert waiting.answer is None


def test_two_holders_at_once_are_caught() -> None:
    play = Play()
    play.do(Lock("lock", 1))
    play.do(Lock("lock", 2))  # answered, though the first is still there
    assert rules(judge(play.history()).violations) == {"lock"}


def test_a_lock_granted_before_it_was_free_is_caught() -> None:
    play = Play()
    first = play.do(Lock("lock", 1))
    assert first.answer is not None
    play.do(Lock("lock", 2))  # answered here
    play.do(Put("other", "x"))
    play.do(Unlock(first.answer.key))  # but free only now, after a write that was sent after the answer
    assert rules(judge(play.history()).violations) == {"lock"}


def test_certain_ends_only_are_judged() -> None:
    play = leased()
    play.do(Txn((), ()), outcome=UNKNOWN)
    history = play.history()
    assert lease.check(history, log.build(history), {}) == []
    assert judging.judge(history).passed
