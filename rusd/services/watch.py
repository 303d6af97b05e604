"""The Watch service: one bidirectional stream carries many watches.

A stream's own task reads what the client asks for.  What it is sent leaves in *turns*: who
has something to say is queued, and :meth:`WatchService.pump` gives turns right after a slice
of entries was applied, so that events leave with the answers of the same slice.  Where there
is more to send than fits into one turn of the event loop (thousands of watchers, history to
catch up with), the rest have theirs in its next passes, in order.  A client that is slow to
read is queued again when it has made room.

What goes wrong with one stream ends that stream.  Turns are given in the apply loop, or in
the handler of another stream, so nothing gets out of them.
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

PUMP_MICROSECONDS = 4_000
"""For how long, about, streams are given turns before the event loop goes on."""

HISTORY_MICROSECONDS = 2_000
"""What a turn takes, about, in which a stream reads history."""

PROGRESS_JITTER = 0.1
"""Progress intervals are up to this fraction longer, so that streams don't all report at once."""


class _Client:
    """One open stream."""

    def __init__(self, service: WatchService, context: Context, responses: Responses) -> None:
        self._service = service
        self._responses = responses
        self._uncongested = Signal()
        self._reading = trio.CancelScope()
        self._failure: StatusError | None = None
        self._log = context.log
        self._queued = False  # once at most, or it would have several turns to the others' one
        self.next_progress = 0.0
        self.stream = context.hub.open_stream(
            self._queue_up,
            header_prefix=context.header.at,
            max_response_bytes=context.limits.max_request_bytes + RESPONSE_OVERHEAD_BYTES,
        )
        responses.on_writable(self._writable_again)

    async def run(self, requests: Requests) -> None:
        """Serve the stream until its client goes.  That it has sent its last request does not end it.

        Raises :class:`StatusError` once the stream has failed, here or in a turn that another gave it.
        """
        with self._reading:
            await self._read_requests(requests)
            await trio.sleep_forever()
        if self._failure is not None:
            raise self._failure

    async def _read_requests(self, requests: Requests) -> None:
        while True:
            try:
                request = await requests.receive()
            except EndOfRequests:
                return
            self._carry_out(request)
            self._service.pump()
            while self.stream.congested:  # it asks faster than it reads the answers
                await self._uncongested.wait()

    def take_turn(self) -> int:
        """Send something, if the client takes it, and queue up again if there is more.

        Returns how many microseconds that took, about.  Raises nothing.
        """
        self._queued = False
        stream = self.stream
        if self._failure is not None or not self._responses.writable:
            return 1  # a slow client is queued when it is writable again
        cost = HISTORY_MICROSECONDS if stream.reads_history else 5
        try:
            messages = stream.pull(PULL_BYTES)
            if messages:
                self._responses.send_many_nowait(messages)
        except Exception as error:
            self._fail(error)
            return cost
        if stream.woken:
            self._queue_up()
        if not stream.congested:
            self._uncongested.set()
        return cost + 2 * len(messages)

    def _writable_again(self) -> None:
        if self.stream.woken:
            self._queue_up()
            self._service.any_queued.set()

    def _queue_up(self) -> None:
        if not self._queued:
            self._queued = True
            self._service.queue.append(self)

    def tick_progress(self) -> None:
        """Periodic progress is due.  Raises nothing."""
        try:
            self.stream.tick_progress()
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        # What would be sent from now on would come after a gap.
        self._log.error("watch stream failed", error=error)
        self._failure = StatusError(Code.UNKNOWN, f"unexpected error in watch stream: {type(error).__name__}")
        self._reading.cancel()

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
        self.queue: deque[_Client] = deque()  # whose turn is next
        self.any_queued = Signal()
        self._rest_is_due = False  # turns wait for the next pass of the event loop
        self._clients: set[_Client] = set()

    def register(self, registry: Registry) -> None:
        """Make the service's methods known."""
        registry.stream("/etcdserverpb.Watch/Watch", rpc_pb2.WatchRequest, self.watch)

    async def watch(self, _call: Call, requests: Requests, responses: Responses) -> None:
        """Serve one stream until its client goes."""
        client = _Client(self, self._context, responses)
        client.next_progress = self._context.clock.monotonic() + self._jittered_interval()
        self._clients.add(client)
        try:
            await client.run(requests)
        finally:
            self._clients.discard(client)
            client.stream.close()

    def pump(self) -> None:
        """Give turns to streams that have something to say: some milliseconds in a pass of the event loop."""
        if not self._rest_is_due:
            self.give_turns()

    async def pump_rest(self) -> None:
        """Give the turns that :meth:`pump` had no time for.  Runs until cancelled."""
        while True:
            await self.any_queued.wait()
            self.give_turns()

    def give_turns(self) -> None:
        """Give the turns of one pass."""
        queue = self.queue
        left = PUMP_MICROSECONDS
        while queue and left > 0:
            left -= queue.popleft().take_turn()
        self._rest_is_due = bool(queue)
        if queue:
            self.any_queued.set()

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
