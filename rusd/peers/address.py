"""From a peer URL to a place to connect to."""

from __future__ import annotations

from urllib.parse import urlsplit

from rusd.replica.peers import PeerError


def address_of(url: str) -> tuple[str, int]:
    """Host and port of ``url``.  Raises :class:`PeerError` for what can't be reached (yet)."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise PeerError(f"bad peer URL {url}: {error}") from error
    if parts.scheme != "http":
        # A peer that asks for TLS must not be spoken to in the clear.
        raise PeerError(
            f"peer URL {url}: peers are reached over http only, not over {parts.scheme or 'nothing'}"
        )
    if not host or not port:
        raise PeerError(f"bad peer URL {url}: no host and port")
    return host, port
