"""Right histories pass, whatever overlaps; each way of being wrong is caught, whatever came before it."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chaos.checkers.judge import judge
from chaos.history import FAILED, OK, UNKNOWN, Delivery, Hash, History, Run, Status, Trouble
from chaos.model import WHOLE, Answer, Compare, Delete, Put, Range, Txn
from tests.chaos.histories import Play, changed, deliveries, everywhere, plays, rules, with_answer

calm = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@calm
@given(plays())
def test_what_a_correct_server_does_passes(play: Play) -> None:
    verdict = judge(play.history())
    assert verdict.violations == ()
    assert verdict.line().startswith("PASS")


# -- linearizability ---------------------------------------------------------------------


def stale_read(play: Play) -> History:
    """A read answered from before a write that was answered before the read was sent."""
    play.do(Put("register/a", "old"))
    early = play.do(Range("register/a"))
    play.do(Put("register/a", "new"))
    read = play.do(Range("register/a"))
    assert early.answer is not None
    return changed(play.history(), read, attrs.evolve(read, answer=early.answer))


def stale_read_with_a_new_revision(play: Play) -> History:
    """As before, but the answer claims to be up to date."""
    play.do(Put("register/a", "old"))
    early = play.do(Range("register/a"))
    play.do(Put("register/a", "new"))
    read = play.do(Range("register/a"))
    assert early.answer is not None
    return with_answer(play.history(), read, results=early.answer.results)


def read_older_than_what_a_watcher_was_told(play: Play) -> History:
    """Nobody's answer, but a watcher's event shows that the read is stale."""
    read_before = play.do(Range("register/a"))
    play.do(Put("register/a", "new"), outcome=UNKNOWN)
    read = play.do(Range("register/a"))
    return changed(play.history(), read, attrs.evolve(read, answer=read_before.answer))


def lost_write(play: Play) -> History:
    """A write that was answered, and is nowhere."""
    play.do(Put("register/b", "before"))
    lost = play.do(Put("register/a", "lost"), happens=False, outcome=UNKNOWN)
    play.do(Put("register/b", "after"))
    answer = Answer(play.revision + 1, True, (None,))
    answered = attrs.evolve(lost, outcome=OK, returned=lost.invoked + 0.5, answer=answer)
    return changed(play.history(), lost, answered)


def write_acknowledged_at_somebody_elses_revision(play: Play) -> History:
    """Two writes answered with the same revision."""
    first = play.do(Put("register/a", "one"))
    lost = play.do(Put("register/a", "two"), happens=False, outcome=UNKNOWN)
    answered = attrs.evolve(lost, outcome=OK, returned=lost.invoked + 0.5, answer=first.answer)
    return changed(play.history(), lost, answered)


def write_carried_out_twice(play: Play) -> History:
    """One request, two changes."""
    put = play.do(Put("register/a", "again"))
    play.do(Put("register/a", "again"))
    return History([record for record in play.history().records if record is not play.operations[put.id]])


def refused_write_that_happened(play: Play) -> History:
    """The client was told that it certainly was not carried out."""
    play.do(Put("register/a", "refused"), outcome=FAILED)
    return play.history()


def write_before_it_was_sent(play: Play) -> History:
    """The change is in the history before the request is."""
    put = play.do(Put("register/a", "early"))
    late = attrs.evolve(put, invoked=play.now + 5, returned=play.now + 6)
    return changed(play.history(), put, late)


def txn_that_took_the_wrong_branch(play: Play) -> History:
    """Conditions hold, and the answer says that they do not."""
    play.do(Put("register/a", "x"))
    compare = Compare("register/a", "value", "=", "x")
    txn = play.do(Txn((compare,), (Range("register/a"),), (Range("register/a"),)))
    return with_answer(play.history(), txn, succeeded=False)


def txn_done_by_half(play: Play) -> History:
    """Of two puts in one transaction one is missing."""
    play.do(Txn((), (Put("pair/a", "x"), Put("pair/b", "x"))))
    revision = play.revision

    def half(delivery: Delivery) -> Delivery:
        if delivery.revision != revision:
            return delivery
        return attrs.evolve(delivery, events=delivery.events[:1])

    return everywhere(play.history(), half)


def deletion_that_counts_wrong(play: Play) -> History:
    """One key was there, the answer says two."""
    play.do(Put("register/a", "x"))
    delete = play.do(Delete("register/a"))
    return with_answer(play.history(), delete, results=(2,))


def hole_in_the_log(play: Play) -> History:
    """An answered write that no watcher was told of."""
    play.do(Put("register/a", "x"))
    revision = play.revision
    play.do(Put("register/a", "y"))
    return everywhere(play.history(), lambda one: None if one.revision == revision else one)


@pytest.mark.parametrize(
    "mistake",
    [
        stale_read,
        stale_read_with_a_new_revision,
        read_older_than_what_a_watcher_was_told,
        lost_write,
        write_acknowledged_at_somebody_elses_revision,
        write_carried_out_twice,
        refused_write_that_happened,
        write_before_it_was_sent,
        txn_that_took_the_wrong_branch,
        txn_done_by_half,
        deletion_that_counts_wrong,
        hole_in_the_log,
    ],
    ids=lambda mistake: mistake.__name__,
)
def test_a_mistake_is_caught_after_any_history(mistake: Callable[[Play], History]) -> None:
    @settings(calm, max_examples=5)
    @given(plays(most=12))
    def holds(play: Play) -> None:
        play.now += 10  # so that nothing of before overlaps with the mistake
        assert rules(judge(mistake(play)).violations) & {"linearizability", "completeness"}

    holds()


def test_an_unknown_write_may_have_happened_or_not() -> None:
    for happens in (True, False):
        play = Play()
        play.do(Put("register/a", "x"), outcome=UNKNOWN, happens=happens)
        play.do(Range("register/a"))
        assert judge(play.history()).passed


def test_an_unknown_write_may_happen_much_later() -> None:
    play = Play()
    play.do(Put("register/a", "x"), outcome=UNKNOWN, early=50)
    assert judge(play.history()).passed


def test_two_unknown_deletions_explain_two_steps_but_not_three() -> None:
    play = Play()
    for number in range(3):
        play.do(Put("register/a", f"{number}"))
        play.do(Delete("register/a"), outcome=UNKNOWN)
    assert judge(play.history()).passed
    fewer = History([one for one in play.history().records if one is not play.operations[-1]])
    assert rules(judge(fewer).violations) == {"linearizability"}


def test_a_serializable_read_may_be_stale_but_not_invented() -> None:
    play = Play()
    play.do(Put("register/a", "old"))
    early = play.do(Range("register/a", serializable=True))
    play.do(Put("register/a", "new"))
    read = play.do(Range("register/a", serializable=True))
    stale = changed(play.history(), read, attrs.evolve(read, answer=early.answer))
    assert judge(stale).passed
    assert not judge(with_answer(play.history(), read, results=((),))).passed


# -- agreement, hashes, recovery -------------------------------------------------------------


@given(st.integers(0, 3))
def test_members_that_tell_different_things_are_caught(which: int) -> None:
    play = Play()
    for number in range(4):
        play.do(Put("register/a", f"{number}"))
    told = deliveries(play.history(), "all@n1")[which]
    event = told.events[0]
    other = attrs.evolve(event, kv=attrs.evolve(event.kv, value="else"))
    history = play.history()
    told = deliveries(history, "all@n1")[which]
    assert "agreement" in rules(judge(changed(history, told, attrs.evolve(told, events=(other,)))).violations)


def test_hashes_that_differ_are_caught_unless_compacted_differently() -> None:
    history = Play().history()
    first = history.of(Hash)[0]
    assert rules(judge(changed(history, first, attrs.evolve(first, hash=7))).violations) == {"hash"}
    assert judge(changed(history, first, attrs.evolve(first, hash=7, compacted=1))).passed


def test_two_leaders_in_one_term_are_caught() -> None:
    history = played_by("rusd")
    said = [Status(0, 1.0, 0, 5, 1, 1), Status(1, 1.0, -1, 5, 1, 1), Status(1, 2.0, 0, 5, 1, 1)]
    assert judge(History([*history.records, *said])).passed
    other = [*said, Status(1, 3.0, 1, 6, 1, 1)]
    assert judge(History([*history.records, *other])).passed
    two = [*other, Status(0, 4.0, 0, 6, 1, 1)]
    assert rules(judge(History([*history.records, *two])).violations) == {"election"}


def test_etcd_may_name_a_new_leader_in_the_term_before() -> None:
    """Until it has applied an entry of the new term: seen of 3.5.1 whenever the leader is moved."""
    said = [Status(1, 1.0, 2, 11, 212, 1), Status(1, 2.0, 0, 11, 214, 1), Status(1, 3.0, 0, 12, 216, 1)]
    assert judge(History([*played_by("etcd").records, *said])).passed


def played_by(server: str) -> History:
    """A right history, of a server of that name."""
    history = Play().history()
    run = history.of(Run)[0]
    return changed(history, run, attrs.evolve(run, server=server))


def test_a_cluster_that_does_not_recover_fails() -> None:
    history = Play().history()
    assert not judge(History([*history.records, Trouble(1.0, "gone", fatal=True)])).passed
    assert judge(History([*history.records, Trouble(1.0, "noticed")])).passed


def test_a_history_that_was_cut_off_is_not_called_right() -> None:
    records = Play().history().records
    assert rules(judge(History(records[:1])).violations) == {"recovery"}


def test_the_line_names_what_was_run_and_what_was_broken() -> None:
    line = judge(stale_read(Play())).line()
    assert line.startswith("FAIL model nodes=2 seed=1")
    assert "linearizability" in line
    assert "\n" not in line


def test_everything_can_be_read_at_once() -> None:
    play = Play()
    play.do(Put("register/a", "x"))
    play.do(Put("register/b", "y"))
    play.do(Range(WHOLE, WHOLE))
    assert judge(play.history()).passed
