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

STORAGE_VERSION = "3.6.0"

GO_VERSION = "go1.24"
"""Told where tools expect the version of the Go compiler."""

_NUMBER = re.compile(r"[0-9]{1,18}")  # as long as a number of Go's may be: a peer may send anything
_GO_MACHINE = {"x86_64": "amd64", "aarch64": "arm64", "i686": "386", "armv7l": "arm"}


def parse_version(text: str) -> tuple[int, int, int] | None:
    """Major, minor and patch of ``text``; None if it is no version.  A suffix is ignored."""
    parts = text.partition("-")[0].partition("+")[0].split(".")
    if len(parts) != 3 or not all(map(_NUMBER.fullmatch, parts)):
        return None
    major, minor, patch = map(int, parts)
    return major, minor, patch


def speaks(cluster_version: str) -> bool:
    """Whether a server like this may belong to a cluster of that version."""
    version = parse_version(cluster_version)
    lowest, highest = parse_version(MINIMUM_CLUSTER_VERSION), parse_version(CLUSTER_VERSION)
    assert lowest is not None
    assert highest is not None
    return version is not None and lowest <= version <= highest


def storage_version(cluster_version: str) -> str:
    """The version of what is stored, which follows the cluster's; "" before that is known."""
    return STORAGE_VERSION if cluster_version not in ("", MINIMUM_CLUSTER_VERSION) else ""


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
