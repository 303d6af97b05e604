"""What is in the responses that a client was sent."""

from __future__ import annotations

from collections.abc import Iterable

from etcdpb import rpc_pb2


def mod_revisions(responses: Iterable[rpc_pb2.WatchResponse]) -> list[int]:
    """The revisions of all events, in order."""
    return [event.kv.mod_revision for response in responses for event in response.events]
