"""Reads, writes and compaction: etcd's corner cases, each by name."""

from __future__ import annotations

import gc

import pytest

from rusd.mvcc import CompactedError, FutureRevisionError, Record, Store
from rusd.mvcc.index import contains
from rusd.steps import ENDLESS, PAGE, finish
from tests.support.slices import Sliced


def meta(record):
    return record.create_revision, record.mod_revision, record.version


# -- revisions and metadata -----------------------------------------------------


def test_an_empty_store_stands_at_revision_1() -> None:
    store = Store()
    assert store.current_revision == 1
    assert store.compact_revision == -1
    assert store.bytes_in_use == 0
    assert store.range(b"\x00", b"\x00").records == []
    assert store.range(b"\x00", b"\x00").revision == 1
    store.check()


def test_the_first_write_makes_revision_2(player) -> None:
    assert player.put(b"a") == 2
    assert player.store.current_revision == 2


def test_a_put_of_the_same_value_is_a_change(player) -> None:
    player.put(b"a", b"v")
    player.put(b"a", b"v")
    assert meta(player.store.get(b"a")) == (2, 3, 2)


def test_a_delete_without_a_hit_changes_nothing(player) -> None:
    player.put(b"a")
    assert player.delete(b"b") is None
    assert player.delete(b"b", b"\x00") is None
    assert player.store.current_revision == 2


def test_a_transaction_without_changes_makes_no_revision(player) -> None:
    transaction = player.store.begin()
    assert transaction.range(b"a").revision == 1
    assert not transaction.changed
    assert transaction.publish() is None
    assert finish(transaction.publish_steps(ENDLESS)) is None
    assert player.store.current_revision == 1


def test_a_key_begins_anew_after_its_delete(player) -> None:
    player.put(b"a")
    player.put(b"a")
    player.delete(b"a")
    player.put(b"a")
    assert meta(player.store.get(b"a")) == (5, 5, 1)
    assert meta(player.store.get(b"a", 3)) == (2, 3, 2)
    assert player.store.get(b"a", 4) is None


def test_a_put_without_a_lease_takes_the_lease_away(player) -> None:
    player.put(b"a", b"", 7)
    changes = player.write(lambda transaction: transaction.put(b"a", b""))
    assert changes.records[0].lease == 0
    assert changes.previous[0].lease == 7


def test_deletes_of_one_request_share_a_revision_and_count_their_subs_in_key_order(player) -> None:
    for key in (b"c", b"a", b"b"):
        player.put(key)
    changes = player.delete(b"a", b"c")
    assert [(r.key, r.mod_revision, r.sub) for r in changes.records] == [(b"a", 5, 0), (b"b", 5, 1)]
    assert [r.key for r in changes.previous] == [b"a", b"b"]
    assert player.keys() == [b"c"]


def test_an_empty_value_is_not_a_missing_key(player) -> None:
    player.put(b"a", b"")
    assert player.store.get(b"a").value == b""
    assert player.store.get(b"b") is None


# -- inside a transaction -------------------------------------------------------


def test_delete_then_put_in_one_transaction_restarts_the_version(player) -> None:
    player.put(b"a", b"old", 7)
    player.put(b"a")

    def change(transaction):
        transaction.delete_range(b"a")
        assert transaction.get(b"a") is None
        assert transaction.range(b"a", b"\x00").count == 0
        transaction.put(b"a", b"new")

    changes = player.write(change)
    assert [(r.sub, r.tombstone) for r in changes.records] == [(0, True), (1, False)]
    assert meta(player.store.get(b"a")) == (4, 4, 1)
    assert meta(player.store.get(b"a", 3)) == (2, 3, 2)
    assert changes.previous[1] is None


def test_put_then_delete_in_one_transaction_leaves_nothing(player) -> None:
    player.put(b"a", b"", 7)

    def change(transaction):
        transaction.put(b"a", b"", 8)
        transaction.put(b"b", b"")
        assert [r.lease for r in transaction.delete_range(b"a", b"\x00")] == [8, 0]

    changes = player.write(change)
    assert player.keys() == []
    assert player.keys(2) == [b"a"]
    assert [r and r.lease for r in changes.previous] == [7, None, 8, 0]
    assert player.store.previous(changes.records[2]).lease == 7
    assert player.store.previous(changes.records[3]) is None


