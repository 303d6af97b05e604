"""Large changes of the sorted keys, prepared aside and put in place at once; and the table of keys."""

from __future__ import annotations

from bisect import bisect_left

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rusd.mvcc import keys as keys_module
from rusd.mvcc.keys import KeyList
from rusd.mvcc.table import SHARDS, KeyTable
from tests.support.slices import Sliced

NAMES = st.binary(max_size=2)


@given(
    before=st.sets(NAMES, max_size=80),
    leaving=st.sets(NAMES, max_size=40),
    entering=st.sets(NAMES, max_size=40),
    load=st.sampled_from([4, 5, 1000]),
    chunk=st.sampled_from([1, 3, 1000]),
)
@settings(deadline=None)
def test_a_merge_does_not_show_before_its_commit_and_then_is_there(
    before: set[bytes], leaving: set[bytes], entering: set[bytes], load: int, chunk: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keys_module, "CHUNK_KEYS", chunk)
        names = KeyList(before)
        names._reset(load)
        gone, come = sorted(leaving & before), sorted(entering - before)
        job = Sliced(lambda turn: names.merge_steps(gone, come, turn))
        while not job.step(0.1):
            assert list(names) == sorted(before)
            names.check()
        assert list(names) == sorted(before)
        replaced = job.result()
        after = sorted((before - set(gone)) | set(come))
        assert list(names) == after
        assert len(names) == len(after)
        for name in before | entering:
            start = bisect_left(after, name)
            assert names.bisect_left(name) == start
            assert names.span(name, b"") == (start, start + (name in after))
        assert before.issuperset(key for part in replaced for key in part)
        for name in (b"\x01\x02\x03", b"\xff\xff\xff"):  # and it goes on as a sorted list
            names.add(name)
        assert list(names) == sorted({*after, b"\x01\x02\x03", b"\xff\xff\xff"})


def test_chunks_taken_out_leave_an_empty_list() -> None:
    names = KeyList([b"%05d" % number for number in range(5000)])
    chunks = names.take_chunks()
    assert sum(map(len, chunks)) == 5000
    assert len(names) == 0
    names.add(b"a")
    names.check()


def test_a_table_is_a_dict() -> None:
    table: KeyTable[int] = KeyTable({b"a": 1})
    plain = {b"a": 1}
    for number in range(2000):
        table[b"%d" % number] = plain[b"%d" % number] = number
    del table[b"7"], plain[b"7"]
    assert dict(table.items()) == plain
    assert sorted(table.values()) == sorted(plain.values())
    assert len(table) == len(plain)
    assert (table.get(b"8"), table.get(b"7"), table[b"a"]) == (8, None, 1)
    assert b"8" in table
    assert b"7" not in table
    assert max(map(len, table.shards)) < 2000 / SHARDS * 5
