"""The header of every answer: who answers, at which revision, in which term."""

from __future__ import annotations

from collections.abc import Callable

from rusd.wire import LENGTH_DELIMITED, VARINT, length_delimited, tag, varint_field

_HEADER = tag(1, LENGTH_DELIMITED)  # field 1 of all responses
_CLUSTER_ID = tag(1, VARINT)
_MEMBER_ID = tag(2, VARINT)
_REVISION = tag(3, VARINT)
_RAFT_TERM = tag(4, VARINT)


class HeaderWriter:
    """Encodes ``ResponseHeader`` as the field it is in every response message.

    ``revision`` and ``term`` tell the current ones.
    """

    def __init__(
        self, cluster_id: int, member_id: int, revision: Callable[[], int], term: Callable[[], int]
    ) -> None:
        self.cluster_id = cluster_id
        self.member_id = member_id
        self._identity = varint_field(_CLUSTER_ID, cluster_id) + varint_field(_MEMBER_ID, member_id)
        self._revision = revision
        self._term = term
        self._last: tuple[int, int, bytes] = (-1, -1, b"")

    def at(self, revision: int) -> bytes:
        """The header with that revision; 0 leaves it out."""
        term = self._term()
        last_revision, last_term, encoded = self._last
        if revision == last_revision and term == last_term:
            return encoded  # reads between two writes share one
        body = self._identity + varint_field(_REVISION, revision) + varint_field(_RAFT_TERM, term)
        encoded = length_delimited(_HEADER, body)
        self._last = (revision, term, encoded)
        return encoded

    def now(self) -> bytes:
        """The header with the current revision."""
        return self.at(self._revision())


def revision_only(revision: int) -> bytes:
    """The header of an answer inside a transaction: nothing but the revision."""
    return length_delimited(_HEADER, varint_field(_REVISION, revision))
