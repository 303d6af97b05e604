"""What all channels to peers, and the service they talk to, have in common."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import attrs

from rusd.environment import Environment
from rusd.grpc.deadlines import Deadlines
from rusd.logs import Logger
from rusd.net import Limits
from rusd.net.poller import Poller
from rusd.net.timer import within
from rusd.peers.identity import Identity
from rusd.peers.pacing import Timing

MESSAGES_PATH = "/rusdpb.Peer/Messages"
SNAPSHOT_PATH = "/rusdpb.Peer/Snapshot"
CALL_PREFIX = "/rusdpb.Peer/"

_SLOW_SECONDS = 120.0  # for a large frame over a slow link; a peer that is gone is noticed long before
_ROOM_FOR_OTHERS = 2 * 1024 * 1024  # what may stand in one message beside the largest entry

LARGE_REQUEST_BYTES = 64 * 1024 * 1024
"""Entries up to that size are taken from peers in any case: peers may have had other flags."""


@attrs.frozen
class Surroundings:
    """One member's, given to each part of its transport.

    ``on_removed`` is called when a peer says that this member belongs to the cluster no longer.
    """

    environment: Environment
    log: Logger
    identity: Identity
    deadlines: Deadlines
    limits: Limits
    timing: Timing
    poller: Poller | None
    on_removed: Callable[[], None]

    def now(self) -> float:
        """Seconds on the monotonic clock."""
        return self.environment.clock.monotonic()

    def within(self, seconds: float) -> AbstractContextManager[None]:
        """Bound what a block takes; raises :class:`TimeoutError`."""
        return within(seconds, self.deadlines, self.environment.clock)

    async def sleep_until(self, at: float) -> None:
        """Until ``at``, in seconds on the monotonic clock."""
        await self.environment.clock.sleep_until(at)


def peer_limits(max_request_bytes: int, timing: Timing = Timing()) -> Limits:  # noqa: B008 - frozen
    """The bounds for connections between members, of either side.

    ``max_request_bytes`` is the largest request a client may make here: an entry can be as large, and
    what is in the log already can be larger, see :data:`LARGE_REQUEST_BYTES`.  Windows and frames are
    large, since members trust each other with memory; silence is short, see :class:`Timing`.
    """
    return Limits(
        max_request_bytes=max(max_request_bytes, LARGE_REQUEST_BYTES) + _ROOM_FOR_OTHERS,
        receive_bytes=256 * 1024,
        frame_bytes=2 * 1024 * 1024,
        stream_window=4 * 1024 * 1024,
        connection_window=8 * 1024 * 1024,
        keepalive_min_time=None,  # pings sent one by one may come all at once
        keepalive_interval=timing.ping,
        keepalive_timeout=timing.silence - timing.ping,
        opening_timeout=timing.silence,
        settings_timeout=_SLOW_SECONDS,
        frame_timeout=_SLOW_SECONDS,
        stall_timeout=timing.write,
        goodbye_timeout=0.2,
    )
