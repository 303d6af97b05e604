"""Histories that are right, made by playing requests on the model, and ways to make them wrong.

Each request takes effect at a tick of its own; it is sent some time before that and answered some time after,
so that requests overlap as much as a test likes.  Nothing here knows how the checkers work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import attrs
from hypothesis import strategies as st

from chaos.history import FAILED, OK, UNKNOWN, Delivery, End, Hash, History, Operation, Record, Run, Watch
from chaos.model import (
    WHOLE,
    Answer,
    Compare,
    Delete,
    Event,
    Grant,
    KeepAlive,
    KeyRequest,
    Lock,
    Put,
    Range,
    Request,
    Revoke,
    Store,
    Txn,
    Unlock,
    as_txn,
)

SHORT = 0.4
"""Sent so long before and answered so long after its tick, a request overlaps with no other."""


@attrs.define
class Play:
    """A server that is right, and what its clients saw."""

    store: Store = attrs.Factory(Store)
    revision: int = 1
    now: float = 0.0
    operations: list[Operation] = attrs.Factory(list)
    log: list[tuple[float, tuple[Event, ...]]] = attrs.Factory(list)

    def do(
        self,
        request: Request,
        *,
        early: float = SHORT,
        late: float = SHORT,
        outcome: str = OK,
        happens: bool = True,
        note: str = "",
        ttl: int = 0,
    ) -> Operation:
        """One request, at the next tick.  One that was not answered may have happened all the same."""
        self.now += 1
        answer = self._carry_out(request, ttl) if happens else None
        operation = Operation(
            id=len(self.operations) + 1,
            process=1,
            member=0,
            workload="test",
            request=request,
            invoked=self.now - early,
            returned=None if outcome == UNKNOWN else self.now + late,
            outcome=outcome,
            answer=answer if outcome == OK else None,
            note=note,
        )
        self.operations.append(operation)
        return operation

    def _carry_out(self, request: Request, ttl: int) -> Answer:
        match request:
            case Grant() | KeepAlive():
                return Answer(self.revision, ttl=ttl)
            case Lock(name, lease):
                key = f"{name}/{lease:x}"
                self._change(Txn(success=(Put(key, "", lease),)))
                return Answer(self.revision, key=key)
            case Unlock(key):
                self._change(as_txn(Delete(key)))
                return Answer(self.revision)
            case Revoke(lease):
                self._end_lease(lease)
                return Answer(self.revision)
        assert isinstance(request, KeyRequest)
        succeeded, results = self._change(as_txn(request))
        return Answer(self.revision, succeeded, results)

    def expire(self, lease: int, after: float = 1.0) -> int:
        """The lease runs out after some time; returns the revision that deleted its keys."""
        self.now += after
        self._end_lease(lease)
        return self.revision

    def _end_lease(self, lease: int) -> None:
        keys = self.store.attached(lease)
        if keys:
            self._change(Txn(success=tuple(Delete(key) for key in keys)))

    def _change(self, txn: Txn) -> tuple[bool, tuple[object, ...]]:
        step = self.store.run(txn, self.revision + 1)
        if step.events:
            self.revision += 1
            self.log.append((self.now, step.events))
        return step.succeeded, step.results

    def history(self, members: int = 2) -> History:
        """What was seen, with a watcher of everything on each member and hashes that agree."""
        records: list[Record] = [Run(1, members, self.now, (), ("test",), "model")]
        records += self.operations
        for member in range(members):
            records.append(Watch(f"all@n{member}", 1, member, WHOLE, WHOLE, 2, 0.0, True))
            records += [
                Delivery(f"all@n{member}", 1, at + 0.1, events[0].kv.mod, events) for at, events in self.log
            ]
        names = tuple(f"all@n{member}" for member in range(members))
        records.append(End(self.now + 1, self.revision, names))
        records += [Hash(member, self.now + 2, self.revision, 42, -1) for member in range(members)]
        return History(records)


# -- making it wrong -----------------------------------------------------------------


def changed(history: History, old: Record, *new: Record) -> History:
    """The history with one record replaced by others."""
    index = next(number for number, record in enumerate(history.records) if record is old)
    return History([*history.records[:index], *new, *history.records[index + 1 :]])


def with_answer(history: History, operation: Operation, **fields: object) -> History:
    """The history with one answer changed."""
    assert operation.answer is not None
    answer = attrs.evolve(operation.answer, **fields)  # type: ignore[arg-type]
    return changed(history, operation, attrs.evolve(operation, answer=answer))


def deliveries(history: History, watcher: str = "all@n0") -> list[Delivery]:
    """What a watcher was told."""
    return [one for one in history.of(Delivery) if one.watcher == watcher]


def everywhere(history: History, rewrite: Callable[[Delivery], Delivery | None]) -> History:
    """The history with every delivery rewritten, or left out."""
    records: list[Record] = []
    for record in history.records:
        new = rewrite(record) if isinstance(record, Delivery) else record
        if new is not None:
            records.append(new)
    return History(records)


# -- any history that is right ------------------------------------------------------------

KEYS = ("register/a", "register/b", "swap/a")
spans = st.floats(min_value=0.01, max_value=4.0, allow_nan=False)


@st.composite
def plays(draw: st.DrawFn, most: int = 18) -> Play:
    """Random requests with random overlap, some unanswered, some refused."""
    play = Play()
    for number in range(draw(st.integers(0, most))):
        request = draw(_requests(number))
        outcome, happens = draw(
            st.sampled_from([(OK, True)] * 6 + [(UNKNOWN, True), (UNKNOWN, False), (FAILED, False)])
        )
        play.do(request, early=draw(spans), late=draw(spans), outcome=outcome, happens=happens)
    return play


def _requests(number: int) -> st.SearchStrategy[Request]:
    """Requests whose values nobody else writes."""
    keys, value = st.sampled_from(KEYS), f"v{number}"
    return st.one_of(
        st.builds(Put, keys, st.just(value)),
        st.builds(Delete, keys),
        st.builds(Range, keys),
        st.just(Range(WHOLE, WHOLE)),
        st.builds(_swap, keys, st.integers(0, max(number, 1)), st.just(value)),
        st.builds(_both, st.just(value)),
    )


def _swap(key: str, old: int, value: str) -> Txn:
    return Txn((Compare(key, "value", "=", f"v{old}"),), (Put(key, value),), (Range(key),))


def _both(value: str) -> Txn:
    return Txn((), (Put("pair/a", value), Delete("register/b"), Put("pair/b", value)))


def rules(violations: Iterable[object]) -> set[str]:
    """The names of the broken rules."""
    return {getattr(violation, "rule", "") for violation in violations}
