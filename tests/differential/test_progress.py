"""Periodic progress notices, side by side: who gets them, and what they say."""

from __future__ import annotations

from etcdpb import rpc_pb2
from tests.differential.conftest import Pair
from tests.support.client import WatchStream

# Spelled the old way, which 3.5.1 needs and 3.6 still takes.
EVERY_200_MS = "--experimental-watch-progress-notify-interval=200ms"


def test_idle_watchers_that_asked_for_it_hear_how_far_the_store_is(pair: Pair) -> None:
    with pair(EVERY_200_MS) as lockstep:
        last = []
        for side in lockstep.sides:
            side.client.put(b"k", b"1")
            with side.client.watch() as watch:
                asked = watch.create(b"k", progress_notify=True).watch_id
                watch.create(b"k")
                future = watch.create(b"k", progress_notify=True, start_revision=1000).watch_id
                wait_for_notices(watch, 3)
                # 3.5.1 also tells those who wait for a later revision how far it is; 3.6 is silent to them.
                expected = {asked} if side.is_3_6 else {asked, future}
                assert {notice.watch_id for notice in notices(watch)} == expected

                revision = side.client.put(b"elsewhere", b"1").header.revision
                wait_for_revision(watch, revision)
                last.append(notices(watch)[-1].header)
        assert last[0] == last[1]


def notices(watch: WatchStream) -> list[rpc_pb2.WatchResponse]:
    """The responses that only tell a revision."""
    return [one for one in watch.responses if not one.created and not one.events]


def wait_for_notices(watch: WatchStream, count: int) -> None:
    """Wait for so many of them."""
    watch.wait(lambda: len(notices(watch)) >= count, f"{count} notices")


def wait_for_revision(watch: WatchStream, revision: int) -> None:
    """Wait for one that tells ``revision``."""
    watch.wait(lambda: notices(watch)[-1].header.revision == revision, f"a notice of {revision}")
