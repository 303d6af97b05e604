"""HashKV against a plain computation, and its corner cases.

The first test's numbers are those a real etcd 3.5.1 gave for the same history.
"""

from __future__ import annotations

import google_crc32c
import pytest

from rusd.mvcc import CompactedError, FutureRevisionError, HashKv, Store
from rusd.mvcc.hashing import REMEMBERED_HASHES, KvHasher, revision_key
from rusd.mvcc.history import SLICE_BYTES
from rusd.mvcc.record import put_record, tombstone_record


def crc(*records) -> int:
    return google_crc32c.value(b"key" + b"".join(revision_key(r) + r.encoded for r in records))


def first(key, main, value=b"") -> object:
    return put_record(key, main, main, 0, 1, value, 0)


def forget_hashes(player) -> None:
    """As after a restart."""
    player.store.compaction_hashes = []


def test_a_real_etcd_gives_the_same_numbers(player) -> None:
    def hashes(*revisions):
        forget_hashes(player)  # 3.5.1 remembers none
        return [player.hash(revision).hash for revision in revisions]

    assert hashes(0) == [1084519789]
    player.put(b"a", b"1")
    player.put(b"b", b"2")
    player.delete(b"a", b"\x00")
    player.put(b"a", b"3")
    assert hashes(0, 3, 4) == [144165718, 1827592406, 3044120765]
    player.compact(3)
    assert hashes(5, 4) == [84899051, 3044120765]
    player.put(b"b")
    player.put(b"a")
    assert hashes(0) == [2121034206]
    player.compact(6)
    assert hashes(7) == [1474527076]
    player.delete(b"a", b"\x00")
    assert hashes(0) == [1932636046]
    player.compact(8)
    assert hashes(0) == [1084519789]
    player.put(b"c")
    assert hashes(0) == [3482378871]
    player.delete(b"c")
    assert hashes(0) == [2153211705]


def test_the_key_of_a_change_is_etcds() -> None:
    assert revision_key(put_record(b"a", 2, 258, 3, 1, b"", 0)).hex() == "00000000000001025f0000000000000003"
    assert revision_key(tombstone_record(b"a", 258, 3)).hex() == "00000000000001025f000000000000000374"


def test_an_empty_store_hashes_the_name_of_the_bucket() -> None:
    job = Store().hash_kv(0)
    assert job.step()
    assert job.step()
    assert job.result == HashKv(crc(), -1, 1)


def test_without_a_compaction_everything_up_to_the_revision_counts(player) -> None:
    player.put(b"a", b"1")
    player.delete(b"a")
    player.put(b"b", b"2")
    one, gone, two = first(b"a", 2, b"1"), tombstone_record(b"a", 3, 0), first(b"b", 4, b"2")
    assert player.hash() == HashKv(crc(one, gone, two), -1, 4)
    assert player.hash(3) == HashKv(crc(one, gone), -1, 3)
    assert player.hash(1) == HashKv(crc(), -1, 1)
    assert player.hash(-4) == HashKv(crc(), -1, -4)


def test_what_is_kept_is_decided_at_the_revision_asked_for(player) -> None:
    player.put(b"a")
    player.compact(2)
    player.put(b"b")
    player.put(b"c")
    player.put(b"a")
    forget_hashes(player)
    one, b, c = first(b"a", 2), first(b"b", 3), first(b"c", 4)
    assert player.hash(4) == HashKv(crc(one, b, c), 2, 4)
    # a@2 would not survive a compaction at 5
    assert player.hash(5) == HashKv(crc(b, c, put_record(b"a", 2, 5, 0, 2, b"", 0)), 2, 5)


def test_nothing_is_left_out_when_nothing_would_be_kept(player) -> None:
    player.put(b"a")
    player.compact(2)
    player.delete(b"a")
    forget_hashes(player)
    assert player.hash() == HashKv(crc(first(b"a", 2), tombstone_record(b"a", 3, 0)), 2, 3)


