"""Who calls whom: the metadata on every call between members, and how a called member judges them.

The names are those of etcd's peer requests.  Members of different clusters, and a member that was
removed, must not reach each other's Raft: a wrong address or a forgotten process would do harm.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs

from rusd.grpc import Call, Code, Metadata, StatusError
from rusd.version import ETCD_VERSION

FORMAT = 1
"""The version of what members say to each other; others are refused."""

_FROM = "x-server-from"
_TO = "x-raft-to"
_CLUSTER = "x-etcd-cluster-id"
_VERSION = "x-server-version"
_URLS = "x-peerurls"
_FORMAT = "x-rusd-peer-format"

REMOVED_TEXT = "the member has been permanently removed from the cluster"
MISMATCH_TEXT = "cluster ID mismatch"
OTHER_MEMBER_TEXT = "member ID mismatch"
INCOMPATIBLE_TEXT = "incompatible server version"
_REFUSALS = frozenset((REMOVED_TEXT, MISMATCH_TEXT, OTHER_MEMBER_TEXT, INCOMPATIBLE_TEXT))


@attrs.frozen
class Identity:
    """This member: its id, its cluster's, and where others reach it."""

    member_id: int
    cluster_id: int
    peer_urls: tuple[str, ...] = ()

    def metadata(self, to: int) -> tuple[tuple[str, bytes], ...]:
        """What stands on each call to the member ``to``.  The sender comes first: proxies look for it."""
        return (
            (_FROM, b"%x" % self.member_id),
            (_TO, b"%x" % to),
            (_CLUSTER, b"%x" % self.cluster_id),
            (_VERSION, ETCD_VERSION.encode()),
            (_FORMAT, b"%d" % FORMAT),
            (_URLS, ",".join(self.peer_urls).encode()),
        )


@attrs.frozen
class Visitor:
    """A member that calls: its id, and where it says it is reached."""

    member_id: int
    peer_urls: Sequence[str]


class RefusedError(StatusError):
    """Not a call of a peer of ours; ``fields`` are for the log."""

    def __init__(self, code: Code, message: str, fields: dict[str, object]) -> None:
        super().__init__(code, message)
        self.fields = fields


def judge(call: Call, identity: Identity, is_removed: Callable[[int], bool]) -> Visitor:
    """Who calls.  Raises :class:`RefusedError` for whom it is better not to listen to."""
    metadata = call.metadata
    sender = _number(metadata, _FROM)
    cluster, to = _number(metadata, _CLUSTER), _number(metadata, _TO)
    fields: dict[str, object] = {
        "local_member_id": f"{identity.member_id:x}",
        "remote_peer_id": f"{sender:x}",
        "remote_addr": call.peer,
    }
    if metadata.get(_FORMAT) != b"%d" % FORMAT or not sender:
        raise RefusedError(Code.FAILED_PRECONDITION, INCOMPATIBLE_TEXT, fields)
    if cluster != identity.cluster_id:
        fields |= {
            "local_member_cluster_id": f"{identity.cluster_id:x}",
            "remote_peer_cluster_id": f"{cluster:x}",
        }
        raise RefusedError(Code.FAILED_PRECONDITION, MISMATCH_TEXT, fields)
    if is_removed(sender):
        raise RefusedError(Code.PERMISSION_DENIED, REMOVED_TEXT, fields)
    if to != identity.member_id or sender == to:
        raise RefusedError(
            Code.FAILED_PRECONDITION, OTHER_MEMBER_TEXT, fields | {"remote_peer_id_header": f"{to:x}"}
        )
    urls = metadata.get(_URLS, b"") or b""
    return Visitor(sender, [url for url in urls.decode("latin-1").split(",") if url])


def is_refusal(error: StatusError) -> bool:
    """Whether a peer's answer says that it does not talk to us at all."""
    return error.code in (Code.FAILED_PRECONDITION, Code.PERMISSION_DENIED) and error.message in _REFUSALS


def says_removed(error: StatusError) -> bool:
    """Whether a peer's answer says that this member belongs to the cluster no longer."""
    return error.code is Code.PERMISSION_DENIED and error.message == REMOVED_TEXT


def _number(metadata: Metadata, name: str) -> int:
    """An id in hexadecimal; 0, which is nobody's, for anything else."""
    value = metadata.get(name) or b""
    try:
        return int(value, 16) if len(value) <= 16 else 0
    except ValueError:
        return 0
