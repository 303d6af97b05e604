"""Watchers that write down all they are told, and go on where they stopped.

A logical watcher is a chain of Watch streams: when one ends, the next asks for what comes after the last
event seen, from whichever member it is to talk to.  That it then gets exactly the rest is one of etcd's
promises.
"""

from __future__ import annotations

import attrs
import trio

from chaos.client import CallError, Client
from chaos.history import Delivery, Recorder, Watch, WatchEnd
from chaos.model import DELETE, PUT, WHOLE
from chaos.translate import to_event
from etcdpb import rpc_pb2
from rusd.grpc import StatusError
from rusd.net import ClientStream

_PATH = "/etcdserverpb.Watch/Watch"
_DROPS = {PUT: rpc_pb2.WatchCreateRequest.NOPUT, DELETE: rpc_pb2.WatchCreateRequest.NODELETE}
_PROGRESS = rpc_pb2.WatchRequest(progress_request=rpc_pb2.WatchProgressRequest()).SerializeToString()
AGAIN_SECONDS = 0.2
CREATE_SECONDS = 10.0


@attrs.define(eq=False)
class Watcher:
    """One logical watcher of ``key`` to ``end``.

    ``next`` is the first revision it has not seen.  For ``nap`` seconds from its creation on each stream is
    left unread, so that the server has to keep what it can't deliver.  With ``bookmarks`` it takes etcd's
    word for it that up to a progress notification's revision there was nothing else.  ``member`` is for a
    client that knows only one.  An ``impatient`` one asks how far a stream is as soon as it has asked for it.
    """

    name: str
    recorder: Recorder
    client: Client
    key: str = WHOLE
    end: str = WHOLE
    next: int = 2
    previous: bool = True
    drop: tuple[str, ...] = ()
    bookmarks: bool = False
    nap: float = 0.0
    impatient: bool = False
    member: int | None = None
    session: int = 0
    _stream: ClientStream | None = None

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            await self.one_stream()
            await trio.sleep(AGAIN_SECONDS)

    async def one_stream(self) -> None:
        """Watch until the stream ends."""
        reason = "cancelled"
        compacted = 0
        try:
            async with await self.client.stream(_PATH) as stream:
                await stream.send(self._create())
                if self.impatient:
                    await stream.send(_PROGRESS)
                self.session += 1
                self.recorder.add(
                    Watch(
                        self.name,
                        self.session,
                        self.client.member if self.member is None else self.member,
                        self.key,
                        self.end,
                        self.next,
                        self.recorder.now(),
                        self.previous,
                        self.drop,
                    )
                )
                self._stream = stream
                try:
                    reason, compacted = await self._read(stream)
                finally:
                    self._stream = None
                    self.recorder.add(
                        WatchEnd(self.name, self.session, self.recorder.now(), reason, compacted)
                    )
        except CallError:
            return  # there was no stream
        if compacted:
            self.next = max(self.next, compacted)
        self.client.disconnect()

    async def ask_progress(self) -> None:
        """Ask the server how far the stream is, if there is one."""
        if self._stream is not None:
            await self._stream.send(_PROGRESS)

    def _create(self) -> bytes:
        create = rpc_pb2.WatchCreateRequest(
            key=self.key.encode(),
            range_end=self.end.encode(),
            start_revision=self.next,
            prev_kv=self.previous,
            progress_notify=True,
            filters=[_DROPS[kind] for kind in self.drop],
        )
        return rpc_pb2.WatchRequest(create_request=create).SerializeToString()

    async def _read(self, stream: ClientStream) -> tuple[str, int]:
        """Write down what comes; returns why nothing more does."""
        created = False
        while True:
            try:
                with trio.fail_after(float("inf") if created else CREATE_SECONDS):
                    payload = await stream.receive()
            except StatusError as error:
                return str(error), 0
            except trio.TooSlowError:
                return "not created in time", 0
            if payload is None:
                return "ended by the server", 0
            message = rpc_pb2.WatchResponse.FromString(payload)
            if message.canceled:
                return message.cancel_reason or "cancelled by the server", message.compact_revision
            if message.created:
                created = True
                await trio.sleep(self.nap)
                continue
            self._take(message)

    def _take(self, message: rpc_pb2.WatchResponse) -> None:
        events = tuple(to_event(event) for event in message.events)
        self.recorder.add(
            Delivery(self.name, self.session, self.recorder.now(), message.header.revision, events)
        )
        if events:
            self.next = max(self.next, events[-1].kv.mod + 1)
        elif self.bookmarks:
            self.next = max(self.next, message.header.revision + 1)
