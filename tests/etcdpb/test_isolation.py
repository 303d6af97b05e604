"""etcdpb shares a process with other generated modules of etcd's API, and costs little to import.

Each test runs in a process of its own: a descriptor pool can't be emptied.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# What any client package of etcd does when it is imported: messages by etcd's names, but not quite
# etcd's fields, in the default pool.
CLIENT = """
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

def client():
    pool = descriptor_pool.Default()
    for package, name in (("mvccpb", "KeyValue"), ("etcdserverpb", "RangeRequest"), ("authpb", "User")):
        file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
        field = file.message_type.add(name=name).field.add(name="other", number=99, label=1, type=12)
        pool.Add(file) if hasattr(pool, "Add") else pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("mvccpb.KeyValue"))
"""

IMPORT_ALL = (
    "from etcdpb import auth_pb2, health_pb2, kv_pb2, rpc_pb2, rusd_pb2, v3election_pb2, v3lock_pb2\n"
)
USE_BOTH = """
theirs = KeyValue(other=b"x")
ours = kv_pb2.KeyValue(key=b"k")
assert KeyValue.FromString(theirs.SerializeToString()) == theirs
assert kv_pb2.KeyValue.FromString(ours.SerializeToString()) == ours
assert type(rpc_pb2.RangeResponse(kvs=[ours]).kvs[0]) is kv_pb2.KeyValue
assert not isinstance(ours, KeyValue)
"""


def run(program: str, implementation: str = "upb") -> str:
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=ROOT,
        env={**os.environ, "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": implementation},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


@pytest.mark.parametrize(
    "order",
    ["KeyValue = client()\n" + IMPORT_ALL, IMPORT_ALL + "KeyValue = client()\n"],
    ids=["the client first", "etcdpb first"],
)
@pytest.mark.parametrize("implementation", ["upb", "python"])  # the latter is what old clients need
def test_a_client_package_with_the_same_names_can_be_imported_too(order: str, implementation: str) -> None:
    run(CLIENT + order + USE_BOTH, implementation)


@pytest.mark.parametrize("implementation", ["upb", "python"])
def test_the_default_pool_stays_empty(implementation: str) -> None:
    run(
        IMPORT_ALL
        + """
from google.protobuf import descriptor_pool
for name in ("mvccpb.KeyValue", "etcdserverpb.RangeRequest", "grpc.health.v1.HealthCheckRequest"):
    try:
        descriptor_pool.Default().FindMessageTypeByName(name)
    except KeyError:
        continue
    raise AssertionError(name)
""",
        implementation,
    )


def test_messages_do_not_need_purerpc() -> None:
    run(IMPORT_ALL + "import sys; assert 'purerpc' not in sys.modules")


def test_the_purerpc_modules_have_servicers_and_stubs() -> None:
    pytest.importorskip("purerpc")
    run(
        """
import warnings
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what purerpc's own dependencies warn of is not ours
    import purerpc
from etcdpb import health_grpc, rpc_grpc, v3election_grpc, v3lock_grpc
for module, names in (
    (rpc_grpc, ("KV", "Watch", "Lease", "Cluster", "Maintenance", "Auth")),
    (v3lock_grpc, ("Lock",)), (v3election_grpc, ("Election",)), (health_grpc, ("Health",)),
):
    for name in names:
        assert issubclass(getattr(module, name + "Servicer"), purerpc.Servicer)
        assert hasattr(module, name + "Stub")
assert "Range" in rpc_grpc.KVServicer().service.methods
"""
    )


def test_importing_everything_takes_little_memory() -> None:
    kilobytes = run(
        """
import resource
from google.protobuf import descriptor_pool, message
descriptor_pool.DescriptorPool()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
"""
        + IMPORT_ALL
        + "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    assert int(kilobytes) < 8 * 1024  # about 1 MiB; a mistake such as a class per field costs tens
