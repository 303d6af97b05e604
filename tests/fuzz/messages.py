"""Requests made of decisions: every field of any message, with values that look for trouble.

A message is built by its descriptor, so fields and methods that are added later take part by themselves.
Keys and leases are few, so that requests meet each other's effects; numbers lie at the ends of their range or
around the present revision; enumerators may not exist.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from etcdpb import rpc_pb2
from rusd.wire import LENGTH_DELIMITED, length_delimited, tag
from tests.fuzz.source import Source

KEYS: Final = (
    b"a",
    b"b",
    b"",
    b"b\0",
    b"c",
    b"d/1",
    b"d/2",
    b"\0",
    b"\xff",
    b"\xff\xff",
    b"lock/1",
    b"k" * 300,
)
ENDS: Final = (b"", b"\0", b"c", b"e", b"b", b"\xff", b"a", b"b\0\0", b"\xff\xff\0")
IDS: Final = (1, 2, 0, 3, -4, 7, 2**63 - 1, -(2**63))
VALUES: Final = (b"", b"v", b"w" * 40, b"x" * 1000, b"\0\xff", b"y" * 5000)
TEXTS: Final = ("", "x", "3.6.0", "http://h:1", "\u00e9\0", "t" * 300)
INTEGERS: Final = (
    0,
    1,
    2,
    3,
    -1,
    -4,
    60,
    100,
    2**31 - 1,
    2**63 - 1,
    -(2**63),
    9_000_000_000,
    9_000_000_001,
    1 << 32,
    -(2**31),
)
ENUMS: Final = (0, 1, 2, 3, 4, 5, 77, -1, 2**31 - 1, -(2**31))
MOST_NODES: Final = 250
DEEPEST: Final = 20  # levels built here; for more there is deep_txn

# Fields without which most requests are refused at once: for these, a set bit leaves them out.
_WANTED: Final = frozenset(("key", "ID", "TTL", "name", "leader", "action", "value"))
_NAMES_OF_IDS: Final = frozenset(("ID", "lease", "watch_id", "memberID", "id"))

_RANGES: Final = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}
_REQUEST_TXN: Final = tag(4, LENGTH_DELIMITED)  # of RequestOp
_BRANCHES: Final = (tag(2, LENGTH_DELIMITED), tag(3, LENGTH_DELIMITED))  # of TxnRequest


class Builder:
    """Builds messages from ``source``; ``revision`` tells the present one, which revisions lie around."""

    def __init__(self, source: Source, revision: int = 1) -> None:
        self._source = source
        self._revision = revision
        self._nodes = 0
        self._depth = 0

    def build(self, descriptor: Descriptor) -> Message:
        """One message."""
        self._nodes += 1
        self._depth += 1
        message = GetMessageClass(descriptor)()
        fields = _plain_fields(descriptor)
        bits = int.from_bytes(self._source.take((len(fields) + 7) // 8), "big")
        for number, field in enumerate(fields):
            if (bits >> number & 1) != (field.name in _WANTED):
                self._set(message, field)
        for oneof in descriptor.oneofs:
            choice = self._source.byte() % (len(oneof.fields) + 1)
            if choice:
                self._set(message, oneof.fields[choice - 1])
        self._depth -= 1
        return message

    def _set(self, message: Message, field: FieldDescriptor) -> None:
        if field.is_repeated:
            self._fill(getattr(message, field.name), field)
        elif field.message_type is not None:
            if self._has_room:
                getattr(message, field.name).CopyFrom(self.build(field.message_type))
        else:
            setattr(message, field.name, self._scalar(field))

    @property
    def _has_room(self) -> bool:
        return self._nodes < MOST_NODES and self._depth < DEEPEST

    def _fill(self, values: Any, field: FieldDescriptor) -> None:
        choice = self._source.byte()
        if choice == 0xFF and field.message_type is not None:  # more than max-txn-ops
            values.extend([self.build(field.message_type)] * 129)
            return
        for _ in range(choice % 4 + 1):
            if field.message_type is None:
                values.append(self._scalar(field))
            elif self._has_room:
                values.append(self.build(field.message_type))

    def _scalar(self, field: FieldDescriptor) -> Any:
        source = self._source
        kind = field.cpp_type
        if kind == FieldDescriptor.CPPTYPE_BOOL:
            return True
        if kind == FieldDescriptor.CPPTYPE_ENUM:
            return source.pick(ENUMS)
        if kind == FieldDescriptor.CPPTYPE_STRING:
            if field.type != FieldDescriptor.TYPE_BYTES:
                return source.pick(TEXTS)
            return source.pick(VALUES) if field.name == "value" else self._key(field.name)
        number = source.pick(IDS) if field.name in _NAMES_OF_IDS else self._integer()
        low, high = _RANGES[kind]
        return number if low <= number <= high else number & high

    def _key(self, name: str) -> bytes:
        choice = self._source.byte()
        pool = ENDS if name == "range_end" else KEYS
        return self._source.chunk() if choice >= 0xF0 else pool[choice % len(pool)]

    def _integer(self) -> int:
        choice = self._source.byte()
        if choice >= 0xC0:
            return self._revision + choice - 0xE0
        return INTEGERS[choice % len(INTEGERS)] if choice < 0x80 else choice - 0x80


def _plain_fields(descriptor: Descriptor) -> Sequence[FieldDescriptor]:
    return [field for field in descriptor.fields if field.containing_oneof is None]


def deep_txn(depth: int, branch: int, innermost: bytes) -> bytes:
    """A TxnRequest of ``depth`` transactions inside each other, as bytes: no encoder's limit applies.

    ``innermost`` is the RequestOp in the last one.
    """
    operation = innermost
    for level in range(depth):
        request = length_delimited(_BRANCHES[branch >> (level & 3) & 1], operation)
        operation = length_delimited(_REQUEST_TXN, request)
    # The outermost is no operation: take its tag and length off again.
    return request if depth else rpc_pb2.TxnRequest().SerializeToString()
