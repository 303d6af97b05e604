"""Who belongs to the cluster: members, their URLs, and ids that may not come back.

Ids are computed as etcd computes them, once, and kept ever after.  A member is
known from the configuration entry that added it; its name and client URLs
follow in an entry of its own once it has started.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import attrs

from rusd.state.errors import (
    MemberExistsError,
    MemberNotFoundError,
    MemberRemovedError,
    PeerUrlExistsError,
    TooManyLearnersError,
)


@attrs.frozen
class Member:
    """One member.  ``name`` and ``client_urls`` are empty until it has started."""

    id: int
    peer_urls: tuple[str, ...]
    name: str = ""
    client_urls: tuple[str, ...] = ()
    is_learner: bool = False

    @property
    def has_started(self) -> bool:
        """Whether it ever ran: it tells its name then."""
        return bool(self.name)


def member_id(peer_urls: Iterable[str], token: str, added_at: int | None = None) -> int:
    """The id of a member: SHA-1 over its sorted peer URLs, the token and the time it was added.

    ``added_at`` is in seconds since the epoch, for members added to a running
    cluster, and ``None`` for initial ones.
    """
    text = "".join(sorted(peer_urls)) + token
    if added_at is not None:
        text += str(added_at)
    return int.from_bytes(hashlib.sha1(text.encode(), usedforsecurity=False).digest()[:8], "big")


def cluster_id(member_ids: Iterable[int]) -> int:
    """The id of a cluster: SHA-1 over the ids of its initial members, ascending."""
    data = b"".join(member.to_bytes(8, "big") for member in sorted(member_ids))
    return int.from_bytes(hashlib.sha1(data, usedforsecurity=False).digest()[:8], "big")


class Membership:
    """The members as of the last applied entry."""

    def __init__(self) -> None:
        self._members: dict[int, Member] = {}
        self._removed: set[int] = set()
        self.version = 0
        """Another number, other members: for those who look now and then."""

    def get(self, identity: int) -> Member | None:
        """The member with that id, if it belongs to the cluster."""
        return self._members.get(identity)

    def all(self) -> list[Member]:
        """All members, by ascending id."""
        return [self._members[identity] for identity in sorted(self._members)]

    def removed(self) -> list[int]:
        """Ids that once belonged to the cluster, ascending."""
        return sorted(self._removed)

    def is_removed(self, identity: int) -> bool:
        """Whether that id was removed: it can never come back."""
        return identity in self._removed

    def add(self, member: Member) -> None:
        """A configuration entry added ``member``; an id already known is left as it is."""
        if member.id not in self._removed:
            self._members.setdefault(member.id, member)
            self.version += 1

    def require_new(self, identity: int) -> None:
        """Raise :class:`MemberRemovedError` or :class:`MemberExistsError` unless that id may be added."""
        if identity in self._removed:
            raise MemberRemovedError
        if identity in self._members:
            raise MemberExistsError

    def require(self, identity: int) -> Member:
        """The member with that id; raises :class:`MemberRemovedError` or :class:`MemberNotFoundError`."""
        if identity in self._removed:
            raise MemberRemovedError
        if identity not in self._members:
            raise MemberNotFoundError
        return self._members[identity]

    def require_free(self, peer_urls: Iterable[str], *, besides: int = 0) -> None:
        """Raise :class:`PeerUrlExistsError` if a member other than ``besides`` has one of these URLs."""
        wanted = set(peer_urls)
        if any(wanted & set(member.peer_urls) for member in self._members.values() if member.id != besides):
            raise PeerUrlExistsError

    def require_room_for_learner(self, most: int) -> None:
        """Raise :class:`TooManyLearnersError` if there are ``most`` learners already."""
        if sum(member.is_learner for member in self._members.values()) >= most:
            raise TooManyLearnersError

    def voters(self) -> list[Member]:
        """The members that vote, by ascending id."""
        return [member for member in self.all() if not member.is_learner]

    def is_learner(self, identity: int) -> bool:
        """Whether that member belongs to the cluster and has no vote."""
        member = self._members.get(identity)
        return member is not None and member.is_learner

    def remove(self, identity: int) -> None:
        """A configuration entry removed a member; its id can never come back."""
        if self._members.pop(identity, None) is not None:
            self._removed.add(identity)
            self.version += 1

    def promote(self, identity: int) -> None:
        """A configuration entry gave a learner its vote."""
        if (member := self._members.get(identity)) is not None:
            self._members[identity] = attrs.evolve(member, is_learner=False)
            self.version += 1

    def set_peer_urls(self, identity: int, peer_urls: Sequence[str]) -> None:
        """A configuration entry moved a member; one that is gone is ignored."""
        if (member := self._members.get(identity)) is not None:
            self._members[identity] = attrs.evolve(member, peer_urls=tuple(peer_urls))
            self.version += 1

    def set_attributes(self, identity: int, name: str, client_urls: Sequence[str]) -> None:
        """A started member told its name and client URLs; one that is gone is ignored."""
        member = self._members.get(identity)
        if member is not None:
            self._members[identity] = attrs.evolve(member, name=name, client_urls=tuple(client_urls))

    def load(self, members: Iterable[Member], removed: Iterable[int]) -> None:
        """Replace everything, from a snapshot."""
        self._members = {member.id: member for member in members}
        self._removed = set(removed)
        self.version += 1

    def check(self) -> None:
        """Raise :class:`AssertionError` if an invariant is broken."""
        for identity, member in self._members.items():
            assert identity == member.id, "a member is filed under another id"
            assert identity not in self._removed, "a removed member is still there"
