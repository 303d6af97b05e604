"""The checked-in modules are what the generator makes of the checked-in protos."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "etcdpb"

PINNED = "1.72."
"""The series of grpcio-tools the modules are made with; see etcdpb/generate.py."""


def tools_version() -> str:
    try:
        return version("grpcio-tools")
    except PackageNotFoundError:
        return ""


@pytest.mark.skipif(not tools_version().startswith(PINNED), reason=f"needs grpcio-tools {PINNED}x")
def test_the_modules_are_up_to_date(tmp_path: Path) -> None:
    subprocess.run([sys.executable, PACKAGE / "generate.py", tmp_path], check=True, capture_output=True)

    made = {path.name: path.read_text() for path in (tmp_path / "etcdpb").iterdir()}
    kept = {
        path.name: path.read_text()
        for pattern in ("*_pb2.py", "*_pb2.pyi", "*_grpc.py")
        for path in PACKAGE.glob(pattern)
    }
    assert made == kept


def test_each_proto_has_its_modules() -> None:
    for proto in PACKAGE.glob("*.proto"):
        assert (PACKAGE / f"{proto.stem}_pb2.py").exists()
        assert (PACKAGE / f"{proto.stem}_pb2.pyi").exists()
        has_services = "\nservice " in proto.read_text()
        assert (PACKAGE / f"{proto.stem}_grpc.py").exists() == has_services


def test_no_module_registers_in_the_default_pool() -> None:
    for module in PACKAGE.glob("*_pb2.py"):
        text = module.read_text()
        assert "descriptor_pool" not in text
        assert text.count("_pool.POOL.AddSerializedFile") == 1
