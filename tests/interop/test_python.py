"""Python's clients: etcd3 and aetcd from PyPI, each in its own environment, and purerpc's stubs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.interop.conftest import ROOT, PythonWith, run
from tests.support.processes import Server

pytestmark = pytest.mark.interop

DRIVERS = Path(__file__).parent / "python"
# etcd3's generated modules are older than protobuf 4: the pure Python runtime of 3.20 takes them everywhere.
# Its lock needs a tenacity of that time, too.
ETCD3 = ["etcd3==0.12.0", "protobuf==3.20.3", "tenacity==6.3.1", "grpcio>=1.60"]
AETCD = ["aetcd==1.0.0", "protobuf>=6.30,<8", "grpcio>=1.60"]
CHECKS = ["put and get", "replace and delete", "txn", "watch", "lease", "lock", "compaction and maintenance"]


def test_etcd3_works(server: Server, python_with: PythonWith) -> None:
    host, port = server.host_and_port
    pure = {"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"}
    command = [str(python_with(ETCD3)), str(DRIVERS / "drive_etcd3.py"), host, str(port)]
    assert run(command, extra=pure) == CHECKS


def test_aetcd_works(server: Server, python_with: PythonWith) -> None:
    host, port = server.host_and_port
    command = [str(python_with(AETCD)), str(DRIVERS / "drive_aetcd.py"), host, str(port)]
    assert run(command) == CHECKS


@pytest.mark.parametrize("order", ["etcdpb.rpc_pb2, aetcd", "aetcd, etcdpb.rpc_pb2"])
def test_etcdpb_and_a_client_package_live_in_one_process(python_with: PythonWith, order: str) -> None:
    script = (
        f"import {order}\n"
        "ours, theirs = etcdpb.rpc_pb2.PutRequest(key=b'k'), aetcd.rpc.PutRequest(key=b'k')\n"
        "assert type(ours) is not type(theirs)\n"
        "assert ours.SerializeToString() == theirs.SerializeToString() != b''\n"
        "print('ok both')\n"
    )
    assert run([str(python_with(AETCD)), "-c", script], extra={"PYTHONPATH": str(ROOT)}) == ["both"]


def test_the_stock_purerpc_client_works(server: Server) -> None:
    pytest.importorskip("purerpc")
    host, port = server.host_and_port
    command = [sys.executable, str(DRIVERS / "drive_purerpc.py"), host, str(port)]
    assert run(command, extra={"PYTHONPATH": str(ROOT)}) == ["put and get", "errors", "watch"]