def test_a_tombstone_at_the_compacted_revision_does_not_count(player) -> None:
    player.put(b"b")
    player.put(b"a")
    player.delete(b"a")
    player.compact(4)
    forget_hashes(player)
    assert len(player.stored()) == 2
    assert player.hash() == HashKv(crc(first(b"b", 2)), 4, 4)
    player.delete(b"b")
    # now nothing would be kept, and still it does not count
    assert player.hash() == HashKv(crc(first(b"b", 2), tombstone_record(b"b", 5, 0)), 4, 5)


def test_the_hash_does_not_depend_on_how_far_removal_is(player) -> None:
    for number in range(40):
        player.put(b"%d" % (number % 3))
    player.delete(b"0", b"\x00")
    player.put(b"9")
    twin_hashes = []
    job = player.store.compact(30)
    while True:
        twin_hashes.append([player.hash(revision) for revision in (31, 42, 43)])
        if job.step(4):
            break
    assert all(hashes == twin_hashes[0] for hashes in twin_hashes)


def test_the_hash_of_a_compaction_is_remembered_under_the_compacted_revision_before(player) -> None:
    player.put(b"a")
    player.put(b"a")
    everything = player.hash(3)
    player.compact(3)
    assert player.hash(3) == everything == HashKv(everything.hash, -1, 3)
    player.put(b"a")
    player.compact(4)
    assert player.hash(4).compact_revision == 3
    # even though that revision is compacted by now
    assert player.hash(3) == everything


def test_only_the_last_hashes_are_remembered(player) -> None:
    for _ in range(REMEMBERED_HASHES + 2):
        player.compact(player.put(b"a"))
    with pytest.raises(CompactedError):
        player.store.hash_kv(3)
    assert player.hash(4).hash_revision == 4


def test_the_hash_of_a_compaction_is_not_remembered_if_the_one_before_was_not_done(player) -> None:
    for _ in range(3):
        player.put(b"a")
    player.store.compact(2)
    job = player.store.compact(3)
    while not job.step(5):
        pass
    assert [item.hash_revision for item in player.store.compaction_hashes] == [2]


def test_after_a_compaction_at_0_revision_0_is_a_remembered_one(player) -> None:
    player.compact(0)
    player.put(b"a")
    assert player.hash(0) == HashKv(crc(), -1, 0)


def test_revisions_out_of_reach_are_refused(player) -> None:
    player.put(b"a")
    player.put(b"a")
    player.compact(3)
    with pytest.raises(CompactedError):
        player.store.hash_kv(2)
    with pytest.raises(FutureRevisionError):
        player.store.hash_kv(4)


def test_changes_made_meanwhile_do_not_count(player) -> None:
    for key in (b"a", b"b", b"c"):
        player.put(key)
    expected = player.hash()
    job = player.store.hash_kv(0)
    job.step(1)
    player.put(b"a")
    player.store.compact(5)
    player.store.last_compaction.step(100)
    while not job.step(1):
        pass
    assert job.result == expected
    assert job.current_revision == 4


def test_an_abandoned_job_lets_compactions_go_on(player) -> None:
    job = player.store.hash_kv(0)
    job.close()
    job.close()
    assert player.store.pins == 0


def test_large_records_are_hashed_in_slices_bounded_in_bytes(player, monkeypatch) -> None:
    for number in range(40):
        player.put(b"%03d" % number, b"v" * 200_000)
    sizes: list[int] = []

    class Watched(KvHasher):
        def feed(self, records, keep) -> None:
            sizes.append(sum(len(record.field) for record in records))
            super().feed(records, keep)

    monkeypatch.setattr("rusd.mvcc.hashing.KvHasher", Watched)
    monkeypatch.setattr("rusd.mvcc.compaction.KvHasher", Watched)
    expected = player.hash()
    job = player.store.hash_kv(0)
    while not job.step(1000):
        pass
    assert job.result == expected
    compaction = player.store.compact(30)
    while not compaction.step(1000):
        pass
    assert max(sizes) <= SLICE_BYTES
    assert len(sizes) > 3 * 6
