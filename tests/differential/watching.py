"""The watchers of a differential run: created, followed and ended on both servers, and compared.

What arrives depends on how fast a server's background work is, unless the run waits for it: a watcher that is
still catching up when the history under it is compacted may be cancelled or not.  :meth:`Watching.settle` and
:meth:`Watching.catch_up` do that waiting.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from etcdpb import rpc_pb2
from tests.differential.known_differences import NEGATIVE_START
from tests.differential.pair import DifferenceError, ServerPair, Side
from tests.differential.steps import FROM_KEY
from tests.differential.watchers import Log, RecordedStream, Watcher, summary
from tests.support.client import Answer

SETTLE_SECONDS = 60.0
PROGRESS_RETRY_SECONDS = 0.3
PROGRESS_RETRIES = 50
FENCE_KEY = b"\xfe only fences watch this"


class Watching:
    """All watchers of a run."""

    def __init__(self, pair: ServerPair) -> None:
        self._pair = pair
        self._watchers: list[Watcher] = []
        self._oracle_read = 0
        self._catching_up: set[int] = set()

    # -- steps ----------------------------------------------------------------

    def create(self, stream: int, request: rpc_pb2.WatchCreateRequest) -> None:
        """Create a watcher on both and compare the first answers."""
        view = self._pair.view
        if 0 < request.start_revision <= view.compacted:
            self._pair.finish_removal()
        reference, actual = (self._create_on(side, stream, request) for side in self._pair.sides)
        self._pair.compare("Watch, created", request, _answer(reference.created), _answer(actual.created))
        if reference.created.canceled or actual.created.canceled:
            return
        first = request.start_revision or view.revision + 1
        watcher = Watcher(stream, request, reference, actual, first, view.compacted)
        if not watcher.overtaken:
            watcher.expected = [event for event in self._oracle_events() if watcher.wants(event)]
            if request.start_revision <= view.revision:
                self._catching_up.add(stream)
        self._watchers.append(watcher)

    def _create_on(self, side: Side, stream: int, request: rpc_pb2.WatchCreateRequest) -> Log:
        if not side.is_3_6 and NEGATIVE_START.applies(request):
            self._pair.fired[NEGATIVE_START.name] += 1
            response = rpc_pb2.WatchResponse()
            response.CopyFrom(NEGATIVE_START.answer.message)
            response.header.CopyFrom(side.oracle.created.header)
            response.header.revision = self._pair.view.revision
            return Log(response)
        return side.streams[stream].create_logged(request)

    def cancel(self, stream: int, watch_id: int) -> None:
        """Cancel a watcher, or an id that nobody has, which isn't answered."""
        self.settle()
        streams = [side.streams[stream] for side in self._pair.sides]
        known = all(one.is_open(watch_id) for one in streams)
        told = [len(one.stray) for one in streams]
        for one in streams:
            one.cancel(watch_id)
        for watcher in self._watchers:
            if watcher.stream != stream or watcher.watch_id != watch_id or watcher.released:
                continue
            watcher.released = True
            if known and not watcher.ended:
                self._wait_for_end(watcher, "a cancelled response")
            elif watcher.overtaken:
                # It has ended already, by a compaction, and is told so again.
                for one, count in zip(streams, told, strict=True):
                    one.wait(partial(_longer, one.stray, count), "a second end")

    def progress(self, stream: int) -> None:
        """Compare how a manual progress request is answered, or that it isn't."""
        self.settle()
        # The rule of 3.6; 3.5.1 answers always.  A watcher ended by a compaction blocks until released.
        mine = [watcher for watcher in self._watchers if watcher.stream == stream]
        still_open = [watcher for watcher in mine if not watcher.ended]
        blocked = any(watcher.overtaken and not watcher.released for watcher in mine)
        revision = self._pair.view.revision
        reached = all(watcher.request.start_revision <= revision for watcher in still_open)
        if still_open and reached and not blocked:
            self._pair.both("Watch, progress", None, lambda side: _ask_progress(side.streams[stream]))
        else:
            in_vain = "Watch, progress in vain"
            self._pair.both(in_vain, None, lambda side: _ask_progress_in_vain(side.streams[stream]))

    # -- waiting --------------------------------------------------------------

    def settle(self) -> None:
        """Wait until every watcher has got every event up to the current revision."""
        for watcher in self._watchers:
            if watcher.overtaken and not watcher.ended:
                self._wait_for_end(watcher, "the end of a watcher that starts in the compacted past")
        news = self._oracle_events()[self._oracle_read :]
        self._oracle_read += len(news)
        for watcher in self._watchers:
            if watcher.ended:
                continue
            known = watcher.expected[-1].kv.mod_revision if watcher.expected else 0
            watcher.expected += [e for e in news if e.kv.mod_revision > known and watcher.wants(e)]
            for side, log in self._logs(watcher):
                count = len(_expected(side, watcher))
                self._wait(side, watcher, log, partial(log.holds, count), "events")

    def catch_up(self) -> None:
        """Wait until watchers that read history have read all of it, before a compaction overtakes them.

        One that found no event shows nothing of that.  But servers serve such watchers together or in turn:
        so one more on the same stream, whose event is certain, and when that came the others are done.
        """
        view = self._pair.view
        if view.revision <= max(view.compacted, 1):
            return
        everything = rpc_pb2.WatchCreateRequest(key=FROM_KEY, range_end=FROM_KEY)
        everything.start_revision = view.revision
        numbers = sorted(self._catching_up)
        self._catching_up.clear()
        streams = [side.streams[number] for side in self._pair.sides for number in numbers]
        for stream, log in [(stream, stream.create_logged(everything)) for stream in streams]:
            stream.wait(partial(log.holds, 1), "an event from history", SETTLE_SECONDS)
            stream.cancel(log.created.watch_id)
            stream.wait(partial(log.has_ended), "the end of a watcher")

    def _oracle_events(self) -> Sequence[Any]:
        """Every event there has been; waits until both oracles are at the current revision."""
        revision = self._pair.view.revision
        for side in self._pair.sides:
            try:
                side.oracle_stream.wait(
                    partial(side.oracle.is_at, revision), f"revision {revision} at the oracle", SETTLE_SECONDS
                )
            except TimeoutError as error:
                reached = side.oracle.last_revision
                raise DifferenceError(f"{side.version}: {error}; it is at {reached}") from error
        return self._pair.reference.oracle.events

    def _wait_for_end(self, watcher: Watcher, what: str) -> None:
        for side, log in self._logs(watcher):
            self._wait(side, watcher, log, log.has_ended, what)
        watcher.ended = True
        reference, actual = (_answer(log.ending) for _, log in self._logs(watcher))
        self._pair.compare("Watch, ended", watcher.request, reference, actual)

    def _wait(self, side: Side, watcher: Watcher, log: Log, condition: Callable[[], bool], what: str) -> None:
        try:
            side.streams[watcher.stream].wait(condition, what, SETTLE_SECONDS)
        except TimeoutError as error:
            raise DifferenceError(
                f"{side.version}, {watcher.describe()}: {error}\n{_expected_and_got(side, watcher, log)}"
            ) from error

    # -- comparing ------------------------------------------------------------

    def check(self) -> None:
        """At the end: every watcher's whole log, against the other server's and against the oracle."""
        self.settle()
        reference, actual = (side.oracle for side in self._pair.sides)
        self._pair.compare("Watch, events of the oracle", None, _events(reference), _events(actual))
        for watcher in self._watchers:
            for side, log in self._logs(watcher):
                faults = list(log.faults)
                if [summary(event) for event in log.events] != _expected(side, watcher):
                    faults.append(_expected_and_got(side, watcher, log))
                if faults:
                    raise DifferenceError(f"{side.version}, {watcher.describe()}: " + "; ".join(faults))
            what = f"Watch, events of {watcher.describe()}"
            pair = _events(watcher.reference), _events(watcher.actual)
            self._pair.compare(what, watcher.request, *pair, compacted=watcher.compacted_at_creation)
        for number, stream in enumerate(self._pair.reference.streams):
            other = self._pair.actual.streams[number]
            for one in (stream, other):
                _ask_progress_in_vain(one)
            if stream.stray != other.stray:
                raise DifferenceError(f"nobody's responses: {stream.stray} and {other.stray}")

    def _logs(self, watcher: Watcher) -> list[tuple[Side, Log]]:
        return list(zip(self._pair.sides, (watcher.reference, watcher.actual), strict=True))


