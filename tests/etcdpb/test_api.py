"""The descriptors are etcd's public API, no more and no less; ``api.txt`` holds what that is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.descriptor import (
    Descriptor,
    EnumDescriptor,
    FieldDescriptor,
    FileDescriptor,
    MethodDescriptor,
)

from etcdpb import auth_pb2, health_pb2, kv_pb2, rpc_pb2, rusd_pb2, v3election_pb2, v3lock_pb2

FILES: tuple[FileDescriptor, ...] = tuple(
    module.DESCRIPTOR for module in (auth_pb2, health_pb2, kv_pb2, rpc_pb2, v3election_pb2, v3lock_pb2)
)

SCALARS = {
    getattr(FieldDescriptor, f"TYPE_{name.upper()}"): name
    for name in ("bool", "bytes", "int64", "string", "uint32", "uint64")
}


def wanted() -> dict[str, list[str]]:
    """``kind full.name`` → its lines, from the table."""
    items: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in (Path(__file__).parent / "api.txt").read_text().splitlines():
        if line.startswith("  "):
            lines.append(line.strip())
        elif line and not line.startswith("#"):
            lines = items[line] = []
    return items


def present() -> dict[str, list[str]]:
    """The same from the generated modules."""
    items: dict[str, list[str]] = {}
    for file in FILES:
        for service in file.services_by_name.values():
            items[f"service {service.full_name}"] = [method_line(method) for method in service.methods]
        for enum in file.enum_types_by_name.values():
            items[f"enum {enum.full_name}"] = enum_lines(enum)
        for message in file.message_types_by_name.values():
            items.update(message_items(message))
    return items


def message_items(message: Descriptor) -> Iterator[tuple[str, list[str]]]:
    yield f"message {message.full_name}", [field_line(field) for field in message.fields]
    for enum in message.enum_types:
        yield f"enum {enum.full_name}", enum_lines(enum)
    for nested in message.nested_types:
        if not nested.GetOptions().map_entry:
            yield from message_items(nested)


def field_line(field: FieldDescriptor) -> str:
    line = f"{field.name} {field.number} {type_name(field)}"
    if is_repeated(field) and not is_map(field):
        line += " repeated"
    if field.containing_oneof is not None:
        line += f" oneof {field.containing_oneof.name}"
    return line


def is_repeated(field: FieldDescriptor) -> bool:
    if hasattr(field, "is_repeated"):
        return bool(field.is_repeated)
    return bool(field.label == FieldDescriptor.LABEL_REPEATED)  # protobuf 6.30; later ones warn of it


def is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def type_name(field: FieldDescriptor) -> str:
    if is_map(field):
        key, value = (field.message_type.fields_by_name[name] for name in ("key", "value"))
        return f"map<{type_name(key)},{type_name(value)}>"
    if field.message_type is not None:
        return field.message_type.full_name
    if field.enum_type is not None:
        return field.enum_type.full_name
    return SCALARS[field.type]


def enum_lines(enum: EnumDescriptor) -> list[str]:
    return [f"{value.name} {value.number}" for value in enum.values]


def method_line(method: MethodDescriptor) -> str:
    kind = {
        (False, False): "unary",
        (False, True): "server-stream",
        (True, False): "client-stream",
        (True, True): "bidi",
    }[method.client_streaming, method.server_streaming]
    return f"{method.name} {kind} {method.input_type.full_name} {method.output_type.full_name}"


WANTED = wanted()


@pytest.mark.parametrize("item", WANTED)
def test_each_item_of_the_table_is_there_as_written(item: str) -> None:
    assert present().get(item) == WANTED[item]


def test_nothing_is_there_that_the_table_lacks() -> None:
    assert sorted(present()) == sorted(WANTED)


def test_the_table_is_whole() -> None:
    kinds = [item.split()[0] for item in WANTED]
    methods = sum(len(lines) for item, lines in WANTED.items() if item.startswith("service"))
    members = sum(len(lines) for item, lines in WANTED.items() if not item.startswith("service"))
    assert (kinds.count("service"), methods, members) == (9, 52, 301)


def test_all_messages_and_their_enums_have_classes() -> None:
    compare = rpc_pb2.Compare(
        result=rpc_pb2.Compare.GREATER, target=rpc_pb2.Compare.MOD, key=b"k", mod_revision=7, range_end=b"l"
    )
    put = rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=b"k", value=b"v", lease=-1))
    txn = rpc_pb2.TxnRequest(compare=[compare], success=[put])

    again = rpc_pb2.TxnRequest.FromString(txn.SerializeToString())

    assert again == txn
    assert type(again.success[0].request_put) is rpc_pb2.PutRequest
    assert again.compare[0].WhichOneof("target_union") == "mod_revision"


def test_messages_refer_to_the_classes_of_the_other_modules() -> None:
    event = kv_pb2.Event(type=kv_pb2.Event.DELETE, kv=kv_pb2.KeyValue(key=b"k"))
    permission = auth_pb2.Permission(permType=auth_pb2.Permission.READWRITE)

    assert type(rpc_pb2.WatchResponse(events=[event]).events[0]) is kv_pb2.Event
    assert type(rpc_pb2.AuthRoleGrantPermissionRequest(perm=permission).perm) is auth_pb2.Permission
    assert type(v3lock_pb2.LockResponse().header) is rpc_pb2.ResponseHeader
    assert type(v3election_pb2.LeaderResponse().kv) is kv_pb2.KeyValue
    assert type(rusd_pb2.Alarm().type) is type(rpc_pb2.CORRUPT)


def test_known_bytes_decode_as_etcd_means_them() -> None:
    # key "k", range_end "\0", limit 5, serializable; written by hand from the numbers of the fields
    request = rpc_pb2.RangeRequest.FromString(b"\x0a\x01k\x12\x01\x00\x18\x05\x38\x01")

    assert (request.key, request.range_end, request.limit) == (b"k", b"\0", 5)
    assert request.serializable
