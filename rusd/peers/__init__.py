"""The network between members: what a replica sends to its peers, and what comes from them.

Above it is nothing but the server that puts parts together; below it the seam
:mod:`rusd.replica.peers`, and the gRPC engine in both its roles.

=============  ==================================================================
transport      one member's; implements :class:`rusd.replica.peers.Peers`.  Start reading here
channel        the way to one peer: a connection that is made again and again, and what is sent
service        what a member serves on its peer port
codec          messages, forwards and snapshots' heads as bytes (sans-IO)
identity       who calls whom, and whom not to listen to (sans-IO)
snapshots      a snapshot on its way, piece by piece
pacing         pauses, time-outs, seldom log lines
http           questions of a member that joins: who is there, which version
=============  ==================================================================

There is no TLS here yet: URLs other than http's are refused, in :mod:`~rusd.peers.address`; it goes around
the byte channel that :class:`~rusd.peers.channel.Channel` connects and the listener accepts.
"""

from typing import TYPE_CHECKING

from rusd.peers.address import address_of
from rusd.peers.identity import Identity
from rusd.peers.pacing import Timing
from rusd.peers.service import PeerHandler
from rusd.peers.surroundings import peer_limits
from rusd.peers.transport import PeerTransport
from rusd.replica.peers import PeerError

if TYPE_CHECKING:
    from rusd.peers.http import fetch_downgrade_enabled, fetch_members, fetch_version

__all__ = [
    "Identity",
    "PeerError",
    "PeerHandler",
    "PeerTransport",
    "Timing",
    "address_of",
    "fetch_downgrade_enabled",
    "fetch_members",
    "fetch_version",
    "peer_limits",
]


def __getattr__(name: str) -> object:
    """The questions over HTTP, imported when first asked for: a member that is alone never does."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from rusd.peers import http

    return getattr(http, name)
