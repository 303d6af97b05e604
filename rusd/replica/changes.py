"""Changes of the cluster's configuration, between what the log holds and what Raft counts.

A configuration entry holds two things: the configuration after the change, which
is Raft's, and beside it a ``ConfigurationChange``, which is the state machine's
and says which request it was.
"""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf.message import DecodeError

from etcdpb import rusd_pb2
from rusd.raft import Change, ChangeKind, Entry, decode_configuration

_KINDS = {
    rusd_pb2.ConfigurationChange.ADD_MEMBER: ChangeKind.ADD_VOTER,
    rusd_pb2.ConfigurationChange.ADD_LEARNER: ChangeKind.ADD_LEARNER,
    rusd_pb2.ConfigurationChange.PROMOTE_LEARNER: ChangeKind.ADD_VOTER,
    rusd_pb2.ConfigurationChange.REMOVE_MEMBER: ChangeKind.REMOVE,
    rusd_pb2.ConfigurationChange.ADD_CANDIDATE: ChangeKind.ADD_LEARNER,
    rusd_pb2.ConfigurationChange.ADMIT_CANDIDATE: ChangeKind.ADD_VOTER,
}

ADDITIONS = frozenset(
    {
        rusd_pb2.ConfigurationChange.ADD_MEMBER,
        rusd_pb2.ConfigurationChange.ADD_LEARNER,
        rusd_pb2.ConfigurationChange.ADD_CANDIDATE,
    }
)
"""The changes that bring in a member."""


def raft_change(change: rusd_pb2.ConfigurationChange) -> Change:
    """What ``change`` is to Raft.  Raises :class:`ValueError` if it is nothing to it."""
    kind = _KINDS.get(change.type)
    if kind is None:
        raise ValueError(f"not a change of the configuration: {change.type}")
    return Change(kind, change.member.id)


def request_number(data: bytes, member: int, boot: int) -> int:
    """The request id's number if this life of this member made the change, else 0.

    What is no ``ConfigurationChange`` was not made here; it is the state machine's to refuse.
    """
    try:
        request_id = rusd_pb2.ConfigurationChange.FromString(data).request_id
    except DecodeError:
        return 0
    return request_id.number if (request_id.member, request_id.boot) == (member, boot) else 0


def urls_of_added(entries: Iterable[Entry]) -> dict[int, list[str]]:
    """The members that the configuration entries among ``entries`` add, with their peer URLs."""
    added: dict[int, list[str]] = {}
    for entry in entries:
        _, context = decode_configuration(entry.data)
        try:
            change = rusd_pb2.ConfigurationChange.FromString(context)
        except DecodeError:
            continue
        if change.type in ADDITIONS:
            added[change.member.id] = list(change.member.peer_urls)
    return added
