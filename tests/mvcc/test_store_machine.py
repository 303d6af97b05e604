"""The store against a model that keeps a full copy of the state at every revision.

Hypothesis plays puts, deletes, transactions, compactions, reads of the past,
jobs that go on while writes happen, dumps and loads; after each step
the store checks its own invariants.
"""

from __future__ import annotations

from typing import NamedTuple

import google_crc32c
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from etcdpb import kv_pb2
from rusd.mvcc import (
    CompactedError,
    Compaction,
    Dump,
    FutureRevisionError,
    HashKv,
    HashKvJob,
    Loader,
    RangeOptions,
    Store,
    evaluate,
    evaluate_steps,
)
from rusd.mvcc.store import PUBLISH_AT_ONCE
from rusd.steps import ENDLESS, finish
from tests.support.slices import Sliced


class Entry(NamedTuple):
    """What the model knows of a key."""

    key: bytes
    value: bytes
    create: int
    mod: int
    version: int
    lease: int


class Stored(NamedTuple):
    """One change as etcd's backend would hold it."""

    main: int
    sub: int
    key: bytes
    tombstone: bool
    encoded: bytes


State = dict[bytes, Entry]


def in_range(key: bytes, range_end: bytes, candidate: bytes) -> bool:
    if range_end == b"":
        return candidate == key
    return candidate >= key and (range_end == b"\x00" or candidate < range_end)


def entry_of(record) -> Entry:
    return Entry(
        record.key,
        record.value,
        record.create_revision,
        record.mod_revision,
        record.version,
        record.lease,
    )


class Model:
    """The plain twin of the store."""

    def __init__(self) -> None:
        self.current = 1
        self.compacted = -1
        self.states: dict[int, State] = {1: {}}
        self.stored: list[Stored] = []
        self.remembered: list[HashKv] = []

    def range(self, state: State, options: RangeOptions) -> tuple[list[Entry], int, bool]:
        entries = [state[key] for key in sorted(state) if in_range(options.key, options.range_end, key)]
        count = len(entries)
        if options.count_only:
            return [], count, False
        filters = (
            options.min_mod_revision,
            options.max_mod_revision,
            options.min_create_revision,
            options.max_create_revision,
        )
        if options.limit > 0 and not options.sort_order and not any(filters):
            entries = entries[: options.limit + 1]
        low_mod, high_mod, low_create, high_create = filters
        if high_mod:
            entries = [entry for entry in entries if entry.mod <= high_mod]
        if low_mod:
            entries = [entry for entry in entries if entry.mod >= low_mod]
        if high_create:
            entries = [entry for entry in entries if entry.create <= high_create]
        if low_create:
            entries = [entry for entry in entries if entry.create >= low_create]
        target = {0: "key", 1: "version", 2: "create", 3: "mod", 4: "value"}[options.sort_target]
        if options.sort_order == 2:
            # Stable, ties in key order: negating is not possible for bytes, so by groups.
            wanted = sorted({getattr(entry, target) for entry in entries}, reverse=True)
            entries = [entry for value in wanted for entry in entries if getattr(entry, target) == value]
        elif target != "key":
            wanted = sorted({getattr(entry, target) for entry in entries})
            entries = [entry for value in wanted for entry in entries if getattr(entry, target) == value]
        more = 0 < options.limit < len(entries)
        return (entries[: options.limit] if more else entries), count, more

    def compact(self, revision: int, *, remember: bool) -> None:
        before, self.compacted = self.compacted, revision
        kept = self.keep(revision, tombstones=True)
        if remember:
            hashed = self._hash(revision, before, kept)
            self.remembered = sorted([*self.remembered, hashed], key=lambda item: item.hash_revision)[-10:]
        self.stored = [item for item in self.stored if item.main > revision or item in kept]

    def keep(self, revision: int, *, tombstones: bool) -> set[Stored]:
        newest = {item.key: item for item in self.stored if item.main <= revision}
        return {
            item for item in newest.values() if not item.tombstone or (tombstones and item.main == revision)
        }

    def hash_kv(self, revision: int) -> HashKv:
        for item in self.remembered:
            if item.hash_revision == revision:
                return item
        revision = revision or self.current
        return self._hash(revision, self.compacted, self.keep(revision, tombstones=False))

    def _hash(self, revision: int, compacted: int, kept: set[Stored]) -> HashKv:
        data = b"key"
        for item in self.stored:
            if item.main > revision or (item.main == compacted and item.tombstone):
                continue
            if item.main <= compacted and kept and item not in kept:
                continue
            place = item.main.to_bytes(8, "big") + b"_" + item.sub.to_bytes(8, "big")
            data += place + b"t" * item.tombstone + item.encoded
        return HashKv(google_crc32c.value(data), compacted, revision)