def test_nobody_sees_a_change_before_it_is_published(player) -> None:
    player.put(b"a", b"1")
    transaction = player.store.begin()
    transaction.put(b"a", b"2")
    transaction.put(b"b", b"")
    assert player.store.get(b"a").value == b"1"
    assert player.keys() == [b"a"]
    assert player.store.count(b"\x00", b"\x00") == 1
    inside = transaction.range(b"\x00", b"\x00")
    assert [r.key for r in inside.records] == [b"a", b"b"]
    assert inside.revision == 3
    assert transaction.range(b"\x00", b"\x00", revision=2).count == 1
    assert transaction.range(b"\x00", b"\x00", limit=1).more
    assert transaction.range(b"\x00", b"\x00", count_only=True).records == []
    transaction.publish()
    assert player.keys() == [b"a", b"b"]


def test_a_transaction_on_an_old_revision_cannot_be_published(player) -> None:
    late = player.store.begin()
    late.put(b"b", b"")
    player.put(b"a")
    with pytest.raises(RuntimeError):
        late.publish()
    assert player.keys() == [b"a"]


@pytest.mark.parametrize("budget", [1, PAGE, 3 * PAGE])
def test_a_huge_delete_pauses_while_readers_see_the_revision_before(player, budget) -> None:
    size = 8 * PAGE + 5
    names = [b"k%06d" % number for number in range(size)]
    player.write(lambda transaction: [transaction.put(name, b"v") for name in names])
    player.put(b"z")
    transaction = player.store.begin()
    store = player.store

    def look() -> None:
        assert store.current_revision == 3
        assert store.count(b"\x00", b"\x00") == store.key_count == size + 1
        assert store.count(names[3], names[50]) == 47
        assert store.get(names[0]).mod_revision == 2
        assert [r.key for r in store.range(b"k", b"k000010").records] == names[:10]
        assert store.range(b"\x00", b"\x00", limit=3).more
        store.check()

    for steps in (
        Sliced(lambda turn: transaction.delete_steps(b"k", b"l", turn)),
        Sliced(transaction.publish_steps),
    ):
        while not steps.step(budget) and store.current_revision == 3:
            look()
        assert steps.pauses >= size / (budget + PAGE)
        while not steps.step(budget):
            assert player.keys() == [b"z"]
            store.check()
    assert player.keys() == [b"z"]
    assert len(player.keys(3)) == size + 1


def test_a_delete_in_steps_sees_the_changes_before_it(player) -> None:
    player.write(lambda t: [t.put(b"k%06d" % number, b"") for number in range(0, 4 * PAGE, 2)])
    transaction = player.store.begin()
    transaction.put(b"k000001", b"")
    transaction.delete_range(b"k000002")
    transaction.put(b"k999999", b"")
    transaction.put(b"l", b"")
    deleted: list[Record] = []
    assert finish(transaction.delete_steps(b"k", b"l", ENDLESS, deleted)) == 2 * PAGE + 1
    assert len(deleted) == 2 * PAGE + 1
    assert [r.key for r in deleted] == sorted(r.key for r in deleted)
    assert deleted[1].key == b"k000001"
    assert transaction.delete_range(b"l") != []
    transaction.publish()
    assert player.keys() == []


def test_many_changes_of_the_overlay_are_read_page_by_page(player) -> None:
    player.write(lambda t: [t.put(b"k%06d" % number, b"old") for number in range(0, 3000, 3)])
    transaction = player.store.begin()
    for number in range(0, 3000, 2):
        transaction.put(b"k%06d" % number, b"new")
    transaction.delete_range(b"k000006", b"k000013")
    expected = sorted({*range(0, 3000, 3), *range(0, 3000, 2)} - set(range(6, 13)))
    for start, stop in [(0, 3000), (5, 14), (100, 2200), (6, 13)]:
        wanted = [number for number in expected if start <= number < stop]
        job = Sliced(lambda turn: transaction.range_steps(b"k%06d" % start, b"k%06d" % stop, turn))  # noqa: B023
        while not job.step(7):
            pass
        assert [int(record.key[1:]) for record in job.result.records] == wanted
        assert job.result.count == len(wanted)
        limited = transaction.range(b"k%06d" % start, b"k%06d" % stop, limit=5)
        assert [int(record.key[1:]) for record in limited.records] == wanted[:5]
        assert (limited.count, limited.more) == (len(wanted), len(wanted) > 5)


# -- ranges ---------------------------------------------------------------------


@pytest.fixture
def abc(player):
    for key in (b"a", b"b", b"c"):
        player.put(key)
    return player


