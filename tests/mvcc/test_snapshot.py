"""Dump and load, and what a loader refuses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rusd.mvcc import Loader, SnapshotFormatError, Store
from rusd.mvcc.history import SLICE_BYTES
from rusd.steps import ENDLESS, finish


def dump(store: Store, budget: int = 1000) -> list[bytes]:
    cut = store.dump()
    chunks = []
    while (chunk := cut.next_chunk(budget)) is not None:
        chunks += [chunk] if chunk else []
    assert cut.next_chunk() is None
    cut.close()
    cut.close()
    return chunks


def load(chunks) -> Store:
    loader = Loader()
    for chunk in chunks:
        loader.feed(chunk)
    store = finish(loader.finish_steps(ENDLESS))
    store.check()
    return store


def facts(store: Store):
    return [
        (r.key, r.create_revision, r.mod_revision, r.sub, r.version, r.lease, r.encoded)
        for _, records in store.history.between(0, store.current_revision)
        for r in records
    ]


def fill(player) -> None:
    player.put(b"a", b"1", 7)
    player.put(b"k" * 300, b"v" * 100_000, -1)
    player.put(b"a", b"2")
    player.write(lambda t: (t.delete_range(b"a"), t.put(b"a", b"3"), t.put(b"b", b"")))
    player.delete(b"b")


def test_a_loaded_store_is_the_same_store(player) -> None:
    fill(player)
    copy = load(dump(player.store, 2))
    assert facts(copy) == facts(player.store)
    assert copy.current_revision == player.store.current_revision
    assert copy.bytes_in_use == player.store.bytes_in_use
    assert [copy.get(b"a", r).value for r in range(2, 7)] == [b"1", b"1", b"2", b"3", b"3"]


def test_an_empty_store_can_be_dumped() -> None:
    copy = load(dump(Store()))
    assert (copy.current_revision, copy.compact_revision) == (1, -1)


def test_life_goes_on_after_loading(player) -> None:
    fill(player)
    player.compact(4)
    player.store = load(dump(player.store))
    assert player.store.compact_revision == 4
    for number in range(3000):
        player.put(b"%d" % (number % 5))
    player.compact(5)
    player.store.check()
    player.compact(2000)
    player.store.check()
    assert player.keys(2500) == [b"0", b"1", b"2", b"3", b"4", b"a", b"k" * 300]
    assert load(dump(player.store)).current_revision == player.store.current_revision


def test_the_current_revision_survives_the_loss_of_its_changes(player) -> None:
    player.put(b"a")
    player.delete(b"a")
    player.compact(3)
    player.put(b"b")
    player.delete(b"b")
    player.compact(5)
    copy = load(dump(player.store))
    assert copy.current_revision == 5
    assert [r for r, _ in copy.changes(5, 9)] == [5]


def test_writes_during_a_dump_are_not_in_it(player) -> None:
    fill(player)
    before = facts(player.store)
    cut = player.store.dump()
    chunks = [cut.next_chunk(1), cut.next_chunk(1)]
    player.put(b"a")
    player.store.compact(7)
    assert not any(player.store.last_compaction.step(100) for _ in range(5))
    while (chunk := cut.next_chunk(1)) is not None:
        chunks.append(chunk)
    cut.close()
    copy = load(chunks)
    assert facts(copy) == before
    assert (copy.current_revision, copy.compact_revision) == (6, -1)


def test_a_dump_leaves_out_what_a_compaction_has_not_removed_yet(player) -> None:
    fill(player)
    job = player.store.compact(5)
    dumps = []
    while True:
        dumps.append(dump(player.store, 1))
        if job.step(1):
            break
    assert len(dumps) > 5
    assert all(chunks == dumps[0] for chunks in dumps)
    assert facts(load(dumps[0])) == facts(player.store)


def test_a_chunk_of_large_records_is_bounded_in_bytes(player) -> None:
    for number in range(100):
        player.put(b"%03d" % number, b"v" * 60_000)
    player.put(b"huge", b"v" * 3 * SLICE_BYTES)
    player.put(b"small")
    chunks = dump(player.store)
    overhead = 1000 * 64
    large = [len(chunk) for chunk in chunks if len(chunk) > SLICE_BYTES + overhead]
    assert len(large) == 1, "a record that is larger alone has a chunk to itself"
    assert large[0] < 3 * SLICE_BYTES + overhead
    assert len(chunks) < 14, "and the others are filled"
    assert facts(load(chunks)) == facts(player.store)


def test_a_slice_of_one_large_transaction_is_bounded_too(player) -> None:
    value = b"v" * 300_000
    player.write(lambda t: [t.put(b"%03d" % number, value) for number in range(20)])
    cut = player.store.dump()
    sizes = []
    while part := cut.take(5):
        sizes.append(len(part))
    cut.close()
    assert sizes == [3, 2] * 4, "what did not fit goes first the next time"


# -- bad input ------------------------------------------------------------------


@pytest.fixture
def chunks(player):
    fill(player)
    return dump(player.store, 3)


@pytest.mark.parametrize(
    "damage",
    [
        lambda chunks: chunks[:-1],
        lambda chunks: chunks[1:],
        lambda chunks: [],
        lambda chunks: [*chunks, chunks[-1]],
        lambda chunks: [chunks[0], *chunks],
        lambda chunks: [chunks[0], chunks[1], *chunks[1:]],
        lambda chunks: [chunks[0], chunks[2], chunks[1], *chunks[3:]],
        lambda chunks: [chunks[0], *chunks[2:]],
        lambda chunks: [chunks[0], chunks[1][:-1], *chunks[2:]],
        lambda chunks: [chunks[0], chunks[1][:20], *chunks[2:]],
        lambda chunks: [chunks[0][:-1], *chunks[1:]],
        lambda chunks: [b"H\x02" + chunks[0][2:], *chunks[1:]],
        lambda chunks: [chunks[0][:2] + b"\x00" * 16, *chunks[1:]],
        lambda chunks: [chunks[0][:2] + b"\x02" + b"\x00" * 7 + b"\xff" * 8, *chunks[1:]],
        lambda chunks: [chunks[0], b"?", *chunks[1:]],
        lambda chunks: [chunks[0], b"", *chunks[1:]],
        lambda chunks: [*chunks[:-1], chunks[-1] + b"\x00"],
    ],
)
def test_a_damaged_dump_is_refused(chunks, damage) -> None:
    with pytest.raises(SnapshotFormatError):
        load(damage(list(chunks)))


@given(st.lists(st.binary(max_size=80), max_size=4))
def test_garbage_is_refused_and_nothing_else_is_raised(parts) -> None:
    loader = Loader()
    loader.feed(dump(Store())[0])
    with pytest.raises(SnapshotFormatError):  # noqa: PT012  which one raises depends on the garbage
        for part in parts:
            loader.feed(b"R" + part)
        finish(loader.finish_steps(ENDLESS))