KEYS = st.sampled_from([b"a", b"b", b"ba", b"b\x00", b"c", b"d/1", b"d/2", b"\x00", b"\xff"])
ENDS = st.sampled_from([b"", b"\x00", b"b", b"c", b"d0", b"a", b"\xff\xff"])
VALUES = st.sampled_from([b"", b"v", b"w", b"x" * 200])
LEASES = st.sampled_from([0, 0, 7, -1])
WRITES = st.lists(
    st.one_of(
        st.tuples(st.just("put"), KEYS, VALUES, LEASES),
        st.tuples(st.just("delete"), KEYS, ENDS),
        st.tuples(st.just("read"), KEYS, ENDS),
    ),
    max_size=6,
)
BOUNDS = st.sampled_from([0, 0, 0, 2, 4, 9])
OPTIONS = st.builds(
    RangeOptions,
    key=KEYS,
    range_end=ENDS,
    limit=st.sampled_from([-1, 0, 0, 1, 2, 3]),
    sort_order=st.sampled_from([0, 0, 1, 2]),
    sort_target=st.integers(0, 4),
    keys_only=st.booleans(),
    count_only=st.sampled_from([False, False, True]),
    min_mod_revision=BOUNDS,
    max_mod_revision=BOUNDS,
    min_create_revision=BOUNDS,
    max_create_revision=BOUNDS,
)


