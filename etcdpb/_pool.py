"""The descriptor pool in which all of etcdpb's messages live.

Every Python client of etcd brings its own generated ``rpc.proto``, and all of
them register the same message names in protobuf's default pool, where a name
can be taken only once.  The modules here register in a pool of their own, so
that they can be imported beside any of those, whichever comes first.  That
holds for both of protobuf's implementations, C (upb) and Python.

Two things follow.  A message of this package is not an instance of the class
with the same name in another package; and ``google.protobuf.Any`` and JSON of
extensions, which look names up in the default pool, don't find these messages
(etcd's API uses neither).
"""

from __future__ import annotations

from typing import Any, cast

from google.protobuf import descriptor
from google.protobuf.descriptor import Descriptor, FileDescriptor
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from google.protobuf.message import Message

# The modules that make these names public import the Python implementation and the text format as
# well, used or not: with the C implementation that is a megabyte of a server's memory.
if descriptor._USE_C_DESCRIPTORS:
    _DescriptorPool = descriptor._message.DescriptorPool
    _MessageType = descriptor._message.MessageMeta
else:
    from google.protobuf.descriptor_pool import DescriptorPool as _DescriptorPool
    from google.protobuf.reflection import GeneratedProtocolMessageType as _MessageType

POOL = _DescriptorPool()


def build_descriptors(file: FileDescriptor, namespace: dict[str, Any]) -> None:
    """Put the descriptors of all messages of ``file`` into ``namespace``, where the Python implementation
    wants to write on them; with the other one nobody looks.
    """
    if not descriptor._USE_C_DESCRIPTORS:
        from google.protobuf.internal.builder import BuildMessageAndEnumDescriptors

        BuildMessageAndEnumDescriptors(file, namespace)


def build_messages(file: FileDescriptor, module: str, namespace: dict[str, Any]) -> None:
    """Put the enums and message classes of ``file`` into the ``namespace`` of the module named ``module``.

    Stands in for protobuf's own builder, which tells its global symbol database about each class;
    with the Python implementation that means the default pool too.
    """
    for name, enum in file.enum_types_by_name.items():
        namespace["_" + name.upper()] = enum
        namespace[name] = EnumTypeWrapper(enum)
        namespace.update((value.name, value.number) for value in enum.values)
    for name, service in file.services_by_name.items():
        namespace["_" + name.upper()] = service
    for name, message in file.message_types_by_name.items():
        namespace[name] = _message_class(message, module, "")


def _message_class(message: Descriptor, module: str, outer: str) -> type[Message]:
    qualified = outer + message.name
    members: dict[str, Any] = {
        name: _message_class(nested, module, qualified + ".")
        for name, nested in message.nested_types_by_name.items()
    }
    members |= {"DESCRIPTOR": message, "__module__": module, "__qualname__": qualified}
    return cast("type[Message]", _MessageType(message.name, (Message,), members))
