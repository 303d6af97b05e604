"""The targets under hypothesis: a few seconds each.  ``campaign.py`` drives the same ones for longer."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS

EXAMPLES = {"requests": 1000}

# Half of the bytes are small, since small ones choose the common instructions.
inputs = st.one_of(
    st.binary(max_size=300),
    st.lists(st.one_of(st.integers(0, 31), st.integers(0, 255)), min_size=4, max_size=400).map(bytes),
)


@pytest.mark.parametrize("name", list(TARGETS))
def test_no_input_breaks_the_target(name: str) -> None:
    target = TARGETS[name].run

    @settings(
        max_examples=EXAMPLES.get(name, 600),
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(inputs)
    def check(data: bytes) -> None:
        target(data)

    check()
