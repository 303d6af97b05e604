"""What the judge of safety says of an entry that a snapshot cuts short."""

from __future__ import annotations

from typing import Any

import pytest

from rusd.mvcc.record import Record, put_record
from tests.simulation.coverage import Coverage
from tests.simulation.model import Model, change_of
from tests.simulation.properties import Violation
from tests.simulation.safety import Safety

PROCESS: Any = "1.1"


def put(value: bytes, revision: int = 2) -> Record:
    return put_record(b"k", 2, revision, 0, 1, value, 0)


@pytest.fixture
def safety() -> Safety:
    """Entry 1 has changed nothing, entry 2 has put a key."""
    model = Model()
    model.revision_at |= {1: 1, 2: 2}
    model.revisions[2] = [change_of(put(b"v"))]
    return Safety(model, Coverage())


def test_what_it_has_published_may_have_been_all_of_it(safety: Safety) -> None:
    safety.cut_short(PROCESS, [(2, 2, [put(b"v")])])


@pytest.mark.parametrize(
    "published", [(2, 2, [put(b"other")]), (2, 3, [put(b"v", 3)]), (2, 2, []), (1, 1, [put(b"v", 1)])]
)
def test_what_it_has_published_must_be_right(safety: Safety, published: Any) -> None:
    with pytest.raises(Violation):
        safety.cut_short(PROCESS, [published])
