"""Two servers that get the same steps and have to give the same answers.

:class:`Lockstep` runs each step of a generator on the reference, then on the server under test.  Most steps
are one call; those that aren't show what one call can't: who waits for a lock, what an observer of an
election sees, a revision too big for one watch response.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from functools import partial

import attrs
from google.protobuf.message import Message

from etcdpb import rpc_pb2, v3election_pb2, v3lock_pb2
from tests.differential.pair import ServerPair, Side
from tests.differential.steps import (
    BigRevision,
    Call,
    Campaign,
    CancelWatch,
    CreateWatch,
    EmptyWatchRequest,
    KeepAlive,
    Lock,
    Observe,
    RawCall,
    ShortLease,
    Step,
    View,
    WatchProgress,
)
from tests.differential.watching import Watching
from tests.support.client import Answer, server_stream


class Lockstep:
    """Runs steps on two servers; raises ``DifferenceError`` at the first thing that isn't the same."""

    def __init__(self, reference: str, actual: str) -> None:
        self._pair = ServerPair(reference, actual)
        self._watching = Watching(self._pair)

    @property
    def sides(self) -> tuple[Side, Side]:
        """The reference and the server under test."""
        return self._pair.sides

    @property
    def view(self) -> View:
        """What the reference's answers have shown."""
        return self._pair.view

    @property
    def fired(self) -> Counter[str]:
        """How often each known difference was met."""
        return self._pair.fired

    def close(self) -> None:
        """End everything that is open on both servers."""
        self._pair.close()

    def check_watchers(self) -> None:
        """At the end of a run: compare everything that every watcher got."""
        self._watching.check()

    def run(self, step: Step) -> None:
        """Run one step on both servers."""
        match step:
            case Call(name, request):
                self._call(name, request)
            case RawCall(path, payload):
                self._raw(path, payload)
            case KeepAlive(lease):
                alive = rpc_pb2.LeaseKeepAliveRequest(ID=lease)
                self._pair.both("LeaseKeepAlive", alive, lambda side: side.keep_alive(alive))
            case ShortLease(lease, ttl):
                self._short_lease(lease, ttl)
            case CreateWatch(stream, create):
                self._watching.create(stream, create)
            case CancelWatch(stream, watch_id):
                self._watching.cancel(stream, watch_id)
            case WatchProgress(stream):
                self._watching.progress(stream)
            case EmptyWatchRequest(stream):
                for side in self.sides:
                    side.streams[stream].send(rpc_pb2.WatchRequest())
            case Lock(name, lease):
                self._contend("Lock/Lock", v3lock_pb2.LockRequest(name=name, lease=lease), name, lease)
            case Campaign(name, lease, value):
                self._campaign(name, lease, value)
            case Observe(name, value):
                self._observe(name, value)
            case BigRevision(size):
                self._big_revision(size)

    def _call(self, name: str, request: Message) -> Answer:
        match request:
            case rpc_pb2.CompactionRequest():
                self._watching.settle()
                if self._pair.would_compact(request):
                    self._watching.catch_up()
                return self._pair.compact(request)
            case rpc_pb2.HashKVRequest():
                self._pair.finish_removal()
        return self._pair.call(name, request)

    def _raw(self, path: str, payload: bytes) -> None:
        def ask(side: Side) -> Answer:
            answer = side.client.call_bytes(path, payload, rpc_pb2.PutResponse)
            # What exactly is wrong with bytes that aren't a message is told by the protobuf library.
            return attrs.evolve(answer, details="") if payload and not answer.ok else answer

        self._pair.both(f"{path} {payload!r}", None, ask)

    def _short_lease(self, lease: int, ttl: int) -> None:
        request = rpc_pb2.LeaseGrantRequest(ID=lease, TTL=ttl)
        granted: dict[Side, int] = {}

        def grant(side: Side) -> Answer:
            answer = side.client.call("Lease/LeaseGrant", request)
            if answer.ok:
                granted[side] = answer.message.ID
                # An id that the server chose is its own affair, as long as it is positive.
                answer.message.ID = lease if lease else int(answer.message.ID > 0)
            return answer

        def revoke(side: Side) -> Answer:
            return side.client.call("Lease/LeaseRevoke", rpc_pb2.LeaseRevokeRequest(ID=granted[side]))

        if self._pair.both("Lease/LeaseGrant", request, grant).ok:
            self._pair.both("Lease/LeaseRevoke", None, revoke)

    def _big_revision(self, size: int) -> None:
        for key in (b"b/1", b"b/2", b"b/3", b"c"):
            self._pair.call("KV/Put", rpc_pb2.PutRequest(key=key, value=bytes(size)))
        self._pair.call("KV/DeleteRange", rpc_pb2.DeleteRangeRequest(key=b"b", range_end=b"d"))

    # -- lock and election ----------------------------------------------------

    def _campaign(self, name: bytes, lease: int, value: bytes) -> None:
        request = v3election_pb2.CampaignRequest(name=name, lease=lease, value=value)
        answer = self._contend("Election/Campaign", request, name, lease)
        if answer.ok:
            self.view.leader_keys[name] = answer.message.leader

    def _contend(self, what: str, request: Message, name: bytes, lease: int) -> Answer:
        """A call for the lock of that name; if it has to wait, it is seen to wait, then let through."""
        own = b"%b/%x" % (name, lease)
        order = {"sort_order": rpc_pb2.RangeRequest.ASCEND, "sort_target": rpc_pb2.RangeRequest.CREATE}
        queue = [kv.key for kv in self.sides[0].client.get(name + b"/", name + b"0", **order).kvs]
        if not queue or queue[0] == own:
            return self._pair.call(what, request)
        if len(queue) > 1:
            # Who waits for whom is told well enough by two: the others go, which is a fine request by itself.
            clear = rpc_pb2.DeleteRangeRequest(key=name + b"/", range_end=name + b"0", prev_kv=True)
            self._pair.call("KV/DeleteRange", clear)
            return self._pair.call(what, request)
        left = self._pair.call("Lease/LeaseTimeToLive", rpc_pb2.LeaseTimeToLiveRequest(ID=lease))
        if left.message.TTL <= 0:
            return self._pair.call(what, request)
        waiting = {}
        for side in self.sides:
            start = len(side.oracle.events)
            waiting[side] = side.client.start(what, request)
            written = partial(side.oracle.has_seen, own, start)
            side.oracle_stream.wait(written, f"{own!r} to be written")
        self._pair.call("Lock/Unlock", v3lock_pb2.UnlockRequest(key=queue[0]))
        return self._pair.both(what, request, lambda side: waiting[side]())

    def _observe(self, name: bytes, value: bytes) -> None:
        """The leader's value as an observer sees it, before and after it changes."""
        request = v3election_pb2.LeaderRequest(name=name)
        if not self._pair.call("Election/Leader", request).ok:
            return
        with contextlib.ExitStack() as stack:
            following = {
                side: stack.enter_context(
                    contextlib.closing(server_stream(side.client, "Election/Observe", request))
                )
                for side in self.sides
            }

            def observe(side: Side) -> Answer:
                return Answer("OK", "", next(following[side]))

            seen = self._pair.both("Election/Observe", request, observe).message.kv
            self._pair.call("KV/Put", rpc_pb2.PutRequest(key=seen.key, value=value, lease=seen.lease))
            self._pair.both("Election/Observe, next", request, observe)
