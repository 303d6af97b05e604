"""Linearizability by search: is there any order of the operations on one key that explains all answers?

Wing and Gong's search with Lowe's two improvements ("Testing for linearizability", 2017): operations are
taken out of a linked list of calls and returns instead of copied, and a pair of (operations done, state)
that was seen before is not tried again.  It trusts no revision, so it also judges servers whose revisions
lie.  Its cost grows with how many operations overlap; the search gives up after a number of steps rather
than run for ever.

An operation whose end is unknown has a call and no return: it may be put anywhere after its call, or nowhere.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import attrs

from chaos.checkers.verdict import Violation
from chaos.history import FAILED, OK, History, Operation
from chaos.model import Compare, Delete, KeyRequest, Put, Range, Result, as_txn, in_range, puts

STEPS = 300_000
LONGEST = 3_000
"""Of a longer history of a key only so many operations are looked at: the first."""

Value = str | None


@attrs.frozen
class Call:
    """One operation on one key: ``claims`` is (succeeded, results), or None if there was no answer."""

    operation: int
    invoked: float
    returned: float | None
    compares: tuple[Compare, ...]
    success: tuple[Put | Delete | Range, ...]
    failure: tuple[Put | Delete | Range, ...]
    claims: tuple[bool, tuple[object, ...]] | None

    def step(self, state: Value) -> tuple[bool, Value]:
        """Whether the answer can be given in ``state``, and the state after."""
        succeeded = all(_holds(compare, state) for compare in self.compares)
        results: list[object] = []
        for action in self.success if succeeded else self.failure:
            match action:
                case Put():
                    state = action.value
                    results.append(None)
                case Delete():
                    results.append(0 if state is None else 1)
                    state = None
                case Range():
                    results.append(() if state is None else (state,))
        return self.claims is None or self.claims == (succeeded, tuple(results)), state


def check(history: History) -> list[Violation]:
    """Search every key whose operations compare nothing but values and existence."""
    found = []
    for key, calls in sorted(calls_by_key(history).items()):
        stuck = search(beginning(calls, LONGEST))
        if stuck is not None and stuck.operation:
            found.append(
                Violation(
                    "linearizability",
                    f"no order of the operations on {key} explains all answers, as far as operation"
                    f" {stuck.operation}",
                    stuck.returned,
                    (stuck.operation,),
                )
            )
    return found


def calls_by_key(history: History) -> dict[str, list[Call]]:
    """The calls on each key that can be searched, in order of invocation."""
    single: defaultdict[str, list[Operation]] = defaultdict(list)
    wide: list[Operation] = []
    unfit: set[str] = set()
    wiped: list[tuple[str, str]] = []  # ranges that were deleted from: too much to be about one key
    for one in history.operations:
        if not isinstance(one.request, KeyRequest) or one.outcome == FAILED:
            continue
        if isinstance(one.request, Range) and one.request.serializable:
            continue
        keys = _keys(one.request)
        if keys is None:
            wide.append(one)
            wiped += _deleted_ranges(one.request)
            unfit |= {put.key for put in puts(one.request)}
        elif len(keys) == 1 and _fit(one.request):
            single[next(iter(keys))].append(one)
        else:
            unfit |= keys
    return {
        key: sorted(
            [call for one in [*operations, *wide] if (call := _call(one, key)) is not None],
            key=lambda call: call.invoked,
        )
        for key, operations in single.items()
        if key not in unfit and not any(in_range(key, start, end) for start, end in wiped)
    }


def beginning(calls: Sequence[Call], count: int) -> list[Call]:
    """The first ``count`` calls, as if nothing had been seen after the next one was sent.

    An answer that came later may rest on a call that is left out, so it is not held against anybody.
    """
    if len(calls) <= count:
        return list(calls)
    end = calls[count].invoked
    return [
        call
        if call.returned is not None and call.returned < end
        else attrs.evolve(call, returned=None, claims=None)
        for call in calls[:count]
    ]


def search(calls: Sequence[Call], steps: int = STEPS) -> Call | None:
    """The operation that no order can get past; None if there is an order, or too many to try."""
    return _Search(calls, steps).run()


class _Node:
    """A call or a return in the list."""

    __slots__ = ("call", "index", "next", "partner", "previous")

    def __init__(self, call: Call, index: int) -> None:
        self.call = call
        self.index = index
        self.partner: _Node | None = None  # of a call: its return; None for a return, and without one
        self.previous: _Node | None = None
        self.next: _Node | None = None


class _Search:
    def __init__(self, calls: Sequence[Call], steps: int) -> None:
        self._steps = steps
        self._open = sum(call.returned is not None for call in calls)
        self._head = _Node(Call(0, 0, None, (), (), (), None), -1)
        self._returns: set[int] = set()
        self._link(calls)

    def run(self) -> Call | None:
        state: Value = None
        done = 0
        seen: set[tuple[int, Value]] = set()
        taken: list[tuple[_Node, Value]] = []
        furthest, blocker = -1, None
        node = self._head.next
        while self._open and node is not None:
            self._steps -= 1
            if self._steps < 0:
                return None
            if id(node) in self._returns:
                # Its call has to come before this point, but nothing of what is left can be put first.
                if len(taken) > furthest:
                    furthest, blocker = len(taken), node.call
                if not taken:
                    return blocker
                last, state = taken.pop()
                done ^= 1 << last.index
                self._put_back(last)
                node = last.next
                continue
            possible, after = node.call.step(state)
            entry = (done | 1 << node.index, after)
            if possible and entry not in seen:
                seen.add(entry)
                taken.append((node, state))
                done, state = entry
                self._take_out(node)
                node = self._head.next
            else:
                node = node.next
        return blocker if self._open else None

    def _link(self, calls: Sequence[Call]) -> None:
        marks: list[tuple[float, int, _Node]] = []
        for index, call in enumerate(calls):
            node = _Node(call, index)
            marks.append((call.invoked, 1, node))
            if call.returned is not None:
                node.partner = _Node(call, index)
                self._returns.add(id(node.partner))
                marks.append((call.returned, 0, node.partner))
        # A return and a call at the same instant: in doubt they overlap, so calls come first.
        marks.sort(key=lambda mark: (mark[0], -mark[1]))
        last = self._head
        for _, _, node in marks:
            last.next, node.previous = node, last
            last = node

    def _take_out(self, node: _Node) -> None:
        _unlink(node)
        if node.partner is not None:
            _unlink(node.partner)
            self._open -= 1

    def _put_back(self, node: _Node) -> None:
        if node.partner is not None:
            _relink(node.partner)
            self._open += 1
        _relink(node)


def _unlink(node: _Node) -> None:
    assert node.previous is not None
    node.previous.next = node.next
    if node.next is not None:
        node.next.previous = node.previous


def _relink(node: _Node) -> None:
    assert node.previous is not None
    node.previous.next = node
    if node.next is not None:
        node.next.previous = node


# -- operations on one key ------------------------------------------------------------


def _keys(request: KeyRequest) -> set[str] | None:
    """The keys that ``request`` names; None if it reads a range."""
    txn = as_txn(request)
    actions = txn.success + txn.failure
    if any(not isinstance(action, Put) and action.end for action in actions):
        return None
    return {action.key for action in actions} | {compare.key for compare in txn.compares}


def _deleted_ranges(request: KeyRequest) -> list[tuple[str, str]]:
    txn = as_txn(request)
    actions = txn.success + txn.failure
    return [(action.key, action.end) for action in actions if isinstance(action, Delete)]


def _fit(request: KeyRequest) -> bool:
    """Whether all is decided by values: conditions are about them, and no lease ends the key unseen."""
    return not any(put.lease for put in puts(request)) and all(
        compare.target == "value" or (compare.target == "create" and compare.operand == 0)
        for compare in as_txn(request).compares
    )


def _call(one: Operation, key: str) -> Call | None:
    """``one`` as far as it is about ``key``: of a range only that key, of a writer of ranges nothing."""
    assert isinstance(one.request, KeyRequest)
    txn = as_txn(one.request)
    if _keys(one.request) is None:
        if not isinstance(one.request, Range) or not in_range(key, one.request.key, one.request.end):
            return None
        txn = as_txn(Range(key))
    claims = None
    if one.outcome == OK and one.answer is not None:
        claims = (one.answer.succeeded, tuple(_values(result, key) for result in one.answer.results))
    return Call(one.id, one.invoked, one.returned, txn.compares, txn.success, txn.failure, claims)


def _values(result: Result, key: str) -> object:
    if isinstance(result, tuple):
        return tuple(kv.value for kv in result if kv.key == key)
    return result


def _holds(compare: Compare, state: Value) -> bool:
    if compare.target == "create":
        missing = state is None
        return missing if compare.relation == "=" else not missing
    equal = state == compare.operand
    return state is not None and (equal if compare.relation == "=" else not equal)
