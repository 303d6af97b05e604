"""The log's tail in memory: reading, truncating, the marks of the disk, trimming."""

from __future__ import annotations

import pytest

from rusd.raft import Entry, InvariantViolation, Log
from tests.raft.builders import entries

# Index:            5  6  7  8  9 10, after a base at 4 of term 1.
TERMS = (1, 1, 2, 4, 4, 6)


def make_log(**limits: int) -> Log:
    return Log(entries(*TERMS, first=5), base_index=4, base_term=1, **limits)


def test_an_empty_log_begins_at_its_base() -> None:
    log = Log(base_index=7, base_term=3)
    assert (log.last_index, log.last_term, log.persisted_index) == (7, 3, 7)


@pytest.mark.parametrize(
    ("index", "term"), [(3, None), (4, 1), (5, 1), (7, 2), (10, 6), (11, None), (0, None)]
)
def test_a_term_is_known_from_the_base_to_the_end(index: int, term: int | None) -> None:
    assert make_log().term(index) == term


@pytest.mark.parametrize("wrong", [[Entry(1, 6)], [Entry(1, 5), Entry(1, 7)], [Entry(2, 5), Entry(1, 6)]])
def test_entries_that_do_not_follow_each_other_are_refused(wrong: list[Entry]) -> None:
    with pytest.raises(InvariantViolation):
        Log(wrong, base_index=4, base_term=1)


@pytest.mark.parametrize(("first", "last"), [(4, 6), (9, 11)])
def test_a_slice_of_entries_that_are_not_held_is_refused(first: int, last: int) -> None:
    with pytest.raises(InvariantViolation):
        make_log().slice(first, last)


def test_a_slice_includes_both_ends() -> None:
    assert [entry.index for entry in make_log().slice(6, 8)] == [6, 7, 8]


@pytest.mark.parametrize(("limit", "count"), [(0, 1), (1, 1), (2, 2), (3, 3), (100, 5)])
def test_a_slice_by_bytes_has_one_entry_at_least(limit: int, count: int) -> None:
    assert len(make_log().slice_bytes(6, limit)) == count


def test_a_slice_by_bytes_beyond_the_end_is_empty() -> None:
    assert make_log().slice_bytes(11, 100) == []


@pytest.mark.parametrize(
    ("first", "terms", "position"),
    [(5, (1, 1, 2), 3), (5, (1, 2), 1), (10, (6, 6), 1), (9, (5, 5), 0), (11, (6,), 0), (5, (), 0)],
)
def test_a_conflict_is_found_at_the_first_entry_not_held(
    first: int, terms: tuple[int, ...], position: int
) -> None:
    assert make_log().find_conflict(entries(*terms, first=first)) == position


@pytest.mark.parametrize(
    ("index", "term", "found"),
    [(10, 6, 10), (10, 5, 9), (10, 3, 7), (9, 3, 7), (50, 4, 9), (8, 1, 6), (8, 0, 4), (3, 9, 3)],
)
def test_the_place_to_look_next_skips_whole_terms(index: int, term: int, found: int) -> None:
    assert make_log().last_at_or_below_term(index, term) == found


def test_truncation_takes_the_marks_back() -> None:
    log = make_log()
    log.truncate(8)
    assert (log.last_index, log.last_term) == (7, 2)
    assert (log.persisted_index, log.handed_index) == (7, 7)
    log.check()


def test_truncation_beyond_the_end_changes_nothing() -> None:
    log = make_log()
    log.truncate(11)
    assert log.last_index == 10


def test_truncation_below_the_base_is_refused() -> None:
    with pytest.raises(InvariantViolation):
        make_log().truncate(4)


def test_entries_are_handed_out_for_the_disk_once_and_in_order() -> None:
    log = make_log()
    log.append(Entry(6, 11))
    log.append(Entry(6, 12))
    assert [entry.index for entry in log.take_unpersisted()] == [11, 12]
    log.append(Entry(6, 13))
    assert [entry.index for entry in log.take_unpersisted()] == [13]
    assert log.take_unpersisted() == []
    assert log.persisted_index == 10


def test_an_index_is_persisted_only_once_it_was_handed_out() -> None:
    log = make_log()
    log.append(Entry(6, 11))
    assert not log.persisted(6, 11)
    log.take_unpersisted()
    assert log.persisted(6, 11)
    assert log.persisted_index == 11
    assert not log.persisted(6, 11)


def test_persisted_does_not_count_for_an_entry_of_another_term() -> None:
    log = make_log()
    log.append(Entry(6, 11))
    log.take_unpersisted()
    log.truncate(11)
    log.append(Entry(7, 11))
    log.take_unpersisted()
    assert not log.persisted(6, 11)
    assert log.persisted(7, 11)


def test_persisted_does_not_count_for_an_entry_that_went_and_came_back() -> None:
    """Its write is done, but the write of the entry that took its place meanwhile may still be to come."""
    log = make_log()
    log.append(Entry(6, 11))
    log.take_unpersisted()
    log.truncate(11)
    log.append(Entry(7, 11))
    log.truncate(11)
    log.append(Entry(6, 11))
    assert not log.persisted(6, 11)
    assert log.persisted_index == 10


def test_a_snapshot_takes_the_place_of_everything() -> None:
    log = make_log()
    log.reset(40, 9)
    assert (log.base_index, log.base_term, log.last_index, log.persisted_index) == (40, 9, 40, 40)
    log.check()


def test_a_log_within_its_limits_is_not_trimmed() -> None:
    log = make_log(max_entries=6)
    assert not log.trim(10)
    assert log.base_index == 4


@pytest.mark.parametrize("limits", [{"max_entries": 4}, {"max_bytes": 4}])
def test_a_log_over_its_limits_is_trimmed_below_them(limits: dict[str, int]) -> None:
    log = make_log(**limits)
    assert log.trim(10)
    assert (log.base_index, log.base_term) == (7, 2)
    assert [entry.index for entry in log.slice(8, 10)] == [8, 9, 10]
    log.check()


def test_trimming_stops_where_it_was_told() -> None:
    log = make_log(max_entries=1)
    assert log.trim(6)
    assert log.base_index == 6
    assert not log.trim(6)


def test_a_log_far_over_its_limits_is_not_moved_at_every_step() -> None:
    """A recovery begins with all entries since the snapshot, and applies them slice by slice."""
    log = Log(entries(*[1] * 5000), max_entries=500)
    moves = [log.trim(applied) for applied in range(1, 5001)].count(True)
    assert log.last_index - log.base_index <= 500
    assert moves <= 12


def test_a_log_over_its_limit_of_bytes_is_trimmed_once_a_quarter_can_go() -> None:
    log = Log([Entry(1, index, data=bytes(10)) for index in range(1, 101)], max_bytes=100)
    assert not log.trim(24)
    assert log.trim(25)
    assert log.base_index == 25
    log.check()


def test_what_is_not_durable_is_never_trimmed() -> None:
    log = Log(max_entries=1)
    for entry in entries(1, 1, 1):
        log.append(entry)
    assert not log.trim(3)
    assert log.last_index == 3


@pytest.mark.parametrize(
    "broken",
    [{"persisted_index": 11}, {"handed_index": 9}, {"last_index": 11}, {"base_index": 3}, {"_bytes": 7}],
)
def test_check_notices_what_is_wrong(broken: dict[str, int]) -> None:
    log = make_log()
    for name, value in broken.items():
        setattr(log, name, value)
    with pytest.raises(InvariantViolation):
        log.check()
