"""Clients that watch: they lose their server now and then, go on at another, and may miss nothing.

What a watcher hears is compared with the model as it arrives: ordered, unique,
complete, whole per revision; a progress notification may only tell of a revision
when everything up to it was delivered; after a compaction it may only miss what
was compacted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from etcdpb import rpc_pb2
from rusd.watch import WatchStream
from tests.simulation import properties
from tests.simulation.model import Change, Value
from tests.simulation.properties import Violation

if TYPE_CHECKING:
    from etcdpb import kv_pb2
    from tests.simulation.process import Process
    from tests.simulation.world import World

RANGES = ((b"\0", b"\0"), (b"k0", b""), (b"k1", b"k4"), (b"k3", b"\0"))


class Watcher:
    """One watch, resumed for as long as the world stands.

    It has heard of everything before ``next``, 0 if it has not begun.  ``patience`` is the most
    milliseconds between two looks at what there is for it: a large one starves the stream.
    ``at`` is the only host it knows, 0 for all.
    """

    def __init__(self, world: World, number: int, *, start: int, patience: int, at: int = 0) -> None:
        self._world = world
        self._at = at
        self._name = f"watcher {number}"
        self._start, self._end = RANGES[number % len(RANGES)]
        self._prev_kv = number % 3 == 0
        self._patience = patience
        self._chance = world.chance.stream(self._name)
        self._stream: WatchStream | None = None
        self._process: Process | None = None
        self._turn = 0
        self.next = start
        self._look_later()

    def _look_later(self) -> None:
        turn = self._turn
        self._world.scheduler.after(self._chance.randint(5, self._patience), lambda: self._look(turn))

    def _look(self, turn: int) -> None:
        if turn != self._turn:
            return
        process = self._process
        if process is None or not process.alive:
            self._connect()
        elif not process.serving or (not self._at and self._chance.random() < 0.02):
            self._leave(process)
        elif process.resumes_at <= self._world.scheduler.now:
            process.do(self._take)
        self._look_later()

    def hurry(self) -> None:
        """Be patient no more."""
        self._patience = 40
        self._turn += 1  # the look that was planned, perhaps for much later, is not taken
        self._look_later()

    @property
    def is_up_to_date(self) -> bool:
        """Whether nothing that concerns it is still to come."""
        model = self._world.model
        return self.next > 0 and not model.events(self._start, self._end, self.next, model.revision)

    # -- connections --------------------------------------------------------------------

    def _connect(self) -> None:
        self._process = self._stream = None
        process = self._world.hosts[self._at or self._chance.choice(list(self._world.hosts))].process
        if process is not None and process.serving and process.resumes_at <= self._world.scheduler.now:
            process.do(lambda: self._open(process))

    def _open(self, process: Process) -> None:
        self._process = process
        self._stream = process.hub.open_stream(lambda: None, header_prefix=_header)
        self._stream.create(
            self._start,
            self._end,
            self.next,
            prev_kv=self._prev_kv,
            progress_notify=self._chance.random() < 0.5,
        )

    def _leave(self, process: Process) -> None:
        assert self._stream is not None
        self._stream.close()
        self._process = self._stream = None
        self._world.coverage["watches moved"] += 1

    # -- what comes -----------------------------------------------------------------------

    def _take(self) -> None:
        stream, process = self._stream, self._process
        if stream is None or process is None:
            return
        action = self._chance.random()
        if action < 0.1:
            stream.request_progress()
        elif action < 0.2:
            stream.tick_progress()
        if not stream.has_output:
            return
        for message in stream.pull(self._chance.choice((1, 300, 10_000))):
            process.effect()
            self._hear(process, rpc_pb2.WatchResponse.FromString(message))
            if self._stream is not stream:
                return

    def _hear(self, process: Process, response: rpc_pb2.WatchResponse) -> None:
        if response.created:
            self.next = self.next or response.header.revision + 1
        elif response.canceled:
            self._overtaken(process, response.compact_revision)
        elif response.events:
            self._hear_events(process, response)
        else:
            self._hear_progress(process, response.header.revision)

    def _overtaken(self, process: Process, compacted: int) -> None:
        if not self.next < compacted <= self._world.model.compacted:
            text = f"{self._name} is cancelled by {process}, compacted {compacted}, at {self.next}"
            raise Violation(properties.WATCH, text)
        self._world.coverage["watches overtaken"] += 1
        self.next = compacted
        self._leave(process)

    def _hear_events(self, process: Process, response: rpc_pb2.WatchResponse) -> None:
        model = self._world.model
        last = response.events[-1].kv.mod_revision
        found = [(event.kv.mod_revision, _change(event)) for event in response.events]
        expected = model.events(self._start, self._end, self.next, last)
        if found != expected or response.header.revision < last:
            text = f"{self._name} at {self.next} hears from {process} {found}, it should be {expected}"
            raise Violation(properties.WATCH, text)
        if self._prev_kv:
            self._check_previous(process, response)
        self._world.coverage["watch events"] += len(found)
        self.next = last + 1

    def _check_previous(self, process: Process, response: rpc_pb2.WatchResponse) -> None:
        for event in response.events:
            if not event.HasField("prev_kv"):
                continue  # compacted, or there was none
            key = event.kv.key
            before = dict(self._world.model.range(key, b"", event.kv.mod_revision - 1)).get(key)
            if _value(event.prev_kv) != before:
                text = f"{self._name} hears from {process} of {event}, before it was {before}"
                raise Violation(properties.WATCH, text)

    def _hear_progress(self, process: Process, revision: int) -> None:
        missing = self._world.model.events(self._start, self._end, self.next, revision)
        if revision < self.next - 1:
            text = f"{self._name} has heard of everything to {self.next - 1}, or begins there"
            raise Violation(properties.WATCH, f"{text}; {process} tells of progress to {revision}")
        if missing:
            text = f"{self._name} at {self.next} hears from {process} of progress to {revision}"
            raise Violation(properties.WATCH, f"{text}, but not of {missing}")
        self._world.coverage["progress notifications"] += 1
        self.next = max(self.next, revision + 1)


def _header(revision: int) -> bytes:
    return rpc_pb2.WatchResponse(header=rpc_pb2.ResponseHeader(revision=revision)).SerializeToString()


def _change(event: kv_pb2.Event) -> Change:
    return event.kv.key, _value(event.kv) if event.type == 0 else None


def _value(kv: kv_pb2.KeyValue) -> Value:
    return Value(kv.create_revision, kv.mod_revision, kv.version, kv.value, kv.lease)
