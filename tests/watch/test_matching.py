"""Finding the watchers of a key."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rusd.watch.intervals import IntervalTree
from rusd.watch.matching import FROM_KEY, Matcher, is_empty_range

KEYS = st.binary(min_size=0, max_size=3)
RANGES = st.tuples(KEYS, st.one_of(st.just(b""), st.just(FROM_KEY), KEYS)).filter(
    lambda pair: not is_empty_range(*pair)
)


def holds(key: bytes, range_end: bytes, wanted: bytes) -> bool:
    if not range_end:
        return key == wanted
    return wanted >= key and (range_end == FROM_KEY or wanted < range_end)


@given(st.lists(st.tuples(RANGES, st.booleans()), max_size=60), st.lists(KEYS, max_size=20))
def test_a_matcher_finds_exactly_the_ranges_that_hold_the_key(
    steps: list[tuple[tuple[bytes, bytes], bool]], wanted: list[bytes]
) -> None:
    matcher: Matcher[int] = Matcher()
    members: dict[int, tuple[bytes, bytes]] = {}
    for number, (where, remove) in enumerate(steps):
        matcher.add(*where, number)
        members[number] = where
        if remove:
            victim = sorted(members)[len(members) // 2]
            matcher.remove(*members.pop(victim), victim)
        matcher.check()
    for key in [*wanted, *(where[0] for where in members.values())]:
        found = list(matcher.find(key))
        assert sorted(found) == [number for number, where in members.items() if holds(*where, key)]
    assert bool(matcher) == bool(members)


def test_removing_who_is_not_there_is_an_error() -> None:
    matcher: Matcher[int] = Matcher()
    matcher.add(b"a", b"c", 1)
    for where in ((b"a", b"c"), (b"a", b"d"), (b"a", b""), (b"a", FROM_KEY)):
        with pytest.raises(KeyError):
            matcher.remove(*where, 2)


def test_a_thousand_sorted_ranges_make_a_shallow_tree() -> None:
    tree: IntervalTree[int] = IntervalTree()
    for number in range(1000):
        tree.add(b"%04d" % number, b"%04d" % (number + 1), number)
    tree.check()
    assert tree._root is not None
    assert tree._root.height <= 14  # 1.44 log2(1000)
    for number in range(0, 1000, 3):
        tree.remove(b"%04d" % number, b"%04d" % (number + 1), number)
    tree.check()
    found: list[int] = []
    tree.find_into(b"0500x", found)
    assert found == [500]


def test_an_empty_range_is_one_that_ends_before_it_begins() -> None:
    assert is_empty_range(b"b", b"a")
    assert is_empty_range(b"b", b"b")
    assert not is_empty_range(b"b", b"c")
    assert not is_empty_range(b"b", b"")
    assert not is_empty_range(b"b", b"\x00")
