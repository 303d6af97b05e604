"""A replica's core and its Raft log, driven by hand."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.message import Message

from etcdpb import rpc_pb2
from rusd.mvcc import CompactedError
from rusd.raft import Configuration, Entry, EntryType, HardState, Log, Node, bootstrap
from rusd.replica import Core
from rusd.state import Kind
from rusd.steps import Steps, Turn, start

MEMBER = 7


class Scripted:
    """A state machine that notes what it applies; a put of ``refuse`` is refused, one of ``bug`` raises.

    One whose key begins with ``slow`` takes four steps.
    """

    def __init__(self) -> None:
        self.applied: list[bytes] = []
        self.configurations: list[bytes] = []

    def apply(self, kind: Kind, request: Message, turn: Turn) -> object:
        assert kind is Kind.PUT
        key: bytes = request.key  # type: ignore[attr-defined]
        if key == b"refuse":
            raise CompactedError(1, 2)
        if key.startswith(b"slow"):
            return start(self._slow(key))
        if key == b"bug":
            raise KeyError(key)
        self.applied.append(key)
        return key

    def _slow(self, key: bytes) -> Steps[bytes]:
        for _ in range(3):
            yield
        if key == b"slow refuse":
            raise CompactedError(1, 2)
        self.applied.append(key)
        return key

    def apply_configuration(self, data: bytes) -> object:
        self.configurations.append(data)
        return None


class Caller:
    """A waiter that keeps what it is told, and fails if it is told twice."""

    def __init__(self) -> None:
        self.outcome: tuple[object, Exception | None] | None = None

    def __call__(self, result: object, error: Exception | None) -> None:
        assert self.outcome is None, "settled twice"
        self.outcome = (result, error)

    @property
    def error(self) -> Exception | None:
        return self.outcome[1] if self.outcome else None


class Replica:
    """A core with a log that a test persists when it likes."""

    def __init__(self, voters: tuple[int, ...] = (MEMBER,), *, boot: int = 1, entries: Any = None) -> None:
        hard_state, first = bootstrap([(voter, b"member %d" % voter) for voter in voters])
        if entries is not None:
            hard_state = HardState(entries[-1].term, 0, entries[-1].index)
        self.machine = Scripted()
        self.node = Node(
            MEMBER,
            Log(first if entries is None else entries, base_index=0, base_term=0),
            hard_state,
            Configuration(),
            applied=0,
            random=random.Random(1),
        )
        self.core = Core(self.node, self.machine, member=MEMBER, boot=boot)
        self.now = 100.0

    def lead(self) -> Replica:
        self.node.campaign()
        self.run()
        return self

    def put(self, key: bytes, *, term: int = 0) -> Caller:
        caller = Caller()
        self.core.propose(Kind.PUT, rpc_pb2.PutRequest(key=key), caller, self.now, term=term)
        return caller

    def read(self) -> Caller | None:
        """None if the state may be read at once."""
        caller = Caller()
        return None if self.core.read_index(caller) else caller

    def persist(self) -> None:
        """Carry out all effects but applying."""
        while (ready := self.core.ready()) is not None:
            if ready.must_sync:
                self.core.persisted(ready)

    def run(self) -> None:
        """Carry out everything there is to do."""
        self.persist()
        while self.core.has_work:
            self.core.apply(1000)
            self.persist()
        self.core.check()

    def tick(self, seconds: float, timeout: float = 7.0) -> None:
        self.now += seconds
        self.core.tick(self.now, timeout)


@pytest.fixture
def make() -> Callable[..., Replica]:
    return Replica


@pytest.fixture
def entry() -> Callable[[int, int, bytes], Entry]:
    return lambda term, index, data: Entry(term, index, EntryType.NORMAL, data)
