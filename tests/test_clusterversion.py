"""Which cluster version a leader decides on."""

from __future__ import annotations

import pytest

from rusd.clusterversion import decide
from rusd.version import parse_version, speaks, storage_version


@pytest.mark.parametrize(
    ("current", "servers", "wanted"),
    [
        ("", ["3.6.14"], "3.6.0"),
        ("", ["3.6.14", "3.5.1", "3.6.0"], "3.5.0"),
        ("", ["3.6.14", None], "3.0.0"),
        ("", ["3.6.14", "what"], "3.0.0"),
        ("3.0.0", ["3.6.14", "3.6.14"], "3.6.0"),
        ("3.0.0", ["3.6.14", None], None),
        ("3.6.0", ["3.6.14", "3.6.14"], None),
        ("3.6.0", ["3.6.14", "3.5.9"], None),
    ],
)
def test_it_is_the_oldest_members_and_only_rises(
    current: str, servers: list[str | None], wanted: str | None
) -> None:
    assert decide(current, servers) == wanted


def test_versions_are_numbers_and_those_between_3_0_and_3_6_are_spoken() -> None:
    assert parse_version("3.6.14") == (3, 6, 14)
    assert parse_version("3.8.0-alpha.0") == (3, 8, 0)
    nonsense = ("", "3.6", "not_decided", "3.6.x", "3.6.²", "9" * 5000 + ".6.0")
    assert [parse_version(text) for text in nonsense] == [None] * 6
    spoken = ["3.0.0", "3.5.0", "3.6.0"]
    assert [text for text in (*spoken, "2.3.0", "3.7.0", "4.0.0", "", "x") if speaks(text)] == spoken


def test_what_is_stored_has_a_version_once_the_cluster_has_one_of_its_own() -> None:
    assert [storage_version(text) for text in ("", "3.0.0", "3.6.0")] == ["", "", "3.6.0"]