class StoreMachine(RuleBasedStateMachine):
    """Store and model in step."""

    def __init__(self) -> None:
        super().__init__()
        self.store = Store()
        self.model = Model()
        self.compactions: list[Compaction] = []
        self.range_jobs: list[tuple[Sliced, tuple[list[Entry], int, bool], bool]] = []
        self.hash_jobs: list[tuple[HashKvJob, HashKv]] = []
        self.dumps: list[tuple[Dump, list[bytes], int, int, State, list[Stored]]] = []

    # -- writing --

    @rule(writes=WRITES, stepwise=st.booleans())
    def write(self, writes, stepwise) -> None:
        transaction = self.store.begin()
        state = dict(self.model.states[self.model.current])
        main = self.model.current + 1
        changes: list[Stored] = []
        previous: list[Entry | None] = []
        for kind, key, *rest in writes:
            if kind == "put":
                value, lease = rest
                old = state.get(key)
                entry = Entry(
                    key, value, old.create if old else main, main, old.version + 1 if old else 1, lease
                )
                record, replaced = transaction.put(key, value, lease)
                assert entry_of(record) == entry
                assert (entry_of(replaced) if replaced else None) == old
                state[key] = entry
                message = kv_pb2.KeyValue(
                    key=key,
                    value=value,
                    create_revision=entry.create,
                    mod_revision=main,
                    version=entry.version,
                    lease=lease,
                )
                changes.append(Stored(main, len(changes), key, False, message.SerializeToString()))
                previous.append(old)
            elif kind == "delete":
                (range_end,) = rest
                victims = [state[name] for name in sorted(state) if in_range(key, range_end, name)]
                deleted = transaction.delete_range(key, range_end)
                assert [entry_of(record) for record in deleted] == victims
                for victim in victims:
                    del state[victim.key]
                    encoded = kv_pb2.KeyValue(key=victim.key).SerializeToString()
                    changes.append(Stored(main, len(changes), victim.key, True, encoded))
                previous += victims
            else:
                (range_end,) = rest
                result = transaction.range(key, range_end)
                expected = [state[name] for name in sorted(state) if in_range(key, range_end, name)]
                assert [entry_of(record) for record in result.records] == expected
                assert result.count == len(expected)
                assert result.revision == (main if changes else main - 1)
        published = self.publish_in_steps(transaction) if stepwise else transaction.publish()
        if not changes:
            assert published is None
            return
        assert published is not None
        assert published.revision == main
        assert [(r.mod_revision, r.sub, r.key, r.tombstone, r.encoded) for r in published.records] == changes
        assert [entry_of(record) if record else None for record in published.previous] == previous
        self.model.current = main
        self.model.states[main] = state
        self.model.stored += changes

    def publish_in_steps(self, transaction):
        """Whatever goes on between the steps sees the revision before, until all is there."""
        self.store.publish_at_once = 0
        job = Sliced(transaction.publish_steps)
        everything = RangeOptions(b"\x00", b"\x00")
        before = self.model.states[self.model.current]
        while not job.step():
            self.store.check()
            if self.store.current_revision != self.model.current:  # what is left to do is cleaning up
                continue
            result = evaluate(self.store, everything)
            assert [entry_of(record) for record in result.records] == [before[key] for key in sorted(before)]
            assert self.store.key_count == result.count == len(before)
            for key in before:
                assert entry_of(self.store.get(key)) == before[key]
            self.step_range_jobs(1)
            self.step_hash_jobs(1)
            if self.compactions:
                self.compactions[-1].step(2)
        self.store.publish_at_once = PUBLISH_AT_ONCE
        return job.result

    # -- compacting --

    @rule(data=st.data())
    def compact(self, data) -> None:
        revision = data.draw(st.integers(-1, self.model.current + 1))
        if revision <= self.model.compacted:
            with pytest.raises(CompactedError):
                self.store.compact(revision)
        elif revision > self.model.current:
            with pytest.raises(FutureRevisionError):
                self.store.compact(revision)
        else:
            # The model removes at once, which must not show; only the hash that is remembered
            # depends on whether the compaction before was done.
            remember = not self.store.compactions
            self.compactions.append(self.store.compact(revision))
            self.model.compact(revision, remember=remember)

    @precondition(lambda self: self.compactions)
    @rule(budget=st.integers(1, 20))
    def step_compaction(self, budget) -> None:
        self.compactions[-1].step(budget)
        self.compactions = [job for job in self.compactions if not job.done]

    @precondition(lambda self: self.compactions)
    @rule()
    def finish_jobs_and_compactions(self) -> None:
        self.end_jobs()
        while not self.compactions[-1].step(3):
            pass
        self.compactions = []
        assert not self.store.compactions
        kept = [(r.mod_revision, r.sub, r.key, r.tombstone, r.encoded) for r in self.everything()]
        assert kept == self.model.stored

    def everything(self):
        dump = self.store.dump()
        records = []
        while part := dump.take(2):
            records += part
        dump.close()
        return records

    # -- reading --

    @rule(options=OPTIONS, data=st.data())
    def read(self, options, data) -> None:
        revision = data.draw(st.integers(-1, self.model.current + 1))
        options = RangeOptions(**{**fields(options), "revision": revision})
        if revision > self.model.current:
            with pytest.raises(FutureRevisionError):
                evaluate(self.store, options)
            return
        if 0 < revision < self.model.compacted:
            with pytest.raises(CompactedError):
                evaluate(self.store, options)
            return
        state = self.model.states[revision if revision > 0 else self.model.current]
        expected = self.model.range(state, options)
        result = evaluate(self.store, options)
        assert ([entry_of(r) for r in result.records], result.count, result.more) == expected
        assert result.revision == self.model.current
        assert result.keys_only == (options.keys_only and not options.count_only)
        assert self.store.count(options.key, options.range_end, revision) == expected[1]
        got = self.store.get(options.key, revision)
        assert (entry_of(got) if got else None) == state.get(options.key)

    @rule(data=st.data())
    def read_changes(self, data) -> None:
        first = data.draw(st.integers(1, self.model.current + 1))
        last = data.draw(st.integers(first, self.model.current + 1))
        if first < self.model.compacted:
            with pytest.raises(CompactedError):
                self.store.changes(first, last)
            return
        expected = [item for item in self.model.stored if first <= item.main <= last]
        got = []
        for revision, records in self.store.changes(first, last):
            assert records
            assert {record.mod_revision for record in records} == {revision}
            got += records
        if first == self.model.compacted and self.compactions:
            # What the compaction gave up of that one revision may still be there.
            got = [record for record in got if self.store.retained(record, self.model.compacted)]
        assert [(r.mod_revision, r.sub, r.key, r.tombstone, r.encoded) for r in got] == expected
        for record in got:
            before = record.mod_revision - 1
            old = self.model.states[before].get(record.key) if before >= self.model.compacted else None
            previous = self.store.previous(record)
            assert (entry_of(previous) if previous else None) == old

    # -- jobs --

    @rule(options=OPTIONS, data=st.data())
    def begin_range_job(self, options, data) -> None:
        revision = data.draw(st.integers(max(self.model.compacted, 0), self.model.current))
        options = RangeOptions(**{**fields(options), "revision": revision})
        expected = self.model.range(self.model.states[revision or self.model.current], options)
        job = Sliced(lambda turn: evaluate_steps(self.store, options, turn))
        job.step(0)  # it reads the revision that is current now
        self.range_jobs.append((job, expected, options.count_only))

    @precondition(lambda self: self.range_jobs)
    @rule(budget=st.integers(1, 4))
    def step_range_jobs(self, budget) -> None:
        for job, (entries, count, more), _ in self.range_jobs:
            if job.step(budget):
                assert [entry_of(record) for record in job.result.records] == entries
                assert (job.result.count, job.result.more) == (count, more)
        self.range_jobs = [item for item in self.range_jobs if not item[0].done]

    @rule(data=st.data())
    def begin_hash_job(self, data) -> None:
        revision = data.draw(st.integers(0, self.model.current + 1))
        pending = any(not job.done for job in self.compactions)
        if pending:  # whether the hash of a compaction is remembered yet depends on its progress
            self.end_jobs()
            while not self.compactions[-1].step(5):
                pass
            self.compactions = []
        remembered = {item.hash_revision for item in self.model.remembered}
        if revision not in remembered and 0 < revision < self.model.compacted:
            with pytest.raises(CompactedError):
                self.store.hash_kv(revision)
        elif revision > self.model.current:
            with pytest.raises(FutureRevisionError):
                self.store.hash_kv(revision)
        else:
            expected = self.model.hash_kv(revision)
            self.hash_jobs.append((self.store.hash_kv(revision), expected))

    @precondition(lambda self: self.hash_jobs)
    @rule(budget=st.integers(1, 4))
    def step_hash_jobs(self, budget) -> None:
        for job, expected in self.hash_jobs:
            if job.step(budget):
                assert job.result == expected
        self.hash_jobs = [item for item in self.hash_jobs if item[0].result is None]

    @rule()
    def begin_dump(self) -> None:
        model = self.model
        self.dumps.append(
            (
                self.store.dump(),
                [],
                model.current,
                model.compacted,
                dict(model.states[model.current]),
                list(model.stored),
            )
        )

    @precondition(lambda self: self.dumps)
    @rule(budget=st.integers(1, 4))
    def step_dumps(self, budget) -> None:
        running = []
        for item in self.dumps:
            dump, chunks, *expected = item
            chunk = dump.next_chunk(budget)
            if chunk is not None:
                chunks += [chunk] if chunk else []
                running.append(item)
            else:
                dump.close()
                self.check_load(load(chunks), *expected)
        self.dumps = running

    def check_load(self, store, current, compacted, state, stored) -> None:
        store.check()
        assert (store.current_revision, store.compact_revision) == (current, compacted)
        assert {record.key: entry_of(record) for record in store.range(b"\x00", b"\x00").records} == state
        records = [record for _, part in store.history.between(0, current) for record in part]
        assert [(r.mod_revision, r.sub, r.key, r.tombstone, r.encoded) for r in records] == stored

    @rule()
    def go_on_with_a_loaded_copy(self) -> None:
        self.end_jobs()
        dump = self.store.dump()
        chunks = []
        while (chunk := dump.next_chunk(2)) is not None:
            chunks += [chunk] if chunk else []
        dump.close()
        self.store = load(chunks)
        self.compactions = []
        self.model.remembered = []

    def end_jobs(self) -> None:
        while self.range_jobs:
            self.step_range_jobs(5)
        while self.hash_jobs:
            self.step_hash_jobs(5)
        while self.dumps:
            self.step_dumps(5)
        assert self.store.pins == 0

    @invariant()
    def the_store_is_sound(self) -> None:
        self.store.check()
        assert self.store.current_revision == self.model.current
        assert self.store.compact_revision == self.model.compacted
        assert self.store.key_count == len(self.model.states[self.model.current])

    def teardown(self) -> None:
        self.end_jobs()


def fields(options: RangeOptions) -> dict:
    return {name: getattr(options, name) for name in RangeOptions.__slots__ if not name.startswith("__")}


def load(chunks: list[bytes]) -> Store:
    loader = Loader()
    for chunk in chunks:
        loader.feed(chunk)
    return finish(loader.finish_steps(ENDLESS))


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
