"""One change of one key, with its ``KeyValue`` in wire form.

A :class:`Record` is what the store keeps for every put and every delete.  The
``KeyValue`` is encoded once, when the change happens, and from then on only
copied: into range answers, events, hashes and snapshots.  It is kept together
with the tag and length it has as field 2 of a message, because etcd numbers it
2 wherever it is sent most (``RangeResponse.kvs``, ``PutResponse.prev_kv``,
``Event.kv``), so that an answer is a plain join.

The encoding is that of protobuf: fields by number, defaults left out.  What is
stored for a delete is a ``KeyValue`` with the key only, as in etcd's backend.
"""

from __future__ import annotations

from rusd.wire import LENGTH_DELIMITED, VARINT, length_delimited, tag, varint, varint_field

# mvccpb.KeyValue
_KEY = tag(1, LENGTH_DELIMITED)
_CREATE_REVISION = tag(2, VARINT)
_MOD_REVISION = tag(3, VARINT)
_VERSION = tag(4, VARINT)
_VALUE = tag(5, LENGTH_DELIMITED)
_LEASE = tag(6, VARINT)

KV_FIELD = tag(2, LENGTH_DELIMITED)
"""What stands before the length of :attr:`Record.field`."""

# Tag and varint in one look-up, for what most keys and versions need.
_SMALL_VERSION = tuple(_VERSION + varint(number) for number in range(128))
_SMALL_KEY = tuple(_KEY + varint(length) for length in range(128))


class Record:
    """One change of one key.  Never modified once it is made.

    ``create_revision``, ``version`` and ``lease`` are 0 in a tombstone, as etcd
    reports them.  ``mod_revision`` and ``sub`` give the place in history.
    ``field`` is the stored ``KeyValue`` as field 2 of a message: tag, length,
    content.
    """

    __slots__ = ("create_revision", "field", "key", "lease", "mod_revision", "sub", "version")

    def __init__(  # noqa: PLR0917  positional: half the time of keywords
        self,
        key: bytes,
        create_revision: int,
        mod_revision: int,
        sub: int,
        version: int,
        lease: int,
        field: bytes,
    ) -> None:
        self.key = key
        self.create_revision = create_revision
        self.mod_revision = mod_revision
        self.sub = sub
        self.version = version
        self.lease = lease
        self.field = field

    @property
    def tombstone(self) -> bool:
        """Whether this change deleted the key.  (A put has a version of at least 1.)"""
        return not self.version

    @property
    def encoded(self) -> bytes:
        """The ``KeyValue`` as etcd stores it, without tag and length; a copy."""
        field = self.field
        return field[2:] if field[1] < 128 else field[_content_offset(field) :]

    @property
    def value(self) -> bytes:
        """The value; empty for a tombstone."""
        if not self.version:
            return b""
        field = self.field
        # The fields before the value have a length that follows from the record itself.
        position = (
            _content_offset(field)
            + (len(length_delimited(_KEY, self.key)) if self.key else 0)
            + len(varint_field(_CREATE_REVISION, self.create_revision))
            + len(varint_field(_MOD_REVISION, self.mod_revision))
            + len(varint_field(_VERSION, self.version))
        )
        if field[position : position + 1] != _VALUE:
            return b""
        start = _content_offset(field, position)
        return field[start : len(field) - len(varint_field(_LEASE, self.lease))]

    @property
    def field_without_value(self) -> bytes:
        """Like ``field``, with the value left out: what a ``keys_only`` range answers."""
        content = encode_key_value(
            self.key, self.create_revision, self.mod_revision, self.version, b"", self.lease
        )
        return length_delimited(KV_FIELD, content)

    @property
    def event_field(self) -> bytes:
        """Like ``field``, as an event carries it: a tombstone's has the revision of the delete."""
        if self.version:
            return self.field
        return length_delimited(KV_FIELD, encode_key_value(self.key, 0, self.mod_revision, 0, b"", 0))

    def __repr__(self) -> str:
        what = f"version {self.version}" if self.version else "tombstone"
        return f"<Record {self.key!r} {self.mod_revision}.{self.sub} {what}>"


def put_record(  # noqa: PLR0917
    key: bytes, create_revision: int, mod_revision: int, sub: int, version: int, value: bytes, lease: int
) -> Record:
    """The record of a put."""
    content = encode_key_value(key, create_revision, mod_revision, version, value, lease)
    field = b"".join((KV_FIELD, varint(len(content)), content))
    return Record(key, create_revision, mod_revision, sub, version, lease, field)


def tombstone_record(key: bytes, mod_revision: int, sub: int) -> Record:
    """The record of a delete."""
    content = length_delimited(_KEY, key) if key else b""
    return Record(key, 0, mod_revision, sub, 0, 0, length_delimited(KV_FIELD, content))


def encode_key_value(  # noqa: PLR0917
    key: bytes, create_revision: int, mod_revision: int, version: int, value: bytes, lease: int
) -> bytes:
    """A ``mvccpb.KeyValue``, byte for byte as protobuf encodes it."""
    length = len(key)
    if not (0 < length < 128 and 0 < version < 128 and create_revision and mod_revision):
        return _encode_any(key, create_revision, mod_revision, version, value, lease)
    # The usual put, in one join: half the time of the general form below.
    mod = varint(mod_revision)
    create = mod if create_revision == mod_revision else varint(create_revision)
    tail = _LEASE + varint(lease) if lease else b""
    if not value:
        return b"".join(
            (_SMALL_KEY[length], key, b"\x10", create, b"\x18", mod, _SMALL_VERSION[version], tail)
        )
    return b"".join(
        (
            _SMALL_KEY[length],
            key,
            b"\x10",
            create,
            b"\x18",
            mod,
            _SMALL_VERSION[version],
            b"\x2a",
            varint(len(value)),
            value,
            tail,
        )
    )


def _encode_any(  # noqa: PLR0917
    key: bytes, create_revision: int, mod_revision: int, version: int, value: bytes, lease: int
) -> bytes:
    return b"".join(
        (
            length_delimited(_KEY, key) if key else b"",
            varint_field(_CREATE_REVISION, create_revision),
            varint_field(_MOD_REVISION, mod_revision),
            varint_field(_VERSION, version),
            length_delimited(_VALUE, value) if value else b"",
            varint_field(_LEASE, lease),
        )
    )


def _content_offset(field: bytes, start: int = 0) -> int:
    """Where the content of a length-delimited field begins; its tag (of one byte) is at ``start``."""
    position = start + 1
    while field[position] > 127:
        position += 1
    return position + 1
