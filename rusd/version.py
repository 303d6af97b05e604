"""Which etcd rusd answers as, and which rusd it is.

Clients and tools decide by etcd's version what they may ask for, so rusd
reports the etcd it imitates wherever the protocol has a version, and its own
only where people read it.
"""

from __future__ import annotations

import os
import re
import sys

RUSD_VERSION = "0.1.0"

ETCD_VERSION = "3.6.14"
"""The etcd whose behaviour and answers rusd reproduces."""

CLUSTER_VERSION = "3.6.0"
"""What a cluster of such members agrees on: major and minor."""

MINIMUM_CLUSTER_VERSION = "3.0.0"
"""What is assumed of a cluster until its leader knows the versions of all members."""

FIRST_STORAGE_VERSION = (3, 5, 0)
"""The oldest cluster version for which what is stored has a version."""

GO_VERSION = "go1.24"
"""Told where tools expect the version of the Go compiler."""

_NUMBER = r"([0-9]{1,18})"  # as long as one of Go's may be: a peer may send anything
_SUFFIX = r"(?:[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
_VERSION = re.compile(rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:-{_SUFFIX})?(?:\+{_SUFFIX})?")
_GO_MACHINE = {"x86_64": "amd64", "aarch64": "arm64", "i686": "386", "armv7l": "arm"}


def parse_version(text: str) -> tuple[int, int, int] | None:
    """Major, minor and patch of ``text``; None if it is no version.  A suffix is ignored."""
    match = _VERSION.fullmatch(text)
    if match is None:
        return None
    major, minor, patch = map(int, match.groups())
    return major, minor, patch


def versions_to_join(*, downgrading: bool = False) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """The lowest and the highest version of a cluster that a server like this may join.

    Of one that is on its way to an older version only the next newer server can become a member.
    """
    lowest, highest = parse_version(MINIMUM_CLUSTER_VERSION), parse_version(CLUSTER_VERSION)
    assert lowest is not None
    assert highest is not None
    if downgrading:
        highest = lowest = (highest[0], highest[1] + 1, 0)
    return lowest, highest


def storage_version(cluster_version: str) -> str:
    """The version of what is stored, which follows the cluster's; "" before that is known."""
    version = parse_version(cluster_version)
    return cluster_version if version is not None and version >= FIRST_STORAGE_VERSION else ""


def downgrade_target(cluster_version: str) -> str:
    """The one version that a cluster of that version can go back to: a minor one older."""
    version = parse_version(cluster_version)
    return f"{version[0]}.{version[1] - 1}.0" if version is not None else ""


def short(version: str) -> str:
    """Major and minor of a version like "3.6.0"."""
    return version.rpartition(".")[0]


def version_text() -> str:
    """What ``--version`` prints: etcd's four lines, the third naming rusd and its Python."""
    system = os.uname()
    machine = _GO_MACHINE.get(system.machine, system.machine)
    python = ".".join(str(part) for part in sys.version_info[:3])
    return (
        f"etcd Version: {ETCD_VERSION}\n"
        "Git SHA: Not provided\n"
        f"Go Version: {GO_VERSION} (rusd {RUSD_VERSION}, {_implementation()} {python})\n"
        f"Go OS/Arch: {system.sysname.lower()}/{machine}"
    )


def _implementation() -> str:
    return {"cpython": "CPython", "pypy": "PyPy"}.get(sys.implementation.name, sys.implementation.name)
