"""Proposals that a follower passes on to its leader.

A write may reach any member.  One that does not lead sends the finished entry
to the member that does; the answer needs no way back, for the entry carries the
request id, and whoever proposed it answers its caller when it applies it here.

A forward is sent once and never again: it may have arrived although nothing was
heard of it, and a second copy would be a second write.  So the transport must
deliver it at most once, and a leader that cannot take it drops it; the caller's
time then runs out.  Only what could not be sent at all is tried again.  What a leader
decided by itself is never forwarded.
"""

from __future__ import annotations

import attrs

from rusd.raft import EntryType


@attrs.frozen
class Forward:
    """An entry's ``data`` from the member ``from_``, for ``to``, which it takes for the leader.

    Of a :attr:`EntryType.CONFIGURATION` it is a ``ConfigurationChange``: the leader
    works out the configuration that comes of it.
    """

    from_: int
    to: int
    type: EntryType
    data: bytes