@pytest.mark.parametrize(
    ("key", "range_end", "expected"),
    [
        (b"b", b"", [b"b"]),
        (b"x", b"", []),
        (b"b", b"\x00", [b"b", b"c"]),
        (b"\x00", b"\x00", [b"a", b"b", b"c"]),
        (b"a", b"c", [b"a", b"b"]),
        (b"b", b"b", []),
        (b"c", b"a", []),
        (b"a\x00", b"b\x00", [b"b"]),
    ],
)
def test_range_end_follows_etcds_rules(abc, key, range_end, expected) -> None:
    assert [r.key for r in abc.store.range(key, range_end).records] == expected
    assert abc.store.count(key, range_end) == len(expected)
    assert [name for name in (b"a", b"b", b"c") if contains(key, range_end, name)] == expected
    assert abc.store.range(key, range_end, revision=3).count == len(set(expected) - {b"c"})


def test_reads_of_the_future_and_of_the_compacted_past_are_refused(abc) -> None:
    abc.store.compact(3)
    for read in (abc.store.get, abc.store.count):
        with pytest.raises(FutureRevisionError) as future:
            read(b"a", revision=5)
        with pytest.raises(CompactedError) as compacted:
            read(b"a", revision=2)
    assert (future.value.revision, future.value.current_revision) == (5, 4)
    assert (compacted.value.revision, compacted.value.compact_revision) == (2, 3)
    assert abc.keys(3) == [b"a", b"b"]
    assert abc.keys(-1) == [b"a", b"b", b"c"]


# -- compaction -----------------------------------------------------------------


def test_a_fresh_store_can_be_compacted_at_0_once(player) -> None:
    player.compact(0)
    assert player.store.compact_revision == 0
    with pytest.raises(CompactedError):
        player.store.compact(0)


def test_compaction_needs_a_revision_above_the_last_and_not_in_the_future(abc) -> None:
    abc.compact(4)
    with pytest.raises(CompactedError):
        abc.store.compact(4)
    with pytest.raises(FutureRevisionError):
        abc.store.compact(5)
    with pytest.raises(CompactedError):
        Store().compact(-1)


def test_compaction_keeps_the_newest_change_of_each_key(player) -> None:
    player.put(b"a")
    player.put(b"a")
    player.put(b"b")
    player.put(b"a")
    player.compact(4)
    assert player.stored() == [(b"a", 3, 0, False), (b"b", 4, 0, False), (b"a", 5, 0, False)]


def test_a_tombstone_at_the_compacted_revision_stays_until_the_next_compaction(player) -> None:
    player.put(b"a")
    player.delete(b"a")
    player.put(b"b")
    player.compact(3)
    assert player.stored() == [(b"a", 3, 0, True), (b"b", 4, 0, False)]
    assert [(revision, len(records)) for revision, records in player.store.changes(3, 9)] == [(3, 1), (4, 1)]
    player.compact(4)
    assert player.stored() == [(b"b", 4, 0, False)]
    assert player.store.bytes_in_use == player.store.account([player.store.get(b"b")])


def test_an_older_tombstone_takes_the_key_with_it(player) -> None:
    player.put(b"a")
    player.delete(b"a")
    player.put(b"b")
    player.compact(4)
    assert player.stored() == [(b"b", 4, 0, False)]
    player.put(b"a")
    assert meta(player.store.get(b"a")) == (5, 5, 1)


def test_of_a_key_deleted_and_put_at_the_compacted_revision_the_put_stays(player) -> None:
    player.put(b"a")
    player.write(lambda t: (t.delete_range(b"a"), t.put(b"a", b"new")))
    player.compact(3)
    assert player.stored() == [(b"a", 3, 1, False)]
    assert player.store.get(b"a", 3).value == b"new"


def test_reads_and_writes_go_on_while_old_changes_are_removed(player) -> None:
    for number in range(2000):  # more than a chunk of history
        player.put(b"k%d" % (number % 7))
    player.delete(b"k3")
    job = player.store.compact(1500)
    with pytest.raises(CompactedError):
        player.keys(1499)
    with pytest.raises(CompactedError):
        player.store.changes(1499, 2000)
    steps = 0
    while not job.step(50):
        steps += 1
        assert len(player.keys(1500)) == 7
        assert len(player.keys()) == 6
        revisions = [revision for revision, _ in player.store.changes(1501, player.store.current_revision)]
        assert revisions == list(range(1501, player.store.current_revision + 1))
        player.put(b"k0")
        player.store.check()
    assert steps > 30
    assert len(player.stored()) == 7 + player.store.current_revision - 1500


def test_removal_waits_for_pins_but_the_compacted_revision_does_not(abc) -> None:
    abc.put(b"a")
    pin, other = abc.store.pin(), abc.store.pin()
    job = abc.store.compact(5)
    assert abc.store.compact_revision == 5
    assert not any(job.step(100) for _ in range(10))
    pin.release()
    pin.release()  # once is enough; twice must not release the other one
    assert not any(job.step(100) for _ in range(10))
    other.release()
    while not job.step(100):
        pass
    assert abc.store.last_compaction is None


