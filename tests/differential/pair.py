"""The two servers of a differential run, and the comparison of what they say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message

from etcdpb import rpc_pb2
from tests.differential.known_differences import (
    HASH_OF_NOTHING,
    UNSENDABLE,
    Observation,
    RememberedHash,
    explain,
)
from tests.differential.normalise import normalise
from tests.differential.steps import FROM_KEY, STREAMS, View
from tests.differential.watchers import RecordedStream
from tests.support.client import Answer, Client, Duplex

# 3.6 answers HashKV from memory for the revisions of that many last compactions.
REMEMBERED_HASHES = 10


class DifferenceError(AssertionError):
    """The two servers differ, or one of them breaks a rule by itself."""


class Side:
    """One of the two servers: its client and all its streams."""

    def __init__(self, target: str) -> None:
        self.client = Client(target)
        self.version = self.client.ok("Maintenance/Status", rpc_pb2.StatusRequest()).version
        self.streams = [RecordedStream(self.client) for _ in range(STREAMS)]
        self.oracle_stream = RecordedStream(self.client)
        everything = rpc_pb2.WatchCreateRequest(key=FROM_KEY, range_end=FROM_KEY, prev_kv=True)
        self.oracle = self.oracle_stream.create_logged(everything)
        self._kept_alive: list[Any] = []
        self._keep_alive: Duplex[Any] = Duplex(self.client, "Lease/LeaseKeepAlive", self._kept_alive.append)

    @property
    def is_3_6(self) -> bool:
        """Whether this is etcd 3.6, or says so."""
        return tuple(int(part) for part in self.version.split(".")[:2]) >= (3, 6)

    def keep_alive(self, request: rpc_pb2.LeaseKeepAliveRequest) -> Answer:
        """One question and its answer on a stream that lasts."""
        count = len(self._kept_alive)
        self._keep_alive.send(request)
        self._keep_alive.wait(lambda: len(self._kept_alive) > count, "an answer")
        return Answer("OK", "", self._kept_alive[count])

    def close(self) -> None:
        """End all streams and the channel."""
        for stream in (*self.streams, self.oracle_stream):
            stream.close()
        self._keep_alive.close()
        self.client.close()


class ServerPair:
    """The reference and the server under test; raises :class:`DifferenceError` where their answers differ.

    ``view`` is what the reference's answers have shown, ``fired`` counts the known differences met.
    """

    def __init__(self, reference: str, actual: str) -> None:
        self.reference, self.actual = Side(reference), Side(actual)
        self.sides = (self.reference, self.actual)
        self.view = View()
        self.fired: Counter[str] = Counter()
        self._remembered: dict[int, RememberedHash] = {}
        self._removal_pending = False

    def close(self) -> None:
        """End everything that is open on both servers."""
        for side in self.sides:
            side.close()

    def call(self, name: str, request: Message) -> Answer:
        """Make a unary call on both; returns the reference's answer."""
        return self.both(name, request, lambda side: side.client.call(name, request))

    def both(self, what: str, request: Message | None, ask: Callable[[Side], Answer]) -> Answer:
        """Ask the reference, then the other, compare, and return the reference's answer."""
        reference, actual = (self._ask(side, request, ask) for side in self.sides)
        self.compare(what, request, reference, actual)
        if reference.ok:
            header = getattr(reference.message, "header", None)
            self.view.revision = max(self.view.revision, header.revision if header is not None else 0)
        return reference

    def _ask(self, side: Side, request: Message | None, ask: Callable[[Side], Answer]) -> Answer:
        if request is not None and not side.is_3_6:
            for row in UNSENDABLE:
                if row.applies(request):
                    self.fired[row.name] += 1
                    return row.answer
        return ask(side)

    def compare(
        self,
        what: str,
        request: Message | None,
        reference: Answer,
        actual: Answer,
        compacted: int | None = None,
    ) -> None:
        """Compare two answers; ``compacted`` is the compacted revision that mattered, if not the last one."""
        wanted, got = normalise(request, reference), normalise(request, actual)
        if wanted == got:
            return
        view = self.view
        mattered = view.compacted if compacted is None else compacted
        observation = Observation(what, request, wanted, got, view.revision, mattered, self._remembered)
        if (row := explain(observation)) is not None:
            self.fired[row.name] += 1
            return
        asked = "" if request is None else f" {{{' '.join(str(request).split())[:2000]}}}"
        raise DifferenceError(
            f"{what}{asked}\n"
            f"at revision {view.revision}, compacted {view.compacted}\n"
            f"{self.reference.version} says {str(wanted)[:4000]}\n"
            f"{self.actual.version} says {str(got)[:4000]}"
        )

    # -- compaction and hashes ------------------------------------------------

    def compact(self, request: rpc_pb2.CompactionRequest) -> Answer:
        """Compact both, after comparing the hash at that revision, which 3.6 will remember."""
        revision = request.revision
        before, left = None, 0
        if self.would_compact(request):
            self.finish_removal()
            before = self.call("Maintenance/HashKV", rpc_pb2.HashKVRequest(revision=revision))
            everything = self.reference.client.get(FROM_KEY, FROM_KEY, count_only=True, revision=revision)
            left = everything.count
        answer = self.call("KV/Compact", request)
        if answer.ok:
            if before is not None and before.ok:
                self._remember_hash(revision, before.message, left=left)
            self.view.compacted = revision
            self._removal_pending = not request.physical
        return answer

    def would_compact(self, request: rpc_pb2.CompactionRequest) -> bool:
        """Whether the revision of a Compact is one that can be compacted."""
        return self.view.compacted < request.revision <= self.view.revision

    def finish_removal(self) -> None:
        """Wait until a running compaction has removed what it had to: one more is only refused after that."""
        if self._removal_pending:
            self._removal_pending = False
            again = rpc_pb2.CompactionRequest(revision=self.view.compacted, physical=True)
            self.call("KV/Compact", again)

    def _remember_hash(self, revision: int, before: rpc_pb2.HashKVResponse, *, left: int) -> None:
        """Note what 3.6 will answer to HashKV at the revision of a compaction; ``left``: keys alive then."""
        number = before.hash if left else None
        if revision == 0:
            number = HASH_OF_NOTHING
        self._remembered[revision] = RememberedHash(number, before.compact_revision)
        self._remembered = dict(list(self._remembered.items())[-REMEMBERED_HASHES:])
