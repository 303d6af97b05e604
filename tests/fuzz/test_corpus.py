"""Inputs that once found something, or that reach far, are run every time."""

from __future__ import annotations

import pytest

from tests.fuzz.seeds import SEEDS
from tests.fuzz.targets import CORPUS, TARGETS, load_corpus

MOST_BYTES = 200_000


@pytest.mark.parametrize("name", list(TARGETS))
def test_every_input_of_the_corpus_passes_and_every_seed(name: str) -> None:
    inputs = load_corpus(name)
    assert inputs
    for data in [*inputs, *SEEDS[name]()]:
        try:
            TARGETS[name].run(data)
        except BaseException as error:
            error.add_note(f"input of {name}: {data.hex()}")
            raise


def test_the_corpus_is_small_and_knows_its_targets() -> None:
    files = list(CORPUS.iterdir())
    assert {path.stem for path in files} == set(TARGETS)
    assert sum(path.stat().st_size for path in files) < MOST_BYTES
