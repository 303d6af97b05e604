"""The flags are etcd's, with etcd's defaults; ``flags.txt`` holds what those are."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from rusd.config import FLAGS, Config, ExitRequest, parse
from rusd.config.flags import Standing
from rusd.config.vocabulary import KINDS, TWINS

RUSDS_OWN = {"ready-file"}


def wanted() -> dict[str, tuple[str, str]]:
    rows = (Path(__file__).parent / "flags.txt").read_text().splitlines()
    split = [row.split(" ", 2) for row in rows if row and not row.startswith("#")]
    return {row[0]: (row[1], row[2] if len(row) > 2 else "") for row in split}


def test_the_flags_are_etcds_and_rusds_own() -> None:
    assert set(FLAGS) == set(wanted()) | RUSDS_OWN


@pytest.mark.parametrize("name", wanted())
def test_kind_and_default_are_etcds(name: str) -> None:
    kind = FLAGS[name].kind

    assert (kind.go_type, kind.show(FLAGS[name].default)) == wanted()[name]


def test_each_flag_is_a_field_and_each_field_a_flag() -> None:
    fields = {field.name for field in attrs.fields(Config)} - {"explicit"}

    assert fields == {flag.attribute for flag in FLAGS.values()}


@pytest.mark.parametrize("name", FLAGS)
def test_a_default_reads_back_as_itself(name: str) -> None:
    flag = FLAGS[name]

    assert flag.kind.read(flag.kind.show(flag.default)) == flag.default


def test_a_flag_that_is_not_supported_says_why() -> None:
    for flag in FLAGS.values():
        assert bool(flag.why) == (flag.standing is not Standing.SUPPORTED)


def test_former_names_are_known() -> None:
    assert len(TWINS) == 17
    assert set(TWINS) <= set(KINDS)


@pytest.mark.parametrize("word", ["-h", "-help", "--help", "--h"])
def test_help_lists_every_flag_with_its_default(word: str) -> None:
    with pytest.raises(ExitRequest) as caught:
        parse([word], {}, str)

    assert caught.value.stderr.startswith("Usage:")
    for name in wanted():
        assert f"  --{name} '{wanted()[name][1]}'\n" in caught.value.output
    assert "Member:\n" in caught.value.output
    assert "Only in rusd:\n" in caught.value.output


def test_the_version_is_etcds_with_rusds_in_the_third_line() -> None:
    with pytest.raises(ExitRequest) as caught:
        parse(["--version"], {}, str)

    lines = caught.value.output.splitlines()
    assert lines[0] == "etcd Version: 3.6.14"
    assert [line.partition(": ")[0] for line in lines] == [
        "etcd Version",
        "Git SHA",
        "Go Version",
        "Go OS/Arch",
    ]
    assert "rusd " in lines[2]
