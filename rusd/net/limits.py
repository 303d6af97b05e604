"""The bounds on what clients may make a server do or keep."""

from __future__ import annotations

import attrs

GRPC_OVERHEAD_BYTES = 512 * 1024  # what etcd allows a message beyond max-request-bytes
UNLIMITED_STREAMS = 2**32 - 1  # max-concurrent-streams by default: no limit


@attrs.frozen
class Limits:
    """Figures of a listener.  Bytes and seconds; names are etcd's where it has the flag."""

    max_request_bytes: int = 1572864
    max_concurrent_streams: int = UNLIMITED_STREAMS
    max_connections: int | None = None
    """Connections served at a time; further ones wait in the listener's backlog."""
    turn_frames: int = 256
    """HTTP/2 frames of one connection before another one's turn."""
    receive_bytes: int = 64 * 1024
    """What one turn takes from the socket."""
    frame_bytes: int = 16 * 1024
    """The largest HTTP/2 frame taken."""
    output_bytes: int = 256 * 1024
    """Unsent bytes of a connection above which nothing more is read from it."""
    stream_window: int = 256 * 1024
    """Unconsumed bytes a stream may have (HTTP/2 flow control)."""
    connection_window: int = 1024 * 1024
    """Unconsumed bytes all streams of a connection may have."""
    buffered_bytes: int = 512 * 1024 * 1024
    """What all connections may hold for their clients; see :mod:`rusd.grpc.budget`."""
    first_bytes_timeout: float = 10.0
    """From accepting a connection to knowing its protocol."""
    opening_timeout: float = 10.0
    """From there to the client's first SETTINGS frame."""
    settings_timeout: float = 30.0
    """From there to its acknowledgement of ours."""
    frame_timeout: float = 30.0
    """From the first to the last byte of an HTTP/2 frame, or header block."""
    keepalive_min_time: float | None = 5.0
    """Clients with open calls may ping once in so many seconds; see :mod:`rusd.grpc.pings`.
    ``None``: as often as they like."""
    keepalive_interval: float = 7200.0
    """A client that says nothing for so long is pinged; 0 for never."""
    keepalive_timeout: float = 20.0
    """How long it may take to answer that; 0 for no pings at all."""
    stall_timeout: float = 30.0
    """How long a client may take nothing of what waits for it."""
    http_idle_timeout: float = 300.0
    """From one HTTP/1.1 request to the end of the next one's."""
    max_body_bytes: int = 4 * 1024 * 1024
    """The body of an HTTP/1.1 request."""
    goodbye_timeout: float = 1.0
    """How long a connection that ends in an error is kept, so that the peer reads why."""

    @property
    def streams(self) -> int | None:
        """Open streams a connection may have; ``None`` for what ``buffered_bytes`` has room for."""
        streams = self.max_concurrent_streams
        return streams if streams < UNLIMITED_STREAMS else None

    @property
    def max_receive_bytes(self) -> int:
        """The largest gRPC message taken."""
        return self.max_request_bytes + GRPC_OVERHEAD_BYTES
