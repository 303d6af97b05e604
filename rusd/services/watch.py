"""The Watch service: one bidirectional stream carries many watches.

Events reach a client in two ways.  Right after a slice of entries was applied,
:meth:`WatchService.pump` gives every stream that has something new one turn,
so that events leave with the answers of the same slice; where there are very many,
the rest have theirs in the next passes of the event loop.  Whatever then remains
(history to catch up with, a client that was slow) is sent by the stream's own
task, a slice at a time, as the client takes it.

What goes wrong with one stream ends that stream.  The first way runs in the apply
loop, or in the handler of another stream, so nothing gets out of it there.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import trio

from etcdpb import rpc_pb2
from rusd.grpc import Call, Code, EndOfRequests, Registry, Requests, Responses, StatusError
from rusd.signal import Signal

if TYPE_CHECKING:
    from rusd.services.context import Context

PULL_BYTES = 64 * 1024
"""What a stream sends in one turn, about."""

RESPONSE_OVERHEAD_BYTES = 512 * 1024
"""Added to ``max-request-bytes`` for the size from which on fragments are made."""

PUMPED_AT_ONCE = 200
"""Streams that have their turn in one turn of the event loop: some milliseconds."""

PROGRESS_JITTER = 0.1
"""Progress intervals are up to this fraction longer, so that streams don't all report at once."""


class _Client:
    """One open stream."""

    def __init__(self, service: WatchService, context: Context, responses: Responses) -> None:
        self._service = service
        self._responses = responses
        self._output = Signal()  # there may be something to send
        self._uncongested = Signal()
        self._failure: StatusError | None = None  # how the stream's own task shall end it
        self._log = context.log
        self.next_progress = 0.0
        self.stream = context.hub.open_stream(
            self._woken,
            header_prefix=context.header.at,
            max_response_bytes=context.limits.max_request_bytes + RESPONSE_OVERHEAD_BYTES,
        )
        responses.on_writable(self._output.set)

    def _woken(self) -> None:
        self._service.awake.append(self)

    def pump(self) -> None:
        """Send one slice, if the client takes it.  Raises nothing."""
        if self._responses.writable:
            self._send_slice()
        if self.stream.has_output:
            self._output.set()

    def tick_progress(self) -> None:
        """Periodic progress is due.  Raises nothing."""
        try:
            self.stream.tick_progress()
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self._log.error("watch stream failed", error=error)
        self._failure = StatusError(Code.UNKNOWN, f"unexpected error in watch stream: {type(error).__name__}")
        self._output.set()

    async def send_rest(self) -> None:
        """Send what the pump had to leave, as the client takes it.  Runs until cancelled.

        Raises :class:`StatusError` once the stream has failed, here or in the pump.
        """
        while self._failure is None:
            await self._output.wait()
            while self._failure is None and self._responses.writable and self.stream.has_output:
                self._send_slice()
                await trio.lowlevel.checkpoint()
        raise self._failure

    async def read_requests(self, requests: Requests) -> None:
        """Carry out the client's requests; returns when it has sent its last."""
        while True:
            try:
                request = await requests.receive()
            except EndOfRequests:
                return
            self._carry_out(request)
            self._service.pump()
            while self.stream.congested:  # it asks faster than it reads the answers
                await self._uncongested.wait()

    def _send_slice(self) -> None:
        if self._failure is not None:  # what comes now would come after a gap
            return
        try:
            for message in self.stream.pull(PULL_BYTES):
                if isinstance(message, bytes):
                    self._responses.send_nowait(message)
                else:
                    self._responses.send_parts_nowait(message)
        except Exception as error:
            self._fail(error)
        if not self.stream.congested:
            self._uncongested.set()

    def _carry_out(self, request: rpc_pb2.WatchRequest) -> None:
        match request.WhichOneof("request_union"):
            case "create_request":
                create = request.create_request
                self.stream.create(
                    create.key,
                    create.range_end,
                    create.start_revision,
                    progress_notify=create.progress_notify,
                    filters=create.filters,
                    prev_kv=create.prev_kv,
                    watch_id=create.watch_id,
                    fragment=create.fragment,
                )
            case "cancel_request":
                self.stream.cancel(request.cancel_request.watch_id)
            case "progress_request":
                self.stream.request_progress()


class WatchService:
    """etcdserverpb.Watch.  ``progress_interval`` is in seconds."""

    def __init__(self, context: Context, *, progress_interval: float) -> None:
        self._context = context
        self._progress_interval = progress_interval
        self.awake: list[_Client] = []
        self._late: deque[_Client] = deque()  # awake, but the turn was full
        self._any_late = Signal()
        self._clients: set[_Client] = set()

    def register(self, registry: Registry) -> None:
        """Make the service's methods known."""
        registry.stream("/etcdserverpb.Watch/Watch", rpc_pb2.WatchRequest, self.watch)

    async def watch(self, _call: Call, requests: Requests, responses: Responses) -> None:
        """Serve one stream until its client goes.  That it has sent its last request does not end it."""
        client = _Client(self, self._context, responses)
        client.next_progress = self._context.clock.monotonic() + self._jittered_interval()
        self._clients.add(client)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.send_rest)
                await client.read_requests(requests)
        finally:
            self._clients.discard(client)
            client.stream.close()

    def pump(self) -> None:
        """Give each stream that has something new to say one turn."""
        awake, self.awake = self.awake, []
        if len(awake) > PUMPED_AT_ONCE:
            self._late.extend(awake[PUMPED_AT_ONCE:])
            self._any_late.set()
            del awake[PUMPED_AT_ONCE:]
        for client in awake:
            client.pump()

    async def pump_late(self) -> None:
        """Give the streams that :meth:`pump` had no room for their turns.  Runs until cancelled."""
        while True:
            await self._any_late.wait()
            while self._late:
                for _ in range(min(PUMPED_AT_ONCE, len(self._late))):
                    self._late.popleft().pump()
                await trio.lowlevel.checkpoint()

    # -- periodic progress --------------------------------------------------------------

    async def report_progress(self) -> None:
        """Tell idle watchers that asked for it how far they are, now and then.  Runs until cancelled."""
        clock = self._context.clock
        while True:
            await clock.sleep_until(self._next_tick())
            now = clock.monotonic()
            for client in list(self._clients):
                if client.next_progress <= now:
                    client.next_progress = now + self._jittered_interval()
                    client.tick_progress()
            self.pump()

    def _next_tick(self) -> float:
        # A stream that opens meanwhile is looked at in time: its first tick is a whole interval away.
        latest = self._context.clock.monotonic() + self._progress_interval
        return min((client.next_progress for client in self._clients), default=latest)

    def _jittered_interval(self) -> float:
        return self._progress_interval * (1.0 + PROGRESS_JITTER * self._context.random.random())
