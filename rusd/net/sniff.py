"""Which protocol a new connection speaks, told from its first bytes.

etcd serves gRPC and HTTP/1.1 on the same port; a client says by its first bytes
which one it wants.  HTTP/2 begins with a fixed preface (RFC 9113 section 3.4),
TLS with the type of a handshake record (RFC 8446 section 5.1), and all the rest
is taken for HTTP/1.1, which will say so if it is not.
"""

from __future__ import annotations

from enum import Enum

from rusd.environment import Channel
from rusd.http2 import PREFACE

_TLS_HANDSHAKE = 0x16
_RECEIVE_BYTES = 64 * 1024


class Protocol(Enum):
    """What a client wants to speak."""

    TLS = "tls"
    HTTP2 = "http2"
    HTTP1 = "http1"
    NONE = "none"  # it went before it said so


def classify(first: bytes) -> Protocol | None:
    """The protocol that begins with ``first``; ``None`` if that is too little to tell."""
    if not first:
        return None
    if first[0] == _TLS_HANDSHAKE:
        return Protocol.TLS
    if first.startswith(PREFACE):
        return Protocol.HTTP2
    return None if PREFACE.startswith(first) else Protocol.HTTP1


async def sniff(channel: Channel) -> tuple[Protocol, bytes]:
    """Read until the protocol is known; returns it with all bytes read.

    Raises what the channel raises.
    """
    data = b""
    while True:
        protocol = classify(data)
        if protocol is not None:
            return protocol, data
        await channel.wait_readable()
        more = channel.try_receive(_RECEIVE_BYTES)
        if more is None:
            continue
        if not more:
            return Protocol.NONE, data
        data += more
