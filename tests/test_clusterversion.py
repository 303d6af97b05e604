"""Which cluster version a leader decides on."""

from __future__ import annotations

import pytest

from rusd.clusterversion import InvalidTargetError, all_run, decide
from rusd.version import downgrade_target, parse_version, storage_version, versions_to_join


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


@pytest.mark.parametrize(
    ("current", "servers", "target", "wanted"),
    [
        ("3.6.0", ["3.6.14", "3.6.14"], "3.5.0", "3.5.0"),
        ("3.5.0", ["3.6.14", "3.5.1"], "3.5.0", None),
        ("3.5.0", ["3.6.14", "3.6.14"], "", "3.6.0"),
        ("3.6.0", ["3.6.14", None], "3.5.0", None),
        ("", ["3.6.14", "3.5.1"], "3.5.0", "3.5.0"),
    ],
)
def test_while_a_downgrade_is_enabled_it_is_that_ones_target(
    current: str, servers: list[str | None], target: str, wanted: str | None
) -> None:
    assert decide(current, servers, target) == wanted


@pytest.mark.parametrize(
    ("servers", "target", "what"),
    [
        (["3.6.14"], "3.4.0", "cluster-version"),
        (["3.6.14"], "nonsense", "cluster-version"),
        (["3.6.14", "3.5.1"], "3.5.0", "minimal-server-version"),
    ],
)
def test_a_target_that_is_not_one_minor_below_is_not_followed(
    servers: list[str | None], target: str, what: str
) -> None:
    with pytest.raises(InvalidTargetError, match=what):
        decide("3.6.0", servers, target)


def test_a_downgrade_is_done_when_all_run_its_version() -> None:
    assert all_run("3.5.0", ["3.5.1", "3.5.13"])
    assert not all_run("3.5.0", ["3.5.1", "3.6.14"])
    assert not all_run("3.5.0", ["3.5.1", None])
    assert not all_run("nonsense", ["3.5.1"])


def test_versions_are_numbers() -> None:
    assert parse_version("3.6.14") == (3, 6, 14)
    assert parse_version("3.8.0-alpha.0") == (3, 8, 0)
    assert parse_version("3.8.0-rc.1+a-b") == (3, 8, 0)
    nonsense = (
        "",
        "3.6",
        "not_decided",
        "3.6.x",
        "3.6.²",
        "9" * 5000 + ".6.0",
        "3.6.0.1",
        "v3.6.0",
        "3.6.0-ä",
    )
    assert [parse_version(text) for text in nonsense] == [None] * len(nonsense)


def test_clusters_of_3_0_to_3_6_are_joined_and_those_that_come_down_from_the_next() -> None:
    assert versions_to_join() == ((3, 0, 0), (3, 6, 0))
    assert versions_to_join(downgrading=True) == ((3, 7, 0), (3, 7, 0))
    assert [downgrade_target(text) for text in ("3.6.0", "3.5.0", "")] == ["3.5.0", "3.4.0", ""]


def test_what_is_stored_has_a_version_once_the_cluster_has_one_of_its_own() -> None:
    texts = ("", "3.0.0", "3.5.0", "3.6.0")
    assert [storage_version(text) for text in texts] == ["", "", "3.5.0", "3.6.0"]