def _expected(side: Side, watcher: Watcher) -> list[tuple[str, bytes, int]]:
    """What a watcher must have got from one server."""
    expected = [summary(event) for event in watcher.expected]
    if watcher.on_compacted_revision and not side.is_3_6:
        lost = ("DELETE", watcher.compacted_at_creation)
        return [entry for entry in expected if (entry[0], entry[2]) != lost]
    return expected


def _expected_and_got(side: Side, watcher: Watcher, log: Log) -> str:
    return f"expected {_expected(side, watcher)}\ngot      {[summary(event) for event in log.events]}"


def _ask_progress(stream: RecordedStream) -> Answer:
    """Ask until answered: a watcher is only counted as synced some time after its last old event."""
    count = len(stream.progress_answers)
    for _ in range(PROGRESS_RETRIES):
        stream.progress()
        with contextlib.suppress(TimeoutError):
            stream.wait(partial(_longer, stream.progress_answers, count), "progress", PROGRESS_RETRY_SECONDS)
            return _answer(stream.progress_answers[-1])
    return Answer("silence", "")


def _ask_progress_in_vain(stream: RecordedStream) -> Answer:
    """Ask once, then do something that is certainly answered, and see what had come before that."""
    count = len(stream.progress_answers)
    stream.progress()
    fence = stream.create_logged(rpc_pb2.WatchCreateRequest(key=FENCE_KEY))
    stream.cancel(fence.created.watch_id)
    stream.wait(fence.has_ended, "the end of the fence")
    answers = stream.progress_answers[count:]
    return _answer(answers[-1]) if answers else Answer("silence", "")


def _longer(values: Sequence[object], count: int) -> bool:
    return len(values) > count


def _answer(message: object) -> Answer:
    return Answer("OK", "", message)


def _events(log: Log) -> Answer:
    return _answer(rpc_pb2.WatchResponse(events=log.events))
