"""Watches (sans-IO): each change, once and in order, to everyone who asked for it.

=====================================  =====================================================
:mod:`rusd.watch.hub`                  takes published revisions, knows who is live
:mod:`rusd.watch.stream`               one client's watchers; requests in, responses out
:mod:`rusd.watch.catchup`              reading history for watchers that are behind
:mod:`rusd.watch.responder`            a watcher's events as responses of its stream
:mod:`rusd.watch.publication`          what is published and not yet sent, shared and bounded
:mod:`rusd.watch.watcher`              one watch and its position in history
:mod:`rusd.watch.matching`             key → watchers
:mod:`rusd.watch.intervals`            the interval tree under it
:mod:`rusd.watch.encoding`             events and responses as bytes
:mod:`rusd.watch.history`              what this package needs of the store
=====================================  =====================================================

There is no task, socket or clock in here: the service that owns a stream pulls when its
client takes bytes, and keeps the time for periodic progress.
"""

from rusd.watch.encoding import Message
from rusd.watch.history import History, Record
from rusd.watch.hub import DEFAULT_MAX_RESPONSE_BYTES, WatchHub
from rusd.watch.stream import NO_WATCH_ID, WatchStream

__all__ = [
    "DEFAULT_MAX_RESPONSE_BYTES",
    "NO_WATCH_ID",
    "History",
    "Message",
    "Record",
    "WatchHub",
    "WatchStream",
]