def test_removal_waits_for_who_reads_below_it_only(abc) -> None:
    abc.put(b"a")
    below, at = abc.store.pin(4), abc.store.pin(5)
    job = abc.store.compact(5)
    assert job.waits and not job.step(100)
    below.release()
    assert not job.waits
    while not job.step(100):
        pass
    at.release()


def test_reads_that_follow_one_another_without_a_gap_hold_up_no_compaction(abc) -> None:
    for number in range(20):
        abc.put(b"k%d" % number)
    job = abc.store.compact(10)

    def read() -> Sliced:
        return Sliced(lambda turn: abc.store.range_steps(b"\0", b"\0", turn))

    under_way = read()
    for _ in range(20):
        following = read()
        following.step(1)
        while not under_way.step(5):
            pass
        assert abc.store.pins == 1
        job.step(100)
        assert len(under_way.result.records) == 23
        under_way = following
    assert job.done


def test_compactions_are_done_in_their_order(abc) -> None:
    first, second = abc.store.compact(3), abc.store.compact(4)
    assert abc.store.last_compaction is second
    while not second.step(1):
        assert abc.keys(4) == [b"a", b"b", b"c"]
    assert first.done


def test_a_store_is_sound_after_a_large_deletion_in_the_middle_of_its_keys() -> None:
    store = Store()
    writing = store.begin()
    for number in range(5000):
        writing.put(b"%05d" % number, b"")
    finish(writing.publish_steps(ENDLESS))
    deleting = store.begin()
    deleting.delete_range(b"01010", b"01990")
    finish(deleting.publish_steps(ENDLESS))
    store.check()
    assert store.count(b"\x00", b"\x00") == store.key_count == 4020
    assert store.range(b"01005", b"01995", limit=7).records[5].key == b"01990"


def test_what_a_huge_transaction_wrote_is_let_go_of_bit_by_bit(player) -> None:
    names = [b"%d" % number for number in range(500)]
    for _ in range(2):
        player.write(lambda transaction: [transaction.put(name, b"") for name in names])
    job = player.store.compact(3)
    steps = 1
    while not job.step(10):
        steps += 1
    assert steps > 100
    assert len(player.stored()) == 500


@pytest.mark.parametrize("revision", [1022, 1023, 1024, 2047, 2050])
def test_what_a_compaction_removed_is_not_held_any_more(player, revision) -> None:
    for _ in range(2100):
        player.put(b"only here, once per revision")
    for compacted in (revision - 500, revision):
        player.compact(compacted)
    gc.collect()
    alive = [
        r for r in gc.get_objects() if isinstance(r, Record) and r.key == b"only here, once per revision"
    ]
    assert len(alive) == player.store.current_revision - revision + 1
    assert len(list(player.store.changes(revision, 3000))) == len(alive)
    assert min(player.store.history._chunks) >= revision >> 10


# -- history --------------------------------------------------------------------


def test_changes_come_in_order_with_all_of_a_revision(player) -> None:
    player.put(b"a")
    player.write(lambda t: (t.put(b"b", b""), t.delete_range(b"a"), t.put(b"c", b"")))
    got = [(revision, [r.key for r in records]) for revision, records in player.store.changes(1, 100)]
    assert got == [(2, [b"a"]), (3, [b"b", b"a", b"c"])]
    assert list(player.store.changes(4, 100)) == []


def test_the_previous_value_is_gone_once_its_revision_is_compacted(player) -> None:
    player.put(b"a", b"1")
    player.put(b"a", b"2")
    player.put(b"a", b"3")
    second, third = (next(iter(player.store.changes(r, r)))[1][0] for r in (3, 4))
    assert player.store.previous(second).value == b"1"
    player.compact(3)
    assert player.store.previous(second) is None
    assert player.store.previous(third).value == b"2"


def test_the_size_follows_puts_and_compactions(player) -> None:
    player.put(b"a", b"x" * 1000)
    one = player.store.bytes_in_use
    assert 1000 < one < 1100
    player.put(b"a", b"x" * 1000)
    player.compact(3)
    assert player.store.bytes_in_use == one


def test_a_publication_that_is_abandoned_holds_up_no_compaction(abc) -> None:
    abc.store.publish_at_once = 0
    writing = abc.store.begin()
    for number in range(3):
        writing.put(b"k%d" % number, b"")
    publication = Sliced(writing.publish_steps)
    publication.step()
    assert abc.store.pins == 1
    publication.close()
    assert abc.store.pins == 0
