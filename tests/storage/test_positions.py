"""The sparse index against a plain list."""

from __future__ import annotations

import random

import pytest

from rusd.storage.positions import MARK_EVERY_BYTES, Place, Positions


def test_an_empty_log_holds_nothing() -> None:
    positions = Positions(7)
    positions.check()
    assert (positions.first_index, positions.last_index) == (8, 7)
    assert positions.spans(8, 8) == []
    with pytest.raises(IndexError):
        positions.spans(8, 9)


def test_a_gap_is_refused() -> None:
    positions = Positions()
    with pytest.raises(ValueError, match="can't follow"):
        positions.append(2, 1, Place(1, 0))


def test_a_rewrite_always_gets_a_mark() -> None:
    positions = Positions()
    positions.append(1, 10, Place(1, 512))
    positions.append(5, 2, Place(1, 1024))
    positions.check()
    assert positions.last_index == 6
    assert positions.spans(1, 7) == [(1, 5, (1, 512)), (5, 7, (1, 1024))]


def test_small_batches_share_a_mark() -> None:
    positions = Positions()
    for i in range(1000):
        positions.append(i + 1, 1, Place(1, 512 * (i + 1)))
    assert len(positions.spans(1, 1001)) == -(-1000 * 512 // MARK_EVERY_BYTES)


@pytest.mark.parametrize("seed", range(50))
def test_entries_are_found_reading_on_from_their_place(seed: int) -> None:
    """Keep every batch in a list, and read it on from a span's place as the WAL does."""
    chance = random.Random(seed)
    positions = Positions()
    file: list[tuple[Place, int, int]] = []  # place, first, count
    live: dict[int, Place] = {}
    sequence, offset = 1, 0
    for _ in range(200):
        action = chance.random()
        if action < 0.05:
            sequence, offset = sequence + 1, 0
        elif action < 0.07:
            index = positions.last_index + chance.randrange(3)
            positions.reset(index)
            live.clear()
        elif action < 0.1 and sequence > 1:
            keep = chance.randrange(1, sequence + 1)
            positions.drop_before(keep)
            live = {index: place for index, place in live.items() if place.sequence >= keep}
        else:
            back = chance.choice((0, 0, 0, 1, 5))
            first = max(positions.first_index, positions.last_index + 1 - back)
            count = chance.randrange(1, 5)
            place = Place(sequence, offset)
            positions.append(first, count, place)
            file.append((place, first, count))
            offset += chance.choice((512, 1024, 50_000))
            live = {index: where for index, where in live.items() if index < first}
            live.update(dict.fromkeys(range(first, first + count), place))
        positions.check()
        assert (positions.first_index, positions.last_index + 1) == (
            min(live, default=positions.last_index + 1),
            max(live, default=positions.last_index) + 1,
        )
    found: dict[int, Place] = {}
    for span in positions.spans(positions.first_index, positions.last_index + 1):
        low = span.low
        for place, first, count in file:
            if place < span.place or place.sequence != span.place.sequence or low >= first + count:
                continue
            assert first <= low
            high = min(first + count, span.high)
            found.update(dict.fromkeys(range(low, high), place))
            low = high
            if low == span.high:
                break
        assert low == span.high
    assert found == live
